//! Keys of a `config.json` that a family's code does not read, and that change what a model computes: a bounded score, a scaled residual,
//! another activation. Passed over, they would give another model than the one that was trained; so they are refused by name.
//!
//! Known are the keys by which transformers' decoders and encoders, and llama.cpp's files, say such things. Left out: keys by which tensors
//! have other names or shapes and nothing else, which the files of the weights show, and keys that change rounding alone.

use burn_lora_text::nearest;
use serde_json::{Map, Value};

use super::ConfigKeys;
use super::given::shown;

/// Keys with one effect.
struct Effect {
    /// Whole keys.
    is: &'static [&'static str],
    /// Parts of keys.
    has: &'static [&'static str],
    /// At which values nothing changes, beside those that switch off.
    neutral: Neutral,
    /// What such a key does.
    does: &'static str,
}

/// A value that changes nothing.
enum Neutral {
    /// None but those that switch off.
    Off,
    /// A number.
    Number(f64),
    /// Numbers up to that one.
    UpTo(f64),
    /// `true`; to switch it off changes something.
    On,
    /// A text.
    Text(&'static str),
}

const EFFECTS: &[Effect] = &[
    Effect {
        is: &["logit_cap", "attn_logit_cap"],
        has: &["softcap", "soft_cap", "logits_cap"],
        neutral: Neutral::UpTo(0.0),
        does: "it bounds scores by a tanh",
    },
    Effect {
        is: &[
            "attention_multiplier",
            "attention_scale",
            "attention.scale",
            "attn_scale",
            "query_pre_attn_scalar",
            "softmax_scale",
            "attn_softmax_scale",
        ],
        has: &[],
        neutral: Neutral::Off,
        does: "it scales attention by another number than the root of a head's width",
    },
    Effect {
        is: &[
            "emb_scale",
            "embed_scale",
            "embedding_scale",
            "input_embedding_scale",
            "scale_emb",
            "scale_embedding",
            "scale_embeddings",
            "logit_scale",
            "logits_scale",
            "logit_scaling",
            "logits_scaling",
            "output_multiplier_scale",
            "lm_head_scale",
            "residual_scale",
            "residual_scaling",
            "resid_scale",
            "normalize_embeddings",
        ],
        has: &["_multiplier"],
        neutral: Neutral::Number(1.0),
        does: "it scales what is computed",
    },
    Effect {
        is: &["scale_depth", "dim_model_base", "use_mup", "mup"],
        has: &[],
        neutral: Neutral::Off,
        does: "it scales what is computed",
    },
    Effect {
        is: &["clip_qkv", "qkv_clip", "attention.clamp_kqv", "swiglu_limit", "activation_clip"],
        has: &[],
        neutral: Neutral::UpTo(0.0),
        does: "it bounds what is computed",
    },
    Effect {
        is: &["q_norm", "k_norm", "query_norm", "key_norm", "norm_qk"],
        has: &["qk_norm", "qk_layernorm", "qk_layer_norm", "qk_rms"],
        neutral: Neutral::Off,
        does: "it norms queries and keys",
    },
    Effect {
        is: &["window_size", "local_window", "sliding_window_size"],
        has: &["sliding_window", "attention_window", "attn_window"],
        neutral: Neutral::UpTo(0.0),
        does: "it changes which tokens attend to which",
    },
    Effect {
        is: &[
            "attention_chunk_size",
            "global_attn_every_n_layers",
            "local_attention",
            "attention_layers",
            "attention_types",
            "bidirectional",
            "bidirectional_attention",
            "is_bidirectional",
            "use_bidirectional_attention",
            "num_kv_shared_layers",
        ],
        has: &["attention_sink", "attn_sink"],
        neutral: Neutral::UpTo(0.0),
        does: "it changes which tokens attend to which",
    },
    Effect {
        is: &["is_causal", "attention.causal"],
        has: &[],
        neutral: Neutral::On,
        does: "it changes which tokens attend to which",
    },
    Effect {
        is: &["layer_types"],
        has: &[],
        neutral: Neutral::Text("full_attention"),
        does: "it changes which tokens attend to which",
    },
    Effect {
        is: &[
            "parallel_attn",
            "parallel_block",
            "post_norm",
            "use_post_norm",
            "norm_after",
            "sandwich_norm",
            "use_sandwich_norm",
            "apply_residual_connection_post_layernorm",
        ],
        has: &["parallel_residual"],
        neutral: Neutral::Off,
        does: "it places norms and residuals otherwise",
    },
    Effect {
        is: &["do_layer_norm_before"],
        has: &[],
        neutral: Neutral::On,
        does: "it places norms and residuals otherwise",
    },
    Effect {
        is: &["add_unit_offset", "zero_centered_norm"],
        has: &["layernorm_1p", "norm_add_unit_offset", "norm_zero_centered"],
        neutral: Neutral::Off,
        does: "it makes norms scale by one more than their weights",
    },
    Effect {
        is: &["hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act", "act_fn"],
        has: &[],
        neutral: Neutral::Off,
        does: "it names another activation",
    },
    Effect {
        is: &["feed_forward_type"],
        has: &[],
        neutral: Neutral::Text("original"),
        does: "it names another unit between the norms",
    },
    Effect {
        is: &["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"],
        has: &[],
        neutral: Neutral::UpTo(1.0),
        does: "it has experts in the place of one unit",
    },
    Effect {
        is: &["attn_temperature_tuning", "attention.temperature_scale"],
        has: &["logn_attn"],
        neutral: Neutral::UpTo(0.0),
        does: "it scales attention by the length of a row",
    },
    Effect {
        is: &["add_cross_attention", "is_encoder_decoder"],
        has: &[],
        neutral: Neutral::Off,
        does: "it attends to what an encoder gives",
    },
];

impl Effect {
    fn is_of(&self, key: &str) -> bool {
        // Sizes that follow from such a factor are stated as well, and rates are of training.
        let of_size = || {
            key.split('_').any(|word| matches!(word, "dim" | "size" | "width" | "expansion" | "lr"))
        };
        self.is.contains(&key) || (self.has.iter().any(|part| key.contains(part)) && !of_size())
    }
}

impl Neutral {
    fn is(&self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Bool(on) => *on == matches!(self, Self::On),
            Value::Number(number) => number.as_f64().is_some_and(|number| match self {
                Self::Number(neutral) => number == *neutral,
                Self::UpTo(most) => number <= *most,
                Self::Off | Self::On | Self::Text(_) => false,
            }),
            Value::String(text) => match self {
                Self::Text(neutral) => text == neutral,
                _ => matches!(text.as_str(), "" | "none"),
            },
            Value::Array(items) => items.iter().all(|item| self.is(item)),
            Value::Object(fields) => fields.values().all(|field| self.is(field)),
        }
    }
}

/// What a key with that value does, if it changes what is computed.
pub(crate) fn effect(key: &str, value: &Value) -> Option<&'static str> {
    let effect = EFFECTS.iter().find(|effect| effect.is_of(key))?;
    (!effect.neutral.is(value)).then_some(effect.does)
}

/// A line for each key that the family does not read and that changes what is computed.
pub(crate) fn problems<K: ConfigKeys>(keys: &K, unread: &Map<String, Value>) -> Vec<String> {
    let windows_off = unread.get("use_sliding_window") == Some(&Value::Bool(false));
    let problem = |key: &str, value: &Value| -> Option<String> {
        let does = match keys.does(key, value) {
            _ if value.is_null() => return None,
            Some(true) => return None,
            Some(false) => "it asks for something else than this family does".to_owned(),
            None if windows_off && key.contains("sliding_window") => return None,
            None if other_positions::<K>(key, value) => {
                "it asks for other positions than this family's".to_owned()
            }
            None => format!("{}, which the code of this family does not", effect(key, value)?),
        };
        Some(match nearest(key, K::ROTARY) {
            Some(near) if is_of_positions(key) => {
                format!("`{key}` is not known: did you mean `{near}`?")
            }
            _ => format!(
                "`{key}` is {}: {does}; take the key out if the model was trained without it",
                shown(value)
            ),
        })
    };
    unread.iter().filter_map(|(key, value)| problem(key, value)).collect()
}

/// Whether a key is about positions.
fn is_of_positions(key: &str) -> bool {
    let word = |word: &str| {
        word.starts_with("rope") || word.starts_with("rotary") || matches!(word, "ntk" | "alibi")
    };
    key == "position_embedding_type" || key.split('_').any(word)
}

/// Whether a key asks for positions that are not the family's.
fn other_positions<K: ConfigKeys>(key: &str, value: &Value) -> bool {
    let rotary = !K::ROTARY.is_empty();
    let own = match value {
        Value::Null => true,
        Value::Bool(on) => *on == (rotary && matches!(key, "use_rope" | "use_rotary" | "rope")),
        Value::String(kind) => {
            rotary && key == "position_embedding_type" && matches!(kind.as_str(), "rope" | "rotary")
        }
        Value::Number(number) => {
            rotary && key == "partial_rotary_factor" && number.as_f64() == Some(1.0)
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    is_of_positions(key) && !own
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_changes_what_is_computed_is_told_from_its_neutral_values() {
        for (key, neutral, other) in [
            ("attn_logit_softcapping", json!(0.0), json!(50.0)),
            ("logits_scaling", json!(1), json!(8.0)),
            ("mlp_multipliers", json!([1.0, 1.0]), json!([1.0, 0.5])),
            ("attention_multiplier", json!(null), json!(1.0)),
            ("use_qk_norm", json!(false), json!(true)),
            ("sliding_window", json!(-1), json!(512)),
            ("is_causal", json!(true), json!(false)),
            ("layer_types", json!(["full_attention"]), json!(["linear_attention"])),
            ("num_local_experts", json!(1), json!(8)),
            ("clip_qkv", json!(null), json!(8.0)),
        ] {
            assert_eq!(effect(key, &neutral), None, "{key} {neutral}");
            assert!(effect(key, &other).is_some(), "{key} {other}");
        }
    }

    /// They stand in files of published models, and change no number.
    #[test]
    fn sizes_rates_and_what_is_not_of_a_forward_pass_are_passed_over() {
        for (key, value) in [
            ("ffn_dim_multiplier", json!(1.3)),
            ("lr_multiplier", json!(10.0)),
            ("pretraining_tp", json!(2)),
            ("use_cache", json!(true)),
            ("torch_dtype", json!("bfloat16")),
            ("attention_softmax_in_fp32", json!(true)),
            ("summary_activation", json!("tanh")),
            ("max_window_layers", json!(28)),
        ] {
            assert_eq!(effect(key, &value), None, "{key}");
        }
    }
}
