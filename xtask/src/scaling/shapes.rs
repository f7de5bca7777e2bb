//! The models whose steps are drawn: published shapes, what of them is trained counted as a run counts it.

use std::path::Path;

use burn_lora_patch::LoraConfig;

use super::model::Work;
use crate::bench::matrix;

/// The rank of every adapter, on all linears.
pub const RANK: usize = 16;

/// Tokens a second of [`PUBLISHED`] on one H100: NVIDIA NeMo AutoModel, `docs/performance-summary.mdx` as of 2026-06-12, LoRA of rank 16
/// on all projections in bf16, micro-batches of 2 rows of 4,096 tokens.
pub const TOKENS_PER_SECOND: f64 = 12_473.0;
/// The model of which they are.
pub const PUBLISHED: &str = "Llama-3-8B";

/// Names, and their `config.json`.
const CONFIGS: [(&str, &str); 3] = [
    ("Llama-3.2-1B", include_str!("../gpu/models/llama-3.2-1b.json")),
    (PUBLISHED, include_str!("models/llama-3-8b.json")),
    ("Llama-3-70B", include_str!("models/llama-3-70b.json")),
];

/// A model with an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// Parameters of the base.
    pub parameters: usize,
    /// What is trained, and how fast on one rank.
    pub work: Work,
}

/// All of them.
///
/// # Errors
///
/// What the model's configuration or the targets say.
pub fn all() -> Result<Vec<Shape>, String> {
    let counted = |&(name, json): &(&'static str, &str)| -> Result<_, String> {
        let shape = matrix::Shape::parse(json, Path::new(name))?;
        let report = shape.planned(&LoraConfig::new(RANK))?;
        Ok((name, report.total() - report.trainable(), report.trainable()))
    };
    let counted: Vec<(&str, usize, usize)> =
        CONFIGS.iter().map(counted).collect::<Result<_, _>>()?;
    let published = counted.iter().find(|(name, ..)| *name == PUBLISHED);
    let published = published.map_or(1, |(_, parameters, _)| *parameters);
    let shape = |(name, parameters, trained): (&'static str, usize, usize)| {
        let share = parameters as f64 / published as f64;
        let work = Work { trained, seconds_per_token: share / TOKENS_PER_SECOND };
        Shape { name, parameters, work }
    };
    Ok(counted.into_iter().map(shape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published numbers of parameters. Of a layer of 8B, 16 columns and rows of seven linears: 4096 to 4096 twice, 4096 to 1024
    /// twice, 4096 to 14336 three times either way.
    #[test]
    fn parameters_are_the_published_ones_and_what_is_trained_is_counted_by_hand() {
        let shapes = all().unwrap();
        let parameters: Vec<usize> = shapes.iter().map(|shape| shape.parameters).collect();
        assert_eq!(parameters, [1_235_814_400, 8_030_261_248, 70_553_706_496]);
        let of_8b = 32 * 16 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336));
        let trained: Vec<usize> = shapes.iter().map(|shape| shape.work.trained).collect();
        assert_eq!(trained, [11_272_192, of_8b, 207_093_760]);
        let second = 1.0 / shapes[1].work.seconds_per_token;
        assert!((second - TOKENS_PER_SECOND).abs() < 1e-6, "{second}");
    }
}
