//! Low-rank products of several adapters, each on rows of its own of one batch, added to what the frozen weight gave for all.
//!
//! ```text
//! y[rows of g] += scale_g · (x[rows of g] A_g) B_g          for each group g
//! ```
//!
//! Groups are spread over the cores, each with products of its own, because sixteen products of one row are too small to be
//! spread one by one. Rows that lie together are read and added to where they lie; a group whose rows lie apart is brought
//! together first, so that its factors are read once whatever the order of the batch.

use std::ops::Range;

use rayon::prelude::*;

use crate::product::{Accumulate, MatMut, MatRef, SMALL, Threads, fresh, product};
use crate::{vector, vectorised};

/// Rows of a batch and the factors that they go through.
#[derive(Debug)]
pub struct Group<'a> {
    /// Factor A, `[d_in, rank]`.
    pub a: MatRef<'a>,
    /// Factor B, `[rank, d_out]`.
    pub b: MatRef<'a>,
    /// What the product is multiplied by.
    pub scale: f32,
    /// The rows, in their order; no other group has one of them.
    pub rows: &'a [Range<usize>],
}

impl Group<'_> {
    fn count(&self) -> usize {
        self.rows.iter().map(ExactSizeIterator::len).sum()
    }

    /// Multiplications of its products.
    fn work(&self) -> usize {
        let ([d_in, rank], [_, d_out]) = (self.a.shape(), self.b.shape());
        self.count() * rank * (d_in + d_out)
    }

    /// `scale · (x A)`, `x: [count, d_in]` to `[count, rank]`.
    fn low(&self, x: &[f32], count: usize, threads: Threads) -> Vec<f32> {
        let [d_in, _] = self.a.shape();
        let mut low = fresh(MatRef::dense(x, [count, d_in]), self.a, None, threads);
        vectorised!(vector::scale(&mut low, self.scale));
        low
    }

    /// Adds its product to its rows of the result, given in their order.
    fn add(&self, mut parts: Vec<&mut [f32]>, x: &[f32], threads: Threads) {
        let ([d_in, rank], [_, d_out]) = (self.a.shape(), self.b.shape());
        let of = |rows: &Range<usize>| &x[rows.start * d_in..rows.end * d_in];
        let count = self.count();
        if let ([rows], [part]) = (self.rows, parts.as_mut_slice()) {
            let low = self.low(of(rows), count, threads);
            let dst = MatMut::dense(part, [count, d_out]);
            let low = MatRef::dense(&low, [count, rank]);
            return product(dst, Accumulate::Add, low, self.b, threads);
        }
        let mut together = Vec::with_capacity(count * d_in);
        self.rows.iter().for_each(|rows| together.extend_from_slice(of(rows)));
        let low = self.low(&together, count, threads);
        let change = fresh(MatRef::dense(&low, [count, rank]), self.b, None, threads);
        let mut rest = change.as_slice();
        for part in parts {
            let (own, after) = rest.split_at(part.len());
            vectorised!(vector::add(part, own));
            rest = after;
        }
    }
}

/// Adds the product of each group to its rows of `y`.
///
/// # Shapes
///
/// - x: `[rows, d_in]` and y: `[rows, d_out]`, row after row; `d_in` and `d_out` are those of every group's factors
///
/// # Panics
///
/// Where shapes do not agree, a group has a row that is not there, or two have the same, which is a mistake in a kernel.
pub fn add(y: &mut [f32], x: &[f32], groups: &[Group<'_>]) {
    let Some(d_out) = groups.first().map(|group| group.b.shape()[1]) else { return };
    let mut spans: Vec<(usize, &Range<usize>)> = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        spans.extend(group.rows.iter().map(|rows| (at, rows)));
    }
    spans.sort_by_key(|(_, rows)| rows.start);
    let mut parts: Vec<Vec<&mut [f32]>> = Vec::new();
    parts.resize_with(groups.len(), Vec::new);
    let (mut rest, mut from) = (y, 0);
    for (at, rows) in spans {
        assert!(rows.start >= from, "two groups have the same row, or one has rows out of order");
        let (_, after) = std::mem::take(&mut rest).split_at_mut((rows.start - from) * d_out);
        let (own, after) = after.split_at_mut(rows.len() * d_out);
        parts[at].push(own);
        (rest, from) = (after, rows.end);
    }
    let work: usize = groups.iter().map(Group::work).sum();
    let each = groups.iter().zip(parts);
    if groups.len() < rayon::current_num_threads() {
        each.for_each(|(group, parts)| group.add(parts, x, Threads::All));
    } else if work < SMALL {
        each.for_each(|(group, parts)| group.add(parts, x, Threads::One));
    } else {
        let each: Vec<_> = each.collect();
        each.into_par_iter().for_each(|(group, parts)| group.add(parts, x, Threads::One));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|at| ((at * 37 + seed * 11) % 23) as f32 / 23.0 - 0.45).collect()
    }

    /// Against sums in f64, for groups of one row and of many, whose rows lie together and apart, alone and spread.
    #[test]
    fn every_row_has_the_product_of_its_group_and_no_other() {
        for (rows, d_in, d_out, ranks) in
            [(7, 5, 6, [1, 2, 3]), (130, 24, 18, [4, 1, 9]), (16, 600, 300, [8, 16, 5])]
        {
            let (x, start) = (numbers(rows * d_in, 1), numbers(rows * d_out, 2));
            let spans: [Vec<Range<usize>>; 3] = [
                vec![1..2, 4..rows - 1],
                Vec::from_iter(std::iter::once(0..1)),
                vec![2..3, rows - 1..rows],
            ];
            let factors: Vec<_> = ranks
                .iter()
                .map(|rank| (numbers(d_in * rank, 3 + rank), numbers(rank * d_out, 5 + rank)))
                .collect();
            let groups: Vec<Group<'_>> = ranks
                .iter()
                .zip(&factors)
                .zip(&spans)
                .map(|((rank, (a, b)), rows)| Group {
                    a: MatRef::dense(a, [d_in, *rank]),
                    b: MatRef::dense(b, [*rank, d_out]),
                    scale: 0.5 + *rank as f32,
                    rows,
                })
                .collect();
            for count in 1..=groups.len() {
                let mut y = start.clone();
                add(&mut y, &x, &groups[..count]);
                for row in 0..rows {
                    let own = (0..count).find(|at| spans[*at].iter().any(|it| it.contains(&row)));
                    for column in 0..d_out {
                        let at = row * d_out + column;
                        let mut expected = f64::from(start[at]);
                        let mut size = expected.abs();
                        if let Some(own) = own {
                            let (rank, (a, b)) = (ranks[own], &factors[own]);
                            for k in 0..rank {
                                for i in 0..d_in {
                                    let term = f64::from(x[row * d_in + i])
                                        * f64::from(a[i * rank + k])
                                        * f64::from(b[k * d_out + column])
                                        * (0.5 + rank as f64);
                                    expected += term;
                                    size += term.abs();
                                }
                            }
                        }
                        let off = (f64::from(y[at]) - expected).abs();
                        // A sum of so many terms in f32.
                        assert!(off <= 1e-5 * size, "{rows} {row} {column}: {off}");
                        assert!(own.is_some() || y[at] == start[at], "{row} is nobody's");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "the same row")]
    fn a_row_of_two_groups_is_a_mistake() {
        let (a, b) = ([1.0], [1.0]);
        let (a, b) = (MatRef::dense(&a, [1, 1]), MatRef::dense(&b, [1, 1]));
        let (one, two) = (0..2, 1..3);
        let of = |rows| Group { a, b, scale: 1.0, rows: std::slice::from_ref(rows) };
        add(&mut [0.0; 3], &[1.0; 3], &[of(&one), of(&two)]);
    }
}
