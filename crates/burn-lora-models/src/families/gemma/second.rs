//! Gemma 2.

use serde::Deserialize;

use super::{DEFAULTS, amend, both_ways};
use crate::activation::Activation;
use crate::config::{Checked, Problems};
use crate::decoder::gated::{
    Blueprint, Gate, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, GatedNorms,
    LayerTypes,
};

/// What a Gemma 2's `config.json` means, checked.
pub type Gemma2Config = Checked<GatedKeys<Gemma2>>;
/// A Gemma 2 with its head.
pub type Gemma2ForCausalLM = GatedForCausalLM<GatedKeys<Gemma2>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Gemma2 {
    hidden_activation: String,
    use_bidirectional_attention: Option<bool>,
    query_pre_attn_scalar: f64,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
}

impl Default for Gemma2 {
    fn default() -> Self {
        Self {
            hidden_activation: "gelu_pytorch_tanh".into(),
            use_bidirectional_attention: None,
            query_pre_attn_scalar: 256.0,
            attn_logit_softcapping: Some(50.0),
            final_logit_softcapping: Some(30.0),
            sliding_window: Some(4096),
            layer_types: None,
        }
    }
}

impl GatedFamily for Gemma2 {
    const MODEL_TYPES: &'static [&'static str] = &["gemma2"];
    const DEFAULTS: GatedDefaults = GatedDefaults { num_key_value_heads: Some(4), ..DEFAULTS };

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        amend(blueprint);
        both_ways(self.use_bidirectional_attention, problems);
        let act = Activation::parse("hidden_activation", &self.hidden_activation);
        blueprint.gate = Gate::Activation(problems.take(act));
        blueprint.norms = GatedNorms::Around;
        problems.positive("query_pre_attn_scalar", self.query_pre_attn_scalar);
        let caps = [
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ];
        for (key, cap) in caps {
            problems.positive(key, cap.unwrap_or(1.0));
        }
        blueprint.logit_cap = self.final_logit_softcapping;
        for plan in &mut blueprint.layers {
            plan.scores.scale = self.query_pre_attn_scalar.powf(-0.5);
            plan.scores.cap = self.attn_logit_softcapping;
        }
        // Where nothing says which, the first block has a window, and every other one from there.
        let types = LayerTypes { types: self.layer_types.as_deref(), window: self.sliding_window };
        types.apply(&mut blueprint.layers, |index| index % 2 == 0, problems);
    }
}
