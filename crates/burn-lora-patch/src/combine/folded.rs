//! An adapter whose layers have scales and ranks of their own, as one that has less to say: what is left unsaid goes into B.

use std::collections::BTreeMap;

use serde_json::Map;

use super::{CombineProblem, Scales, StoredAdapter, StoredLayer, targets};
use crate::peft::PeftConfig;

impl StoredAdapter {
    /// The same adapter with one rank and one scale for all layers: no patterns, no rsLoRA, and layers that are picked by
    /// name.
    ///
    /// One that is so already keeps its numbers. Otherwise each layer's scale goes into its B, so that the scale is 1, and
    /// zeros fill a layer up to the largest rank.
    pub fn with_one_scale(self) -> Self {
        let Self { dir, config, layers, whole } = self;
        let config = targets::by_name(config, &layers);
        let patterns = !config.rank_pattern.is_empty() || !config.alpha_pattern.is_empty();
        let same_rank = layers.values().all(|layer| layer.factors.rank == config.r);
        if same_rank && !patterns && !config.use_rslora {
            return Self { dir, config, layers, whole };
        }
        let layers = scaled(layers, |_| 1.0);
        Self { dir, ..Self::of(config, layers, whole) }
    }

    /// The same adapter with one alpha for all layers, whose scales are that over their own rank: no pattern of alphas, no
    /// rsLoRA.
    ///
    /// Where the layers' scales times their ranks are one number that f32 has, it is the alpha and B keeps its numbers.
    /// Otherwise the configuration's alpha stays and the rest of each scale goes into B. The alpha is never 0, which
    /// means something else to llama.cpp.
    ///
    /// # Errors
    ///
    /// A pattern that is no regular expression, or stands for no number.
    pub fn with_one_alpha(self) -> Result<Self, CombineProblem> {
        let Self { dir, config, layers, whole } = self;
        let scales = Scales::of(&config, &dir)?;
        let numerator = |path: &str, rank: usize| match config.use_rslora {
            true => scales.alpha(path) * (rank as f64).sqrt(),
            false => scales.alpha(path),
        };
        let mut numerators = layers.iter().map(|(path, layer)| numerator(path, layer.factors.rank));
        let first = numerators.next().unwrap_or(config.lora_alpha);
        let is_one = numerators.all(|other| other == first);
        let usable = |alpha: f64| (alpha as f32).is_normal();
        let alpha = match (is_one && usable(first), usable(config.lora_alpha)) {
            (true, _) => first,
            (false, true) => config.lora_alpha,
            (false, false) => 1.0,
        };
        // As one number in f32 says it, which is all that a file has.
        let alpha = f64::from(alpha as f32);
        let keeps = is_one && usable(first);
        let layers = match keeps {
            true => layers,
            false => scaled(layers, |rank| alpha / rank as f64),
        };
        let config = PeftConfig {
            lora_alpha: alpha,
            use_rslora: false,
            alpha_pattern: Map::new(),
            ..config
        };
        Ok(Self { dir, config, layers, whole })
    }
}

/// Every layer with the scale that goes with its rank.
fn scaled(
    layers: BTreeMap<String, StoredLayer>,
    scale: impl Fn(usize) -> f64,
) -> BTreeMap<String, StoredLayer> {
    let of_scale = |StoredLayer { place, factors }| {
        let scale = scale(factors.rank);
        StoredLayer { place, factors: factors.with_scale(scale) }
    };
    layers.into_iter().map(|(path, layer)| (path, of_scale(layer))).collect()
}
