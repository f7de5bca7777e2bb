//! Numbers of a matrix in blocks by vectors of 8 (AVX2), 32 at a time: bit for bit those that
//! [`QuantisedRef::read`] computes for any processor. (What the compiler makes of that is a move for every number.)
//!
//! They are written to memory, for a tile of a product ([`read`]), or multiplied with a few rows in the registers where they were made
//! ([`across`]).

mod formats;
mod k;
mod nf4;
mod pieces;
mod products;

use std::arch::x86_64::__m256;

use pulp::NullaryFnOnce;

pub(super) use products::across;

use super::nf4::BLOCK;
use super::{BlockFormat, QuantisedRef};
use formats::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use k::{Q4_K, Q6_K};
use nf4::Nf4;

pulp::simd_type! {
    /// What the processor is asked for.
    struct Vectors {
        sse2: "sse2",
        avx: "avx",
        avx2: "avx2",
        fma: "fma",
        f16c: "f16c",
    }
}

/// Numbers that are made at a time. Each format's blocks are so many, or a multiple.
const STRIP: usize = 32;

/// Numbers of a vector.
const LANES: usize = 8;

/// A row of blocks.
trait Strips: Copy {
    /// Strips of a block.
    const STRIPS: usize;

    /// A block whose scales are at hand.
    type Block: Copy;

    /// # Panics
    ///
    /// Where the row has no such block, which is a mistake in a kernel.
    fn block(self, v: Vectors, index: usize) -> Self::Block;

    /// The numbers of a block from `STRIP * index` on.
    fn strip(v: Vectors, block: &Self::Block, index: usize) -> [__m256; STRIP / LANES];
}

/// A row of ggml's blocks of so many bytes.
macro_rules! row_of_blocks {
    ($name:ident, $bytes:literal) => {
        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, reason = "the names are ggml's own")]
        pub(super) struct $name<'a>(&'a [[u8; $bytes]]);

        impl<'a> $name<'a> {
            /// The blocks of a row.
            pub(super) fn new(row: &'a [u8]) -> Self {
                Self(row.as_chunks().0)
            }
        }
    };
}
use row_of_blocks;

/// What is done with rows of any format.
trait Work {
    fn run<S: Strips>(self, v: Vectors, row: impl Fn(usize) -> S);
}

/// Whether each stored row begins with a block.
fn rows_begin_with_blocks(matrix: QuantisedRef<'_>) -> bool {
    matrix.head.format != BlockFormat::NF4 || matrix.head.stored[1].is_multiple_of(BLOCK)
}

/// Does it with rows of a matrix, which [begin with blocks](rows_begin_with_blocks), in a function for each format.
fn with(matrix: QuantisedRef<'_>, v: Vectors, work: impl Work) {
    macro_rules! rows {
        ($format:ident) => {
            v.vectorize(Rows { v, row: |row| $format::new(matrix.row(row)), work })
        };
    }
    match matrix.head.format {
        BlockFormat::Q8_0 => rows!(Q8_0),
        BlockFormat::Q4_0 => rows!(Q4_0),
        BlockFormat::Q4_1 => rows!(Q4_1),
        BlockFormat::Q5_0 => rows!(Q5_0),
        BlockFormat::Q5_1 => rows!(Q5_1),
        BlockFormat::Q4_K => rows!(Q4_K),
        BlockFormat::Q6_K => rows!(Q6_K),
        BlockFormat::NF4 => {
            let (parts, blocks) = (matrix.nf4(), matrix.head.stored[1] / BLOCK);
            v.vectorize(Rows { v, row: |row| Nf4::new(parts, row * blocks), work });
        }
    }
}

/// Work with rows, to be run in code for the vectors. (No closure: what the compiler leaves a function of its own is compiled for others.)
struct Rows<R, W> {
    v: Vectors,
    row: R,
    work: W,
}

impl<S: Strips, R: Fn(usize) -> S, W: Work> NullaryFnOnce for Rows<R, W> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.work.run(self.v, self.row);
    }
}

/// Writes numbers as [`QuantisedRef::read`] has them, and says whether it has: where the processor has the vectors, and rows begin with
/// blocks.
pub(super) fn read(matrix: QuantisedRef<'_>, row: usize, column: usize, out: &mut [f32]) -> bool {
    let Some(v) = Vectors::try_new().filter(|_| rows_begin_with_blocks(matrix)) else {
        return false;
    };
    // What lies before a strip and after the last whole one is no matter of vectors.
    let before = (column.next_multiple_of(STRIP) - column).min(out.len());
    let (head, out) = out.split_at_mut(before);
    let (strips, tail) = out.as_chunks_mut::<STRIP>();
    let first = (column + before) / STRIP;
    let last = column + before + strips.len() * STRIP;
    if !head.is_empty() {
        matrix.read(row, column, head);
    }
    if !strips.is_empty() {
        with(matrix, v, Converted { row, first, strips });
    }
    if !tail.is_empty() {
        matrix.read(row, last, tail);
    }
    true
}

/// Some strips of a row, to be written.
struct Converted<'o> {
    row: usize,
    first: usize,
    strips: &'o mut [[f32; STRIP]],
}

impl Work for Converted<'_> {
    #[inline(always)]
    fn run<S: Strips>(self, v: Vectors, row: impl Fn(usize) -> S) {
        let (row, mut index) = (row(self.row), self.first);
        let mut strips = self.strips;
        while !strips.is_empty() {
            let (block, from) = (row.block(v, index / S::STRIPS), index % S::STRIPS);
            let (of_block, rest) = strips.split_at_mut((S::STRIPS - from).min(strips.len()));
            index += of_block.len();
            for (index, out) in (from..).zip(of_block) {
                *out = pulp::cast(S::strip(v, &block, index));
            }
            strips = rest;
        }
    }
}
