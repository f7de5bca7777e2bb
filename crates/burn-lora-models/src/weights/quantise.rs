//! f32 to blocks, as a model is loaded or drawn.
//!
//! Blocks lie along the rows of a matrix as it is stored, of a linear along its inputs, as in GGUF files and in bitsandbytes. Q8_0
//! and Q4_0 are those of [`gguf`](crate::gguf)'s writer; a row without whole blocks ends in one that zeros fill up.

use std::borrow::Cow;

use burn_lora_kernels::quantised::{BlockFormat, Quantised};

use super::nf4;
use crate::gguf::{GgmlType, quantize};

/// Numbers of a matrix that is stored as `stored` says, row by row, in blocks; `transposed` where what is multiplied with is the
/// transposed. None where one of them is not finite, or larger than a block can hold.
pub(super) fn quantised(
    values: &[f32],
    stored: [usize; 2],
    transposed: bool,
    format: BlockFormat,
) -> Option<Quantised> {
    let mut matrix = Quantised::zeroed(format, stored, transposed);
    let ggml_type = match format {
        BlockFormat::Q8_0 => GgmlType::Q8_0,
        BlockFormat::Q4_0 => GgmlType::Q4_0,
        _ => {
            let finite = values.iter().all(|value| value.is_finite());
            return finite.then(|| {
                nf4::quantise(values, matrix.bytes_mut());
                matrix
            });
        }
    };
    if !values.iter().all(|&value| quantize::holds(ggml_type, value)) {
        return None;
    }
    let values = padded(values, stored[1], format.block_len());
    matrix.bytes_mut().copy_from_slice(&quantize::quantize(ggml_type, &values));
    Some(matrix)
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
    fn what_is_not_finite_is_not_held() {
        for format in [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::NF4] {
            for bad in [f32::NAN, f32::INFINITY] {
                assert!(quantised(&[1.0, bad], [1, 2], false, format).is_none(), "{format:?}");
            }
        }
    }
}
