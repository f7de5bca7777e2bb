//! f32 to NF4 with double quantisation, as bitsandbytes' `quantize_4bit(…, compress_statistics=True)` does it on a CPU: the same
//! levels, from the same operations in f32. Its layout in memory is said in `burn_lora_kernels::quantised::nf4`.
//!
//! Compared with bitsandbytes 0.50.2 (`fixtures/nf4`). The magnitudes of blocks get the nearest of their levels; on a CPU it rounds
//! them to some 32767th first, so that one in some six hundred, next to the middle of two, gets the other there.

use burn_lora_kernels::quantised::nf4::{BLOCK, DYNAMIC, GROUP, LEVELS, Layout};

/// Halfway between the levels.
const BOUNDS: [f32; 15] = {
    let mut bounds = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        bounds[i] = (LEVELS[i] + LEVELS[i + 1]) / 2.0;
        i += 1;
    }
    bounds
};

/// What a block without any magnitude is divided by.
const LEAST: f32 = 1e-38;

/// Blocks that a thread is started for.
const SHARE: usize = 1 << 10;

/// A run of numbers on its way into memory, some of them at a time.
#[derive(Debug)]
pub(super) struct Run {
    layout: Layout,
    /// The largest of each block that is written.
    magnitudes: Vec<f32>,
    /// The numbers of a block that is not whole yet.
    rest: Vec<f32>,
}

impl Run {
    /// Of so many numbers, all of them finite.
    pub(super) fn of(numbers: usize) -> Self {
        let magnitudes = Vec::with_capacity(numbers.div_ceil(BLOCK));
        Self { layout: Layout::of(numbers), magnitudes, rest: Vec::with_capacity(BLOCK) }
    }

    /// Writes the levels of the next numbers.
    pub(super) fn take(&mut self, values: &[f32], out: &mut [u8]) {
        let mut values = values;
        if !self.rest.is_empty() {
            let (first, others) = values.split_at(values.len().min(BLOCK - self.rest.len()));
            self.rest.extend_from_slice(first);
            if self.rest.len() < BLOCK {
                return;
            }
            let whole = std::mem::take(&mut self.rest);
            self.blocks(&whole, out);
            values = others;
        }
        let (whole, rest) = values.split_at(values.len() / BLOCK * BLOCK);
        self.blocks(whole, out);
        self.rest.extend_from_slice(rest);
    }

    /// Writes the levels of blocks, of which the last of all need not be whole.
    fn blocks(&mut self, values: &[f32], out: &mut [u8]) {
        let written = self.magnitudes.len();
        self.magnitudes.resize(written + values.len().div_ceil(BLOCK), 0.0);
        let magnitudes = &mut self.magnitudes[written..];
        let numbers = &mut self.layout.numbers(out)[written * BLOCK / 2..];
        let convert = |values: &[f32], magnitudes: &mut [f32], numbers: &mut [u8]| {
            let blocks = values.chunks(BLOCK).zip(numbers.chunks_mut(BLOCK / 2));
            for (magnitude, (values, numbers)) in magnitudes.iter_mut().zip(blocks) {
                *magnitude = block(values, numbers);
            }
        };
        if magnitudes.len() <= SHARE {
            return convert(values, magnitudes, numbers);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = magnitudes.len().div_ceil(cores).max(SHARE);
        let parts = magnitudes.chunks_mut(share).zip(numbers.chunks_mut(share * BLOCK / 2));
        std::thread::scope(|scope| {
            for (values, (magnitudes, numbers)) in values.chunks(share * BLOCK).zip(parts) {
                scope.spawn(move || convert(values, magnitudes, numbers));
            }
        });
    }

    /// Writes what depends on all numbers, after the last.
    pub(super) fn finish(mut self, out: &mut [u8]) {
        let rest = std::mem::take(&mut self.rest);
        self.blocks(&rest, out);
        let Self { layout, magnitudes, .. } = self;
        let mean =
            magnitudes.iter().copied().map(f64::from).sum::<f64>() / magnitudes.len().max(1) as f64;
        let mean = mean as f32;
        let mut scales = Vec::with_capacity(magnitudes.len().div_ceil(GROUP));
        let mut levels = Vec::with_capacity(magnitudes.len());
        for group in magnitudes.chunks(GROUP) {
            let scale = group.iter().fold(0.0, |m: f32, v| m.max((v - mean).abs()));
            scales.push(scale);
            levels.extend(group.iter().map(|magnitude| nearest((magnitude - mean) / scale)));
        }
        layout.write(out, (mean, &scales), &levels);
    }
}

/// Writes the levels of the numbers of a block, and gives their largest magnitude.
fn block(values: &[f32], numbers: &mut [u8]) -> f32 {
    let magnitude = values.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    let least = magnitude.max(LEAST);
    // The last one, where it is not full, is divided and not multiplied by the inverse.
    let (magnitude, inverse) = match values.len() {
        BLOCK => (magnitude, Some(1.0 / least)),
        _ => (least, None),
    };
    let level = |value: &f32| {
        let scaled = inverse.map_or_else(|| value / least, |inverse| value * inverse);
        let scaled = scaled.clamp(-1.0, 1.0);
        BOUNDS.iter().map(|bound| u8::from(scaled > *bound)).sum::<u8>()
    };
    for (byte, pair) in numbers.iter_mut().zip(values.chunks(2)) {
        *byte = level(&pair[0]) << 4 | level(pair.get(1).unwrap_or(&0.0));
    }
    magnitude
}

/// The nearest of the levels of magnitudes, the lower one halfway; zero's of a group without any.
fn nearest(value: f32) -> u8 {
    if value.is_nan() {
        return 127;
    }
    let above = DYNAMIC.partition_point(|level| *level <= value).clamp(1, 255);
    let closer = (value - DYNAMIC[above]).abs() < (value - DYNAMIC[above - 1]).abs();
    (if closer { above } else { above - 1 }) as u8
}

#[cfg(test)]
mod tests {
    use burn_lora_kernels::quantised::{BlockFormat, Quantised};

    use super::*;

    fn quantise(values: &[f32], out: &mut [u8]) {
        let mut run = Run::of(values.len());
        run.take(values, out);
        run.finish(out);
    }

    /// The weights that `fixtures/nf4/generate.py` gives bitsandbytes: 24 bits of a linear congruential generator, cubed, so
    /// that most are small, times a power of two of their place.
    fn weights(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let draw = |index: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (state >> 8) as f32 / 16_777_216.0 - 0.5;
            unit * unit * unit * [0.25, 0.5, 1.0, 2.0][index / 1000 % 4]
        };
        (0..count).map(draw).collect()
    }

    fn golden(name: &str) -> Vec<u8> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/nf4");
        std::fs::read(format!("{dir}/{name}")).unwrap()
    }

    #[test]
    fn levels_and_scales_are_those_of_bitsandbytes() {
        // Whole blocks of more than one group; a last block of an odd number.
        for count in [20_480, 777] {
            let values = weights(count);
            let mut matrix = Quantised::zeroed(BlockFormat::NF4, [1, count], false);
            quantise(&values, matrix.bytes_mut());
            // The same in pieces, of whatever length.
            let mut pieces = Quantised::zeroed(BlockFormat::NF4, [1, count], false);
            let mut run = Run::of(count);
            for piece in values.chunks(333) {
                run.take(piece, pieces.bytes_mut());
            }
            run.finish(pieces.bytes_mut());
            assert!(pieces == matrix, "{count}");
            let golden = golden(&format!("{count}.bin"));
            let layout = Layout::of(count);
            let (ours, theirs) = (matrix.bytes_mut().to_vec(), &golden[..layout.bytes()]);
            let floats = 4 + 4 * count.div_ceil(BLOCK).div_ceil(GROUP);
            // The mean is a sum in another order, off by a few of its last bits (2^-22 of it), and so is what it is taken from.
            let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
            let allowed = 2.0_f32.powi(-22) * float(&theirs[..4]);
            for (ours, theirs) in ours[..floats].chunks(4).zip(theirs[..floats].chunks(4)) {
                let (ours, theirs) = (float(ours), float(theirs));
                assert!((ours - theirs).abs() <= allowed, "{ours} and {theirs}");
            }
            assert!(ours[floats..] == theirs[floats..], "{count}: levels");

            // What bitsandbytes makes of them again.
            let mut read = vec![0.0; count];
            matrix.view().rows(0, &mut read);
            let expected = golden[layout.bytes()..].chunks_exact(4);
            assert_eq!(expected.len(), count.div_ceil(8));
            for (read, expected) in read.iter().step_by(8).zip(expected) {
                let expected = f32::from_le_bytes(expected.try_into().unwrap());
                assert!((read - expected).abs() <= 1e-6 * expected.abs(), "{read} and {expected}");
            }
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut matrix = Quantised::zeroed(BlockFormat::NF4, [2, 64], false);
        quantise(&[0.0; 128], matrix.bytes_mut());
        let mut read = [1.0; 128];
        matrix.view().rows(0, &mut read);
        assert_eq!(read, [0.0; 128]);
    }
}
