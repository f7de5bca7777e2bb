//! ggml's K types: blocks of 256 numbers, in groups with small scales of their own.

use std::arch::x86_64::__m256;

use super::pieces::{bits, eight, for_numbers, half, less, numbers, shifted, times, twice, upper};
use super::{Strips, Vectors, row_of_blocks};
use crate::quantised::blocks;

/// A block of several strips, the scale of each, and its minimum (or the scale of its second half).
#[derive(Clone, Copy)]
pub(super) struct Scaled<'a, const BYTES: usize> {
    bytes: &'a [u8; BYTES],
    scales: [f32; 8],
    more: [f32; 8],
}

row_of_blocks!(Q4_K, 144);

impl<'a> Strips for Q4_K<'a> {
    const STRIPS: usize = 8;
    type Block = Scaled<'a, 144>;

    #[inline(always)]
    fn block(self, v: Vectors, index: usize) -> Self::Block {
        let bytes = &self.0[index];
        let [scales, least] = blocks::scales_and_minima(&bytes[4..16]);
        let all = twice(v, &pulp::cast::<[u64; 2], [u8; 16]>([scales, least]));
        let scale = for_numbers(v, half(v, [bytes[0], bytes[1]]));
        let scales = v.avx._mm256_mul_ps(scale, eight(v, all, const { upper(0, 1) }));
        let scale = for_numbers(v, half(v, [bytes[2], bytes[3]]));
        let least = v.avx._mm256_mul_ps(scale, eight(v, all, const { upper(8, 1) }));
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

row_of_blocks!(Q6_K, 210);

impl<'a> Strips for Q6_K<'a> {
    const STRIPS: usize = 8;
    type Block = Scaled<'a, 210>;

    #[inline(always)]
    fn block(self, v: Vectors, index: usize) -> Self::Block {
        let bytes = &self.0[index];
        let scale = for_numbers(v, half(v, [bytes[208], bytes[209]]));
        // Two groups of 16 are a strip.
        let groups = twice(v, &bytes[192..]);
        let scales = v.avx._mm256_mul_ps(scale, eight(v, groups, const { upper(0, 2) }));
        let more = v.avx._mm256_mul_ps(scale, eight(v, groups, const { upper(1, 2) }));
        let (scales, more) = (for_numbers(v, scales), for_numbers(v, more));
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
