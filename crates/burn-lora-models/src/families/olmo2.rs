//! OLMo 2: norms after both halves of a block and none before, and on queries and keys over all heads together.

use serde::Deserialize;

use crate::config::{Checked, Problems};
use crate::decoder::gated::{
    Blueprint, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, GatedNorms, HeadNorms,
    only_silu,
};

/// What an OLMo 2's `config.json` means, checked.
pub type Olmo2Config = Checked<GatedKeys<Olmo2>>;
/// An OLMo 2 with its head.
pub type Olmo2ForCausalLM = GatedForCausalLM<GatedKeys<Olmo2>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Olmo2 {
    hidden_act: String,
    clip_qkv: Option<f64>,
}

impl Default for Olmo2 {
    fn default() -> Self {
        Self { hidden_act: "silu".into(), clip_qkv: None }
    }
}

impl GatedFamily for Olmo2 {
    const MODEL_TYPES: &'static [&'static str] = &["olmo2"];
    const DEFAULTS: GatedDefaults = GatedDefaults {
        rms_norm_eps: 1e-5,
        tie_word_embeddings: false,
        rope_theta: 10_000.0,
        num_key_value_heads: None,
        head_dim: None,
    };

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        only_silu(&self.hidden_act, problems);
        if let Some(clip) = self.clip_qkv {
            problems.add(format!("`clip_qkv` is {clip}: not supported in this family"));
        }
        blueprint.norms = GatedNorms::After;
        blueprint.head_norms = HeadNorms::Whole;
    }
}
