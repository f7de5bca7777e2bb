//! What every family computes with, by the names that other code has for it.

use serde_json::Value;

use crate::activation::Activation;

/// What a family computes with.
#[derive(Debug, Clone, Copy)]
pub struct Stated<'a> {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// What products of queries and keys are multiplied with.
    pub scale: f64,
    /// Added under the root of each norm.
    pub epsilon: f64,
    /// Whether norms are of root mean squares.
    pub rms: bool,
    /// Whether norms stand before the two halves of a block, or behind them; none where they do both.
    pub norms_first: Option<bool>,
    /// What stands between the two products of a layer, or on the gate; none for SiLU.
    pub activation: Option<Activation>,
    /// The rotary positions, if it has those.
    pub rotary: Option<Rotary>,
    /// What its positions are called, in small letters.
    pub positions: &'a [&'a str],
}

/// Rotary positions.
#[derive(Debug, Clone, Copy)]
pub struct Rotary {
    /// The base of their frequencies.
    pub theta: f64,
    /// How many numbers of a head turn.
    pub turned: usize,
}

impl Rotary {
    /// What such positions are called.
    pub const NAMES: &'static [&'static str] = &["rope", "rotary", "default", "rotary_embedding"];
}

/// What code calls an activation.
pub(super) const ACTIVATIONS: &[&str] = &[
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "mlp_hidden_act",
    "mlp_activation",
    "act_fn",
    "act_function",
    "activation",
    "activation_type",
    "afn",
];

const HEADS: &[&str] = &[
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "attention_heads",
    "encoder_attention_heads",
];
const KV_HEADS: &[&str] = &[
    "num_key_value_heads",
    "num_kv_heads",
    "n_kv_heads",
    "n_kv_head",
    "n_head_kv",
    "num_query_groups",
    "multi_query_group_num",
];
const HEAD_DIM: &[&str] = &[
    "head_dim",
    "head_size",
    "attention_head_size",
    "attention_head_dim",
    "kv_channels",
    "d_kv",
    "d_head",
    "dim_head",
];
const SCALE: &[&str] = &[
    "attention_multiplier",
    "attention_scale",
    "attn_scale",
    "softmax_scale",
    "attn_softmax_scale",
];
const EPSILON: &[&str] = &[
    "rms_norm_eps",
    "rms_norm_epsilon",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "layernorm_eps",
    "layernorm_epsilon",
    "norm_eps",
    "norm_epsilon",
    "ln_eps",
];
const THETA: &[&str] = &[
    "rope_theta",
    "rope_base",
    "rope_freq_base",
    "rope_embedding_base",
    "rotary_base",
    "rotary_emb_base",
    "rotary_embedding_base",
    "position_embedding_base",
    "position_encoding_base",
];
const SHARE: &[&str] =
    &["partial_rotary_factor", "rotary_pct", "rotary_percent", "rotary_percentage", "rope_pct"];
const NORM: &[&str] =
    &["norm_type", "normalization", "normalization_type", "norm_class", "layer_norm_type"];
const NORMS_FIRST: &[&str] = &[
    "pre_norm",
    "prenorm",
    "use_pre_norm",
    "norm_first",
    "normalize_before",
    "pre_layer_norm",
    "do_layer_norm_before",
];

impl<'a> Stated<'a> {
    /// What positions of a table are called.
    pub(crate) const LEARNED: &'static [&'static str] = &["absolute", "learned"];

    /// Heads that share out `width`, with layer norms before the halves of a block.
    pub(crate) fn of_layer_norms(
        (heads, width): (usize, usize),
        epsilon: f64,
        activation: Activation,
        positions: &'a [&'a str],
    ) -> Self {
        let head_dim = width / heads.max(1);
        Self {
            heads,
            kv_heads: heads,
            head_dim,
            scale: (head_dim as f64).powf(-0.5),
            epsilon,
            rms: false,
            norms_first: Some(true),
            activation: Some(activation),
            rotary: None,
            positions,
        }
    }

    /// Whether a key says something else than what is computed with, which is then told; nothing, where the key with such a value has no
    /// such meaning, or the family nothing to compare it with.
    pub(super) fn differs(&self, key: &str, value: &Value) -> Option<Option<String>> {
        match value {
            Value::Number(number) => {
                let (ours, what) = self.number(key)?;
                let same =
                    number.as_f64().is_some_and(|given| (given - ours).abs() <= 1e-6 * ours.abs());
                Some((!same).then(|| format!("{what} {ours}")))
            }
            Value::String(name) => self.name(key, name),
            Value::Bool(first) if NORMS_FIRST.contains(&key) => {
                let ours = self.norms_first?;
                let place = if ours { "before" } else { "behind" };
                Some((*first != ours).then(|| format!("norms {place} the halves of a block")))
            }
            _ => None,
        }
    }

    /// What a key numbers, with what the family has there.
    fn number(&self, key: &str) -> Option<(f64, &'static str)> {
        let is = |names: &[&str]| names.contains(&key);
        let share = |rotary: Rotary| rotary.turned as f64 / self.head_dim as f64;
        if is(HEADS) {
            Some((self.heads as f64, "a number of heads of"))
        } else if is(KV_HEADS) {
            Some((self.kv_heads as f64, "a number of heads of keys and values of"))
        } else if is(HEAD_DIM) {
            Some((self.head_dim as f64, "a width of a head of"))
        } else if is(SCALE) {
            Some((self.scale, "a scale of attention of"))
        } else if key == "query_pre_attn_scalar" {
            Some((self.scale.powi(-2), "a scale of queries of"))
        } else if is(EPSILON) {
            Some((self.epsilon, "a number in norms of"))
        } else if is(THETA) {
            self.rotary.map(|rotary| (rotary.theta, "a base of positions of"))
        } else if is(SHARE) {
            self.rotary.map(|rotary| (share(rotary), "a share of each head that turns of"))
        } else if key == "rotary_dim" {
            self.rotary.map(|rotary| (rotary.turned as f64, "a part of each head that turns of"))
        } else {
            None
        }
    }

    /// Whether a name is of something else than the family has.
    fn name(&self, key: &str, name: &str) -> Option<Option<String>> {
        let lower = name.to_lowercase();
        if NORM.contains(&key) {
            let rms = lower.contains("rms");
            if !rms && !lower.contains("layer") {
                return None;
            }
            let ours = if self.rms { "norms of root mean squares" } else { "layer norms" };
            return Some((rms != self.rms).then(|| ours.to_owned()));
        }
        if !ACTIVATIONS.contains(&key) {
            return None;
        }
        let (same, ours) = match self.activation {
            None => (matches!(lower.as_str(), "silu" | "swish" | "swiglu"), "`silu`".to_owned()),
            Some(activation) => {
                let read = Activation::parse(key, name);
                (read.is_ok_and(|read| read == activation), format!("`{}`", activation.name()))
            }
        };
        Some((!same).then_some(ours))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LLAMA: Stated<'_> = Stated {
        heads: 32,
        kv_heads: 8,
        head_dim: 64,
        scale: 0.125,
        epsilon: 1e-5,
        rms: true,
        norms_first: Some(true),
        activation: None,
        rotary: Some(Rotary { theta: 5e5, turned: 64 }),
        positions: Rotary::NAMES,
    };

    #[test]
    fn a_number_under_another_name_is_compared_with_the_familys_own() {
        for (key, same, other) in [
            ("n_head", json!(32), json!(16)),
            ("num_query_groups", json!(8), json!(32)),
            ("kv_channels", json!(64), json!(128)),
            ("layer_norm_eps", json!(0.00001), json!(1e-6)),
            ("position_embedding_base", json!(500000), json!(10000)),
            ("rotary_pct", json!(1), json!(0.25)),
            ("rotary_dim", json!(64), json!(32)),
            ("softmax_scale", json!(0.125), json!(0.1)),
            ("query_pre_attn_scalar", json!(64), json!(256)),
            ("norm_type", json!("RMSNorm"), json!("layer_norm")),
            ("normalize_before", json!(true), json!(false)),
            ("activation", json!("swiglu"), json!("gelu")),
        ] {
            assert_eq!(LLAMA.differs(key, &same), Some(None), "{key}");
            let told = LLAMA.differs(key, &other).unwrap();
            assert!(told.is_some_and(|ours| !ours.is_empty()), "{key}");
        }
        for (key, value) in
            [("n_head", json!("32")), ("norm_type", json!("x")), ("n_ctx", json!(1))]
        {
            assert_eq!(LLAMA.differs(key, &value), None, "{key}");
        }
    }

    #[test]
    fn what_a_family_has_not_is_compared_with_nothing() {
        let bert = Stated {
            rotary: None,
            norms_first: None,
            activation: Some(Activation::Gelu),
            rms: false,
            ..LLAMA
        };
        assert_eq!(bert.differs("rope_theta", &json!(1e4)), None);
        assert_eq!(bert.differs("pre_norm", &json!(true)), None);
        assert_eq!(bert.differs("act_fn", &json!("gelu")), Some(None));
        let ours = bert.differs("act_fn", &json!("gelu_new")).unwrap().unwrap();
        assert_eq!(ours, "`gelu`");
    }
}
