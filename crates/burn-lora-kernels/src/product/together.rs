//! Several products as one piece of work: of the same rows with several matrices, or of several pairs, summed.
//!
//! Their pieces are shared out to the cores together, so that cores wait for each other once; what the products have in common is read, and
//! a sum is written, while it is in a core's cache. Each element has the bits that a product of its own would give it; those of a sum are
//! added in the order of the pairs.
//!
//! Left out: products that do not go over panels (`product/panels.rs`), of which a caller makes one after the other.

use super::panels::{Work, faster, lies_along};
use super::pieces::{PANELS, Piece, Start, TOGETHER, shared};
use super::{Accumulate, LowRank, MatRef, Threads, narrow, written};
use crate::few_rows::{self, Dense, FEW, Lies, Weight};
use crate::half::HalfRef;
use crate::quantised::QuantisedRef;
use crate::tiled::{Stored, Tiled, lies};

/// A matrix to multiply with, of any kind.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// Of f32.
    Dense(MatRef<'a>),
    /// Of 16 bits, converted tile by tile.
    Half(HalfRef<'a>),
    /// In blocks, converted tile by tile.
    Quantised(QuantisedRef<'a>),
}

impl Matrix<'_> {
    /// Rows and columns.
    pub fn shape(self) -> [usize; 2] {
        match self {
            Self::Dense(matrix) => matrix.shape(),
            Self::Half(matrix) => matrix.shape(),
            Self::Quantised(matrix) => matrix.shape(),
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        match self {
            Self::Dense(matrix) => Self::Dense(matrix.transposed()),
            Self::Half(matrix) => Self::Half(matrix.transposed()),
            Self::Quantised(matrix) => Self::Quantised(matrix.transposed()),
        }
    }
}

/// A matrix as panels are packed of it.
#[derive(Clone, Copy)]
enum Packed<'a> {
    Dense((Dense<'a>, Lies)),
    Half((Stored<HalfRef<'a>>, Lies)),
    Quantised((Stored<QuantisedRef<'a>>, Lies)),
}

/// A product with what is added to it.
#[derive(Clone, Copy)]
struct Term<'a> {
    lhs: MatRef<'a>,
    weight: Packed<'a>,
    low: (MatRef<'a>, (Dense<'a>, Lies)),
    columns: usize,
}

impl<'a> Packed<'a> {
    /// None where the product does not go over panels.
    fn new(lhs: MatRef<'_>, weight: Matrix<'a>) -> Option<Self> {
        let ([m, k], [of, columns]) = (lhs.shape(), weight.shape());
        assert_eq!(k, of, "shapes of a product");
        if m <= FEW || k == 0 || columns == 0 || !lies_along(lhs) {
            return None;
        }
        match weight {
            Matrix::Dense(matrix) if narrow::Form::of(lhs, matrix).is_some() => None,
            Matrix::Dense(matrix) => faster(lhs, matrix).map(Self::Dense),
            Matrix::Half(matrix) => Some(Self::Half((Stored(matrix), lies(matrix)))),
            Matrix::Quantised(matrix) => Some(Self::Quantised((Stored(matrix), lies(matrix)))),
        }
    }
}

/// Whether products of these rows with all of the weights are one piece of work.
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn are_one(lhs: MatRef<'_>, weights: &[Matrix<'_>]) -> bool {
    weights.iter().all(|&weight| Packed::new(lhs, weight).is_some())
}

impl<'a> Term<'a> {
    /// None where the product does not go over panels.
    fn new(lhs: MatRef<'a>, weight: Matrix<'a>, (low, factor): LowRank<'a>) -> Option<Self> {
        let columns = weight.shape()[1];
        assert_eq!(low.shape()[0], lhs.shape()[0], "shapes of a product");
        assert_eq!(factor.shape(), [low.shape()[1], columns], "shapes of a product");
        let weight = Packed::new(lhs, weight)?;
        let factor = few_rows::view(factor).filter(|_| lies_along(low))?;
        Some(Self { lhs, weight, low: (low, factor), columns })
    }

    fn multiplications(&self) -> usize {
        let [m, k] = self.lhs.shape();
        m * k * self.columns
    }

    /// A piece of the product, written or added.
    ///
    /// # Safety
    ///
    /// Elements `dst + i * stride + j` can be written for the rows `i` and the columns `j` of a piece, by nobody else meanwhile; where they are
    /// added to, they have values.
    unsafe fn piece(&self, (dst, stride): (*mut f32, usize), accumulate: Accumulate, piece: Piece) {
        /// # Safety
        ///
        /// As [`Term::piece`].
        unsafe fn run<W: Weight>(
            at: (*mut f32, usize),
            accumulate: Accumulate,
            weight: (W, Lies),
            term: &Term<'_>,
            [rows, columns]: Piece,
        ) {
            let (lhs, low) =
                [term.lhs, term.low.0].map(|lhs| lhs.rows(rows.start, rows.len())).into();
            // SAFETY: what the caller promises.
            unsafe { Work::new(at, accumulate, lhs, weight, columns) }.and(low, term.low.1).run();
        }
        // SAFETY: what the caller promises.
        unsafe {
            match self.weight {
                Packed::Dense(weight) => run((dst, stride), accumulate, weight, self, piece),
                Packed::Half(weight) => run((dst, stride), accumulate, weight, self, piece),
                Packed::Quantised(weight) => run((dst, stride), accumulate, weight, self, piece),
            }
        }
    }
}

/// `lhs weight + low` for each of the weights, in memory of their own whose rows lie one after the other; none where that would be no one
/// piece of work.
///
/// # Shapes
///
/// - lhs: `[m, k]`, a weight: `[k, n]`, what is added to its product: `[m, r]` and `[r, n]`
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn each(
    lhs: MatRef<'_>,
    weights: &[(Matrix<'_>, LowRank<'_>)],
    threads: Threads,
) -> Option<Vec<Vec<f32>>> {
    let terms = weights.iter().map(|&(weight, low)| Term::new(lhs, weight, low));
    let terms = terms.collect::<Option<Vec<_>>>()?;
    let m = lhs.shape()[0];
    let count = threads.worth(terms.iter().map(Term::multiplications).sum());
    let mut outs: Vec<Vec<f32>> =
        terms.iter().map(|term| Vec::with_capacity(m * term.columns)).collect();
    let starts: Vec<Start> = outs.iter_mut().map(|out| Start(out.as_mut_ptr())).collect();
    let wholes: Vec<_> = terms.iter().map(|term| [m, term.columns]).collect();
    shared(&wholes, count, TOGETHER, |index, piece| {
        let (term, stride) = (&terms[index], terms[index].columns);
        let at = starts[index].at(piece[0].start * stride + piece[1].start);
        // SAFETY: there is memory for each row and column of the result, rows one after the other, and two pieces share none. It is written
        // before it is added to, as there is something to sum.
        unsafe { term.piece((at, stride), Accumulate::Set, piece) }
    });
    for (out, term) in outs.iter_mut().zip(&terms) {
        // SAFETY: there is room for so many, and each was in a piece that was written.
        unsafe { out.set_len(m * term.columns) };
    }
    Some(outs)
}

/// The sum of `lhs weight + low` over the pairs, in memory of its own whose rows lie one after the other; none where that would be no one
/// piece of work.
///
/// # Shapes
///
/// - of a pair, lhs: `[m, k]`, weight: `[k, n]`, what is added to their product: `[m, r]` and `[r, n]`; m and n are those of all
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn sum(pairs: &[(MatRef<'_>, Matrix<'_>, LowRank<'_>)], threads: Threads) -> Option<Vec<f32>> {
    let terms = pairs.iter().map(|&(lhs, weight, low)| Term::new(lhs, weight, low));
    let terms = terms.collect::<Option<Vec<_>>>()?;
    let first = terms.first()?;
    let [m, n] = [first.lhs.shape()[0], first.columns];
    let are_alike = |term: &Term<'_>| (term.lhs.shape()[0], term.columns) == (m, n);
    assert!(terms.iter().all(are_alike), "shapes of a sum");
    let count = threads.worth(terms.iter().map(Term::multiplications).sum());
    let write = |dst| {
        let start = Start(dst);
        shared(&[[m, n]], count, PANELS, |_, piece| {
            let at = (start.at(piece[0].start * n + piece[1].start), n);
            for (index, term) in terms.iter().enumerate() {
                let accumulate = if index == 0 { Accumulate::Set } else { Accumulate::Add };
                // SAFETY: there is memory for each row and column, rows one after the other, and two pieces share none. It is written by
                // the first term, which has something to sum, before it is added to.
                unsafe { term.piece(at, accumulate, piece.clone()) }
            }
        });
    };
    // SAFETY: each row and column is in a piece, which is written.
    Some(unsafe { written(m * n, write) })
}

#[cfg(test)]
mod tests {
    use ::half::{bf16, f16};

    use super::*;
    use crate::half::Halves;
    use crate::product::fresh;
    use crate::product::tests::{uneven, values};
    use crate::quantised::{BlockFormat, Quantised};
    use crate::tiled::tiled_fresh;

    /// The numbers of a matrix of every kind, of which products go over panels whatever the processor but for the dense ones.
    struct Kinds {
        shape: [usize; 2],
        dense: Vec<f32>,
        half: Vec<bf16>,
        blocks: Quantised,
    }

    impl Kinds {
        /// Of dense numbers as given; those in blocks are whole.
        fn new(shape: [usize; 2], dense: Vec<f32>) -> Self {
            let half = dense.iter().map(|&value| bf16::from_f32(value)).collect();
            let mut blocks = Quantised::zeroed(BlockFormat::Q8_0, shape, false);
            for (at, block) in blocks.bytes_mut().chunks_exact_mut(34).enumerate() {
                block[..2].copy_from_slice(&f16::ONE.to_le_bytes());
                for (i, byte) in block[2..].iter_mut().enumerate() {
                    *byte = ((at * 31 + i * 7) % 17) as u8;
                }
            }
            Self { shape, dense, half, blocks }
        }

        fn each(&self) -> [Matrix<'_>; 3] {
            [
                Matrix::Dense(MatRef::dense(&self.dense, self.shape)),
                Matrix::Half(HalfRef::dense(Halves::Bf16(&self.half), self.shape)),
                Matrix::Quantised(self.blocks.view()),
            ]
        }
    }

    fn by_itself(lhs: MatRef<'_>, weight: Matrix<'_>, low: LowRank<'_>) -> Vec<f32> {
        match weight {
            Matrix::Dense(weight) => fresh(lhs, weight, Some(low), Threads::All),
            Matrix::Half(weight) => tiled_fresh(lhs, weight, Some(low), Threads::All),
            Matrix::Quantised(weight) => tiled_fresh(lhs, weight, Some(low), Threads::All),
        }
    }

    /// Of one kind and of several, small and split, stored either way.
    #[test]
    fn products_of_the_same_rows_have_the_bits_of_products_alone() {
        for [m, k, r] in [[64, 40, 3], [130, 96, 16], [257, 640, 8]] {
            let widths = [192, 577, 64];
            let (x, low) = (uneven(m * k, 1), uneven(m * r, 2));
            let (x, low) = (MatRef::dense(&x, [m, k]), MatRef::dense(&low, [m, r]));
            for transposed in [false, true] {
                let stored = |n: usize| if transposed { [n, k] } else { [k, n] };
                let kinds = widths.map(|n| Kinds::new(stored(n), uneven(n * k, n)));
                let factors = widths.map(|n| uneven(r * n, 3));
                let with = |at: usize, kind: usize| {
                    let weight = kinds[at].each()[kind];
                    let weight = if transposed { weight.transposed() } else { weight };
                    (weight, (low, MatRef::dense(&factors[at], [r, widths[at]])))
                };
                let is_faster = |n: usize| {
                    let Matrix::Dense(weight) = with(n, 0).0 else { unreachable!() };
                    narrow::Form::of(x, weight).is_none() && faster(x, weight).is_some()
                };
                for chosen in [[0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 0, 1]] {
                    let weights: Vec<_> = (0..3).map(|at| with(at, chosen[at])).collect();
                    let expected = (0..3).all(|at| chosen[at] > 0 || is_faster(at));
                    for threads in [Threads::One, Threads::All] {
                        let outs = each(x, &weights, threads);
                        assert_eq!(outs.is_some(), expected, "{m} {k} {chosen:?}");
                        let alone: Vec<_> = weights.iter().map(|(weight, _)| *weight).collect();
                        assert_eq!(are_one(x, &alone), expected, "{m} {k} {chosen:?}");
                        for (out, (weight, low)) in outs.iter().flatten().zip(&weights) {
                            assert!(*out == by_itself(x, *weight, *low), "{m} {k} {chosen:?}");
                        }
                    }
                }
            }
        }
    }

    /// Of whole numbers, which f32 adds exactly.
    #[test]
    fn a_sum_is_that_of_the_products() {
        let (m, n, r) = (140, 200, 4);
        let inner = [64, 576, 640];
        let (dys, lows) = (inner.map(|k| values(m * k, k)), inner.map(|k| values(m * r, k + 1)));
        let factors = inner.map(|k| values(r * n, k + 2));
        let kinds = inner.map(|k| Kinds::new([n, k], values(n * k, k + 3)));
        for kind in [0, 1, 2] {
            let pair = |at: usize| {
                let weight = kinds[at].each()[kind].transposed();
                let low = MatRef::dense(&lows[at], [m, r]);
                let factor = MatRef::dense(&factors[at], [r, n]);
                (MatRef::dense(&dys[at], [m, inner[at]]), weight, (low, factor))
            };
            let pairs = [pair(0), pair(1), pair(2)];
            let alone = pairs.map(|(dy, weight, low)| by_itself(dy, weight, low));
            let expected: Vec<f32> =
                (0..m * n).map(|at| alone.iter().map(|out| out[at]).sum()).collect();
            for threads in [Threads::One, Threads::All] {
                match sum(&pairs, threads) {
                    Some(sum) => assert!(sum == expected, "{kind}"),
                    None => assert_eq!(kind, 0, "blocks and halves always go over panels"),
                }
            }
        }
    }
}
