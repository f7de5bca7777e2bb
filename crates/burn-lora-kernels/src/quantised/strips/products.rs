//! Products of a few rows with stored rows, whose numbers are used in the registers where they are made and never stored.
//!
//! **Bit for bit what products of converted numbers are** (`few_rows/across.rs`): each is summed in the lanes of a vector, in order, and the
//! lanes then in the order of pulp's sum. So a row's result does not depend on how many rows are beside it. More rows than here spend their
//! time in multiplying, and numbers are made once for all of them.

use std::arch::x86_64::__m256;

use pulp::Simd;
use pulp::x86::{Arch, V3};

use super::{STRIP, Strips, Vectors, Work, rows_begin_with_blocks, with};
use crate::few_rows;
use crate::product::Accumulate;
use crate::quantised::{BlockFormat, QuantisedRef};

/// Rows up to which there is a function here.
const ROWS: usize = 4;

/// As [`Tiled::across`](crate::tiled::Tiled::across): of up to [`ROWS`] rows, where products are summed in vectors of 8 and stored rows are
/// whole strips.
pub(in crate::quantised) fn across(
    matrix: QuantisedRef<'_>,
    first: usize,
    x: (&[f32], usize),
    ys: &mut [&mut [f32]],
    accumulate: Accumulate,
) -> bool {
    let (Arch::V3(v3), Some(v)) = (Arch::new(), Vectors::try_new()) else { return false };
    let columns = matrix.head.stored[1];
    let is_whole = columns.is_multiple_of(STRIP) && rows_begin_with_blocks(matrix);
    if !is_whole || !(1..=ROWS).contains(&ys.len()) {
        return false;
    }
    let strips = columns / STRIP;
    let (bytes, row_bytes) = match matrix.head.format {
        BlockFormat::NF4 => (matrix.nf4().numbers, columns / 2),
        format => (matrix.blocks, format.row_bytes(columns)),
    };
    let work = Products { v3, bytes, row_bytes, first, strips, x, ys, accumulate };
    match work.ys.len() {
        1 => with(matrix, v, One(work)),
        2 => with(matrix, v, Two(work)),
        3 => with(matrix, v, Three(work)),
        _ => with(matrix, v, Four(work)),
    }
    true
}

/// The products of some rows with stored rows.
struct Products<'a, 'y, 'z> {
    v3: V3,
    /// What stored rows are read from.
    bytes: &'a [u8],
    row_bytes: usize,
    /// The first stored row.
    first: usize,
    /// Of a stored row.
    strips: usize,
    /// The rows, and from one to the next.
    x: (&'a [f32], usize),
    ys: &'y mut [&'z mut [f32]],
    accumulate: Accumulate,
}

/// Does something with the strips of stored rows side by side, in order: their numbers are in variables of the rows' names.
macro_rules! each_strip {
    ($v:ident, $S:ident, $strips:ident, [$($row:ident)*], |$index:ident| $do:expr) => {
        for block in 0..$strips.div_ceil($S::STRIPS) {
            $(let $row = $row.block($v, block);)*
            let count = match $S::STRIPS {
                1 => 1,
                all => all.min($strips - block * all),
            };
            for index in 0..count {
                let $index = block * $S::STRIPS + index;
                $(let $row = $S::strip($v, &$row, index);)*
                $do
            }
        }
    };
}

/// Those of one row, with some stored rows at a time, as sums of one would wait for each other.
struct One<'a, 'y, 'z>(Products<'a, 'y, 'z>);

impl Work for One<'_, '_, '_> {
    #[inline(always)]
    fn run<S: Strips>(self, v: Vectors, row: impl Fn(usize) -> S) {
        let Products { v3, bytes, row_bytes, first, strips, x: (x, _), ys, accumulate } = self.0;
        let x = &x[..STRIP * strips].as_chunks::<STRIP>().0[..strips];
        let zero = v.avx._mm256_set1_ps(0.0);
        macro_rules! at_once {
            ($count:literal: $($sum:ident $numbers:ident $t:literal),*) => {{
                let whole = ys[0].len() / $count * $count;
                let (groups, last) = ys[0].as_chunks_mut::<$count>();
                for (group, at) in groups.iter_mut().zip((first..).step_by($count)) {
                    $(let ($numbers, mut $sum) = (row(at + $t), zero);)*
                    // What comes next is asked for.
                    let next = (at + $count) * row_bytes;
                    let step = $count * row_bytes / strips.max(1);
                    each_strip!(v, S, strips, [$($numbers)*], |index| {
                        few_rows::fetch(bytes, next + step * index);
                        few_rows::fetch(bytes, next + step * index + step / 2);
                        $($sum = plus(v, $sum, $numbers, x[index]);)*
                    });
                    for (y, sum) in group.iter_mut().zip([$($sum),*]) {
                        accumulate.put(y, v3.reduce_sum_f32s(pulp::cast(sum)));
                    }
                }
                (last, first + whole)
            }};
        }
        // Scales at hand and levels take registers.
        let (last, at) = match S::STRIPS {
            1 => at_once!(4: a k 0, b l 1, c m 2, d n 3),
            _ => at_once!(2: a k 0, b l 1),
        };
        for (y, at) in last.iter_mut().zip(at..) {
            let (numbers, mut sum) = (row(at), zero);
            each_strip!(v, S, strips, [numbers], |index| sum = plus(v, sum, numbers, x[index]));
            accumulate.put(y, v3.reduce_sum_f32s(pulp::cast(sum)));
        }
    }
}

/// Those of some rows, with a stored row at a time. (Each sum is a variable of its own: of an array of them the compiler makes one in memory.)
macro_rules! of_rows {
    ($name:ident: $($sum:ident $x:ident $r:literal),*) => {
        struct $name<'a, 'y, 'z>(Products<'a, 'y, 'z>);

        impl Work for $name<'_, '_, '_> {
            #[inline(always)]
            fn run<S: Strips>(self, v: Vectors, row: impl Fn(usize) -> S) {
                let Products { v3, bytes, row_bytes, first, strips, x: (x, stride), ys, accumulate } =
                    self.0;
                $(let $x = &x[$r * stride..][..STRIP * strips].as_chunks::<STRIP>().0[..strips];)*
                for j in 0..ys[0].len() {
                    let numbers = row(first + j);
                    // What comes some rows later is asked for.
                    let (next, step) = ((first + j + 4) * row_bytes, row_bytes / strips.max(1));
                    $(let mut $sum = v.avx._mm256_set1_ps(0.0);)*
                    each_strip!(v, S, strips, [numbers], |index| {
                        few_rows::fetch(bytes, next + step * index);
                        $($sum = plus(v, $sum, numbers, $x[index]);)*
                    });
                    $(accumulate.put(&mut ys[$r][j], v3.reduce_sum_f32s(pulp::cast($sum)));)*
                }
            }
        }
    };
}

of_rows!(Two: a x 0, b y 1);
of_rows!(Three: a x 0, b y 1, c z 2);
of_rows!(Four: a x 0, b y 1, c z 2, d w 3);

/// A sum with the products of a strip.
#[inline(always)]
fn plus(v: Vectors, sum: __m256, [a, b, c, d]: [__m256; 4], x: [f32; STRIP]) -> __m256 {
    let [e, f, g, h]: [__m256; 4] = pulp::cast(x);
    let sum = v.fma._mm256_fmadd_ps(b, f, v.fma._mm256_fmadd_ps(a, e, sum));
    v.fma._mm256_fmadd_ps(d, h, v.fma._mm256_fmadd_ps(c, g, sum))
}
