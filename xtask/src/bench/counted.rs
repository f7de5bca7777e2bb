//! Parameters counted on the shape of a published model, without weights: what an adapter would train of how many.

use burn_lora_patch::LoraConfig;

use super::matrix::Shape;

/// A published model and an adapter.
pub struct Counted {
    config: &'static str,
    rank: usize,
    targets: &'static [&'static str],
}

impl Counted {
    /// Trained parameters, and all of them with the adapter's.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with the shape.
    pub fn counts(&self) -> Result<(u64, u64), String> {
        let Self { config, rank, targets } = *self;
        let shape = Shape::parse(config, "config.json".as_ref())?;
        let patching = LoraConfig::new(rank).with_alpha(rank as f64).with_targets(targets);
        let report = shape.planned(&patching)?;
        Ok((report.trainable() as u64, report.total() as u64))
    }
}

/// PEFT's documentation trains this one.
pub const BLOOM_560M: Counted = Counted {
    config: r#"{"model_type": "bloom", "vocab_size": 250880, "hidden_size": 1024, "n_layer": 24,
        "n_head": 16}"#,
    rank: 8,
    targets: &["query_key_value"],
};

/// The LoRA paper's GPT-2 M.
pub const GPT2_MEDIUM: Counted = Counted {
    config: r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 1024,
        "n_layer": 24, "n_head": 16}"#,
    rank: 4,
    targets: &["c_attn"],
};

/// The LoRA paper's GPT-2 L.
pub const GPT2_LARGE: Counted = Counted {
    config: r#"{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 1280,
        "n_layer": 36, "n_head": 20}"#,
    rank: 4,
    targets: &["c_attn"],
};
