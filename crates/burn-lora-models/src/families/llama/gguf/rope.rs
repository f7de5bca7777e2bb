//! Llama 3's scaled rotary positions: from the factors in a file back to the setting behind them.
//!
//! A `config.json` has the setting: `factor`, `low_freq_factor` and so on. Conversion to GGUF computes
//! from it what each pair's frequency is divided by, stores that as a tensor, and drops the setting. It
//! is put together again here, the factors are computed from it, and only where all of them
//! agree is it taken: so a model from a file is saved with a `config.json` that means the same.

use serde_json::{Value as Json, json};

use crate::decoder::rope::{RopeConfig, RopeScaling};

/// The tensor: a factor for each pair of a head, fastest pair first.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// What every Llama from 3.1 on has, with a `factor` of its own.
const LOW_FREQ_FACTOR: f64 = 1.0;
const HIGH_FREQ_FACTOR: f64 = 4.0;
/// Conversion takes this number, too, whatever the setting says.
const ORIGINAL_MAX_POSITION_EMBEDDINGS: u32 = 8192;

/// How far a factor may be from the one computed, relative to it. Conversion computes in f32, which
/// costs up to 3e-6.
const TOLERANCE: f64 = 2e-5;

/// The setting that has these factors; nothing where there is none that Llama 3 could have.
pub(super) fn recognised(factors: &[f32], theta: f64) -> Option<RopeConfig> {
    let plain = RopeConfig { theta, scaling: None };
    // The slowest pair's is the setting's own; in decimal, as it was written.
    let factor = factors.last().and_then(|factor| factor.to_string().parse().ok()).unwrap_or(1.0);
    let llama3 = RopeConfig {
        theta,
        scaling: (factor > 1.0).then_some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: LOW_FREQ_FACTOR,
            high_freq_factor: HIGH_FREQ_FACTOR,
            original_max_position_embeddings: ORIGINAL_MAX_POSITION_EMBEDDINGS.into(),
        }),
    };
    let head_dim = 2 * factors.len();
    let fits = |known: &RopeConfig| {
        let scaled = known.frequencies(head_dim);
        plain.frequencies(head_dim).into_iter().zip(scaled).zip(factors).all(
            |((plain, scaled), &factor)| {
                // Written so that NaN does not fit.
                (f64::from(factor) * scaled / plain - 1.0).abs() <= TOLERANCE
            },
        )
    };
    [plain, llama3].into_iter().find(fits)
}

/// As `rope_scaling` of a `config.json`.
pub(super) fn rope_scaling(scaling: RopeScaling) -> Json {
    match scaling {
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            // A whole number, which transformers insists on.
            "original_max_position_embeddings": original_max_position_embeddings as u64,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    const THETA: f64 = 5e5;

    fn llama3(factor: f64) -> RopeConfig {
        let scaling = RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192.0,
        };
        RopeConfig { theta: THETA, scaling: Some(scaling) }
    }

    /// By wavelengths, as Llama 3's authors wrote it.
    fn by_definition(head_dim: usize, factor: f64, low: f64, high: f64) -> Vec<f64> {
        let (longest, shortest) = (8192.0 / low, 8192.0 / high);
        (0..head_dim / 2)
            .map(|pair| 2.0 * PI * THETA.powf(2.0 * pair as f64 / head_dim as f64))
            .map(|wavelength| match wavelength {
                fast if fast < shortest => 1.0,
                slow if slow > longest => factor,
                between => {
                    let smooth = (8192.0 / between - low) / (high - low);
                    1.0 / ((1.0 - smooth) / factor + smooth)
                }
            })
            .collect()
    }

    fn rounded(factors: &[f64]) -> Vec<f32> {
        factors.iter().map(|&factor| factor as f32).collect()
    }

    /// What llama.cpp's conversion comes to in f32, computed with PyTorch 2.11: ones, these, then
    /// `factor`.
    const CONVERTED: [(usize, f32, usize, &[f32]); 2] = [
        (64, 32.0, 15, &[1.651_329_3, 3.292_262_8, 9.666_731]),
        (128, 8.0, 29, &[1.207_483_9, 1.553_414_6, 2.026_313, 2.694_53, 3.684_253_2, 5.257_327]),
    ];

    fn converted((head_dim, factor, ones, between): (usize, f32, usize, &[f32])) -> Vec<f32> {
        let mut factors = vec![1.0; ones];
        factors.extend(between);
        factors.resize(head_dim / 2, factor);
        factors
    }

    #[test]
    fn the_factors_of_a_conversion_lead_back_to_llama_3() {
        for known in CONVERTED {
            let factors = converted(known);
            let found = recognised(&factors, THETA).unwrap();
            assert_eq!(found, llama3(known.1.into()));
            for (converted, exact) in
                factors.iter().zip(by_definition(known.0, known.1.into(), 1.0, 4.0))
            {
                assert!((f64::from(*converted) / exact - 1.0).abs() < 3e-6);
            }
        }
    }

    #[test]
    fn the_factors_divide_the_plain_frequencies_into_llama_3s() {
        for (head_dim, factor) in [(64, 32.0), (128, 8.0), (80, 2.5)] {
            let factors = by_definition(head_dim, factor, 1.0, 4.0);
            let found = recognised(&rounded(&factors), THETA).unwrap();
            assert_eq!(found, llama3(factor));
            let plain = RopeConfig { theta: THETA, scaling: None }.frequencies(head_dim);
            for ((plain, scaled), factor) in
                plain.into_iter().zip(found.frequencies(head_dim)).zip(factors)
            {
                // f64 in another order of operations.
                assert!((plain / factor / scaled - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn factors_of_one_scale_nothing() {
        let found = recognised(&[1.0; 32], THETA).unwrap();
        assert_eq!(found, RopeConfig { theta: THETA, scaling: None });
    }

    #[test]
    fn other_factors_are_not_taken_for_llama_3s() {
        let good = converted(CONVERTED[0]);
        assert_eq!(recognised(&good, 1e4), None, "another base");
        assert_eq!(recognised(&rounded(&by_definition(64, 32.0, 1.0, 2.0)), THETA), None);
        assert_eq!(recognised(&rounded(&by_definition(64, 32.0, 2.0, 4.0)), THETA), None);
        assert_eq!(recognised(&[8.0; 32], THETA), None);
        for (pair, bad) in [
            (0, 1.001),
            (16, 3.2933),
            (16, f32::NAN),
            (20, 0.0),
            (31, 31.9),
            (31, -32.0),
            (31, 0.5),
        ] {
            let mut factors = good.clone();
            factors[pair] = bad;
            assert_eq!(recognised(&factors, THETA), None, "pair {pair}: {bad}");
        }
    }

    #[test]
    fn the_setting_is_written_as_transformers_writes_it() {
        let expected = json!({
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        });
        assert_eq!(llama3(32.0).scaling.map(rope_scaling), Some(expected));
    }
}
