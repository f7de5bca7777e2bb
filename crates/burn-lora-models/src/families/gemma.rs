//! Gemma, Gemma 2 and Gemma 3.
//!
//! All multiply the embedding with the root of its width, scale norms by `1 + w`, gate by GELU, and have heads whose
//! width is stated. Gemma 2 has norms after both halves of a block too, soft caps on scores and logits, a scale of
//! scores of its own, and a window in every other block.
//!
//! Left out: bidirectional attention (refused).

mod second;
mod third;

use serde::Deserialize;

pub use second::{Gemma2, Gemma2Config, Gemma2ForCausalLM};
pub use third::{Gemma3, Gemma3Config, Gemma3ForCausalLM};

use crate::activation::Activation;
use crate::config::{Checked, Problems};
use crate::decoder::gated::{
    Blueprint, Gate, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, NormScale,
};

/// What a Gemma's `config.json` means, checked.
pub type GemmaConfig = Checked<GatedKeys<Gemma>>;
/// A Gemma with its head.
pub type GemmaForCausalLM = GatedForCausalLM<GatedKeys<Gemma>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Gemma {
    hidden_act: String,
    hidden_activation: Option<String>,
    use_bidirectional_attention: Option<bool>,
}

impl Default for Gemma {
    fn default() -> Self {
        Self {
            hidden_act: "gelu_pytorch_tanh".into(),
            hidden_activation: None,
            use_bidirectional_attention: None,
        }
    }
}

impl GatedFamily for Gemma {
    const MODEL_TYPES: &'static [&'static str] = &["gemma"];
    const DEFAULTS: GatedDefaults = GatedDefaults { num_key_value_heads: Some(16), ..DEFAULTS };

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        amend(blueprint);
        both_ways(self.use_bidirectional_attention, problems);
        // The first published files say `gelu` and mean its approximation; some repeat what they mean.
        let (key, act) = match &self.hidden_activation {
            Some(act) => ("hidden_activation", act),
            None => ("hidden_act", &self.hidden_act),
        };
        blueprint.gate = match (key, act.as_str()) {
            ("hidden_act", "gelu") => Gate::Activation(Activation::GeluTanh),
            _ => Gate::Activation(problems.take(Activation::parse(key, act))),
        };
    }
}

/// What the `config.json` of all may leave out.
const DEFAULTS: GatedDefaults = GatedDefaults {
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    rope_theta: 10_000.0,
    num_key_value_heads: None,
    head_dim: Some(256),
};

/// What all have.
fn amend(blueprint: &mut Blueprint) {
    blueprint.norm_scale = NormScale::OnePlusWeight;
    blueprint.embedding_scale = Some((blueprint.d as f64).sqrt());
}

fn both_ways(use_bidirectional_attention: Option<bool>, problems: &mut Problems) {
    if use_bidirectional_attention == Some(true) {
        problems.add("`use_bidirectional_attention` is true: only causal attention is supported");
    }
}
