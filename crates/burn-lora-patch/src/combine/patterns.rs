//! What each layer's change is multiplied with, by the patterns of an adapter's configuration.

use std::path::Path;

use burn_lora::AdapterConfig;
use serde_json::{Map, Value};

use super::CombineProblem;
use crate::pattern::Pattern;
use crate::peft::PeftConfig;

/// The scale of every layer: alpha and rank are those of the first pattern that fits its path, or else the ones for all.
#[derive(Debug, Clone)]
pub struct Scales {
    alphas: Vec<(Pattern, f64)>,
    alpha: f64,
    ranks: Vec<(Pattern, usize)>,
    rank: usize,
    rslora: bool,
}

impl Scales {
    /// Of a configuration; `dir` is for the errors.
    ///
    /// # Errors
    ///
    /// A pattern that is no regular expression, or stands for no number.
    pub fn of(config: &PeftConfig, dir: &Path) -> Result<Self, CombineProblem> {
        let alphas = numbers(("alpha_pattern", &config.alpha_pattern), Value::as_f64, dir)?;
        let whole = |rank: &Value| usize::try_from(rank.as_u64()?).ok();
        let ranks = numbers(("rank_pattern", &config.rank_pattern), whole, dir)?;
        Ok(Self {
            alphas,
            alpha: config.lora_alpha,
            ranks,
            rank: config.r,
            rslora: config.use_rslora,
        })
    }

    /// The numerator of a layer's scale.
    pub fn alpha(&self, layer: &str) -> f64 {
        first(&self.alphas, layer).unwrap_or(self.alpha)
    }

    /// A layer's rank, as the configuration says.
    pub fn rank(&self, layer: &str) -> usize {
        first(&self.ranks, layer).unwrap_or(self.rank)
    }

    /// `alpha / rank`, or `alpha / √rank` with rsLoRA, of the rank that a layer's factors have.
    pub fn of_layer(&self, layer: &str, rank: usize) -> f64 {
        AdapterConfig::new(rank).with_alpha(self.alpha(layer)).with_rslora(self.rslora).scale()
    }
}

/// What the first pattern that fits the path stands for.
fn first<T: Copy>(patterns: &[(Pattern, T)], layer: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(layer)).map(|(_, number)| *number)
}

fn numbers<T>(
    (key, patterns): (&'static str, &Map<String, Value>),
    number: impl Fn(&Value) -> Option<T>,
    dir: &Path,
) -> Result<Vec<(Pattern, T)>, CombineProblem> {
    let of = |(pattern, value): (&String, &Value)| {
        let failed = |reason: String| CombineProblem::Pattern {
            dir: dir.to_owned(),
            key,
            pattern: pattern.clone(),
            reason,
        };
        let number = number(value).ok_or_else(|| failed(format!("{value} is no such number")))?;
        Ok((Pattern::of_layers(pattern).map_err(failed)?, number))
    };
    patterns.iter().map(of).collect()
}
