//! Functions over rows, compiled for the widest vectors that the processor has.
//!
//! Plain loops, which the compiler vectorises: sums and maxima run in a fixed number of lanes, so
//! that a result depends on neither the processor nor the number of threads, and [`exp`] is a
//! polynomial without branches instead of a call of the C library.

/// Lanes of a reduction: two of the widest registers in use.
const LANES: usize = 16;

/// Runs an expression, which should be loops, in code for the widest vectors at hand.
///
/// A macro, because only what is inlined is compiled for them: a closure that the compiler leaves a function of its own, or a function that
/// the loops call, runs in code for any x86-64. What is called has to be `#[inline(always)]`, too.
#[macro_export]
macro_rules! vectorised {
    ($loops:expr) => {
        $crate::vector::dispatched(
            #[inline(always)]
            || $loops,
        )
    };
}

/// What [`vectorised!`] calls, with a closure that is inlined always.
#[doc(hidden)]
#[inline(always)]
pub fn dispatched<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// `e^x`, within 2 units in the last place; 0 below -87.3 (where f32 turns subnormal), infinity
/// above 88.7, NaN for NaN.
///
/// After Cephes' `expf`: `x = n ln 2 + r`, a polynomial in `r`, and `n` added to the exponent.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding it rounds to a whole number, which its low bits then hold.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let p = p * r * r + r + 1.0;
    // n is within -126..=128 where it counts. Half of it at a time: 2^128 is no f32.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let y = p * power(half) * power(n.wrapping_sub(half));
    let y = if x > 88.72 { f32::INFINITY } else { y };
    let y = if x < -87.3 { 0.0 } else { y };
    if x.is_nan() { x } else { y }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, within 1e-6 of its value: near 0 the first terms of its series, else by [`exp`].
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut series = 62.0 / 2835.0;
    for coefficient in [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
        series = series * square + coefficient;
    }
    let near = x + x * square * series;
    let far = 1.0 - 2.0 / (1.0 + exp(2.0 * x));
    if x.abs() < 0.25 { near } else { far }
}

/// The largest value; negative infinity of nothing. NaN is passed over.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    reduce(x, f32::NEG_INFINITY, |best, value| if value > best { value } else { best })
}

/// The sum.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    reduce(x, 0.0, |sum, value| sum + value)
}

/// The sum of products of two rows of one length.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let (x, x_tail) = x.as_chunks::<LANES>();
    let (y, y_tail) = y.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    let tail: f32 = x_tail.iter().zip(y_tail).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

/// The sum of products of the entries of three rows of one length, the first two of each multiplied first.
#[inline(always)]
pub fn dot_of_three(x: &[f32], y: &[f32], z: &[f32]) -> f32 {
    let (x, x_tail) = x.as_chunks::<LANES>();
    let (y, y_tail) = y.as_chunks::<LANES>();
    let (z, z_tail) = z.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for ((x, y), z) in x.iter().zip(y).zip(z) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * y[lane] * z[lane];
        }
    }
    let tail: f32 = x_tail.iter().zip(y_tail).zip(z_tail).map(|((x, y), z)| x * y * z).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Replaces each value by `e^(x - shift)` and gives their sum.
#[inline(always)]
pub fn exp_sum(x: &mut [f32], shift: f32) -> f32 {
    for value in x.iter_mut() {
        *value = exp(*value - shift);
    }
    sum(x)
}

/// Adds to each value the one at its place.
#[inline(always)]
pub fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(value, more)| *value += more);
}

/// Multiplies each value.
#[inline(always)]
pub fn scale(x: &mut [f32], by: f32) {
    for value in x {
        *value *= by;
    }
}

#[inline(always)]
fn reduce(x: &[f32], start: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = join(lanes[lane], chunk[lane]);
        }
    }
    let lanes = lanes.into_iter().fold(start, &join);
    tail.iter().copied().fold(lanes, &join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_of_the_last_place() {
        let mut x = -87.29_f32;
        while x < 88.7 {
            let expected = f64::from(x).exp();
            // The spacing of f32 at the value: 2^-23 of the power of two below it.
            let unit = expected.log2().floor().exp2() * 2_f64.powi(-23);
            let off = (f64::from(exp(x)) - expected).abs() / unit;
            assert!(off <= 2.0, "exp({x}) is {off:.2} units off");
            assert_eq!(exp(x), vectorised!(exp(x)));
            x += 0.0137;
        }
    }

    #[test]
    fn tanh_is_close_to_its_value_and_odd_at_the_ends() {
        let mut x = -20.0_f32;
        while x < 20.0 {
            let expected = f64::from(x).tanh();
            let off = (f64::from(tanh(x)) - expected).abs();
            assert!(off <= 1e-6 * expected.abs(), "tanh({x}) is off by {off}");
            x += 0.0037;
        }
        assert_eq!((tanh(0.0), tanh(-1e30), tanh(1e30)), (0.0, -1.0, 1.0));
        assert_eq!((tanh(1e-20), tanh(f32::INFINITY)), (1e-20, 1.0));
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(90.0), f32::INFINITY);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((sigmoid(0.0), sigmoid(-200.0), sigmoid(200.0)), (0.5, 0.0, 1.0));
    }

    #[test]
    fn reductions_take_every_element_once() {
        for count in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..count).map(|i| i as f32 - 40.0).collect();
            assert_eq!(sum(&x), x.iter().sum::<f32>());
            assert_eq!(dot(&x, &x), x.iter().map(|x| x * x).sum::<f32>());
            let twos = vec![2.0; count];
            assert_eq!(dot_of_three(&x, &twos, &x), 2.0 * dot(&x, &x));
            let expected = x.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(max(&x), expected);
            let mut shifted = vec![3.0; count];
            assert_eq!(exp_sum(&mut shifted, 3.0), count as f32);
        }
    }
}
