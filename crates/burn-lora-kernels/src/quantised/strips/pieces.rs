//! What the numbers of blocks are made of, in vectors: nibbles and bits of bytes, signed bytes as numbers, scales.
//!
//! All is inlined into code for these vectors.

#![allow(unsafe_code, reason = "pulp has no function of F16C")]

use std::arch::x86_64::{__m256, __m256i, _mm256_cvtph_ps};

use super::Vectors;

/// 16 bytes, twice: what is moved within a half of a vector can come from any of them.
#[inline(always)]
pub(super) fn twice(v: Vectors, bytes: &[u8]) -> __m256i {
    let mut all = [0; 16];
    all.copy_from_slice(&bytes[..16]);
    v.avx2._mm256_broadcastsi128_si256(pulp::cast(all))
}

/// A number in half precision, everywhere.
#[inline(always)]
pub(super) fn half(v: Vectors, bytes: [u8; 2]) -> __m256 {
    let halves = v.sse2._mm_set1_epi16(i16::from_le_bytes(bytes));
    // SAFETY: there are `Vectors` only where the processor has F16C.
    unsafe { _mm256_cvtph_ps(halves) }
}

/// Bits of each byte.
#[inline(always)]
pub(super) fn bits(v: Vectors, bytes: __m256i, mask: i8) -> __m256i {
    v.avx2._mm256_and_si256(bytes, v.avx._mm256_set1_epi8(mask))
}

/// Bytes shifted right, with bits of others on top.
#[inline(always)]
pub(super) fn shifted(v: Vectors, bytes: __m256i, by: usize) -> __m256i {
    v.avx2._mm256_srl_epi16(bytes, pulp::cast([by as u64, 0]))
}

/// The low four bits of 16 bytes, and the high ones.
#[inline(always)]
pub(super) fn nibbles(v: Vectors, bytes: &[u8]) -> [__m256i; 2] {
    let low = twice(v, bytes);
    [bits(v, low, 0xf), bits(v, v.avx2._mm256_srli_epi16::<4>(low), 0xf)]
}

/// Each with 16 where of 32 bits the one at its place is set.
#[inline(always)]
pub(super) fn and_fifth_bits(v: Vectors, [low, high]: [__m256i; 2], bits: &[u8]) -> [__m256i; 2] {
    /// The byte that has the bit of a place.
    const BYTE: [[u8; 16]; 2] = [
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
        [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
    ];
    const BIT: [u8; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
    let all = i32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    let (all, mask) = (v.avx._mm256_set1_epi32(all), pulp::cast([BIT; 4]));
    let mut fives = [low, high];
    for (fives, byte) in fives.iter_mut().zip(BYTE) {
        let spread = v.avx2._mm256_shuffle_epi8(all, pulp::cast([byte; 2]));
        let is_set = v.avx2._mm256_cmpeq_epi8(v.avx2._mm256_and_si256(spread, mask), mask);
        *fives = v.avx2._mm256_or_si256(*fives, self::bits(v, is_set, 16));
    }
    fives
}

/// Signed bytes, less an integer.
#[inline(always)]
pub(super) fn less(v: Vectors, [low, high]: [__m256i; 2], zero: i8) -> [__m256i; 2] {
    let zero = v.avx._mm256_set1_epi8(zero);
    [v.avx2._mm256_sub_epi8(low, zero), v.avx2._mm256_sub_epi8(high, zero)]
}

/// What [`numbers`] are too large by. A scale, a product of 16 bits and 8, has it taken off exactly.
const SHIFT: f32 = 16_777_216.0;

/// Where bytes go that become the upper ones of integers: the first, and from one to the next.
pub(super) const fn upper(first: usize, step: usize) -> [u8; 32] {
    // What has the upper bit set becomes zero.
    let mut places = [0x80; 32];
    let mut i = 0;
    while i < 8 {
        places[4 * i + 3] = (first + step * i) as u8;
        i += 1;
    }
    places
}

/// Eight signed bytes, where they [go](upper), as numbers, times 2^24.
#[inline(always)]
pub(super) fn eight(v: Vectors, bytes: __m256i, places: [u8; 32]) -> __m256 {
    v.avx._mm256_cvtepi32_ps(v.avx2._mm256_shuffle_epi8(bytes, pulp::cast(places)))
}

/// Signed bytes as numbers, times 2^24: as the upper bytes of integers they bring their signs along.
#[inline(always)]
pub(super) fn numbers(v: Vectors, bytes: [__m256i; 2]) -> [__m256; 4] {
    let [low, high] = bytes;
    [
        eight(v, low, const { upper(0, 1) }),
        eight(v, low, const { upper(8, 1) }),
        eight(v, high, const { upper(0, 1) }),
        eight(v, high, const { upper(8, 1) }),
    ]
}

/// A scale for [`numbers`].
#[inline(always)]
pub(super) fn for_numbers(v: Vectors, scale: __m256) -> __m256 {
    v.avx._mm256_mul_ps(scale, v.avx._mm256_set1_ps(1.0 / SHIFT))
}

/// Each multiplied.
#[inline(always)]
pub(super) fn times(v: Vectors, mut numbers: [__m256; 4], scale: __m256) -> [__m256; 4] {
    for numbers in &mut numbers {
        *numbers = v.avx._mm256_mul_ps(*numbers, scale);
    }
    numbers
}

/// Each multiplied, then added to: in two roundings.
#[inline(always)]
pub(super) fn times_and(
    v: Vectors,
    numbers: [__m256; 4],
    scale: __m256,
    least: __m256,
) -> [__m256; 4] {
    let mut numbers = times(v, numbers, scale);
    for numbers in &mut numbers {
        *numbers = v.avx._mm256_add_ps(*numbers, least);
    }
    numbers
}
