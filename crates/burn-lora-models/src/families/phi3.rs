//! Phi-3: queries, keys and values from one linear, gate and what it gates from another; rotary positions on a part of
//! each head, and a window, where a configuration says so.
//!
//! Left out: positions scaled for long contexts (`longrope`, refused by that name).

use serde::Deserialize;

use crate::config::{Checked, Problems};
use crate::decoder::gated::{
    Blueprint, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, LayerTypes, only_silu,
};

/// What a Phi-3's `config.json` means, checked.
pub type Phi3Config = Checked<GatedKeys<Phi3>>;
/// A Phi-3 with its head.
pub type Phi3ForCausalLM = GatedForCausalLM<GatedKeys<Phi3>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Phi3 {
    hidden_act: String,
    partial_rotary_factor: Option<f64>,
    resid_pdrop: f64,
    sliding_window: Option<usize>,
}

impl Default for Phi3 {
    fn default() -> Self {
        Self {
            hidden_act: "silu".into(),
            partial_rotary_factor: None,
            resid_pdrop: 0.0,
            sliding_window: None,
        }
    }
}

impl GatedFamily for Phi3 {
    const MODEL_TYPES: &'static [&'static str] = &["phi3"];
    const DEFAULTS: GatedDefaults = GatedDefaults {
        rms_norm_eps: 1e-5,
        tie_word_embeddings: false,
        rope_theta: 10_000.0,
        num_key_value_heads: None,
        head_dim: None,
    };
    const PARTIAL: bool = true;

    fn turning_share(&self) -> Option<f64> {
        self.partial_rotary_factor
    }

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        only_silu(&self.hidden_act, problems);
        problems.probabilities([("resid_pdrop", Some(self.resid_pdrop))]);
        blueprint.fused = true;
        // No key gives it biases.
        (blueprint.qkv_bias, blueprint.o_bias) = (false, false);
        blueprint.residual_dropout = self.resid_pdrop;
        let types = LayerTypes { types: None, window: self.sliding_window };
        types.apply(&mut blueprint.layers, |_| self.sliding_window.is_some(), problems);
    }
}
