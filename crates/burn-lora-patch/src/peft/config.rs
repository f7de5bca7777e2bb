//! `adapter_config.json`: every key of PEFT 0.21.2's `LoraConfig`, as plain data.
//!
//! Written sorted, with two spaces, as PEFT writes it, so that a file read and written again is the
//! same file. Keys of other versions are kept. PEFT's `MissConfig` is held in the same fields: it has some
//! of them, two under names of its own ([`MISS_KEYS`]).

use std::collections::BTreeMap;
use std::path::Path;

use burn_lora::Method;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::files::{CONFIG_FILE, read};
use crate::error::PatchError;

/// PEFT's `LoraConfig`, or its `MissConfig`, as its files have it. Absent keys have PEFT's defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeftConfig {
    /// Token ids that switch the adapter on (aLoRA).
    pub alora_invocation_tokens: Value,
    /// Alpha by pattern of layers.
    pub alpha_pattern: Map<String, Value>,
    /// Routing between adapters (Arrow).
    pub arrow_config: Value,
    /// The model's class, where no task says it.
    pub auto_mapping: Value,
    /// The base model's name or path.
    pub base_model_name_or_path: Option<String>,
    /// Which biases are trained: `none`, `all`, `lora_only`.
    pub bias: String,
    /// Settings of the initialisation CorDA.
    pub corda_config: Value,
    /// Keeps a table and the head that shares it tied: an adapter on the table is one on the head, too. What is trained whole, and
    /// rows of tokens, are tied here in any case: a file in which a table is trained apart from its head is refused.
    pub ensure_weight_tying: bool,
    /// Settings of the initialisation EVA.
    pub eva_config: Value,
    /// Modules left out.
    pub exclude_modules: Option<Modules>,
    /// Whether base weights are stored `[d_in, d_out]` (GPT-2).
    pub fan_in_fan_out: bool,
    /// Whether the adapter is loaded frozen.
    pub inference_mode: bool,
    /// The initialisation: a truth value or a name (of MiSS: `bat` and `mini` are variants of the method).
    #[serde(alias = "init_weights")]
    pub init_lora_weights: Value,
    /// Settings of KaSA.
    pub kasa_config: Value,
    /// Ranges of layers that are stacked.
    pub layer_replication: Value,
    /// What stands before the number of a layer.
    pub layers_pattern: Option<OneOrMany<String>>,
    /// The numbers of the layers to adapt.
    pub layers_to_transform: Option<OneOrMany<usize>>,
    /// Settings of the initialisation LoftQ.
    pub loftq_config: Value,
    /// The numerator of the scale.
    #[serde(serialize_with = "whole_if_whole")]
    pub lora_alpha: f64,
    /// Whether factor B has a bias.
    pub lora_bias: bool,
    /// The dropout of factor A's input, or of what MiSS adds up.
    #[serde(alias = "miss_dropout")]
    pub lora_dropout: f64,
    /// Settings of the initialisation LoRA-GA.
    pub lora_ga_config: Value,
    /// Settings of Megatron.
    pub megatron_config: Value,
    /// The module of Megatron.
    pub megatron_core: Option<String>,
    /// Columns of the block in MiSS's variant `mini`; none in files of LoRA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mini_r: Option<usize>,
    /// Modules trained whole.
    pub modules_to_save: Option<Vec<String>>,
    /// Settings of MonteCLoRA.
    pub monteclora_config: Value,
    /// The kind of adapter; `LORA` or `MISS`.
    pub peft_type: String,
    /// The version that wrote the file; old ones do not say.
    #[serde(default)]
    pub peft_version: Option<String>,
    /// The group size of QA-LoRA.
    pub qalora_group_size: usize,
    /// The rank.
    pub r: usize,
    /// Rank by pattern of layers.
    pub rank_pattern: Map<String, Value>,
    /// The base model's revision.
    pub revision: Option<String>,
    /// The modules to adapt.
    pub target_modules: Option<Modules>,
    /// Parameters to adapt that are no modules.
    pub target_parameters: Option<Vec<String>>,
    /// The task.
    pub task_type: Option<String>,
    /// Rows of embeddings that are trained.
    pub trainable_token_indices: Value,
    /// Settings of block-diagonal factors.
    pub use_bdlora: Value,
    /// Whether magnitudes are learned apart (DoRA).
    pub use_dora: bool,
    /// Whether factors fit quantised groups (QA-LoRA).
    pub use_qalora: bool,
    /// Whether the scale is alpha / √rank (rsLoRA).
    pub use_rslora: bool,
    /// Settings of VeLoRA.
    pub velora_config: Value,
    /// Keys of other versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl Default for PeftConfig {
    fn default() -> Self {
        Self {
            alora_invocation_tokens: Value::Null,
            alpha_pattern: Map::new(),
            arrow_config: Value::Null,
            auto_mapping: Value::Null,
            base_model_name_or_path: None,
            bias: "none".to_owned(),
            corda_config: Value::Null,
            ensure_weight_tying: false,
            eva_config: Value::Null,
            exclude_modules: None,
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: Value::Bool(true),
            kasa_config: Value::Null,
            layer_replication: Value::Null,
            layers_pattern: None,
            layers_to_transform: None,
            loftq_config: Value::Object(Map::new()),
            lora_alpha: 8.0,
            lora_bias: false,
            lora_dropout: 0.0,
            lora_ga_config: Value::Null,
            megatron_config: Value::Null,
            megatron_core: Some("megatron.core".to_owned()),
            mini_r: None,
            modules_to_save: None,
            monteclora_config: Value::Null,
            peft_type: Method::default().peft_type().to_owned(),
            peft_version: Some(PEFT_VERSION.to_owned()),
            qalora_group_size: 16,
            r: 8,
            rank_pattern: Map::new(),
            revision: None,
            target_modules: None,
            target_parameters: None,
            task_type: None,
            trainable_token_indices: Value::Null,
            use_bdlora: Value::Null,
            use_dora: false,
            use_qalora: false,
            use_rslora: false,
            velora_config: Value::Null,
            unknown: BTreeMap::new(),
        }
    }
}

/// The fields that PEFT's `MissConfig` has, and what they are called there.
const MISS_KEYS: [(&str, &str); 17] = [
    ("auto_mapping", "auto_mapping"),
    ("base_model_name_or_path", "base_model_name_or_path"),
    ("bias", "bias"),
    ("exclude_modules", "exclude_modules"),
    ("inference_mode", "inference_mode"),
    ("init_lora_weights", "init_weights"),
    ("layers_pattern", "layers_pattern"),
    ("layers_to_transform", "layers_to_transform"),
    ("lora_dropout", "miss_dropout"),
    ("mini_r", "mini_r"),
    ("modules_to_save", "modules_to_save"),
    ("peft_type", "peft_type"),
    ("peft_version", "peft_version"),
    ("r", "r"),
    ("revision", "revision"),
    ("target_modules", "target_modules"),
    ("task_type", "task_type"),
];
/// The rank of a `MissConfig` that says none.
const MISS_RANK: usize = 64;
/// The version of PEFT whose keys are written.
const PEFT_VERSION: &str = "0.21.2";

/// Keys of mlx-lm's configuration, whose adapters are of another make.
const MLX: [&str; 3] = ["fine_tune_type", "lora_parameters", "lora_layers"];

/// Modules by pattern or by names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Modules {
    /// `"all-linear"`, or a regular expression of whole paths.
    Pattern(String),
    /// Exact paths or suffixes.
    Names(Vec<String>),
}

/// One value, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One value.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// The values as a list.
    pub fn to_vec(&self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::Many(values) => values.clone(),
        }
    }
}

/// The keys whose truth value stands for a kind of adapter.
const SWITCHES: [&str; 3] = ["lora_bias", "use_dora", "use_qalora"];

impl PeftConfig {
    /// Which kinds of adapter the file asks for, by the keys that are `true`; none is plain LoRA.
    pub(super) fn switches(&self) -> impl Iterator<Item = &'static str> {
        let on = [self.lora_bias, self.use_dora, self.use_qalora];
        SWITCHES.into_iter().zip(on).filter(|(_, on)| *on).map(|(key, _)| key)
    }

    /// Asks for the kind of adapter of that key, which must be one of [`SWITCHES`].
    pub(super) fn switch_on(&mut self, key: &str) {
        let switches = [&mut self.lora_bias, &mut self.use_dora, &mut self.use_qalora];
        for (name, switch) in SWITCHES.into_iter().zip(switches) {
            *switch |= name == key;
        }
    }

    /// Whether this is PEFT's `MissConfig`.
    pub(super) fn is_miss(&self) -> bool {
        self.peft_type == Method::Miss.peft_type()
    }

    /// What a field is called in the file; none where the file has no such key.
    fn key_of(&self, field: String) -> Option<String> {
        if !self.is_miss() || self.unknown.contains_key(&field) {
            return Some(field);
        }
        let known = MISS_KEYS.iter().find(|(name, _)| *name == field);
        known.map(|(_, key)| (*key).to_owned())
    }

    /// The file's text: keys sorted, two spaces, as PEFT writes it.
    ///
    /// # Errors
    ///
    /// A number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        // Map's own order is that of insertion; going through a sorted map sorts the unknown keys in.
        let Value::Object(fields) = serde_json::to_value(self)? else { return Ok(String::new()) };
        let keyed =
            fields.into_iter().filter_map(|(field, value)| Some((self.key_of(field)?, value)));
        serde_json::to_string_pretty(&keyed.collect::<BTreeMap<_, _>>())
    }
}

/// Reads the configuration of an adapter directory.
///
/// # Errors
///
/// No such file, no JSON, a key of another type than PEFT's, another `peft_type`.
pub fn read_config(dir: impl AsRef<Path>) -> Result<PeftConfig, PatchError> {
    let dir = dir.as_ref();
    let bytes = read(dir, CONFIG_FILE)?;
    let path = dir.join(CONFIG_FILE);
    if let Some(kind) = burn_lora_files::kind::no_text(&bytes) {
        return Err(PatchError::Config { path, reason: kind.to_string() });
    }
    let failed = |error: serde_json::Error| PatchError::Config {
        path: path.clone(),
        reason: error.to_string(),
    };
    let mut fields: Map<String, Value> =
        serde_json::from_slice(burn_lora_files::without_mark(&bytes)).map_err(failed)?;
    let miss = match fields.get("peft_type") {
        Some(Value::String(kind)) if Method::ALL.iter().any(|it| it.peft_type() == kind) => {
            kind == Method::Miss.peft_type()
        }
        found => {
            let found = found.map_or_else(|| "missing".to_owned(), ToString::to_string);
            let of_mlx = MLX.iter().any(|key| fields.contains_key(*key));
            return Err(PatchError::PeftType { path, found, of_mlx });
        }
    };
    for key in ["lora_alpha", "r"] {
        if fields.get(key).is_some_and(Value::is_null) {
            let reason = format!(
                "`{key}` is null, with which PEFT loads nothing either: write the number that the adapter was trained with (where \
                 the key is left out, PEFT takes 8)"
            );
            return Err(PatchError::Config { path, reason });
        }
    }
    if miss {
        fields.entry("r").or_insert_with(|| MISS_RANK.into());
    }
    // PEFT writes null for some settings that are off; where null is no value, it is the default.
    let defaults = serde_json::to_value(PeftConfig::default()).map_err(failed)?;
    fields.retain(|key, value| !value.is_null() || defaults[key.as_str()].is_null());
    // Key by key first, so that the error names the key.
    for (key, value) in &fields {
        let one = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<PeftConfig>(Value::Object(one)) {
            let reason = format!("`{key}` is {value}: {error}");
            return Err(PatchError::Config { path, reason });
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(failed)
}

/// PEFT writes an alpha of 16 as `16`, though a fraction is allowed.
fn whole_if_whole<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}
