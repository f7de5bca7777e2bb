//! The numbers of 32 places of a row of blocks, for each format.
//!
//! The order of operations is that of [`blocks`] and [`nf4`]; small integers are exact in f32, whatever they are made of. All is inlined
//! into code for these vectors.

#![allow(unsafe_code, reason = "pulp has no function of F16C")]

use std::arch::x86_64::{__m256, __m256i, _mm256_cvtph_ps};

use super::{STRIP, Strips, Vectors};
use crate::quantised::{blocks, nf4};

/// 16 bytes, twice: what is moved within a half of a vector can come from any of them.
#[inline(always)]
fn twice(v: Vectors, bytes: &[u8]) -> __m256i {
    let mut all = [0; 16];
    all.copy_from_slice(&bytes[..16]);
    v.avx2._mm256_broadcastsi128_si256(pulp::cast(all))
}

/// A number in half precision, everywhere.
#[inline(always)]
fn half(v: Vectors, bytes: [u8; 2]) -> __m256 {
    let halves = v.sse2._mm_set1_epi16(i16::from_le_bytes(bytes));
    // SAFETY: there are `Vectors` only where the processor has F16C.
    unsafe { _mm256_cvtph_ps(halves) }
}

/// Bits of each byte.
#[inline(always)]
fn bits(v: Vectors, bytes: __m256i, mask: i8) -> __m256i {
    v.avx2._mm256_and_si256(bytes, v.avx._mm256_set1_epi8(mask))
}

/// Bytes shifted right, with bits of others on top.
#[inline(always)]
fn shifted(v: Vectors, bytes: __m256i, by: usize) -> __m256i {
    v.avx2._mm256_srl_epi16(bytes, pulp::cast([by as u64, 0]))
}

/// The low four bits of 16 bytes, and the high ones.
#[inline(always)]
fn nibbles(v: Vectors, bytes: &[u8]) -> [__m256i; 2] {
    let low = twice(v, bytes);
    [bits(v, low, 0xf), bits(v, v.avx2._mm256_srli_epi16::<4>(low), 0xf)]
}

/// Each with 16 where of 32 bits the one at its place is set.
#[inline(always)]
fn and_fifth_bits(v: Vectors, [low, high]: [__m256i; 2], bits: &[u8]) -> [__m256i; 2] {
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
fn less(v: Vectors, [low, high]: [__m256i; 2], zero: i8) -> [__m256i; 2] {
    let zero = v.avx._mm256_set1_epi8(zero);
    [v.avx2._mm256_sub_epi8(low, zero), v.avx2._mm256_sub_epi8(high, zero)]
}

/// What [`numbers`] are too large by. A scale, a product of 16 bits and 8, has it taken off exactly.
const SHIFT: f32 = 16_777_216.0;

/// Signed bytes as numbers, times 2^24: as the upper bytes of integers they bring their signs along.
#[inline(always)]
fn numbers(v: Vectors, bytes: [__m256i; 2]) -> [__m256; 4] {
    const EIGHTS: [[u8; 32]; 2] = {
        // What has the upper bit set becomes zero.
        let mut places = [[0x80; 32]; 2];
        let mut i = 0;
        while i < 16 {
            places[i / 8][4 * (i % 8) + 3] = i as u8;
            i += 1;
        }
        places
    };
    let mut numbers = [v.avx._mm256_set1_ps(0.0); 4];
    for (numbers, bytes) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        for (numbers, places) in numbers.iter_mut().zip(EIGHTS) {
            let upper = v.avx2._mm256_shuffle_epi8(bytes, pulp::cast(places));
            *numbers = v.avx._mm256_cvtepi32_ps(upper);
        }
    }
    numbers
}

/// A scale for [`numbers`].
#[inline(always)]
fn for_numbers(v: Vectors, scale: __m256) -> __m256 {
    v.avx._mm256_mul_ps(scale, v.avx._mm256_set1_ps(1.0 / SHIFT))
}

/// Each multiplied.
#[inline(always)]
fn times(v: Vectors, mut numbers: [__m256; 4], scale: __m256) -> [__m256; 4] {
    for numbers in &mut numbers {
        *numbers = v.avx._mm256_mul_ps(*numbers, scale);
    }
    numbers
}

/// Each multiplied, then added to: in two roundings.
#[inline(always)]
fn times_and(v: Vectors, numbers: [__m256; 4], scale: __m256, least: __m256) -> [__m256; 4] {
    let mut numbers = times(v, numbers, scale);
    for numbers in &mut numbers {
        *numbers = v.avx._mm256_add_ps(*numbers, least);
    }
    numbers
}

/// Blocks of one of ggml's formats that are a strip.
macro_rules! format {
    ($name:ident, $bytes:literal, |$v:ident, $block:ident| $make:expr) => {
        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, reason = "the names are ggml's own")]
        pub(super) struct $name<'a>(&'a [[u8; $bytes]]);

        impl<'a> $name<'a> {
            /// The blocks of a row.
            pub(super) fn new(row: &'a [u8]) -> Self {
                Self(row.as_chunks().0)
            }
        }

        impl<'a> Strips for $name<'a> {
            const STRIPS: usize = 1;
            type Block = &'a [u8; $bytes];

            #[inline(always)]
            fn block(self, _: Vectors, index: usize) -> Self::Block {
                &self.0[index]
            }

            #[inline(always)]
            fn strip($v: Vectors, $block: &Self::Block, _: usize) -> [__m256; 4] {
                let $block: &[u8; $bytes] = $block;
                $make
            }
        }
    };
}

format!(Q8_0, 34, |v, block| {
    let [a, b, ..] = *block;
    let bytes = [twice(v, &block[2..]), twice(v, &block[18..])];
    times(v, numbers(v, bytes), for_numbers(v, half(v, [a, b])))
});

format!(Q4_0, 18, |v, block| {
    let [a, b, ..] = *block;
    let fours = less(v, nibbles(v, &block[2..]), 8);
    times(v, numbers(v, fours), for_numbers(v, half(v, [a, b])))
});

format!(Q4_1, 20, |v, block| {
    let [a, b, c, d, ..] = *block;
    let fours = numbers(v, nibbles(v, &block[4..]));
    times_and(v, fours, for_numbers(v, half(v, [a, b])), half(v, [c, d]))
});

format!(Q5_0, 22, |v, block| {
    let [a, b, ..] = *block;
    let fives = less(v, and_fifth_bits(v, nibbles(v, &block[6..]), &block[2..]), 16);
    times(v, numbers(v, fives), for_numbers(v, half(v, [a, b])))
});

format!(Q5_1, 24, |v, block| {
    let [a, b, c, d, ..] = *block;
    let fives = numbers(v, and_fifth_bits(v, nibbles(v, &block[8..]), &block[4..]));
    times_and(v, fives, for_numbers(v, half(v, [a, b])), half(v, [c, d]))
});

/// A block of several strips, the scale of each, and its minimum (or the scale of its second half).
#[derive(Clone, Copy)]
pub(super) struct Scaled<'a, const BYTES: usize> {
    bytes: &'a [u8; BYTES],
    scales: [f32; 8],
    more: [f32; 8],
}

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the names are ggml's own")]
pub(super) struct Q4_K<'a>(&'a [[u8; 144]]);

impl<'a> Q4_K<'a> {
    /// The blocks of a row.
    pub(super) fn new(row: &'a [u8]) -> Self {
        Self(row.as_chunks().0)
    }
}

impl<'a> Strips for Q4_K<'a> {
    const STRIPS: usize = 8;
    type Block = Scaled<'a, 144>;

    #[inline(always)]
    fn block(self, v: Vectors, index: usize) -> Self::Block {
        let bytes = &self.0[index];
        let [scales, least] = blocks::scales_and_minima(&bytes[4..16]);
        let eight = |v: Vectors, of: u64| {
            v.avx._mm256_cvtepi32_ps(v.avx2._mm256_cvtepu8_epi32(pulp::cast([of, 0])))
        };
        let scales = v.avx._mm256_mul_ps(half(v, [bytes[0], bytes[1]]), eight(v, scales));
        let least = v.avx._mm256_mul_ps(half(v, [bytes[2], bytes[3]]), eight(v, least));
        Scaled { bytes, scales: pulp::cast(for_numbers(v, scales)), more: pulp::cast(least) }
    }

    #[inline(always)]
    fn strip(v: Vectors, block: &Self::Block, index: usize) -> [__m256; 4] {
        let bytes = &block.bytes[16 + index / 2 * 32..];
        let low = shifted(v, twice(v, bytes), 4 * (index % 2));
        let high = shifted(v, twice(v, &bytes[16..]), 4 * (index % 2));
        let scale = v.avx._mm256_set1_ps(block.scales[index]);
        let least = v.avx._mm256_set1_ps(block.more[index]);
        let mut numbers = times(v, numbers(v, [bits(v, low, 0xf), bits(v, high, 0xf)]), scale);
        for numbers in &mut numbers {
            *numbers = v.avx._mm256_sub_ps(*numbers, least);
        }
        numbers
    }
}

#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the names are ggml's own")]
pub(super) struct Q6_K<'a>(&'a [[u8; 210]]);

impl<'a> Q6_K<'a> {
    /// The blocks of a row.
    pub(super) fn new(row: &'a [u8]) -> Self {
        Self(row.as_chunks().0)
    }
}

impl<'a> Strips for Q6_K<'a> {
    const STRIPS: usize = 8;
    type Block = Scaled<'a, 210>;

    #[inline(always)]
    fn block(self, v: Vectors, index: usize) -> Self::Block {
        let bytes = &self.0[index];
        let scale = for_numbers(v, half(v, [bytes[208], bytes[209]]));
        // Two groups of 16 are a strip.
        let mut scales = [0.0; 8];
        let mut more = [0.0; 8];
        for (i, (scales, more)) in scales.iter_mut().zip(&mut more).enumerate() {
            *scales = f32::from(bytes[192 + 2 * i].cast_signed());
            *more = f32::from(bytes[193 + 2 * i].cast_signed());
        }
        let scales = v.avx._mm256_mul_ps(scale, pulp::cast(scales));
        let more = v.avx._mm256_mul_ps(scale, pulp::cast(more));
        Scaled { bytes, scales: pulp::cast(scales), more: pulp::cast(more) }
    }

    #[inline(always)]
    fn strip(v: Vectors, block: &Self::Block, index: usize) -> [__m256; 4] {
        let (side, run) = (index / 4, index % 4);
        let (low, high) = block.bytes.split_at(128);
        let (low, high) = (&low[64 * side + 32 * (run % 2)..], &high[32 * side..]);
        let mut sixes = [v.avx._mm256_set1_epi8(0); 2];
        for (sixes, at) in sixes.iter_mut().zip([0, 16]) {
            let low = bits(v, shifted(v, twice(v, &low[at..]), 4 * (run / 2)), 0xf);
            let high = bits(v, shifted(v, twice(v, &high[at..]), 2 * run), 3);
            *sixes = v.avx2._mm256_or_si256(low, v.avx2._mm256_slli_epi16::<4>(high));
        }
        let [a, b, c, d] = numbers(v, less(v, sixes, 32));
        let first = v.avx._mm256_set1_ps(block.scales[index]);
        let second = v.avx._mm256_set1_ps(block.more[index]);
        [
            v.avx._mm256_mul_ps(a, first),
            v.avx._mm256_mul_ps(b, first),
            v.avx._mm256_mul_ps(c, second),
            v.avx._mm256_mul_ps(d, second),
        ]
    }
}

/// The bytes of the sixteen levels, the first of each, the second, ….
const PLANES: [[u8; 16]; 4] = {
    let mut planes = [[0; 16]; 4];
    let mut i = 0;
    while i < 16 {
        let bytes = nf4::LEVELS[i].to_bits().to_le_bytes();
        let mut plane = 0;
        while plane < 4 {
            planes[plane][i] = bytes[plane];
            plane += 1;
        }
        i += 1;
    }
    planes
};

/// Which byte has the level of a place, so that numbers put together of planes lie one after the other.
const PLACES: [u8; 32] = {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 32 {
        // Each half of a vector gives four numbers of every eight.
        let number = i % 16 / 4 * 8 + i / 16 * 4 + i % 4;
        places[i] = number as u8 / 2;
        i += 1;
    }
    places
};

/// A row of NF4 that begins with a block.
#[derive(Clone, Copy)]
pub(super) struct Nf4<'a> {
    parts: nf4::Parts<'a>,
    /// Blocks before the row.
    first: usize,
}

impl<'a> Nf4<'a> {
    /// The row that begins after so many blocks.
    pub(super) fn new(parts: nf4::Parts<'a>, first: usize) -> Self {
        Self { parts, first }
    }
}

impl<'a> Strips for Nf4<'a> {
    const STRIPS: usize = nf4::BLOCK / STRIP;
    type Block = (&'a [u8], f32);

    #[inline(always)]
    fn block(self, _: Vectors, index: usize) -> Self::Block {
        let at = self.first + index;
        (&self.parts.numbers[at * nf4::BLOCK / 2..][..nf4::BLOCK / 2], self.parts.scale(at))
    }

    #[inline(always)]
    fn strip(v: Vectors, (bytes, scale): &Self::Block, index: usize) -> [__m256; 4] {
        let scale = v.avx._mm256_set1_ps(*scale);
        let bytes = twice(v, &bytes[16 * index..]);
        let pairs = v.avx2._mm256_shuffle_epi8(bytes, pulp::cast(PLACES));
        // Of a pair the first is the upper nibble.
        let upper = v.avx2._mm256_srli_epi16::<4>(pairs);
        let codes = v.avx2._mm256_or_si256(
            v.avx2._mm256_and_si256(upper, v.avx._mm256_set1_epi16(0xf)),
            v.avx2._mm256_and_si256(pairs, v.avx._mm256_set1_epi16(0xf00)),
        );
        let mut planes = [codes; 4];
        for (plane, levels) in planes.iter_mut().zip(PLANES) {
            let levels = v.avx2._mm256_broadcastsi128_si256(pulp::cast(levels));
            *plane = v.avx2._mm256_shuffle_epi8(levels, codes);
        }
        let [a, b, c, d] = planes;
        let (ab, cd) = (v.avx2._mm256_unpacklo_epi8(a, b), v.avx2._mm256_unpacklo_epi8(c, d));
        let (ab_too, cd_too) =
            (v.avx2._mm256_unpackhi_epi8(a, b), v.avx2._mm256_unpackhi_epi8(c, d));
        let levels = [
            v.avx2._mm256_unpacklo_epi16(ab, cd),
            v.avx2._mm256_unpackhi_epi16(ab, cd),
            v.avx2._mm256_unpacklo_epi16(ab_too, cd_too),
            v.avx2._mm256_unpackhi_epi16(ab_too, cd_too),
        ];
        let mut numbers = [scale; 4];
        for (numbers, levels) in numbers.iter_mut().zip(levels) {
            *numbers = v.avx._mm256_mul_ps(v.avx._mm256_castsi256_ps(levels), scale);
        }
        numbers
    }
}
