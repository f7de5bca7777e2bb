//! A product shared out to the cores: pieces of its result, each multiplied by `gemm` on one thread.
//!
//! `gemm`'s own threads wait for each other between the blocks that they pack for all. Pieces wait for nothing, and pack for themselves:
//! they are cut so that each reads as little of both operands as it can.
//!
//! `gemm` sums an element's products in blocks whose lengths depend on their number alone, but where both sides are at most 64: no
//! piece of a larger result is so small, so that an element's bits depend on no piece.

use std::cmp::Reverse;
use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::{Accumulate, MatMut, MatRef};

/// Rows and columns of a piece are multiples of these, which fill the registers, but for the last ones.
const MULTIPLES: [usize; 2] = [8, 16];

/// A side is cut into parts of so many rows or columns, or a few less.
const LEAST: usize = 80;

/// Rows and columns of a result, in pieces.
#[derive(Debug, Clone, Copy)]
struct Pieces {
    whole: [usize; 2],
    /// How many there are along each side.
    along: [usize; 2],
}

impl Pieces {
    /// As many as `count` or as there is room for, and of those the ones with the fewest rows and columns in sum.
    fn of(whole: [usize; 2], count: usize) -> Self {
        let most = whole.map(|side| (side / LEAST).max(1));
        let cuts = (1..=count.min(most[0])).map(|rows| [rows, (count / rows).min(most[1])]);
        let read =
            |[rows, columns]: [usize; 2]| whole[0].div_ceil(rows) + whole[1].div_ceil(columns);
        let along = cuts.max_by_key(|cut| (cut[0] * cut[1], Reverse(read(*cut))));
        Self { whole, along: along.unwrap_or([1, 1]) }
    }

    /// How many there are.
    fn count(self) -> usize {
        self.along[0] * self.along[1]
    }

    /// The rows and the columns of one.
    fn at(self, index: usize) -> [Range<usize>; 2] {
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
struct Start(*mut f32);

// SAFETY: an address; whoever writes there answers for that.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Start {
    fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

/// Hands each piece of a result to one of at most `count` threads, by its rows and columns.
fn shared(whole: [usize; 2], count: usize, each: impl Fn([Range<usize>; 2]) + Sync) {
    let pieces = Pieces::of(whole, count);
    match pieces.count() {
        1 => each(whole.map(|side| 0..side)),
        count => {
            (0..count).into_par_iter().with_max_len(1).for_each(|index| each(pieces.at(index)));
        }
    }
}

/// The product into memory that may hold no values yet, on at most `count` threads.
///
/// # Safety
///
/// As [`write`](super::write).
pub(super) unsafe fn write(
    dst: *mut f32,
    stride: usize,
    accumulate: Accumulate,
    (lhs, rhs): (MatRef<'_>, MatRef<'_>),
    count: usize,
) {
    let start = Start(dst);
    shared([lhs.shape[0], rhs.shape[1]], count, |[rows, columns]| {
        let at = start.at(rows.start * stride + columns.start);
        let lhs = lhs.rows(rows.start, rows.len());
        let rhs = rhs.columns(columns.start, columns.len());
        // SAFETY: the piece's elements are the whole's of its rows and columns, which the caller promises; two pieces share none.
        unsafe { super::write(at, stride, accumulate, lhs, rhs) }
    });
}

/// A piece of a matrix to write, whose others may be written by other threads.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    start: *mut f32,
    shape: [usize; 2],
    stride: usize,
    held: PhantomData<&'a mut [f32]>,
}

impl Piece<'_> {
    /// Writes the product to its columns from `start` on, or adds it, on the calling thread.
    ///
    /// # Panics
    ///
    /// Where the shapes do not agree, which is a mistake in a kernel.
    pub(crate) fn product(
        &mut self,
        start: usize,
        accumulate: Accumulate,
        lhs: MatRef<'_>,
        rhs: MatRef<'_>,
    ) {
        let ([rows, k], [of, columns]) = (lhs.shape, rhs.shape);
        assert_eq!((self.shape[0], k), (rows, of), "shapes of a product");
        assert!(start + columns <= self.shape[1], "columns beyond the piece");
        // SAFETY: it was made of a matrix that is borrowed mutably for as long as it is there, and has these elements with values; no
        // other piece has one of them, and this one is borrowed mutably.
        unsafe { super::write(self.start.wrapping_add(start), self.stride, accumulate, lhs, rhs) }
    }
}

/// Hands each piece of `dst` to one of at most `count` threads, with its rows and columns.
pub(crate) fn by_pieces(
    dst: MatMut<'_>,
    count: usize,
    each: impl Fn([Range<usize>; 2], Piece<'_>) + Sync,
) {
    let stride = dst.stride;
    let start = Start(dst.data.as_mut_ptr());
    shared(dst.shape, count, |[rows, columns]| {
        // The view has proved that all its rows and columns lie in its slice.
        let start = start.at(rows.start * stride + columns.start);
        let shape = [rows.len(), columns.len()];
        each([rows, columns], Piece { start, shape, stride, held: PhantomData });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::tests::uneven;

    /// Each element is in one piece, whatever the sides and the number of threads, and no piece is of the small ones that `gemm` sums
    /// in another order.
    #[test]
    fn pieces_cover_a_result_once() {
        for whole in [[0, 0], [1, 1], [7, 300], [512, 576], [513, 97], [191, 1000], [128, 9152]] {
            for count in [1, 2, 3, 4, 6, 7, 16] {
                let pieces = Pieces::of(whole, count);
                assert!((1..=count).contains(&pieces.count()), "{whole:?} {count}");
                let mut covered = vec![0_u8; whole[0] * whole[1]];
                for [rows, columns] in (0..pieces.count()).map(|index| pieces.at(index)) {
                    let is_whole = [rows.len(), columns.len()] == whole;
                    assert!(is_whole || rows.len().max(columns.len()) > 64, "{whole:?} {count}");
                    for row in rows {
                        covered[row * whole[1]..][columns.clone()].iter_mut().for_each(|n| *n += 1);
                    }
                }
                assert!(covered.iter().all(|&n| n == 1), "{whole:?} {count}");
            }
        }
        // A piece packs what it reads: of a long side each has a part.
        assert_eq!(Pieces::of([512, 1536], 2).along, [1, 2]);
        assert_eq!(Pieces::of([512, 192], 2).along, [2, 1]);
        assert_eq!(Pieces::of([512, 576], 4).along, [2, 2]);
        assert_eq!(Pieces::of([512, 576], 16).along, [4, 4]);
        assert_eq!(Pieces::of([130, 576], 16).along, [1, 7], "no room for more");
    }

    /// A run on another number of threads takes the same steps.
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
                let on = |count: usize| {
                    let mut out = vec![0.0; m * n];
                    // SAFETY: `out` has an element for each row and column.
                    unsafe { write(out.as_mut_ptr(), n, Accumulate::Set, (lhs, rhs), count) };
                    out
                };
                let whole = on(1);
                for count in [2, 3, 4, 7, 16] {
                    assert!(on(count) == whole, "{m} {k} {n} {transposed} {count}");
                }
            }
        }
    }
}
