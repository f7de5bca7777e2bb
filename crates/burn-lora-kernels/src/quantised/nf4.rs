//! NF4 with double quantisation (Dettmers et al., QLoRA, arXiv 2305.14314, section 3), as bitsandbytes lays it out.
//!
//! The matrix is one run of numbers, row after row. 64 of them share the largest magnitude among them (`absmax`), by which
//! each is one of sixteen levels. Those magnitudes, less the mean of all of them, are in turn one of 256 levels of the
//! largest among 256 of them. In memory: the mean, those largest ones (f32), the magnitudes' levels (a byte each), the
//! numbers' levels (a nibble each, the first of a pair in the upper one).

/// Numbers that share a magnitude.
pub const BLOCK: usize = 64;

/// Magnitudes that share a scale.
pub const GROUP: usize = 256;

/// The sixteen levels: quantiles of a normal distribution, zero among them.
pub const LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The levels of the magnitudes above zero (bitsandbytes' `create_dynamic_map`): 2^i means of steps from 0.1 to 1, times
/// 10^(i - 6), for i from 0 to 6; and 1.
const POSITIVE: [f32; 128] = [
    5.5000004e-7,
    3.2500002e-6,
    7.75e-6,
    2.1249998e-5,
    4.375e-5,
    6.625e-5,
    8.875e-5,
    0.000_156_250_01,
    0.000_268_750_04,
    0.000_381_250_02,
    0.000_493_750_03,
    0.000_606_250_1,
    0.000_718_750_06,
    0.000_831_25,
    0.000_943_750_1,
    0.001_281_249_9,
    0.001_843_75,
    0.002_406_25,
    0.002_968_75,
    0.003_531_249_7,
    0.004_093_75,
    0.004_656_249_7,
    0.005_218_750_3,
    0.005_781_25,
    0.006_343_75,
    0.006_906_25,
    0.007_468_75,
    0.008_031_25,
    0.008_593_75,
    0.009_156_249,
    0.009_718_75,
    0.011_406_25,
    0.014_218_75,
    0.017_031_25,
    0.019_843_752,
    0.022_656_25,
    0.025_468_75,
    0.028_281_251,
    0.031_093_75,
    0.033_906_25,
    0.036_718_752,
    0.039_531_25,
    0.042_343_747,
    0.045_156_25,
    0.047_968_75,
    0.050_781_25,
    0.053_593_75,
    0.056_406_25,
    0.059_218_753,
    0.062_031_25,
    0.064_843_75,
    0.067_656_256,
    0.070_468_746,
    0.073_281_25,
    0.076_093_75,
    0.078_906_25,
    0.081_718_76,
    0.084_531_25,
    0.087_343_75,
    0.090_156_25,
    0.092_968_754,
    0.095_781_26,
    0.098_593_75,
    0.107_031_256,
    0.121_093_75,
    0.135_156_24,
    0.149_218_75,
    0.163_281_25,
    0.177_343_76,
    0.191_406_25,
    0.205_468_74,
    0.219_531_25,
    0.233_593_75,
    0.247_656_24,
    0.261_718_75,
    0.275_781_27,
    0.289_843_74,
    0.303_906_26,
    0.317_968_73,
    0.332_031_25,
    0.346_093_74,
    0.360_156_24,
    0.374_218_76,
    0.388_281_23,
    0.402_343_75,
    0.416_406_24,
    0.430_468_74,
    0.444_531_26,
    0.458_593_73,
    0.472_656_25,
    0.486_718_7,
    0.500_781_24,
    0.514_843_7,
    0.528_906_2,
    0.542_968_75,
    0.557_031_3,
    0.571_093_8,
    0.585_156_26,
    0.599_218_7,
    0.613_281_25,
    0.627_343_8,
    0.641_406_3,
    0.655_468_76,
    0.669_531_2,
    0.683_593_75,
    0.697_656_3,
    0.711_718_8,
    0.725_781_26,
    0.739_843_7,
    0.753_906_25,
    0.767_968_8,
    0.782_031_24,
    0.796_093_76,
    0.810_156_2,
    0.824_218_75,
    0.838_281_3,
    0.852_343_74,
    0.866_406_26,
    0.880_468_7,
    0.894_531_25,
    0.908_593_8,
    0.922_656_24,
    0.936_718_76,
    0.950_781_2,
    0.964_843_75,
    0.978_906_3,
    0.992_968_74,
    1.0,
];

/// The 256 levels of the magnitudes, rising.
pub static DYNAMIC: [f32; 256] = {
    let mut levels = [0.0; 256];
    let mut i = 0;
    while i < 128 {
        levels[128 + i] = POSITIVE[i];
        if i < 127 {
            levels[126 - i] = -POSITIVE[i];
        }
        i += 1;
    }
    levels
};

/// The two levels of every byte.
static PAIRS: [[f32; 2]; 256] = {
    let mut pairs = [[0.0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [LEVELS[byte >> 4], LEVELS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// Where the parts of a run of so many numbers lie.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    groups: usize,
    blocks: usize,
    numbers: usize,
}

impl Layout {
    /// Of so many numbers.
    pub fn of(numbers: usize) -> Self {
        let blocks = numbers.div_ceil(BLOCK);
        Self { groups: blocks.div_ceil(GROUP), blocks, numbers }
    }

    /// Bytes of all parts.
    pub fn bytes(self) -> usize {
        4 + 4 * self.groups + self.blocks + self.numbers.div_ceil(2)
    }

    /// The part of the numbers' levels, to be written.
    pub fn numbers(self, out: &mut [u8]) -> &mut [u8] {
        &mut out[4 + 4 * self.groups + self.blocks..][..self.numbers.div_ceil(2)]
    }

    /// Writes the parts that stand before the numbers' levels.
    ///
    /// # Panics
    ///
    /// Where a part is of another size.
    pub fn write(self, out: &mut [u8], (mean, scales): (f32, &[f32]), magnitudes: &[u8]) {
        assert_eq!(scales.len(), self.groups, "a scale a group");
        let (head, rest) = out.split_at_mut(4 + 4 * self.groups);
        for (place, value) in head.chunks_exact_mut(4).zip([&mean].into_iter().chain(scales)) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        rest[..self.blocks].copy_from_slice(magnitudes);
    }
}

/// The parts of a run, to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// The magnitudes' mean and scales, of four bytes each.
    head: &'a [[u8; 4]],
    /// The magnitudes' levels.
    magnitudes: &'a [u8],
    /// The numbers' levels.
    pub(super) numbers: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Of a run that lies so.
    #[inline(always)]
    pub(super) fn of(bytes: &'a [u8], layout: Layout) -> Self {
        let (head, rest) = bytes.split_at(4 + 4 * layout.groups);
        let (magnitudes, numbers) = rest.split_at(layout.blocks);
        Self { head: head.as_chunks().0, magnitudes, numbers }
    }

    /// The magnitude of a block.
    #[inline(always)]
    pub(super) fn scale(self, block: usize) -> f32 {
        let float = |index: usize| f32::from_ne_bytes(self.head[index]);
        DYNAMIC[usize::from(self.magnitudes[block])] * float(1 + block / GROUP) + float(0)
    }

    /// The numbers from the one at `start` on, as many as `out` has.
    ///
    /// # Panics
    ///
    /// Where there are not so many, which is a mistake in a kernel.
    #[inline(always)]
    pub(super) fn read(self, start: usize, out: &mut [f32]) {
        let (mut at, mut out) = (start, out);
        while !out.is_empty() {
            let block = at / BLOCK;
            let scale = self.scale(block);
            let (chunk, rest) = out.split_at_mut(((block + 1) * BLOCK - at).min(out.len()));
            let count = chunk.len();
            levels(&self.numbers[at / 2..], at % 2, chunk);
            for value in chunk {
                *value *= scale;
            }
            (at, out) = (at + count, rest);
        }
    }
}

/// The levels of nibbles, from the upper one of the first byte on, or from the lower one.
#[inline(always)]
fn levels(bytes: &[u8], skipped: usize, out: &mut [f32]) {
    let (bytes, out) = match (skipped, out) {
        (1, [first, rest @ ..]) => {
            *first = PAIRS[usize::from(bytes[0])][1];
            (&bytes[1..], rest)
        }
        (_, out) => (bytes, out),
    };
    let (pairs, last) = out.as_chunks_mut::<2>();
    for (pair, &byte) in pairs.iter_mut().zip(bytes) {
        *pair = PAIRS[usize::from(byte)];
    }
    if let [last] = last {
        *last = PAIRS[usize::from(bytes[pairs.len()])][0];
    }
}
