//! Several short rows in one, so that batches hold little padding.
//!
//! First fit, longest first: every example goes into the first pack that still has room for it.
//! Examples of a pack know nothing of each other, if the model keeps them apart: where each begins,
//! [`TokenBatch::segments`](super::TokenBatch::segments) tells.

use std::cmp::Reverse;

use crate::example::TokenExample;

/// Examples that share a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The examples, in the order in which they stand in the row.
    pub examples: Vec<TokenExample>,
}

impl Packed {
    /// Tokens of the row.
    pub fn tokens(&self) -> usize {
        self.examples.iter().map(|example| example.ids.len()).sum()
    }

    /// How many tokens carry loss.
    pub fn target_tokens(&self) -> usize {
        self.examples.iter().map(TokenExample::target_tokens).sum()
    }
}

/// Packs examples into rows of at most `max_length` tokens; an example that is longer has a row of
/// its own. The same examples always give the same packs.
pub fn pack(examples: Vec<TokenExample>, max_length: usize) -> Vec<Packed> {
    let packs = pack_by(examples, max_length, |example| example.ids.len());
    packs.into_iter().map(|examples| Packed { examples }).collect()
}

/// [`pack()`] of whatever has a length in tokens.
pub fn pack_by<T>(
    mut items: Vec<T>,
    max_length: usize,
    length: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    // The sort is stable: items of one length stay in their order.
    items.sort_by_key(|item| Reverse(length(item)));
    let mut packs: Vec<Vec<T>> = Vec::new();
    let mut room = Room::new(items.len(), max_length);
    for item in items {
        match packs.get_mut(room.take(length(&item))) {
            Some(pack) => pack.push(item),
            None => packs.push(vec![item]),
        }
    }
    packs
}

/// The room left in each pack, as a binary tree whose nodes know the most room below them, so that
/// the first pack with enough is found by descending.
struct Room {
    /// The root at 1, the children of node `n` at `2n` and `2n + 1`; packs are the last half.
    most: Vec<usize>,
    /// The room of an empty pack.
    whole: usize,
}

impl Room {
    /// A pack for each of so many examples, all empty.
    fn new(examples: usize, whole: usize) -> Self {
        let whole = whole.max(1);
        Self { most: vec![whole; 2 * examples.max(1).next_power_of_two()], whole }
    }

    /// Takes room from the first pack that has it; what is too long for any takes an empty one.
    fn take(&mut self, length: usize) -> usize {
        let length = length.min(self.whole);
        let packs = self.most.len() / 2;
        let mut node = 1;
        while node < packs {
            node = if self.most[2 * node] >= length { 2 * node } else { 2 * node + 1 };
        }
        let pack = node - packs;
        // There is a pack for every example, so one with room is always found.
        self.most[node] = self.most[node].saturating_sub(length);
        while node > 1 {
            node /= 2;
            self.most[node] = self.most[2 * node].max(self.most[2 * node + 1]);
        }
        pack
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::TokenBatch;

    /// Examples of these lengths, told apart by their ids; all tokens but the first are targets.
    fn examples(lengths: &[usize]) -> Vec<TokenExample> {
        let example = |(index, length): (usize, &usize)| {
            let ids: Vec<u32> = (0..*length).map(|at| (1000 * index + at) as u32).collect();
            let targets = (1..=*length).map(|at| ids.get(at).copied()).collect();
            TokenExample { ids, targets }
        };
        lengths.iter().enumerate().map(example).collect()
    }

    fn lengths(packs: &[Packed]) -> Vec<Vec<usize>> {
        packs.iter().map(|pack| pack.examples.iter().map(|e| e.ids.len()).collect()).collect()
    }

    #[test]
    fn the_longest_go_first_and_into_the_first_pack_with_room() {
        // By hand: 7; 6; 5 in neither; 4 beside 6; 3 beside 7; 2 and 2 beside 5; 1 beside those.
        let packs = pack(examples(&[2, 5, 7, 1, 3, 6, 2, 4]), 10);
        assert_eq!(lengths(&packs), [vec![7, 3], vec![6, 4], vec![5, 2, 2, 1]]);
        // Of the two of length 2, the one that came first.
        assert_eq!(packs[2].examples[1].ids, [0, 1]);
        assert_eq!(packs[2].examples[2].ids, [6000, 6001]);
    }

    #[test]
    fn what_fits_nowhere_has_a_row_of_its_own() {
        assert_eq!(lengths(&pack(examples(&[3, 12, 8]), 10)), [vec![12], vec![8], vec![3]]);
        assert_eq!(lengths(&pack(examples(&[2, 2]), 0)), [vec![2], vec![2]]);
        assert_eq!(pack(Vec::new(), 10), []);
    }

    /// First fit by its definition: every pack is asked in turn.
    fn first_fit(mut lengths: Vec<usize>, max_length: usize) -> Vec<Vec<usize>> {
        lengths.sort_unstable_by_key(|length| Reverse(*length));
        let mut packs: Vec<Vec<usize>> = Vec::new();
        for length in lengths {
            let fits = |pack: &&mut Vec<usize>| pack.iter().sum::<usize>() + length <= max_length;
            match packs.iter_mut().find(fits) {
                Some(pack) => pack.push(length),
                None => packs.push(vec![length]),
            }
        }
        packs
    }

    proptest! {
        #[test]
        fn packs_are_those_of_first_fit(
            of in prop::collection::vec(1_usize..=50, 0..120),
            max_length in 50_usize..150,
        ) {
            let packs = pack(examples(&of), max_length);
            prop_assert_eq!(lengths(&packs), first_fit(of, max_length));
        }

        #[test]
        fn packing_loses_nothing_and_no_target_crosses(
            of in prop::collection::vec(1_usize..=20, 1..60),
            max_length in 20_usize..60,
        ) {
            let all = examples(&of);
            let plain = TokenBatch::new(&all, 9);
            let packs = pack(all.clone(), max_length);
            let batch = TokenBatch::packed(&packs, 9);
            prop_assert_eq!(batch.rows, packs.len());
            prop_assert!(batch.width <= max_length);
            prop_assert_eq!(batch.tokens(), plain.tokens());
            prop_assert_eq!(batch.target_tokens(), plain.target_tokens());
            // Cut at its boundaries, the batch is the examples, each once.
            let mut cut = Vec::new();
            let mut targets = vec![None; batch.ids.len()];
            for (at, id) in &batch.targets {
                targets[*at] = Some(*id);
            }
            for (row, segments) in batch.segments.iter().enumerate() {
                prop_assert_eq!(segments.iter().sum::<usize>(), batch.lengths[row]);
                let mut start = row * batch.width;
                for length in segments {
                    let of_segment = start..start + length;
                    start = of_segment.end;
                    cut.push(TokenExample {
                        ids: batch.ids[of_segment.clone()].to_vec(),
                        targets: targets[of_segment].to_vec(),
                    });
                }
            }
            prop_assert!(cut.iter().all(|segment| segment.targets.last() == Some(&None)));
            cut.sort_by_key(|segment| segment.ids[0]);
            prop_assert_eq!(cut, all);
        }
    }
}
