//! Blocks of ggml's formats to f32, as llama.cpp's reference functions compute them.
//!
//! A block is one or two scales in half precision and small integers. In the K types a block of 256
//! is split into groups with small integer scales of their own. The order of the operations is that
//! of the reference: with no more than a multiplication and an addition a number, results are the
//! same to the bit.

use half::f16;

/// Some numbers of a row of blocks, from `column` on, as many as `out` has. Of a block of which only a part is asked
/// for, the whole is computed aside.
///
/// # Panics
///
/// Where the row has not so many, which is a mistake in a kernel.
#[inline(always)]
pub(super) fn read<const LEN: usize, const BYTES: usize>(
    row: &[u8],
    column: usize,
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = row.as_chunks::<BYTES>();
    let (first, skipped) = (column / LEN, column % LEN);
    let blocks = &blocks[first..(column + out.len()).div_ceil(LEN)];
    let mut whole = [0.0; LEN];
    let (blocks, out) = match blocks {
        [head, rest @ ..] if skipped > 0 => {
            block(head, &mut whole);
            let (from_head, out) = out.split_at_mut((LEN - skipped).min(out.len()));
            from_head.copy_from_slice(&whole[skipped..][..from_head.len()]);
            (rest, out)
        }
        blocks => (blocks, out),
    };
    let (chunks, tail) = out.as_chunks_mut::<LEN>();
    for (chunk, bytes) in chunks.iter_mut().zip(blocks) {
        block(bytes, chunk);
    }
    if !tail.is_empty() {
        block(&blocks[chunks.len()], &mut whole);
        tail.copy_from_slice(&whole[..tail.len()]);
    }
}

/// The number in half precision at `at`.
#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Scale, 32 signed bytes.
#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], floats: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (float, &byte) in floats.iter_mut().zip(&block[2..]) {
        *float = f32::from(byte.cast_signed()) * scale;
    }
}

/// Scale, 32 nibbles; 8 means zero.
#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], floats: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    nibbles(&block[2..], floats, |_, q| scale * (f32::from(q) - 8.0));
}

/// Scale, least value, 32 nibbles.
#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], floats: &mut [f32; 32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[4..], floats, |_, q| scale * f32::from(q) + least);
}

/// Scale, 32 fifth bits, 32 nibbles; 16 means zero.
#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], floats: &mut [f32; 32]) {
    let (scale, high) = (half_at(block, 0), fifth_bits(block, 2));
    nibbles(&block[6..], floats, |i, q| scale * (f32::from(q | high(i)) - 16.0));
}

/// Scale, least value, 32 fifth bits, 32 nibbles.
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], floats: &mut [f32; 32]) {
    let (scale, least, high) = (half_at(block, 0), half_at(block, 2), fifth_bits(block, 4));
    nibbles(&block[8..], floats, |i, q| scale * f32::from(q | high(i)) + least);
}

/// 32 nibbles: the low ones of all 16 bytes, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8], floats: &mut [f32; 32], value: impl Fn(usize, u8) -> f32) {
    let (low, high) = floats.split_at_mut(16);
    for (i, ((low, high), byte)) in low.iter_mut().zip(high).zip(bytes).enumerate() {
        *low = value(i, byte & 0xf);
        *high = value(i + 16, byte >> 4);
    }
}

/// The fifth bit of the number of an index, in its place.
#[inline(always)]
fn fifth_bits(block: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    move |i| ((bits >> i & 1) as u8) << 4
}

/// Scale of the scales, scale of the minima, eight of each in six bits, 256 nibbles: of each 32 bytes
/// the low nibbles are one group, the high ones the next.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144], floats: &mut [f32; 256]) {
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
#[inline(always)]
fn scale_and_min(packed: &[u8], group: usize) -> (u8, u8) {
    match group {
        0..4 => (packed[group] & 63, packed[group + 4] & 63),
        _ => (
            packed[group + 4] & 0xf | packed[group - 4] >> 6 << 4,
            packed[group + 4] >> 4 | packed[group] >> 6 << 4,
        ),
    }
}

/// Scales and minima of the eight groups, a byte each.
#[inline(always)]
#[cfg(all(feature = "flex", target_arch = "x86_64"))]
pub(super) fn scales_and_minima(packed: &[u8]) -> [u64; 2] {
    let word = |at: usize| {
        u32::from_le_bytes([packed[at], packed[at + 1], packed[at + 2], packed[at + 3]])
    };
    // The functions above on four bytes at a time.
    let (scales, minima, last) = (word(0), word(4), word(8));
    let upper = |of: u32| of >> 2 & 0x3030_3030;
    let join = |low: u32, high: u32| u64::from(low & 0x3f3f_3f3f) | u64::from(high) << 32;
    [
        join(scales, last & 0x0f0f_0f0f | upper(scales)),
        join(minima, last >> 4 & 0x0f0f_0f0f | upper(minima)),
    ]
}

/// 256 low nibbles, 256 times two high bits, sixteen signed scales, their scale; 32 means zero. Each
/// half of a block has four runs of 32, whose nibbles and high bits lie on top of one another.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210], floats: &mut [f32; 256]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, _) = rest.split_at(16);
    let scale = half_at(block, 208);
    for (group, floats) in floats.chunks_exact_mut(16).enumerate() {
        let (side, run, at) = (group / 8, group / 2 % 4, group % 2 * 16);
        let low = &low[64 * side + 32 * (run % 2) + at..][..16];
        let high = &high[32 * side + at..][..16];
        let scale = scale * f32::from(scales[group].cast_signed());
        for (float, (low, high)) in floats.iter_mut().zip(low.iter().zip(high)) {
            let nibble = low >> (4 * (run / 2)) & 0xf;
            let top = high >> (2 * run) & 3;
            *float = scale * (f32::from(nibble | top << 4) - 32.0);
        }
    }
}
