//! NF4: levels put together of planes, each of which has a byte of all sixteen.

use std::arch::x86_64::__m256;

use super::pieces::twice;
use super::{STRIP, Strips, Vectors};
use crate::quantised::nf4;

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
