//! ggml's formats whose blocks are a strip.
//!
//! The order of operations is that of [`blocks`](crate::quantised::blocks), here and in the other formats; small integers are exact in f32,
//! whatever they are made of.

use std::arch::x86_64::__m256;

use super::pieces::{
    and_fifth_bits, for_numbers, half, less, nibbles, numbers, times, times_and, twice,
};
use super::{Strips, Vectors, row_of_blocks};

/// Blocks of one of ggml's formats that are a strip.
macro_rules! format {
    ($name:ident, $bytes:literal, |$v:ident, $block:ident| $make:expr) => {
        row_of_blocks!($name, $bytes);

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
