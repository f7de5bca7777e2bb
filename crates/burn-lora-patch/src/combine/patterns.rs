//! What each layer's change is multiplied with, by the patterns of an adapter's configuration.

use std::path::Path;

use burn_lora::AdapterConfig;

use super::CombineProblem;
use crate::pattern::Pattern;
use crate::peft::PeftConfig;

/// The scale of every layer: alpha is that of the first pattern that fits its path, or else the one for all; the rank is
/// the tensors'.
#[derive(Debug, Clone)]
pub struct Scales {
    patterns: Vec<(Pattern, f64)>,
    alpha: f64,
    rslora: bool,
}

impl Scales {
    /// Of a configuration; `dir` is for the errors.
    ///
    /// # Errors
    ///
    /// A pattern that is no regular expression, or stands for no number.
    pub fn of(config: &PeftConfig, dir: &Path) -> Result<Self, CombineProblem> {
        let mut patterns = Vec::with_capacity(config.alpha_pattern.len());
        for (pattern, alpha) in &config.alpha_pattern {
            let failed = |reason: String| CombineProblem::Pattern {
                dir: dir.to_owned(),
                pattern: pattern.clone(),
                reason,
            };
            let alpha = alpha.as_f64().ok_or_else(|| failed(format!("{alpha} is no number")))?;
            let pattern = Pattern::of_layers(pattern).map_err(failed)?;
            patterns.push((pattern, alpha));
        }
        Ok(Self { patterns, alpha: config.lora_alpha, rslora: config.use_rslora })
    }

    /// The numerator of a layer's scale.
    pub fn alpha(&self, layer: &str) -> f64 {
        let found = self.patterns.iter().find(|(pattern, _)| pattern.is_match(layer));
        found.map_or(self.alpha, |(_, alpha)| *alpha)
    }

    /// `alpha / rank`, or `alpha / √rank` with rsLoRA.
    pub fn of_layer(&self, layer: &str, rank: usize) -> f64 {
        AdapterConfig::new(rank).with_alpha(self.alpha(layer)).with_rslora(self.rslora).scale()
    }
}
