//! What the `config.json` of such decoders have in common, and what a family adds.

use std::borrow::Cow;
use std::fmt::Debug;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::blueprint::{Blueprint, LayerPlan};
use super::{Gated, Sizes};
use crate::ModelError;
use crate::config::{Basics, ConfigKeys, Problems, Stated, keys_of, unread};
use crate::decoder::rope::{RopeConfig, turned};
use crate::dropout::Dropouts;
use crate::footprint::CostModel;
use crate::gguf::GgufFamily;
use crate::weights::{Blocks, CheckpointKeys};

/// The keys that only one family has, and what it makes of them.
pub trait GatedFamily:
    DeserializeOwned + Default + Clone + Debug + PartialEq + Send + Sync + 'static
{
    /// The `model_type`s of the family.
    const MODEL_TYPES: &'static [&'static str];

    /// What its `config.json` may leave out.
    const DEFAULTS: GatedDefaults;

    /// Whether a part of each head may turn.
    const PARTIAL: bool = false;

    /// The share of each head that turns, where a key of the family's own says it.
    fn turning_share(&self) -> Option<f64> {
        None
    }

    /// Of a family whose blocks with a window have rotary positions of their own: the base of those, where
    /// `rope_parameters` says none.
    fn local_theta(&self) -> Option<f64> {
        None
    }

    /// The keys as the family reads them, of those that were given.
    ///
    /// # Errors
    ///
    /// Those that are not what they should be.
    fn own_keys(given: Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        Ok(given)
    }

    /// See `ConfigKeys::to_json`.
    fn to_json(text: &str) -> Cow<'_, str> {
        Cow::Borrowed(text)
    }

    /// The architectures of GGUF files that it is read from.
    const GGUF: &'static [GgufFamily] = &[];

    /// See `ConfigKeys::settings`: of its own keys.
    fn settings(&self, _blueprint: &Blueprint) -> Map<String, Value> {
        Map::new()
    }

    /// See [`CheckpointKeys::parts`].
    const PARTS: &'static [(&'static str, &'static str)] = &[];

    /// See [`CheckpointKeys::tolerated`].
    fn tolerated(key: &str) -> bool {
        is_of_frequencies(key)
    }

    /// What its model has beside what all have, given the blueprint that follows from the common keys: norms before
    /// both halves of each block, plain scores, SiLU. Tells what is wrong with its keys.
    fn amend(&self, blueprint: &mut Blueprint, problems: &mut Problems);
}

/// What a family's `config.json` may leave out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatedDefaults {
    /// `rms_norm_eps`.
    pub rms_norm_eps: f64,
    /// `tie_word_embeddings`.
    pub tie_word_embeddings: bool,
    /// `rope_theta`.
    pub rope_theta: f64,
    /// `num_key_value_heads`; none for as many as the queries'.
    pub num_key_value_heads: Option<usize>,
    /// `head_dim`; none where heads share out the residual stream.
    pub head_dim: Option<usize>,
}

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(bound = "")]
#[non_exhaustive]
pub struct GatedKeys<F: GatedFamily> {
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the gated unit.
    pub intermediate_size: usize,
    /// How many blocks.
    pub num_hidden_layers: usize,
    /// Heads of the queries.
    pub num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    /// The longest sequence, in tokens.
    pub max_position_embeddings: usize,
    #[serde(default = "epsilon::<F>")]
    rms_norm_eps: f64,
    #[serde(default = "tied::<F>")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<Value>,
    /// Standard deviation of a random start.
    #[serde(default = "deviation")]
    pub initializer_range: f64,
    attention_dropout: Option<f64>,
    /// All other keys.
    #[serde(flatten)]
    others: Map<String, Value>,
    /// The family's own, of those.
    #[serde(skip)]
    own: F,
    /// What is made of all of them.
    #[serde(skip)]
    blueprint: Blueprint,
}

fn epsilon<F: GatedFamily>() -> f64 {
    F::DEFAULTS.rms_norm_eps
}

fn tied<F: GatedFamily>() -> bool {
    F::DEFAULTS.tie_word_embeddings
}

fn deviation() -> f64 {
    0.02
}

impl<F: GatedFamily> ConfigKeys for GatedKeys<F> {
    const MODEL_TYPES: &'static [&'static str] = F::MODEL_TYPES;
    const GGUF: &'static [GgufFamily] = F::GGUF;
    const ROTARY: &'static [&'static str] = &["rope_theta", "rope_scaling", "rope_parameters"];

    fn settings(&self) -> Map<String, Value> {
        if F::GGUF.is_empty() {
            return Map::new();
        }
        let sizes = self.sizes();
        let mut settings = self.own.settings(&self.blueprint);
        for (key, count) in [
            ("vocab_size", sizes.vocab_size),
            ("hidden_size", sizes.hidden_size),
            ("intermediate_size", sizes.intermediate_size),
            ("num_hidden_layers", sizes.num_hidden_layers),
            ("num_attention_heads", sizes.num_attention_heads),
            ("num_key_value_heads", sizes.num_key_value_heads),
            ("head_dim", sizes.head_dim()),
            ("max_position_embeddings", sizes.max_position_embeddings),
        ] {
            settings.insert(key.into(), json!(count));
        }
        settings.insert("rms_norm_eps".into(), json!(self.rms_norm_eps));
        settings.insert("rope_theta".into(), json!(self.blueprint.rope.theta));
        settings.insert("tie_word_embeddings".into(), json!(self.tie_word_embeddings));
        settings.insert("attention_bias".into(), json!(self.attention_bias));
        settings.insert("initializer_range".into(), json!(self.initializer_range));
        settings
    }

    fn own_keys(given: Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        F::own_keys(given)
    }

    fn to_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        F::to_json(text)
    }

    fn check(&mut self, _: &'static str, problems: &mut Problems) {
        let is_sound = self.sizes().check(problems);
        problems.positive("rms_norm_eps", self.rms_norm_eps);
        problems.not_negative("initializer_range", self.initializer_range);
        problems.probabilities([("attention_dropout", self.attention_dropout)]);
        let mut unread = Map::new();
        match keys_of(std::mem::take(&mut self.others), Path::new("")) {
            Ok(read) => (self.own, unread) = read,
            Err(ModelError::Config { problems: found, .. }) => problems.extend(found),
            Err(other) => problems.add(other.to_string()),
        }
        let theta = self.rope_theta.unwrap_or(F::DEFAULTS.rope_theta);
        let (scaling, parameters) = (self.rope_scaling.as_ref(), self.rope_parameters.as_ref());
        let (mut local_rope, mut share) = (None, None);
        let rope = match (self.own.local_theta(), F::PARTIAL) {
            (Some(local), _) => {
                let thetas = [theta, local];
                let both = RopeConfig::of_blocks(thetas, [scaling, None], parameters);
                let [rope, local] = problems.take(both);
                local_rope = Some(local);
                rope
            }
            (None, true) => {
                let rope;
                (rope, share) =
                    problems.take(RopeConfig::with_share(Some(theta), scaling, parameters));
                rope
            }
            (None, false) => {
                problems.take(RopeConfig::from_parts(Some(theta), scaling, parameters))
            }
        };
        if !is_sound {
            return;
        }
        let share = share.or(self.own.turning_share()).unwrap_or(1.0);
        let turned = problems.take(turned(self.sizes().head_dim(), share));
        self.blueprint = Blueprint { rope, local_rope, turned, ..self.plain() };
        self.own.amend(&mut self.blueprint, problems);
        unread::tell(self, &unread, problems);
    }

    fn stated(&self) -> Stated<'_> {
        self.blueprint.stated()
    }

    fn basics(&self) -> Basics {
        let attention = self.attention_dropout.unwrap_or(0.0);
        Basics {
            vocab_size: self.vocab_size,
            context: Some(self.max_position_embeddings),
            initializer_range: self.initializer_range,
            dropouts: Dropouts::new(0.0, attention, self.blueprint.residual_dropout, 0.0),
            checkpoint_keys: CheckpointKeys {
                tolerated: F::tolerated,
                parts: F::PARTS,
                ..checkpoint_keys(self.num_hidden_layers, self.tie_word_embeddings)
            },
        }
    }

    fn cost(&self, dropouts: Dropouts) -> Box<dyn CostModel + '_> {
        Box::new(self.blueprint.cost(dropouts))
    }
}

impl<F: GatedFamily> Gated for GatedKeys<F> {
    fn blueprint(&self) -> Blueprint {
        self.blueprint.clone()
    }
}

/// How the keys of such a decoder's checkpoints may differ from the model's.
pub(crate) fn checkpoint_keys(blocks: usize, tied: bool) -> CheckpointKeys {
    CheckpointKeys {
        prefix: "model.",
        blocks: Blocks { path: "layers", key: "num_hidden_layers", count: blocks },
        fresh: &[],
        tolerated: is_of_frequencies,
        tied,
        renamed: &[],
        parts: &[],
    }
}

/// Whether that is a table of rotary frequencies, which old checkpoints have.
pub(crate) fn is_of_frequencies(key: &str) -> bool {
    key.ends_with("rotary_emb.inv_freq")
}

/// Whether that is a name of SiLU.
fn is_silu(name: &str) -> bool {
    matches!(name, "silu" | "swish")
}

/// Refuses gates of another activation.
pub(crate) fn only_silu(hidden_act: &str, problems: &mut Problems) {
    if !is_silu(hidden_act) {
        problems.add(format!(
            "`hidden_act` is `{hidden_act}`: only `silu` is supported in this family"
        ));
    }
}

impl<F: GatedFamily> GatedKeys<F> {
    fn sizes(&self) -> Sizes {
        let defaults = F::DEFAULTS;
        let kv_heads = self.num_key_value_heads.or(defaults.num_key_value_heads);
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: kv_heads.unwrap_or(self.num_attention_heads),
            head_dim: self.head_dim.or(defaults.head_dim),
            max_position_embeddings: self.max_position_embeddings,
        }
    }

    /// What follows from the common keys, but for positions.
    fn plain(&self) -> Blueprint {
        let sizes = self.sizes();
        let head_dim = sizes.head_dim();
        Blueprint {
            vocab_size: sizes.vocab_size,
            d: sizes.hidden_size,
            inner: sizes.intermediate_size,
            n_heads: sizes.num_attention_heads,
            n_kv_heads: sizes.num_key_value_heads,
            head_dim,
            context: sizes.max_position_embeddings,
            layers: vec![LayerPlan::of_heads(head_dim); sizes.num_hidden_layers],
            epsilon: self.rms_norm_eps,
            qkv_bias: self.attention_bias,
            o_bias: self.attention_bias,
            tied: self.tie_word_embeddings,
            ..Blueprint::default()
        }
    }
}
