//! A matrix held in 16 bits, to be multiplied with by tiles ([`tiled`](crate::tiled)).

use ::half::{bf16, f16};

use crate::few_rows;
use crate::tiled::Tiled;
use crate::vectorised;

/// Numbers of 16 bits.
#[derive(Debug, Clone, Copy)]
pub enum Halves<'a> {
    /// IEEE's.
    F16(&'a [f16]),
    /// The upper half of an f32.
    Bf16(&'a [bf16]),
}

impl Halves<'_> {
    fn len(self) -> usize {
        match self {
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Writes the numbers from `start` on, as many as `out` has.
    fn convert(self, start: usize, out: &mut [f32]) {
        match self {
            Self::F16(values) => vectorised!({
                for (out, value) in out.iter_mut().zip(&values[start..]) {
                    *out = from_f16(value.to_bits());
                }
            }),
            Self::Bf16(values) => vectorised!({
                for (out, value) in out.iter_mut().zip(&values[start..]) {
                    *out = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
            }),
        }
    }
}

/// The number with these bits, without branches, so that vectors of them convert.
#[inline(always)]
fn from_f16(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let (exponent, rest) = (bits & 0x7c00, (bits & 0x7fff) << 13);
    // The exponent counts from 15 there and from 127 here.
    let normal = rest + (112 << 23);
    // Below 2^-14 the digits are those of 0.5 + x: units of 2^-24.
    let below = (f32::from_bits(0.5_f32.to_bits() | (bits & 0x3ff)) - 0.5).to_bits();
    let size = if exponent == 0 { below } else { normal };
    let size = if exponent == 0x7c00 { rest + (224 << 23) } else { size };
    f32::from_bits(size | (bits & 0x8000) << 16)
}

/// A matrix of 16 bits to read, whose rows lie one after the other, or that matrix transposed.
#[derive(Debug, Clone, Copy)]
pub struct HalfRef<'a> {
    values: Halves<'a>,
    /// As it is stored.
    stored: [usize; 2],
    transposed: bool,
}

impl<'a> HalfRef<'a> {
    /// The rows one after the other.
    ///
    /// # Panics
    ///
    /// Where there are fewer numbers than the shape has.
    pub fn dense(values: Halves<'a>, shape: [usize; 2]) -> Self {
        let count = shape[0].checked_mul(shape[1]);
        assert!(count.is_some_and(|count| count <= values.len()), "a view beyond its data");
        Self { values, stored: shape, transposed: false }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

impl Tiled for HalfRef<'_> {
    fn shape(self) -> [usize; 2] {
        let [rows, columns] = self.stored;
        if self.transposed { [columns, rows] } else { [rows, columns] }
    }

    fn is_transposed(self) -> bool {
        self.transposed
    }

    fn convert(self, row: usize, column: usize, out: &mut [f32]) {
        self.values.convert(row * self.stored[1] + column, out);
    }

    #[inline(always)]
    fn fetch(self, row: usize, column: usize) {
        let at = row * self.stored[1] + column;
        match self.values {
            Halves::F16(values) => few_rows::fetch(values, at),
            Halves::Bf16(values) => few_rows::fetch(values, at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::{Accumulate, MatMut, MatRef, Threads, fresh, product};
    use crate::tiled::{tiled_fresh, tiled_product};

    /// Values that 8 bits hold and f32 adds exactly, so that the order of additions does not matter.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 17) as f32 - 8.0).collect()
    }

    #[test]
    fn products_equal_those_of_the_converted_matrix() {
        // No more than a tile; several tiles of both sides, the last of them short, of few rows and of
        // many; nothing to sum.
        let shapes = [
            [1, 1, 1],
            [3, 5, 2],
            [1, 577, 1030],
            [7, 600, 513],
            [129, 1100, 300],
            [70, 3, 900],
            [20, 600, 513],
        ];
        for [m, k, n] in shapes.into_iter().chain([[0, 4, 4], [4, 0, 4], [4, 4, 0], [80, 0, 5]]) {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let lhs = MatRef::dense(&a, [m, k]);
            let f16s: Vec<f16> = b.iter().map(|&v| f16::from_f32(v)).collect();
            let bf16s: Vec<bf16> = b.iter().map(|&v| bf16::from_f32(v)).collect();
            for halves in [Halves::F16(&f16s), Halves::Bf16(&bf16s)] {
                for transposed in [false, true] {
                    let (rhs, half) = match transposed {
                        false => (MatRef::dense(&b, [k, n]), HalfRef::dense(halves, [k, n])),
                        true => (
                            MatRef::dense(&b, [n, k]).transposed(),
                            HalfRef::dense(halves, [n, k]).transposed(),
                        ),
                    };
                    for accumulate in [Accumulate::Set, Accumulate::Add] {
                        for threads in [Threads::One, Threads::All] {
                            let mut expected = values(m * n, 3);
                            let mut got = expected.clone();
                            let dst = |out| MatMut::dense(out, [m, n]);
                            product(dst(&mut expected), accumulate, lhs, rhs, Threads::One);
                            tiled_product(dst(&mut got), accumulate, lhs, half, threads);
                            assert_eq!(got, expected, "{m} {k} {n} {accumulate:?} {threads:?}");
                        }
                    }
                    // A low-rank product with it, and rows of the left operand that run down.
                    let (low, factor) = (values(m * 2, 4), values(2 * n, 5));
                    let low = Some((MatRef::dense(&low, [m, 2]), MatRef::dense(&factor, [2, n])));
                    let down = MatRef::dense(&a, [k, m]).transposed();
                    for lhs in [lhs, down] {
                        let expected = fresh(lhs, rhs, low, Threads::One);
                        let got = tiled_fresh(lhs, half, low, Threads::All);
                        assert_eq!(got, expected, "{m} {k} {n} {transposed}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_number_of_16_bits_converts_exactly() {
        let f16s: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let bf16s: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let mut got = vec![0.0; 1 << 16];
        Halves::F16(&f16s).convert(0, &mut got);
        let same = |got: f32, expected: f64| {
            f64::from(got) == expected || got.is_nan() && expected.is_nan()
        };
        assert!(got.iter().zip(&f16s).all(|(&got, half)| same(got, half.to_f64())));
        Halves::Bf16(&bf16s).convert(0, &mut got);
        assert!(got.iter().zip(&bf16s).all(|(&got, half)| same(got, half.to_f64())));
    }

    #[test]
    #[should_panic(expected = "beyond its data")]
    fn a_view_beyond_its_data_is_refused() {
        HalfRef::dense(Halves::F16(&[f16::ZERO; 5]), [2, 3]);
    }
}
