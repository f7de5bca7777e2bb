//! Gemma 3, what it does with text: norms on queries and keys, and blocks with a window, which go by rotary positions
//! of their own, before each block that sees all.
//!
//! A model that reads images too (`model_type` `gemma3`) has the same decoder among its parts: its `text_config` is the
//! configuration, and the tensors of its other parts are passed over. Saved, it is a model of text.
//!
//! Left out: images; a soft cap of scores, which transformers' code does not compute (refused).

mod gguf;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{DEFAULTS, amend, both_ways};
use crate::activation::Activation;
use crate::config::{Checked, Problems};
use crate::decoder::LayerPositions;
use crate::decoder::gated::{
    Blueprint, Gate, GatedDefaults, GatedFamily, GatedForCausalLM, GatedKeys, GatedNorms,
    HeadNorms, LayerTypes, is_of_frequencies,
};
use crate::decoder::rope::RopeScaling;
use crate::gguf::GgufFamily;

/// What a Gemma 3's `config.json` means, checked.
pub type Gemma3Config = Checked<GatedKeys<Gemma3>>;
/// A Gemma 3 with its head.
pub type Gemma3ForCausalLM = GatedForCausalLM<GatedKeys<Gemma3>>;

/// Its own keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct Gemma3 {
    hidden_activation: String,
    use_bidirectional_attention: Option<bool>,
    query_pre_attn_scalar: f64,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    saved_pattern: Option<usize>,
    rope_local_base_freq: f64,
}

impl Default for Gemma3 {
    fn default() -> Self {
        Self {
            hidden_activation: "gelu_pytorch_tanh".into(),
            use_bidirectional_attention: None,
            query_pre_attn_scalar: 256.0,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            sliding_window: Some(4096),
            layer_types: None,
            sliding_window_pattern: None,
            saved_pattern: None,
            rope_local_base_freq: 10_000.0,
        }
    }
}

/// Every so many blocks, one sees all, where no key says how many.
const PATTERN: usize = 6;

/// What the first files' `text_config` leaves out of what all decoders state.
const LEFT_OUT: [(&str, usize); 3] =
    [("vocab_size", 262_208), ("num_attention_heads", 8), ("max_position_embeddings", 131_072)];

/// Keys of the parts that read images.
const OF_IMAGES: [&str; 5] = [
    "vision_config",
    "mm_tokens_per_image",
    "boi_token_index",
    "eoi_token_index",
    "image_token_index",
];

impl GatedFamily for Gemma3 {
    const MODEL_TYPES: &'static [&'static str] = &["gemma3_text", "gemma3"];
    const DEFAULTS: GatedDefaults =
        GatedDefaults { num_key_value_heads: Some(4), rope_theta: 1e6, ..DEFAULTS };
    /// As transformers 4 wrote it at first, and as it is in the model itself.
    const PARTS: &'static [(&'static str, &'static str)] = &[
        ("model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", "model.language_model."),
    ];

    const GGUF: &'static [GgufFamily] = &[gguf::GEMMA3];

    fn tolerated(key: &str) -> bool {
        is_of_frequencies(key)
            || key.starts_with("vision_tower.")
            || key.starts_with("multi_modal_projector.")
    }

    fn local_theta(&self) -> Option<f64> {
        Some(self.rope_local_base_freq)
    }

    fn own_keys(mut given: Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        match given.remove("text_config") {
            None | Some(Value::Null) => {}
            Some(Value::Object(text)) => given.extend(text),
            Some(other) => {
                return Err(vec![format!("`text_config` is {other}: an object is needed")]);
            }
        }
        given.retain(|key, _| !OF_IMAGES.contains(&key.as_str()));
        for (key, count) in LEFT_OUT {
            given.entry(key).or_insert(json!(count));
        }
        Ok(given)
    }

    fn to_json(text: &str) -> Cow<'_, str> {
        let Ok(Value::Object(map)) = serde_json::from_str(text) else {
            return Cow::Borrowed(text);
        };
        // A GGUF file says the same, and has no parts.
        if map.get("model_type") != Some(&json!("gemma3")) {
            return Cow::Borrowed(text);
        }
        let Ok(mut own) = Self::own_keys(map) else { return Cow::Borrowed(text) };
        own.insert("model_type".into(), json!("gemma3_text"));
        own.insert("architectures".into(), json!(["Gemma3ForCausalLM"]));
        Cow::Owned(format!("{:#}\n", Value::Object(own)))
    }

    fn settings(&self, blueprint: &Blueprint) -> Map<String, Value> {
        let windows: Vec<bool> =
            blueprint.layers.iter().map(|plan| plan.scores.window.is_some()).collect();
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| settings.insert(key.to_owned(), value);
        set("hidden_activation", json!(self.hidden_activation));
        set("query_pre_attn_scalar", json!(self.query_pre_attn_scalar));
        set("final_logit_softcapping", json!(self.final_logit_softcapping));
        set("windows", json!(windows));
        if windows.contains(&true) {
            set("sliding_window", json!(self.sliding_window));
        }
        let local = blueprint.local_rope.unwrap_or_default();
        set("rope_local_base_freq", json!(local.theta));
        match (blueprint.rope.scaling, local.scaling) {
            (None, None) => {}
            (Some(RopeScaling::Linear { factor }), None) => {
                set("rope_scaling", json!({ "rope_type": "linear", "factor": factor }));
            }
            _ => {
                set("rope_scaling", json!({}));
            }
        }
        settings
    }

    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems) {
        amend(blueprint);
        both_ways(self.use_bidirectional_attention, problems);
        let act = Activation::parse("hidden_activation", &self.hidden_activation);
        blueprint.gate = Gate::Activation(problems.take(act));
        blueprint.norms = GatedNorms::Around;
        blueprint.head_norms = HeadNorms::Each;
        problems.positive("query_pre_attn_scalar", self.query_pre_attn_scalar);
        problems.positive("rope_local_base_freq", self.rope_local_base_freq);
        problems.positive("final_logit_softcapping", self.final_logit_softcapping.unwrap_or(1.0));
        if let Some(cap) = self.attn_logit_softcapping {
            problems.add(format!(
                "`attn_logit_softcapping` is {cap}: scores are not capped in this family; take the key out if the model \
                 was trained without it"
            ));
        }
        blueprint.logit_cap = self.final_logit_softcapping;
        for plan in &mut blueprint.layers {
            plan.scores.scale = self.query_pre_attn_scalar.powf(-0.5);
        }
        let pattern = self.pattern(problems);
        let types = LayerTypes { types: self.layer_types.as_deref(), window: self.sliding_window };
        let slides = |index: usize| !(index + 1).is_multiple_of(pattern);
        types.apply(&mut blueprint.layers, slides, problems);
        for plan in blueprint.layers.iter_mut().filter(|plan| plan.scores.window.is_some()) {
            plan.positions = LayerPositions::Local;
        }
    }
}

impl Gemma3 {
    /// Every so many blocks, one sees all, where `layer_types` does not say which.
    fn pattern(&self, problems: &mut Problems) -> usize {
        let pattern = self.sliding_window_pattern.unwrap_or(PATTERN);
        if pattern == 0 {
            problems.add("`sliding_window_pattern` is 0: at least 1 is needed");
        }
        // transformers writes this one beside the list, and reads the list.
        if let (None, Some(saved)) = (&self.layer_types, self.saved_pattern)
            && saved != pattern
        {
            problems.add(format!(
                "`_sliding_window_pattern` is {saved} and there is no `layer_types`: say `sliding_window_pattern`, by \
                 which blocks are chosen"
            ));
        }
        pattern.max(1)
    }
}
