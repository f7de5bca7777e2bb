//! Gradients of all ranks added in the order of the micro-batches.
//!
//! A *round* is a micro-batch on each rank, or on the first few of them. Of the flat buffer of all gradients every rank has a part to
//! add up: in a round each rank gives every other what belongs to its part, and the owner adds them to the sum so far, one after the
//! other in the order of the ranks. After the last round the parts are gathered. So with `n` ranks each gives `(n - 1) / n` of the
//! buffer a round and once more at the end, however many ranks there are, and every value is
//! `((g₀ + g₁) + g₂) + …`, bit for bit what one process has that takes all micro-batches.
//!
//! A micro-batch may have no gradient for a tensor. Then nothing is added, since a zero is not nothing: `-0.0 + 0.0` is `0.0`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Ranks;
use crate::TrainError;
use crate::metrics::Tally;

/// What one micro-batch gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// The gradients, one tensor after the other; zeros in the places of those that are not there.
    pub values: Vec<f32>,
    /// Which tensors have one.
    pub there: Vec<bool>,
    /// The summed loss, in nats.
    pub loss: f32,
    /// The sums, without the loss.
    pub tally: Tally,
}

/// What a micro-batch gave, but for its gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// The bits of the loss: JSON has no word for what is not finite.
    loss: u32,
    targets: usize,
    tokens: usize,
    there: Vec<bool>,
}

impl Told {
    /// The summed loss, in nats.
    pub fn loss(&self) -> f32 {
        f32::from_bits(self.loss)
    }

    /// The sums, without the loss.
    pub fn tally(&self) -> Tally {
        Tally { targets: self.targets, tokens: self.tokens, ..Tally::default() }
    }
}

/// A sum that grows by rounds.
pub(crate) struct OrderedSum<'a> {
    ranks: &'a Ranks,
    /// Where each tensor lies in the flat buffer.
    tensors: Vec<Range<usize>>,
    /// What each rank adds up of it.
    parts: Vec<Range<usize>>,
    /// The sum of this rank's part so far.
    mine: Vec<f32>,
    /// Which tensors have had a gradient.
    there: Vec<bool>,
}

impl<'a> OrderedSum<'a> {
    /// Of tensors of so many values each.
    pub fn new(ranks: &'a Ranks, lengths: &[usize]) -> Self {
        let mut tensors = Vec::with_capacity(lengths.len());
        let mut end = 0;
        for length in lengths {
            tensors.push(end..end + length);
            end += length;
        }
        let parts = parts(end, ranks.size());
        let mine = vec![0.0; parts.get(ranks.rank()).map_or(0, ExactSizeIterator::len)];
        Self { ranks, tensors, parts, mine, there: vec![false; lengths.len()] }
    }

    /// Adds a round: what this rank's micro-batch gave, if it had one. Tells of each micro-batch of the round, in order.
    ///
    /// # Errors
    ///
    /// A rank has ended, or is gone.
    pub fn add(&mut self, part: Option<&Part>) -> Result<Vec<Told>, TrainError> {
        let told = part.map(|part| Told {
            loss: part.loss.to_bits(),
            targets: part.tally.targets,
            tokens: part.tally.tokens,
            there: part.there.clone(),
        });
        let told: Vec<Option<Told>> = super::told::all(self.ranks, &told)?;
        let from: Vec<bool> = told.iter().map(Option::is_some).collect();
        if !from.contains(&true) {
            return Ok(Vec::new());
        }
        let values = part.map_or(&[][..], |part| &part.values);
        let dealt = self.ranks.deal(values, &self.parts, &from)?;
        for (told, values) in told.iter().zip(&dealt) {
            if let Some(told) = told {
                self.add_one(told, values);
            }
        }
        Ok(told.into_iter().flatten().collect())
    }

    /// Adds this rank's part of a micro-batch's gradients.
    fn add_one(&mut self, told: &Told, values: &[f32]) {
        let part = self.parts[self.ranks.rank()].clone();
        for (index, tensor) in self.tensors.iter().enumerate() {
            if !told.there.get(index).copied().unwrap_or(false) {
                continue;
            }
            let (from, to) = (tensor.start.max(part.start), tensor.end.min(part.end));
            if from < to {
                let own = from - part.start..to - part.start;
                let (sum, new) = (&mut self.mine[own.clone()], &values[own]);
                match self.there[index] {
                    true => sum.iter_mut().zip(new).for_each(|(sum, new)| *sum += new),
                    false => sum.copy_from_slice(new),
                }
            }
            self.there[index] = true;
        }
    }

    /// The whole sum, on all ranks, and which tensors have one.
    ///
    /// # Errors
    ///
    /// A rank has ended, or is gone.
    pub fn finish(self) -> Result<(Vec<f32>, Vec<bool>), TrainError> {
        let gathered = self.ranks.gather(bytemuck::cast_slice(&self.mine))?;
        let mut values = Vec::with_capacity(self.parts.last().map_or(0, |part| part.end));
        for bytes in gathered {
            values.extend(bytes.as_chunks::<4>().0.iter().map(|value| f32::from_ne_bytes(*value)));
        }
        Ok((values, self.there))
    }
}

/// What each of `size` ranks adds up of `len` values.
pub(super) fn parts(len: usize, size: usize) -> Vec<Range<usize>> {
    let each = len.div_ceil(size.max(1));
    (0..size).map(|rank| (rank * each).min(len)..((rank + 1) * each).min(len)).collect()
}

/// Bytes of gradients that a rank gives the others in a step of `accumulate` micro-batches with `trained` values.
pub fn bytes_a_step(trained: usize, accumulate: usize, ranks: usize) -> u64 {
    let ranks = ranks.max(1);
    let rounds = accumulate.div_ceil(ranks) as u64;
    let others = (trained - trained.div_ceil(ranks).min(trained)) as u64;
    let own = trained.div_ceil(ranks) as u64 * (ranks as u64 - 1);
    size_of::<f32>() as u64 * (rounds * others + own)
}

/// Seconds of a step's exchange, measured with zeros, without waiting for ranks that compute longer; none where there is nobody to
/// exchange with.
///
/// # Errors
///
/// A rank has ended, or is gone.
pub(crate) fn measured(
    ranks: &Ranks,
    trained: usize,
    accumulate: usize,
) -> Result<Option<f64>, TrainError> {
    if ranks.are_one() {
        return Ok(None);
    }
    let part =
        Part { values: vec![0.0; trained], there: vec![true], loss: 0.0, tally: Tally::default() };
    // All begin together.
    ranks.any(false)?;
    ranks.spent();
    let mut sum = OrderedSum::new(ranks, &[trained]);
    for _ in 0..accumulate.div_ceil(ranks.size()) {
        sum.add(Some(&part))?;
    }
    sum.finish()?;
    Ok(ranks.spent().map(|spent| spent.seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exchange::ranks::tests::on_ranks;

    /// As `GradientsAccumulator` adds: the first as it is, each further one to the sum.
    fn folded(lengths: &[usize], micros: &[Part]) -> (Vec<u32>, Vec<bool>) {
        let mut sums: Vec<Option<Vec<f32>>> = vec![None; lengths.len()];
        for micro in micros {
            let mut rest = micro.values.as_slice();
            for (index, length) in lengths.iter().enumerate() {
                let (new, after) = rest.split_at(*length);
                rest = after;
                if micro.there[index] {
                    sums[index] = Some(match sums[index].take() {
                        None => new.to_vec(),
                        Some(sum) => sum.iter().zip(new).map(|(sum, new)| sum + new).collect(),
                    });
                }
            }
        }
        let there = sums.iter().map(Option::is_some).collect();
        let values = sums.into_iter().zip(lengths).flat_map(|(sum, length)| {
            sum.unwrap_or_else(|| vec![0.0; *length]).into_iter().map(f32::to_bits)
        });
        (values.collect(), there)
    }

    /// What the loop does: micro-batches in turn, a round when all have had theirs.
    fn summed(
        ranks: &Ranks,
        lengths: &[usize],
        micros: &[Part],
    ) -> (Vec<u32>, Vec<bool>, Vec<f32>) {
        let mut sum = OrderedSum::new(ranks, lengths);
        let mut losses = Vec::new();
        for round in micros.chunks(ranks.size()) {
            let told = sum.add(round.get(ranks.rank())).unwrap();
            losses.extend(told.iter().map(Told::loss));
        }
        let (values, there) = sum.finish().unwrap();
        (values.into_iter().map(f32::to_bits).collect(), there, losses)
    }

    fn case() -> impl Strategy<Value = (usize, Vec<usize>, Vec<Part>)> {
        let lengths = prop::collection::vec(0_usize..7, 1..5);
        (1_usize..5, lengths, 1_usize..9).prop_flat_map(|(size, lengths, count)| {
            let total: usize = lengths.iter().sum();
            // Sums of such values differ with their order, and zeros have signs.
            let value = prop_oneof![Just(0.0_f32), Just(-0.0_f32), -1e3_f32..1e3, -1e-3_f32..1e-3];
            let values = prop::collection::vec(value, total);
            let there = prop::collection::vec(any::<bool>(), lengths.len());
            let part = (values, there, any::<f32>()).prop_map(|(values, there, loss)| Part {
                values,
                there,
                loss,
                tally: Tally::default(),
            });
            (Just(size), Just(lengths), prop::collection::vec(part, count))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_number_of_ranks_adds_as_one_process_does_bit_for_bit((size, lengths, micros) in case()) {
            let expected = folded(&lengths, &micros);
            let losses: Vec<u32> = micros.iter().map(|micro| micro.loss.to_bits()).collect();
            let there = &expected.1;
            for (values, of_rank, told) in on_ranks(size, |ranks| summed(&ranks, &lengths, &micros)) {
                prop_assert_eq!(&of_rank, there);
                prop_assert_eq!(&values, &expected.0);
                let told: Vec<u32> = told.into_iter().map(f32::to_bits).collect();
                prop_assert_eq!(&told, &losses);
            }
        }
    }

    #[test]
    fn values_are_shared_out_whole() {
        assert_eq!(parts(10, 4), [0..3, 3..6, 6..9, 9..10]);
        assert_eq!(parts(2, 4), [0..1, 1..2, 2..2, 2..2]);
        assert_eq!(parts(0, 2), [0..0, 0..0]);
    }

    #[test]
    fn planned_bytes_are_those_that_the_first_rank_gives() {
        for (size, accumulate) in [(2, 2), (3, 5), (4, 4)] {
            let trained = 1200;
            let given = on_ranks(size, |ranks| {
                let part = Part {
                    values: vec![1.0; trained],
                    there: vec![true],
                    loss: 0.0,
                    tally: Tally::default(),
                };
                summed(&ranks, &[trained], &vec![part; accumulate]);
                ranks.spent().unwrap().bytes
            });
            let planned = bytes_a_step(trained, accumulate, size);
            // Beside the gradients, what is told of each micro-batch: some hundred bytes to each other rank.
            let told = 100 * (accumulate * size) as u64;
            assert!((planned..planned + told).contains(&given[0]), "{planned}: {given:?}");
        }
    }
}
