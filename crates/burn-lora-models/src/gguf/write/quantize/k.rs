//! The K types: 256 numbers in groups, whose scales are themselves small integers.
//!
//! A group's scale (and least value, where there is one) is not read off its largest numbers but searched for:
//! the numbers are rounded with some twenty scales, for each the best scale and least value are
//! computed by least squares, and the pair with the smallest weighted error is taken. After the groups' scales
//! have been rounded, too, the numbers are rounded once more, with the scales that will be read.

use super::{half_at, put_half};

/// Below this, numbers are zero.
const NOTHING: f32 = 1e-15;

/// Eight groups of 32, each `scale · q - least`, `q` from 0 to 15; scales and least values in six bits.
pub(super) fn q4_k(x: &[f32], out: &mut [u8]) {
    let mut q = [0_u8; 256];
    let mut scales = [0.0; 8];
    let mut least = [0.0; 8];
    for (group, x) in x.chunks_exact(32).enumerate() {
        let squares = x.iter().fold(0.0, |sum: f32, value| sum + value * value);
        let mean = (squares / 32.0).sqrt();
        let weights: [f32; 32] = std::array::from_fn(|i| mean + x[i].abs());
        let q = &mut q[32 * group..][..32];
        (scales[group], least[group]) = search(x, &weights, q);
    }
    let largest = |all: &[f32; 8]| all.iter().fold(0.0, |a: f32, &b| if b > a { b } else { a });
    let (scale, min) = (largest(&scales), largest(&least));
    let inverse = |largest: f32| if largest > 0.0 { 63.0 / largest } else { 0.0 };
    let six_bits = |value: f32| nearest(value).clamp(0, 63) as u8;
    let pairs: [(u8, u8); 8] = std::array::from_fn(|group| {
        (six_bits(inverse(scale) * scales[group]), six_bits(inverse(min) * least[group]))
    });
    put_half(out, 0, scale / 63.0);
    put_half(out, 2, min / 63.0);
    put_pairs(&pairs, &mut out[4..16]);
    let (scale, min) = (half_at(out, 0), half_at(out, 2));
    for (group, (s, m)) in pairs.into_iter().enumerate() {
        let (scale, min) = (scale * f32::from(s), min * f32::from(m));
        if scale != 0.0 {
            for (q, x) in q[32 * group..].iter_mut().zip(&x[32 * group..][..32]) {
                *q = nearest((x + min) / scale).clamp(0, 15) as u8;
            }
        }
    }
    for (i, byte) in out[16..].iter_mut().enumerate() {
        let (pair, at) = (i / 32, i % 32);
        *byte = q[64 * pair + at] | q[64 * pair + 32 + at] << 4;
    }
}

/// Scales and least values: the first four of each in a byte's low six bits; of the other four the low
/// four bits in the last bytes, and the high two on top of the first ones'.
fn put_pairs(pairs: &[(u8, u8); 8], out: &mut [u8]) {
    for group in 0..4 {
        let ((s, m), (later_s, later_m)) = (pairs[group], pairs[group + 4]);
        out[group] = s | later_s >> 4 << 6;
        out[group + 4] = m | later_m >> 4 << 6;
        out[group + 8] = later_s & 0xf | (later_m & 0xf) << 4;
    }
}

/// Scale and (negated) least value of a group, and its numbers in `q` (`make_qkx2_quants`).
pub(super) fn search(x: &[f32], weights: &[f32], q: &mut [u8]) -> (f32, f32) {
    const MOST: f32 = 15.0;
    const STEPS: i32 = 20;
    let (mut min, mut max) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for (&x, &w) in x.iter().zip(weights).skip(1) {
        min = if x < min { x } else { min };
        max = if x > max { x } else { max };
        sum_w += w;
        sum_x += w * x;
    }
    min = if min > 0.0 { 0.0 } else { min };
    if max == min {
        q.fill(0);
        return (0.0, -min);
    }
    let rounded = |inverse: f32, min: f32, x: f32| nearest(inverse * (x - min)).clamp(0, 15) as u8;
    let inverse = MOST / (max - min);
    let mut scale = 1.0 / inverse;
    for (q, &x) in q.iter_mut().zip(x) {
        *q = rounded(inverse, min, x);
    }
    let error = |scale: f32, min: f32, q: &[u8]| {
        let numbers = x.iter().zip(weights).zip(q);
        numbers.fold(0.0, |sum: f32, ((x, w), q)| {
            let difference = scale * f32::from(*q) + min - x;
            sum + w * (difference * difference)
        })
    };
    let mut smallest = error(scale, min, q);
    let mut tried = [0_u8; 32];
    for step in 0..=STEPS {
        // From the least value that was best so far.
        let inverse = (-1.0 + 0.1 * step as f32 + MOST) / (max - min);
        let (mut sum_q, mut sum_qq, mut sum_xq) = (0.0_f32, 0.0_f32, 0.0_f32);
        for ((tried, &x), &w) in tried.iter_mut().zip(x).zip(weights) {
            *tried = rounded(inverse, min, x);
            let q = f32::from(*tried);
            sum_q += w * q;
            sum_qq += w * q * q;
            sum_xq += w * q * x;
        }
        let determinant = sum_w * sum_qq - sum_q * sum_q;
        if determinant > 0.0 {
            let mut fitted = (
                (sum_w * sum_xq - sum_x * sum_q) / determinant,
                (sum_qq * sum_x - sum_q * sum_xq) / determinant,
            );
            if fitted.1 > 0.0 {
                fitted = (sum_xq / sum_qq, 0.0);
            }
            let found = error(fitted.0, fitted.1, &tried);
            if found < smallest {
                q.copy_from_slice(&tried);
                smallest = found;
                (scale, min) = fitted;
            }
        }
    }
    (scale, -min)
}

/// Sixteen groups of 16, each `scale · q`, `q` from -32 to 31; scales in eight bits.
pub(super) fn q6_k(x: &[f32], out: &mut [u8]) {
    let mut q = [0_i32; 256];
    let scales: [f32; 16] = std::array::from_fn(|group| {
        search_signed(&x[16 * group..][..16], &mut q[16 * group..][..16])
    });
    let widest = super::widest(&scales);
    out.fill(0);
    if widest.abs() < NOTHING {
        return;
    }
    let inverse = -128.0 / widest;
    put_half(out, 208, 1.0 / inverse);
    let scale = half_at(out, 208);
    for (group, found) in scales.into_iter().enumerate() {
        let eight_bits = nearest(inverse * found).min(127) as i8;
        out[192 + group] = eight_bits.cast_unsigned();
        let scale = scale * f32::from(eight_bits);
        if scale != 0.0 {
            for (q, x) in q[16 * group..].iter_mut().zip(&x[16 * group..][..16]) {
                *q = nearest(x / scale).clamp(-32, 31);
            }
        }
    }
    for (i, q) in q.into_iter().enumerate() {
        let (side, run, at) = (i / 128, i / 32 % 4, i % 32);
        let number = (q + 32) as u8;
        out[64 * side + 32 * (run % 2) + at] |= (number & 0xf) << (4 * (run / 2));
        out[128 + 32 * side + at] |= number >> 4 << (2 * run);
    }
}

/// Scale of a group of signed numbers, and these in `q` (`make_qx_quants`, weighted by the numbers'
/// squares).
fn search_signed(x: &[f32], q: &mut [i32]) -> f32 {
    const MOST: f32 = 32.0;
    let widest = super::widest(x);
    if widest.abs() < NOTHING {
        // The least number, as the reference has it where it goes on with other groups of the block.
        q.fill(-32);
        return 0.0;
    }
    let rounded = |inverse: f32, x: f32| nearest(inverse * x).clamp(-32, 31);
    let sums = |inverse: f32| {
        x.iter().fold((0.0_f32, 0.0_f32), |(sum_xq, sum_qq), &x| {
            let (w, q) = (x * x, rounded(inverse, x) as f32);
            (sum_xq + w * x * q, sum_qq + w * q * q)
        })
    };
    let mut take = |inverse: f32| {
        for (q, &x) in q.iter_mut().zip(x) {
            *q = rounded(inverse, x);
        }
    };
    let inverse = -MOST / widest;
    take(inverse);
    let (sum_xq, sum_qq) = sums(inverse);
    let mut scale = if sum_qq == 0.0 { 0.0 } else { sum_xq / sum_qq };
    let mut best = scale * sum_xq;
    for step in (-9_i32..=9).filter(|&step| step != 0) {
        let inverse = -(MOST + 0.1 * step as f32) / widest;
        let (sum_xq, sum_qq) = sums(inverse);
        if sum_qq > 0.0 && sum_xq * sum_xq > best * sum_qq {
            take(inverse);
            scale = sum_xq / sum_qq;
            best = scale * sum_xq;
        }
    }
    scale
}

/// The nearest whole number, of two the even one.
fn nearest(value: f32) -> i32 {
    value.round_ties_even() as i32
}
