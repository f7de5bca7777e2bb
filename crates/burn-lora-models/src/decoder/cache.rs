//! Keys and values of the tokens that a decoder has seen: a table of slots, a row of text in each.
//!
//! A slot has a length of its own, and a token's key lies in the column of its position, so that rows of any
//! lengths share a pass and padding is nowhere. A pass goes over slots that lie side by side
//! ([`KvCache::select`]; all of them, unless told); its rows take up their new tokens where each has ended. A
//! slot that is given to another row ([`KvCache::clear`]) keeps the memory.
//!
//! There is room for as many columns as the longest row has needed so far, rounded up to a power of two, and
//! no more than the cache was told that a row can have.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::fused::CacheRow;

/// The least number of columns that there is room for.
const LEAST: usize = 64;

/// Grows with every call of [`Decoder::hidden`](super::Decoder::hidden) that it is given to.
#[derive(Debug, Clone, Default)]
pub struct KvCache {
    /// Per layer: keys and values, `[slots, heads, room, head_dim]`; none while a pass has them.
    layers: Vec<Option<[Tensor<4>; 2]>>,
    /// Tokens that each slot holds.
    held: Vec<usize>,
    /// The slots that a pass is of.
    selected: Range<usize>,
    /// Columns that there is to be room for.
    room: usize,
    /// The most tokens that a row can have.
    longest: Option<usize>,
}

impl KvCache {
    /// An empty one, with as many slots as its first pass has rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one of `slots` rows, none of which gets more than `longest` tokens.
    pub fn with_slots(slots: usize, longest: usize) -> Self {
        let longest = Some(longest);
        Self { held: vec![0; slots], selected: 0..slots, longest, ..Self::default() }
    }

    /// How many tokens the longest row has.
    pub fn len(&self) -> usize {
        self.held.iter().copied().max().unwrap_or(0)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens of each row it holds: the next token's position.
    pub fn tokens(&self) -> &[usize] {
        &self.held
    }

    /// The slots that the passes from now on are of.
    ///
    /// # Panics
    ///
    /// Where there are no such slots.
    pub fn select(&mut self, slots: Range<usize>) {
        assert!(slots.start <= slots.end && slots.end <= self.held.len(), "slots of the cache");
        self.selected = slots;
    }

    /// Forgets the row in a slot.
    ///
    /// # Panics
    ///
    /// Where there is no such slot.
    pub fn clear(&mut self, slot: usize) {
        self.held[slot] = 0;
    }

    /// Puts the row of one slot into another, where it replaces what is there; the first is free then.
    ///
    /// # Panics
    ///
    /// Where there are no such slots.
    pub fn relocate(&mut self, from: usize, to: usize) {
        self.held[to] = self.held[from];
        if from == to {
            return;
        }
        self.held[from] = 0;
        for layer in &mut self.layers {
            let held = layer.take();
            *layer = held.map(|held| held.map(|tensor| moved(tensor, from, to)));
        }
    }

    /// Takes up the new tokens of the selected slots' rows, `lengths[i]` of row `i`: what each holds, and
    /// gets.
    pub(super) fn take_up(&mut self, lengths: &[usize]) -> Vec<CacheRow> {
        if self.held.is_empty() {
            self.held = vec![0; lengths.len()];
            self.selected = 0..lengths.len();
        }
        assert_eq!(self.selected.len(), lengths.len(), "the cache has other rows");
        let slots = &mut self.held[self.selected.clone()];
        let row = |(held, &new): (&mut usize, &usize)| {
            let row = CacheRow { held: *held, new };
            *held += new;
            row
        };
        let rows = slots.iter_mut().zip(lengths).map(row).collect();
        let longest = self.len().max(1);
        if longest > self.room {
            let room = longest.next_power_of_two().max(LEAST);
            self.room = self.longest.map_or(room, |most| room.min(most)).max(longest);
        }
        rows
    }

    /// Gives a layer's keys and values, with the first of the selected slots, to `pass`, which gives them
    /// back beside what it made of them. `like: [_, _, heads, head_dim]` are keys of the pass.
    pub(super) fn lend<R>(
        &mut self,
        layer: usize,
        like: &Tensor<4>,
        pass: impl FnOnce([Tensor<4>; 2], usize) -> (R, [Tensor<4>; 2]),
    ) -> R {
        let ([_, _, heads, head_dim], device) = (like.dims(), like.device());
        let (slots, room) = (self.held.len(), self.room);
        let zeros = |columns| zeros([slots, heads, columns, head_dim], like, &device);
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, || None);
        }
        let held = self.layers[layer].take();
        let held = held.unwrap_or_else(|| [zeros(room), zeros(room)]).map(|tensor| {
            match room - tensor.dims()[2] {
                0 => tensor,
                more => Tensor::cat(vec![tensor, zeros(more)], 2),
            }
        });
        let (result, held) = pass(held, self.selected.start);
        self.layers[layer] = Some(held);
        result
    }
}

fn zeros(shape: [usize; 4], like: &Tensor<4>, device: &Device) -> Tensor<4> {
    Tensor::zeros(shape, (device, like.dtype()))
}

/// The row of one slot in another. Nobody else holds the tensor, so that it is changed where it lies.
fn moved(tensor: Tensor<4>, from: usize, to: usize) -> Tensor<4> {
    let [_, heads, room, head_dim] = tensor.dims();
    let index = TensorData::new(vec![from as i32], [1]);
    let index = Tensor::<1, Int>::from_data(index, &tensor.device());
    // A copy of its own: a view would hold the tensor.
    let row = tensor.clone().select(0, index);
    tensor.slice_assign([to..to + 1, 0..heads, 0..room, 0..head_dim], row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass of one layer that writes the numbers of its rows' tokens as keys, and their negatives as values.
    fn pass(cache: &mut KvCache, rows: &[&[f32]]) {
        let device = burn_lora::device::parse("cpu").unwrap();
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let taken = cache.take_up(&lengths);
        let like = Tensor::zeros([rows.len(), 1, 1, 1], &device);
        cache.lend(0, &like, |held, first| {
            let held = [1.0, -1.0].into_iter().zip(held).map(|(sign, mut held)| {
                for (slot, (row, at)) in (first..).zip(rows.iter().zip(&taken)) {
                    for (column, value) in (at.held..).zip(*row) {
                        let value = Tensor::full([1, 1, 1, 1], sign * value, &device);
                        held = held
                            .slice_assign([slot..slot + 1, 0..1, column..column + 1, 0..1], value);
                    }
                }
                held
            });
            ((), held.collect::<Vec<_>>().try_into().unwrap())
        });
    }

    /// What a slot holds; keys and values agree.
    fn row(cache: &KvCache, slot: usize) -> Vec<f32> {
        let [keys, values] = cache.layers[0].clone().unwrap().map(|tensor| {
            let [_, heads, room, head_dim] = tensor.dims();
            let row = tensor.slice([slot..slot + 1, 0..heads, 0..room, 0..head_dim]);
            row.into_data().try_to_vec::<f32>().unwrap()
        });
        assert!(keys.iter().zip(&values).all(|(key, value)| *key == -value));
        keys[..cache.tokens()[slot]].to_vec()
    }

    #[test]
    fn rows_of_any_lengths_join_leave_and_move_without_touching_the_others() {
        let mut cache = KvCache::with_slots(3, 100);
        pass(&mut cache, &[&[1.0, 2.0], &[], &[3.0]]);
        cache.select(1..2);
        let long: Vec<f32> = (10..80).map(|v| v as f32).collect();
        pass(&mut cache, &[&long]);
        assert_eq!(cache.tokens(), [2, 70, 1]);
        cache.select(0..3);
        pass(&mut cache, &[&[4.0], &[5.0], &[6.0]]);
        assert_eq!(row(&cache, 0), [1.0, 2.0, 4.0]);
        assert_eq!(row(&cache, 1), [&long[..], &[5.0]].concat());
        cache.relocate(2, 0);
        assert_eq!(cache.tokens(), [2, 71, 0]);
        assert_eq!(row(&cache, 0), [3.0, 6.0]);
        cache.clear(1);
        cache.select(0..2);
        pass(&mut cache, &[&[7.0], &[8.0]]);
        assert_eq!((row(&cache, 0), row(&cache, 1)), (vec![3.0, 6.0, 7.0], vec![8.0]));
        // 64 columns, then the most that a row can have.
        assert_eq!(cache.room, 100);
    }

    #[test]
    #[should_panic(expected = "the cache has other rows")]
    fn a_pass_of_another_number_of_rows_is_refused() {
        let mut cache = KvCache::new();
        cache.take_up(&[1, 2]);
        cache.take_up(&[1]);
    }
}
