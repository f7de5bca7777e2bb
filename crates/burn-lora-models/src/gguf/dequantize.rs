//! Blocks to f32, as llama.cpp's reference functions compute them.
//!
//! A block is one or two scales in half precision and small integers. In the K types a block of 256
//! is split into groups with small integer scales of their own. The order of the operations is that
//! of the reference: with no more than a multiplication and an addition a number, results are the
//! same to the bit.

use half::{bf16, f16};

use super::GgmlType;

/// Converts whole blocks. A type that is not supported leaves `floats` as they are; callers ask
/// [`GgmlType::is_supported`] before.
pub(super) fn dequantize(ggml_type: GgmlType, bytes: &[u8], floats: &mut [f32]) {
    let one = match ggml_type {
        GgmlType::F32 => f32_block,
        GgmlType::F16 => f16_block,
        GgmlType::BF16 => bf16_block,
        GgmlType::Q8_0 => q8_0,
        GgmlType::Q4_0 => q4_0,
        GgmlType::Q4_1 => q4_1,
        GgmlType::Q5_0 => q5_0,
        GgmlType::Q5_1 => q5_1,
        GgmlType::Q4_K => q4_k,
        GgmlType::Q6_K => q6_k,
        _ => return,
    };
    let blocks = bytes.chunks_exact(ggml_type.block_bytes());
    for (block, floats) in blocks.zip(floats.chunks_exact_mut(ggml_type.block_len())) {
        one(block, floats);
    }
}

/// The number in half precision at `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn f32_block(block: &[u8], floats: &mut [f32]) {
    floats[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
}

fn f16_block(block: &[u8], floats: &mut [f32]) {
    floats[0] = half_at(block, 0);
}

fn bf16_block(block: &[u8], floats: &mut [f32]) {
    floats[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32();
}

/// Scale, 32 signed bytes.
fn q8_0(block: &[u8], floats: &mut [f32]) {
    let scale = half_at(block, 0);
    for (float, &byte) in floats.iter_mut().zip(&block[2..]) {
        *float = f32::from(byte.cast_signed()) * scale;
    }
}

/// Scale, 32 nibbles; 8 means zero.
fn q4_0(block: &[u8], floats: &mut [f32]) {
    let scale = half_at(block, 0);
    nibbles(&block[2..], floats, |_, q| scale * (f32::from(q) - 8.0));
}

/// Scale, least value, 32 nibbles.
fn q4_1(block: &[u8], floats: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[4..], floats, |_, q| scale * f32::from(q) + least);
}

/// Scale, 32 fifth bits, 32 nibbles; 16 means zero.
fn q5_0(block: &[u8], floats: &mut [f32]) {
    let (scale, high) = (half_at(block, 0), fifth_bits(block, 2));
    nibbles(&block[6..], floats, |i, q| scale * (f32::from(q | high(i)) - 16.0));
}

/// Scale, least value, 32 fifth bits, 32 nibbles.
fn q5_1(block: &[u8], floats: &mut [f32]) {
    let (scale, least, high) = (half_at(block, 0), half_at(block, 2), fifth_bits(block, 4));
    nibbles(&block[8..], floats, |i, q| scale * f32::from(q | high(i)) + least);
}

/// 32 nibbles: the low ones of all 16 bytes, then the high ones.
fn nibbles(bytes: &[u8], floats: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    let (low, high) = floats.split_at_mut(16);
    for (i, ((low, high), byte)) in low.iter_mut().zip(high).zip(bytes).enumerate() {
        *low = value(i, byte & 0xf);
        *high = value(i + 16, byte >> 4);
    }
}

/// The fifth bit of the number of an index, in its place.
fn fifth_bits(block: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    move |i| ((bits >> i & 1) as u8) << 4
}

/// Scale of the scales, scale of the minima, eight of each in six bits, 256 nibbles: of each 32 bytes
/// the low nibbles are one group, the high ones the next.
fn q4_k(block: &[u8], floats: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    let (packed, quants) = block[4..].split_at(12);
    let groups = floats.chunks_exact_mut(64).zip(quants.chunks_exact(32));
    for (pair, (floats, bytes)) in groups.enumerate() {
        for (half, floats) in floats.chunks_exact_mut(32).enumerate() {
            let (s, m) = scale_and_min(packed, 2 * pair + half);
            let (scale, least) = (scale * f32::from(s), least * f32::from(m));
            for (float, byte) in floats.iter_mut().zip(bytes) {
                *float = scale * f32::from(byte >> (4 * half) & 0xf) - least;
            }
        }
    }
}

/// Scale and minimum of a group. The first four of each have a byte's low six bits; the other four
/// have their low four bits in the last bytes, and their high two on top of the first ones'.
fn scale_and_min(packed: &[u8], group: usize) -> (u8, u8) {
    match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => (
            packed[group + 4] & 0xf | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        ),
    }
}

/// 256 low nibbles, 256 times two high bits, sixteen signed scales, their scale; 32 means zero. Each
/// half of a block has four runs of 32, whose nibbles and high bits lie on top of one another.
fn q6_k(block: &[u8], floats: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, _) = rest.split_at(16);
    let scale = half_at(block, 208);
    for (i, float) in floats.iter_mut().enumerate() {
        let (side, run, at) = (i / 128, i / 32 % 4, i % 32);
        let nibble = low[64 * side + 32 * (run % 2) + at] >> (4 * (run / 2)) & 0xf;
        let top = high[32 * side + at] >> (2 * run) & 3;
        let scale = scale * f32::from(scales[i / 16].cast_signed());
        *float = scale * (f32::from(nibble | top << 4) - 32.0);
    }
}

#[cfg(test)]
mod tests;
