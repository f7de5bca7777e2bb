//! Normal numbers out of uniform ones (Box and Muller 1958), many at a time.
//!
//! Logarithm, sine and cosine are polynomials without branches, in `f64`, which the compiler vectorises: the C library's took most of the
//! time in which a model of random weights was made. What is rounded to `f32` has the bits of theirs but for one number in millions, which is the
//! next one.

/// `std √(-2 ln (1 - u))` times the cosine and the sine of `2π v`, for each two words `u` and `v` of 64 bits, whose upper 53 are a number in
/// `[0, 1)`.
///
/// # Panics
///
/// Where there are more words than values.
pub fn normal(words: &[u64], std: f64, values: &mut [f32]) {
    assert!(words.len() <= values.len(), "a word without a value");
    #[cfg(feature = "flex")]
    crate::vectorised!(pairs(words, std, values));
    #[cfg(not(feature = "flex"))]
    pairs(words, std, values);
}

#[inline(always)]
fn pairs(words: &[u64], std: f64, values: &mut [f32]) {
    for (pair, both) in words.chunks_exact(2).zip(values.chunks_exact_mut(2)) {
        let [u, v] = [unit(pair[0]), unit(pair[1])];
        // 1 - u is in (0, 1], so that its logarithm is finite.
        let radius = std * (-2.0 * ln(1.0 - u)).sqrt();
        let [sin, cos] = sin_cos(std::f64::consts::TAU * v);
        both[0] = (radius * cos) as f32;
        both[1] = (radius * sin) as f32;
    }
}

/// The upper 53 bits of a word as a number in `[0, 1)`.
#[inline(always)]
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// The natural logarithm of a normal number from 2^-1022 to 1.
///
/// `x = 2^e m` with m about 1, and `ln m = 2 artanh((m - 1) / (m + 1))` by its series.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    // Numbers of 52 bits in the low places of 2^52's mantissa.
    const WHOLE: u64 = 0x433 << 52;
    let [one, root] = [1.0_f64, std::f64::consts::FRAC_1_SQRT_2].map(f64::to_bits);
    // The exponent goes up where the mantissa is √2 or more.
    let bits = x.to_bits() + (one - root);
    let exponent = f64::from_bits(bits >> 52 | WHOLE) - f64::from_bits(WHOLE) - 1023.0;
    let m = f64::from_bits((bits & MANTISSA) + root);
    // At most 0.172: ten terms.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 1.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = series * square + 1.0 / odd;
    }
    exponent * std::f64::consts::LN_2 + 2.0 * (s + s * square * series)
}

/// Sine and cosine of an angle from 0 to 2π: by Taylor's series of what is left beside whole quarters of a turn, at most π/4.
#[inline(always)]
fn sin_cos(angle: f64) -> [f64; 2] {
    // A quarter of a turn, of 33 bits, so that a few of them are exact, and what is missing.
    const QUARTER: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
    const REST: f64 = 6.077_100_506_506_192e-11;
    let quarters = (angle * std::f64::consts::FRAC_2_PI).round_ties_even();
    let x = angle - quarters * QUARTER - quarters * REST;
    let square = x * x;
    let (mut sine, mut cosine) = (1.0, 1.0);
    for n in [16.0, 14.0, 12.0, 10.0, 8.0, 6.0, 4.0, 2.0] {
        sine = 1.0 - square * (1.0 / (n * (n + 1.0))) * sine;
        cosine = 1.0 - square * (1.0 / (n * (n - 1.0))) * cosine;
    }
    let sine = x * sine;
    let is_odd = quarters == 1.0 || quarters == 3.0;
    let [sin, cos] = if is_odd { [cosine, sine] } else { [sine, cosine] };
    let sin = if quarters == 2.0 || quarters == 3.0 { -sin } else { sin };
    let cos = if quarters == 1.0 || quarters == 2.0 { -cos } else { cos };
    [sin, cos]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that differ in all of their bits: SplitMix64's.
    fn words(count: u64) -> Vec<u64> {
        let mixed = |n: u64| {
            let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ n >> 31
        };
        (1..=count).map(mixed).collect()
    }

    /// The same by the C library's functions.
    fn by_library([u, v]: [u64; 2], std: f64) -> [f32; 2] {
        let radius = std * (-2.0 * (1.0 - unit(u)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit(v)).sin_cos();
        [(radius * cos) as f32, (radius * sin) as f32]
    }

    /// Distance of two numbers of one sign in units of the last place.
    fn apart(a: f32, b: f32) -> u32 {
        a.to_bits().abs_diff(b.to_bits())
    }

    #[test]
    fn numbers_are_the_librarys_but_for_a_last_bit_in_millions() {
        let mut words = words(4_000_000);
        // The ends of both intervals, the quarters of a turn, and their neighbours.
        let places = [0, 1 << 62, 1 << 63, 3 << 62, 1 << 61, 3 << 61, 5 << 61, 7 << 61];
        let edges = places.into_iter().flat_map(|place: u64| {
            [place, place.wrapping_add(1 << 11), place.wrapping_sub(1 << 11)]
        });
        let edges: Vec<u64> = edges.collect();
        words.extend(edges.iter().flat_map(|&u| edges.iter().flat_map(move |&v| [u, v])));
        let mut values = vec![f32::NAN; words.len()];
        normal(&words, 0.02, &mut values);
        let mut others = 0;
        for (pair, words) in values.as_chunks::<2>().0.iter().zip(words.as_chunks::<2>().0) {
            let expected = by_library(*words, 0.02);
            for (value, expected) in pair.iter().zip(expected) {
                others += usize::from(*value != expected);
                // A sine near 0 is as exact as its angle: 2π in f64.
                let close = (value - expected).abs() < 1e-16 || apart(*value, expected) <= 1;
                assert!(close, "{words:?}: {value} for {expected}");
            }
        }
        assert!(others <= 4, "{others} of {} are others", values.len());
    }

    #[test]
    fn functions_are_within_some_last_places_of_f64() {
        for word in words(100_000) {
            let u = 1.0 - unit(word);
            let (logarithm, expected) = (ln(u), u.ln());
            assert!((logarithm - expected).abs() <= 4e-16 * expected.abs(), "ln {u}: {logarithm}");
            let angle = std::f64::consts::TAU * unit(word);
            let ([sin, cos], expected) = (sin_cos(angle), angle.sin_cos());
            assert!((sin - expected.0).abs() < 3e-16, "sin {angle}: {sin}");
            assert!((cos - expected.1).abs() < 3e-16, "cos {angle}: {cos}");
        }
        assert_eq!((ln(1.0), ln(0.5)), (0.0, 0.5_f64.ln()));
    }

    /// Whoever draws in parts has the same numbers.
    #[test]
    fn numbers_depend_on_their_words_alone() {
        let words = words(1000);
        let (mut whole, mut parts) = (vec![0.0; 1000], vec![0.0; 1000]);
        normal(&words, 1.0, &mut whole);
        for (words, values) in words.chunks(6).zip(parts.chunks_mut(6)) {
            normal(words, 1.0, values);
        }
        assert_eq!(whole, parts);
    }
}
