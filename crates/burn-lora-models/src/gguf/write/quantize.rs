//! f32 to blocks, as ggml's reference functions compute them (`quantize_row_*_ref` of `ggml-quants.c`).
//!
//! The order of the operations is that of the reference, in single precision and without fused
//! multiplications, so that blocks are the same to the bit. What the package gguf implements (Q8_0, Q4_0, Q5_0) is
//! the same there. Left out: weighting by what activations look like (`imatrix`).

mod k;

use half::{bf16, f16};

use super::super::GgmlType;

/// Blocks that a thread is started for.
const SHARE: usize = 1 << 12;

/// Converts whole blocks, on all cores. `values` must be finite; the types are those that
/// [`FileType`](super::FileType) gives.
pub(crate) fn quantize(ggml_type: GgmlType, values: &[f32]) -> Vec<u8> {
    let one = match ggml_type {
        GgmlType::F16 => f16_block,
        GgmlType::BF16 => bf16_block,
        GgmlType::Q8_0 => q8_0,
        GgmlType::Q4_0 => q4_0,
        GgmlType::Q5_0 => q5_0,
        GgmlType::Q4_K => k::q4_k,
        GgmlType::Q6_K => k::q6_k,
        _ => f32_block,
    };
    let (len, bytes) = (ggml_type.block_len(), ggml_type.block_bytes());
    let blocks = values.len() / len;
    let mut out = vec![0; blocks * bytes];
    let convert = |values: &[f32], out: &mut [u8]| {
        for (values, out) in values.chunks_exact(len).zip(out.chunks_exact_mut(bytes)) {
            one(values, out);
        }
    };
    if blocks <= SHARE {
        convert(values, &mut out);
        return out;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = blocks.div_ceil(cores).max(SHARE);
    std::thread::scope(|scope| {
        for (values, out) in values.chunks(share * len).zip(out.chunks_mut(share * bytes)) {
            scope.spawn(move || convert(values, out));
        }
    });
    out
}

/// Whether a number stays finite in that type. Scales are in half precision, the smallest of them an eighth of
/// the largest number.
pub(crate) fn holds(ggml_type: GgmlType, value: f32) -> bool {
    match ggml_type {
        GgmlType::F32 => value.is_finite(),
        GgmlType::F16 => f16::from_f32(value).is_finite(),
        GgmlType::BF16 => bf16::from_f32(value).is_finite(),
        _ => value.abs() <= 8.0 * f16::MAX.to_f32(),
    }
}

fn f32_block(x: &[f32], out: &mut [u8]) {
    out.copy_from_slice(&x[0].to_le_bytes());
}

fn f16_block(x: &[f32], out: &mut [u8]) {
    put_half(out, 0, x[0]);
}

fn bf16_block(x: &[f32], out: &mut [u8]) {
    out.copy_from_slice(&bf16::from_f32(x[0]).to_le_bytes());
}

/// The largest number becomes 127.
fn q8_0(x: &[f32], out: &mut [u8]) {
    let scale = widest(x).abs() / 127.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    for (byte, value) in out[2..].iter_mut().zip(x) {
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
}

/// The largest number becomes -8, by a scale of the other sign if it is positive.
fn q4_0(x: &[f32], out: &mut [u8]) {
    let scale = widest(x) / -8.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    let number = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    for (i, byte) in out[2..].iter_mut().enumerate() {
        *byte = number(x[i]) | number(x[i + 16]) << 4;
    }
}

/// The largest number becomes -16; the fifth bits stand before the nibbles.
fn q5_0(x: &[f32], out: &mut [u8]) {
    let scale = widest(x) / -16.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    let number = |value: f32| ((value * inverse + 16.5) as u8).min(31);
    let mut high = 0_u32;
    for i in 0..16 {
        let (first, second) = (number(x[i]), number(x[i + 16]));
        out[6 + i] = first & 0xf | second << 4;
        high |= u32::from(first >> 4) << i | u32::from(second >> 4) << (i + 16);
    }
    out[2..6].copy_from_slice(&high.to_le_bytes());
}

/// The first of the numbers with the largest magnitude.
fn widest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |widest: f32, &value| match widest.abs() < value.abs() {
        true => value,
        false => widest,
    })
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Puts a number in half precision at `at`.
fn put_half(out: &mut [u8], at: usize, value: f32) {
    out[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// The number in half precision that [`put_half`] put.
fn half_at(out: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([out[at], out[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests;
