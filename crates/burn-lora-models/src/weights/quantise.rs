//! f32 to blocks, as a model is loaded or drawn.
//!
//! Blocks lie along the rows of a matrix as it is stored, of a linear along its inputs, as in GGUF files and in bitsandbytes. Q8_0
//! and Q4_0 are those of [`gguf`](crate::gguf)'s writer; a row without whole blocks ends in one that zeros fill up.

use std::borrow::Cow;

use burn_lora_kernels::quantised::{BlockFormat, Quantised};

use super::nf4;
use crate::gguf::{GgmlType, quantize};

/// A matrix on its way into blocks, some rows at a time, so that beside its blocks no more than those rows exist in f32.
#[derive(Debug)]
pub(crate) struct Quantiser {
    matrix: Quantised,
    columns: usize,
    blocks: Blocks,
    /// Whether each number so far is finite, and not larger than a block can hold.
    fits: bool,
}

/// What the rows become.
#[derive(Debug)]
enum Blocks {
    /// Blocks of each row, from that byte on.
    OfRows(GgmlType, usize),
    Nf4(nf4::Run),
}

impl Quantiser {
    /// Of a matrix that is stored as `stored` says, row by row; `transposed` where what is multiplied with is the transposed.
    pub(crate) fn new(format: BlockFormat, stored: [usize; 2], transposed: bool) -> Self {
        let blocks = match format {
            BlockFormat::Q8_0 => Blocks::OfRows(GgmlType::Q8_0, 0),
            BlockFormat::Q4_0 => Blocks::OfRows(GgmlType::Q4_0, 0),
            _ => Blocks::Nf4(nf4::Run::of(stored[0] * stored[1])),
        };
        let matrix = Quantised::zeroed(format, stored, transposed);
        Self { matrix, columns: stored[1], blocks, fits: true }
    }

    /// The next rows, whole ones.
    ///
    /// # Panics
    ///
    /// Where they are more than the matrix has.
    pub(crate) fn take(&mut self, values: &[f32]) {
        let out = self.matrix.bytes_mut();
        match &mut self.blocks {
            Blocks::OfRows(ggml_type, at) => {
                self.fits &= values.iter().all(|&value| quantize::holds(*ggml_type, value));
                if !self.fits {
                    return;
                }
                let values = padded(values, self.columns, ggml_type.block_len());
                let blocks = quantize::quantize(*ggml_type, &values);
                out[*at..][..blocks.len()].copy_from_slice(&blocks);
                *at += blocks.len();
            }
            Blocks::Nf4(run) => {
                self.fits &= values.iter().all(|value| value.is_finite());
                if self.fits {
                    run.take(values, out);
                }
            }
        }
    }

    /// The matrix, after its last row. None where a number of it is not finite, or larger than a block can hold.
    ///
    /// # Panics
    ///
    /// Where rows are left out.
    pub(crate) fn finish(mut self) -> Option<Quantised> {
        if !self.fits {
            return None;
        }
        let out = self.matrix.bytes_mut();
        match self.blocks {
            Blocks::OfRows(_, at) => assert_eq!(at, out.len(), "rows without blocks"),
            Blocks::Nf4(run) => run.finish(out),
        }
        Some(self.matrix)
    }
}

/// Numbers of a matrix that is stored as `stored` says, row by row, in blocks; `transposed` where what is multiplied with is the
/// transposed. None where one of them is not finite, or larger than a block can hold.
pub(super) fn quantised(
    values: &[f32],
    stored: [usize; 2],
    transposed: bool,
    format: BlockFormat,
) -> Option<Quantised> {
    let mut quantiser = Quantiser::new(format, stored, transposed);
    quantiser.take(values);
    quantiser.finish()
}

/// The rows with zeros up to a whole number of blocks.
fn padded(values: &[f32], columns: usize, block: usize) -> Cow<'_, [f32]> {
    let whole = columns.next_multiple_of(block);
    if whole == columns {
        return Cow::Borrowed(values);
    }
    let mut out = vec![0.0; values.len() / columns.max(1) * whole];
    for (row, out) in values.chunks_exact(columns.max(1)).zip(out.chunks_exact_mut(whole.max(1))) {
        out[..columns].copy_from_slice(row);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number is off by at most half a step of its block, which of 8 bits is its largest number's 127th part, of 4 bits its
    /// eighth (a whole one where the largest is of the other sign), and the scale is rounded to half precision.
    #[test]
    fn numbers_are_near_what_they_were_in_rows_of_any_length() {
        for (format, share) in [(BlockFormat::Q8_0, 0.5 / 127.0), (BlockFormat::Q4_0, 1.0 / 8.0)] {
            for columns in [64, 32, 7, 45] {
                let values: Vec<f32> = (0..3 * columns).map(|i| (i as f32 * 0.7).sin()).collect();
                let matrix = quantised(&values, [3, columns], false, format).unwrap();
                let mut read = vec![0.0; 3 * columns];
                matrix.view().rows(0, &mut read);
                for (row, read) in values.chunks(columns).zip(read.chunks(columns)) {
                    for (block, read) in row.chunks(32).zip(read.chunks(32)) {
                        let largest = block.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                        for (value, read) in block.iter().zip(read) {
                            let off = (value - read).abs();
                            assert!(off <= (share + 0.002) * largest, "{format:?} {value} {read}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_come_in_pieces_become_the_same_blocks() {
        for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::NF4] {
            // Of 45 columns no row ends where a block of NF4 does, nor 50 rows where a group of blocks does; 2000 rows are
            // threads' work when they come at once, and one thread's in pieces.
            for (rows, columns) in [(50, 64), (50, 45), (2000, 45)] {
                let values: Vec<f32> =
                    (0..rows * columns).map(|i| (i as f32 * 0.7).sin()).collect();
                let whole = quantised(&values, [rows, columns], true, format).unwrap();
                let mut quantiser = Quantiser::new(format, [rows, columns], true);
                for piece in values.chunks(7 * columns) {
                    quantiser.take(piece);
                }
                assert!(quantiser.finish().unwrap() == whole, "{format:?} {rows} {columns}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_held() {
        for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::NF4] {
            for bad in [f32::NAN, f32::INFINITY] {
                assert!(quantised(&[1.0, bad], [1, 2], false, format).is_none(), "{format:?}");
                // Nor where finite rows follow, or come before.
                let mut quantiser = Quantiser::new(format, [3, 2], false);
                for row in [[1.0, 2.0], [bad, 1.0], [1.0, 2.0]] {
                    quantiser.take(&row);
                }
                assert!(quantiser.finish().is_none(), "{format:?}");
            }
        }
    }

    #[test]
    fn a_matrix_without_numbers_is_one() {
        for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::NF4] {
            for shape in [[0, 64], [3, 0]] {
                assert!(quantised(&[], shape, false, format).is_some(), "{format:?} {shape:?}");
            }
        }
    }
}
