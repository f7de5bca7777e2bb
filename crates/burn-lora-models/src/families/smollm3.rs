//! SmolLM3: blocks of Llama's, some of which know no positions.

use serde::Deserialize;

use crate::config::{Checked, Problems};
use crate::decoder::LayerPositions;
use crate::decoder::gated::{
    Blueprint, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, LayerPlan, LayerTypes,
    only_silu,
};

/// What a SmolLM3's `config.json` means, checked.
pub type SmolLM3Config = Checked<GatedKeys<SmolLM3>>;
/// A SmolLM3 with its head.
pub type SmolLM3ForCausalLM = GatedForCausalLM<GatedKeys<SmolLM3>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SmolLM3 {
    hidden_act: String,
    mlp_bias: bool,
    no_rope_layers: Option<Vec<usize>>,
    no_rope_layer_interval: usize,
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
}

impl Default for SmolLM3 {
    fn default() -> Self {
        Self {
            hidden_act: "silu".into(),
            mlp_bias: false,
            no_rope_layers: None,
            no_rope_layer_interval: 4,
            use_sliding_window: false,
            sliding_window: None,
            layer_types: None,
        }
    }
}

impl GatedFamily for SmolLM3 {
    const MODEL_TYPES: &'static [&'static str] = &["smollm3"];
    const DEFAULTS: GatedDefaults = GatedDefaults {
        rms_norm_eps: 1e-6,
        tie_word_embeddings: true,
        rope_theta: 2_000_000.0,
        num_key_value_heads: Some(4),
        head_dim: None,
    };

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        only_silu(&self.hidden_act, problems);
        blueprint.mlp_bias = self.mlp_bias;
        let blocks = blueprint.layers.len();
        match &self.no_rope_layers {
            Some(of_blocks) if of_blocks.len() < blocks => problems.add(format!(
                "`no_rope_layers` has {} entries, `num_hidden_layers` is {blocks}",
                of_blocks.len()
            )),
            None if self.no_rope_layer_interval == 0 => {
                problems.add("`no_rope_layer_interval` is 0: at least 1 is needed");
            }
            _ => {
                for (index, plan) in blueprint.layers.iter_mut().enumerate() {
                    // The list says 1 where there are positions.
                    let knows = match &self.no_rope_layers {
                        Some(of_blocks) => of_blocks[index] != 0,
                        None => !(index + 1).is_multiple_of(self.no_rope_layer_interval),
                    };
                    if !knows {
                        plan.positions = LayerPositions::Unknown;
                    }
                }
            }
        }
        let unknown = |plan: &LayerPlan| plan.positions == LayerPositions::Unknown;
        let unknown: Vec<bool> = blueprint.layers.iter().map(unknown).collect();
        let types = LayerTypes { types: self.layer_types.as_deref(), window: self.sliding_window };
        let slides = self.use_sliding_window && self.sliding_window.is_some();
        types.apply(&mut blueprint.layers, |index| slides && unknown[index], problems);
    }
}
