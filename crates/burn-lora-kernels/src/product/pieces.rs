//! A product shared out to the cores: pieces of its result, each multiplied by `gemm` on one thread.
//!
//! `gemm`'s own threads wait for each other between the blocks that they pack for all. Pieces wait for nothing, and pack for themselves:
//! they are cut so that each reads as little of both operands as it can.
//!
//! `gemm` sums an element's products in blocks whose lengths depend on their number alone, but where both sides are at most 64: no
//! piece of a larger result is so small, so that an element's bits depend on no piece.

use std::cmp::Reverse;
use std::ops::Range;

use rayon::prelude::*;

use super::panels::Work;
use super::{Accumulate, MatRef};
use crate::few_rows::{Dense, Lies, Weight};

/// Rows and columns of a piece are multiples of these, which fill the registers, but for the last ones.
const MULTIPLES: [usize; 2] = [8, 16];

/// Rows and columns of a piece.
pub(super) type Piece = [Range<usize>; 2];

/// How a result is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cuts {
    /// A side is cut into parts of so many rows and columns, or a few less.
    least: [usize; 2],
    /// Pieces of a thread.
    each: usize,
    /// What rows and columns of a piece cost beside each other: each is packed once for a piece.
    packs: [usize; 2],
    /// Where columns alone are cut, pieces of so many cost no more than larger ones;
    block: usize,
    /// a thread then takes so many at most.
    blocks: usize,
}

/// `gemm` packs both operands.
const GEMM: Cuts = Cuts { least: [80, 80], each: 1, packs: [1, 1], block: usize::MAX, blocks: 1 };

/// Panels are packed of the columns alone, a block at a time. A thread that gets less of its core than the others leaves some pieces to them.
pub(super) const PANELS: Cuts =
    Cuts { least: [128, 64], each: 2, packs: [0, 1], block: 128, blocks: 6 };

/// The same where there are other results to take pieces of.
pub(super) const TOGETHER: Cuts = Cuts { each: 1, ..PANELS };

/// Rows and columns of a result, in pieces.
#[derive(Debug, Clone, Copy)]
struct Pieces {
    whole: [usize; 2],
    /// How many there are along each side.
    along: [usize; 2],
}

impl Pieces {
    /// As many as the threads take or as there is room for, and of those the ones that pack the least.
    fn of(whole: [usize; 2], threads: usize, cuts: Cuts) -> Self {
        let most = [0, 1].map(|axis| (whole[axis] / cuts.least[axis]).max(1));
        let count = if threads == 1 { 1 } else { threads * cuts.each };
        let ways = (1..=count.min(most[0])).map(|rows| [rows, (count / rows).min(most[1])]);
        let packed = |along: [usize; 2]| -> usize {
            (0..2).map(|axis| cuts.packs[axis] * whole[axis].div_ceil(along[axis])).sum()
        };
        let along = ways.max_by_key(|way| (way[0] * way[1], Reverse(packed(*way))));
        let [rows, columns] = along.unwrap_or([1, 1]);
        let blocks = (whole[1] / cuts.block).min(threads * cuts.blocks);
        let are_free = rows == 1 && threads > 1;
        Self { whole, along: [rows, if are_free { columns.max(blocks) } else { columns }] }
    }

    /// How many there are.
    fn count(self) -> usize {
        self.along[0] * self.along[1]
    }

    /// The rows and the columns of one.
    fn at(self, index: usize) -> Piece {
        let at = [index % self.along[0], index / self.along[0]];
        [0, 1].map(|axis| {
            let multiples = self.whole[axis].div_ceil(MULTIPLES[axis]);
            let start = |part: usize| multiples * part / self.along[axis] * MULTIPLES[axis];
            start(at[axis])..start(at[axis] + 1).min(self.whole[axis])
        })
    }
}

/// Where a result begins, for threads that write pieces of it.
#[derive(Clone, Copy)]
pub(super) struct Start(pub(super) *mut f32);

// SAFETY: an address; whoever writes there answers for that.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Start {
    pub(super) fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// Hands each piece of results of these sides to one of `count` threads, by the result's number, its rows and its columns.
pub(super) fn shared(
    wholes: &[[usize; 2]],
    count: usize,
    cuts: Cuts,
    each: impl Fn(usize, Piece) + Sync,
) {
    let of = |(index, &whole)| {
        let pieces = Pieces::of(whole, count, cuts);
        (0..pieces.count()).map(move |piece| (index, pieces.at(piece)))
    };
    let pieces: Vec<_> = wholes.iter().enumerate().flat_map(of).collect();
    let each = |(index, piece)| each(index, piece);
    if count == 1 || pieces.len() == 1 {
        pieces.into_iter().for_each(each);
    } else {
        pieces.into_par_iter().with_max_len(1).for_each(each);
    }
}

/// The product by `gemm` into memory that may hold no values yet, on at most `count` threads.
///
/// # Safety
///
/// As [`write`](super::write).
pub(super) unsafe fn write(
    (dst, stride): (*mut f32, usize),
    accumulate: Accumulate,
    (lhs, rhs): (MatRef<'_>, MatRef<'_>),
    count: usize,
) {
    let start = Start(dst);
    shared(&[[lhs.shape[0], rhs.shape[1]]], count, GEMM, |_, [rows, columns]| {
        let at = start.at(rows.start * stride + columns.start);
        let lhs = lhs.rows(rows.start, rows.len());
        let rhs = rhs.columns(columns.start, columns.len());
        // SAFETY: the piece's elements are the whole's of its rows and columns, which the caller promises; two pieces share none.
        unsafe { super::write(at, stride, accumulate, lhs, rhs) }
    });
}

/// The product with a weight that is packed into panels, and where there is another pair of the same sides, theirs added to it, on at most
/// `count` threads.
///
/// # Safety
///
/// As [`write`], with the rows of `lhs` and `columns`.
pub(super) unsafe fn packed<W: Weight>(
    (dst, stride): (*mut f32, usize),
    accumulate: Accumulate,
    (lhs, weight, columns): (MatRef<'_>, (W, Lies), usize),
    more: Option<(MatRef<'_>, (Dense<'_>, Lies))>,
    count: usize,
) {
    let start = Start(dst);
    shared(&[[lhs.shape[0], columns]], count, PANELS, |_, [rows, columns]| {
        let at = (start.at(rows.start * stride + columns.start), stride);
        let (start, count) = (rows.start, rows.len());
        // SAFETY: the piece's elements are the whole's of its rows and columns, which the caller promises; two pieces share none.
        let work = unsafe { Work::new(at, accumulate, lhs.rows(start, count), weight, columns) };
        match more {
            Some((lhs, weight)) => work.and(lhs.rows(start, count), weight).run(),
            None => work.run(),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::few_rows::view;
    use crate::product::tests::uneven;

    /// Each element is in one piece, whatever the sides and the number of threads, and no piece is of the small ones that `gemm` sums
    /// in another order.
    #[test]
    fn pieces_cover_a_result_once() {
        let wholes = [[0, 0], [1, 1], [7, 300], [512, 576], [513, 97], [191, 1000], [128, 9152]];
        for (whole, cuts) in wholes.into_iter().flat_map(|whole| [(whole, GEMM), (whole, PANELS)]) {
            for count in [1, 2, 3, 4, 6, 7, 16] {
                let pieces = Pieces::of(whole, count, cuts);
                let most = count * cuts.each.max(cuts.blocks);
                assert!((1..=most).contains(&pieces.count()), "{whole:?} {count}");
                let mut covered = vec![0_u8; whole[0] * whole[1]];
                for [rows, columns] in (0..pieces.count()).map(|index| pieces.at(index)) {
                    let is_whole = [rows.len(), columns.len()] == whole;
                    let is_small = rows.len().max(columns.len()) <= 64;
                    assert!(is_whole || !is_small || cuts.each > 1, "{whole:?} {count}");
                    for row in rows {
                        covered[row * whole[1]..][columns.clone()].iter_mut().for_each(|n| *n += 1);
                    }
                }
                assert!(covered.iter().all(|&n| n == 1), "{whole:?} {count}");
            }
        }
        // A piece packs what it reads: of a long side each has a part.
        let by_gemm = |whole, count| Pieces::of(whole, count, GEMM).along;
        assert_eq!(by_gemm([512, 1536], 2), [1, 2]);
        assert_eq!(by_gemm([512, 192], 2), [2, 1]);
        assert_eq!(by_gemm([512, 576], 4), [2, 2]);
        assert_eq!(by_gemm([512, 576], 16), [4, 4]);
        assert_eq!(by_gemm([130, 576], 16), [1, 7], "no room for more");
        // Panels are packed of columns alone.
        let by_panels = |whole, count| Pieces::of(whole, count, PANELS).along;
        assert_eq!(by_panels([512, 576], 1), [1, 1]);
        assert_eq!(by_panels([512, 576], 2), [1, 4]);
        assert_eq!(by_panels([512, 192], 2), [2, 2]);
        assert_eq!(by_panels([512, 1536], 1), [1, 1]);
        assert_eq!(by_panels([512, 1536], 2), [1, 12]);
        assert_eq!(by_panels([128, 49152], 2), [1, 12]);
    }

    /// A run on another number of threads takes the same steps, whoever multiplies.
    #[test]
    fn bits_depend_on_no_piece() {
        for [m, k, n] in [[130, 600, 150], [200, 1300, 577], [517, 64, 130], [250, 700, 40]] {
            let (a, b) = (uneven(m * k, 1), uneven(k * n, 2));
            for transposed in [false, true] {
                let lhs = MatRef::dense(&a, [m, k]);
                let rhs = match transposed {
                    false => MatRef::dense(&b, [k, n]),
                    true => MatRef::dense(&b, [n, k]).transposed(),
                };
                for by_panels in [false, true] {
                    let on = |count: usize| {
                        let mut out = vec![0.0; m * n];
                        let dst = (out.as_mut_ptr(), n);
                        let weight = view(rhs).unwrap();
                        // SAFETY: `out` has an element for each row and column.
                        unsafe {
                            match by_panels {
                                false => write(dst, Accumulate::Set, (lhs, rhs), count),
                                true => {
                                    packed(dst, Accumulate::Set, (lhs, weight, n), None, count);
                                }
                            }
                        }
                        out
                    };
                    let whole = on(1);
                    for count in [2, 3, 4, 7, 16] {
                        assert!(on(count) == whole, "{m} {k} {n} {transposed} {by_panels} {count}");
                    }
                }
            }
        }
    }
}
