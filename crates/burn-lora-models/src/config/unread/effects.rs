//! What keys change, whatever family they are found in.

use serde_json::Value;

use super::stated::ACTIVATIONS;

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
    /// One of some texts.
    Texts(&'static [&'static str]),
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
        is: &["is_causal", "causal", "use_causal_mask", "attention.causal"],
        has: &[],
        neutral: Neutral::On,
        does: "it changes which tokens attend to which",
    },
    Effect {
        is: &["layer_types"],
        has: &[],
        neutral: Neutral::Texts(&["full_attention"]),
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
        is: ACTIVATIONS,
        has: &[],
        neutral: Neutral::Off,
        does: "it names another activation",
    },
    Effect {
        is: &["feed_forward_type"],
        has: &[],
        neutral: Neutral::Texts(&["original"]),
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
    Effect {
        is: &["pruned_heads"],
        has: &[],
        neutral: Neutral::Off,
        does: "it takes heads out of blocks",
    },
    Effect {
        is: &["per_layer_config", "block_configs", "layer_configs", "layer_overrides"],
        has: &[],
        neutral: Neutral::Off,
        does: "it gives blocks settings of their own",
    },
    Effect {
        is: &[
            "num_recurrences",
            "num_recurrent_steps",
            "mean_recurrence",
            "num_loops",
            "total_ut_steps",
            "num_hidden_groups",
            "inner_group_num",
        ],
        has: &[],
        neutral: Neutral::UpTo(1.0),
        does: "it goes through blocks more than once",
    },
    Effect {
        is: &[
            "relative_attention",
            "use_relative_position",
            "use_relative_positions",
            "relative_position_embedding",
            "norm_rel_ebd",
        ],
        has: &[],
        neutral: Neutral::Off,
        does: "it places tokens by their distances",
    },
    Effect {
        is: &["scale_attn_by_inverse_layer_idx", "scale_attention_by_layer"],
        has: &[],
        neutral: Neutral::Off,
        does: "it scales attention by the number of the block",
    },
    Effect {
        is: &["scale_attn_weights", "scale_attention"],
        has: &[],
        neutral: Neutral::On,
        does: "it leaves scores of attention unscaled",
    },
    Effect {
        is: &[
            "attention_temperature",
            "attn_temperature",
            "softmax_temperature",
            "logit_temperature",
        ],
        has: &[],
        neutral: Neutral::Number(1.0),
        does: "it scales what is computed",
    },
    Effect {
        is: &["attention_type", "attn_type"],
        has: &[],
        neutral: Neutral::Texts(&[
            "full",
            "full_attention",
            "original_full",
            "softmax",
            "causal",
            "multi_head",
            "mha",
            "gqa",
            "mqa",
            "eager",
            "sdpa",
            "flash_attention_2",
        ]),
        does: "it attends in another way",
    },
    Effect {
        is: &["classifier_pooling", "pooling_mode", "pooler_type"],
        has: &[],
        neutral: Neutral::Texts(&["cls", "cls_token", "first", "first_token_transform"]),
        does: "it makes one vector of a row in another way",
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
                Self::Off | Self::On | Self::Texts(_) => false,
            }),
            Value::String(text) => match self {
                Self::Texts(neutral) => neutral.contains(&text.as_str()),
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

/// Whether a key is one of these, whatever its value.
pub(super) fn is_known(key: &str) -> bool {
    EFFECTS.iter().any(|effect| effect.is_of(key))
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
