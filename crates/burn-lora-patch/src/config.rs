//! What a patch is made from, as plain data.
//!
//! ```
//! use burn_lora_patch::{LoraConfig, Method, Targets};
//!
//! let config = LoraConfig::new(8).with_alpha(16).with_targets(["query", "value"]);
//! assert_eq!(config.name, "default");
//! assert_eq!(config.heads, ["lm_head"]);
//!
//! let dora = LoraConfig::new(8).with_method(Method::Dora).with_dropout(0.05);
//! assert_eq!(dora.targets, Targets::AllLinear);
//! assert_eq!(dora.adapter.alpha, 16.0);
//! ```
//!
//! As Burn's own configurations it is saved and loaded as JSON:
//!
//! ```
//! use burn::config::Config;
//! use burn_lora_patch::LoraConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("lora.json");
//! let config = LoraConfig::new(8).with_targets(["query"]);
//! config.save(&path)?;
//! assert_eq!(LoraConfig::load(&path)?, config);
//! # Ok(())
//! # }
//! ```

use burn::config::Config;
use burn_lora::{AdapterConfig, Init, Method};
use serde::{Deserialize, Serialize};

use crate::Targets;
use crate::eva::EvaConfig;
use crate::layout::{Layout, LinearTypes};
use crate::settings::Patterns;
use crate::tokens::TokenIndices;

/// What to adapt, how, and what else to train: what [`with_lora`](crate::LoraModule::with_lora) is given.
///
/// Named as PEFT's `LoraConfig`. Every field has a `with_…`; what makes up the adapter of one layer is
/// [`adapter`](Self::adapter), and its `with_…` stand here as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LoraConfig {
    /// Kind of adapter, rank, alpha, dropout, initialisation.
    pub adapter: AdapterConfig,
    /// How ranks are dealt out where the initialisation is [`Init::Eva`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub eva: EvaConfig,
    /// The linear layers to adapt.
    #[serde(default = "default_targets")]
    pub targets: Targets,
    /// Parameters of two or three dimensions that are no layer's weight, such as the matrices of a layer's experts
    /// (`[experts, d_in, d_out]`, or `[experts, d_out, d_in]` in a type of [`linear_types`](Self::linear_types) that says so): by
    /// their whole path, or an ending of it from a dot on. LoRA alone adapts them, without dropout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_parameters: Vec<String>,
    /// Names of linear layers to leave out, or of modules to leave out with all in them, matched as
    /// [`Targets::Names`]; they win over targets.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// A pattern of whole paths to leave out, beside `exclude`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_regex: Option<String>,
    /// Adapt only in the layers of these numbers. A target that is a whole path is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_to_transform: Option<Vec<usize>>,
    /// What stands before the number of a layer (`layers`, `h`); without it, the first number that
    /// has two segments before it counts.
    #[serde(default)]
    pub layers_pattern: Vec<String>,
    /// Ranks of layers, by pattern: the first that matches a layer's path, or an ending of it from a dot on, stands in the
    /// place of the adapter's rank. Not with [`Method::Miss`], whose files hold one rank.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub rank_pattern: Patterns<usize>,
    /// Alphas of layers, by pattern, as [`rank_pattern`](Self::rank_pattern).
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub alpha_pattern: Patterns<f64>,
    /// Modules that are trained whole and saved with the adapter: every module whose path ends in
    /// one of these. They are never adapted.
    #[serde(default)]
    pub modules_to_save: Vec<String>,
    /// Tokens whose rows of an embedding are trained, and saved with the adapter; a head that is the embedding's table
    /// follows them. Not with [`Method::Miss`], whose files have no place for them.
    #[serde(default, skip_serializing_if = "TokenIndices::is_empty")]
    pub trainable_token_indices: TokenIndices,
    /// Whether a head that is the token table computes with what an adapter makes of the table, too, where a target names the
    /// table or such a head (PEFT's `ensure_weight_tying`); by [`Method::Lora`] alone. Without, it stays the head that it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ensure_weight_tying: bool,
    /// Which biases of the base are trained, and saved with the adapter.
    #[serde(default)]
    pub bias: Bias,
    /// Output layers, which [`Targets::AllLinear`] leaves out, matched as [`Targets::Names`]; `lm_head`
    /// unless it is set. Where they are set and the task is one with a head of its own, they are that head:
    /// trained and saved.
    #[serde(default = "default_heads")]
    pub heads: Vec<String>,
    /// Types that hold a linear layer's 2-D `weight`, beside `Linear`, and how it lies there.
    #[serde(default, skip_serializing_if = "LinearTypes::is_empty")]
    pub linear_types: LinearTypes,
    /// The task: for classification and question answering the head is trained and saved, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<TaskType>,
    /// Seeds the factors; with the path of a layer it decides that layer's start.
    #[serde(default)]
    pub seed: u64,
    /// The adapter's name.
    #[serde(default = "default_name")]
    pub name: String,
    /// The base model's name or path, which PEFT's files tell whoever loads the adapter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
}

impl Config for LoraConfig {}

fn is_default(eva: &EvaConfig) -> bool {
    *eva == EvaConfig::default()
}

fn default_targets() -> Targets {
    Targets::AllLinear
}

/// What decoders call the linear layer before the logits. PEFT saves it beside the factors, with the token table, where
/// tokens were added or it is asked to (`save_embedding_layers`).
pub(crate) const HEAD: &str = "lm_head";

fn default_heads() -> Vec<String> {
    vec![HEAD.to_owned()]
}

fn default_name() -> String {
    "default".to_owned()
}

impl LoraConfig {
    /// LoRA of this rank, with alpha `2 · rank`, on every linear layer but the output layers.
    pub fn new(rank: usize) -> Self {
        AdapterConfig::new(rank).into()
    }

    /// Sets the kind of adapter.
    pub fn with_method(mut self, method: Method) -> Self {
        self.adapter = self.adapter.with_method(method);
        self
    }

    /// Sets the numerator of the scale, `alpha / rank`.
    pub fn with_alpha(mut self, alpha: impl Into<f64>) -> Self {
        self.adapter = self.adapter.with_alpha(alpha);
        self
    }

    /// Sets the dropout probability of A's input.
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.adapter = self.adapter.with_dropout(dropout);
        self
    }

    /// Chooses between the scales `alpha / √rank` (true) and `alpha / rank` (false).
    pub fn with_rslora(mut self, rslora: bool) -> Self {
        self.adapter = self.adapter.with_rslora(rslora);
        self
    }

    /// Sets how the factors start.
    pub fn with_init(mut self, init: Init) -> Self {
        self.adapter = self.adapter.with_init(init);
        self
    }

    /// Sets how EVA deals ranks out.
    pub fn with_eva(mut self, eva: EvaConfig) -> Self {
        self.eva = eva;
        self
    }

    /// Sets the linear layers to adapt: names, `"all-linear"`, or [`Targets::regex`].
    pub fn with_targets(mut self, targets: impl Into<Targets>) -> Self {
        self.targets = targets.into();
        self
    }

    /// Sets the parameters that are adapted by themselves, beside the targets; with [`Targets::none`] they are all that is
    /// adapted.
    pub fn with_target_parameters<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        self.target_parameters = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the base model's name or path.
    pub fn with_base_model(mut self, name: impl Into<String>) -> Self {
        self.base_model = Some(name.into());
        self
    }

    /// Says that structs called `name` are linear layers whose `weight` lies so: of a layer of your own, or
    /// of one called `Linear` that is not Burn's.
    pub fn with_linear_type(mut self, name: impl Into<String>, layout: Layout) -> Self {
        self.linear_types.insert(name.into(), layout);
        self
    }

    /// The names of heads that are trained and saved for the task, where the model has them.
    pub(crate) fn task_heads(&self) -> Vec<String> {
        let Some(task) = self.task_type.filter(|task| !task.heads().is_empty()) else {
            return Vec::new();
        };
        let mut heads: Vec<String> = task.heads().iter().map(|head| (*head).to_owned()).collect();
        if self.names_heads() {
            heads.extend(
                self.heads.iter().filter(|head| !task.heads().contains(&head.as_str())).cloned(),
            );
        }
        heads
    }

    /// Whether the output layers are other ones than by default.
    pub(crate) fn names_heads(&self) -> bool {
        self.heads != default_heads()
    }

    /// Sets the task.
    pub fn with_task_type(mut self, task_type: TaskType) -> Self {
        self.task_type = Some(task_type);
        self
    }

    /// Sets what is left out.
    pub fn with_exclude<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.exclude = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a pattern of whole paths that are left out.
    pub fn with_exclude_regex(mut self, pattern: impl Into<String>) -> Self {
        self.exclude_regex = Some(pattern.into());
        self
    }

    /// Sets the output layers, which `all-linear` leaves out.
    pub fn with_heads<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.heads = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what stands before the numbers of layers.
    pub fn with_layers_pattern<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        self.layers_pattern = names.into_iter().map(Into::into).collect();
        self
    }

    /// Restricts the adapter to the layers of these numbers.
    pub fn with_layers_to_transform(mut self, layers: impl IntoIterator<Item = usize>) -> Self {
        self.layers_to_transform = Some(layers.into_iter().collect());
        self
    }

    /// Sets the ranks of layers by pattern, the first that matches first.
    pub fn with_rank_pattern<S: Into<String>>(
        mut self,
        ranks: impl IntoIterator<Item = (S, usize)>,
    ) -> Self {
        self.rank_pattern = ranks.into_iter().collect();
        self
    }

    /// Sets the alphas of layers by pattern, the first that matches first.
    pub fn with_alpha_pattern<S: Into<String>>(
        mut self,
        alphas: impl IntoIterator<Item = (S, f64)>,
    ) -> Self {
        self.alpha_pattern = alphas.into_iter().collect();
        self
    }

    /// A scale that no layer's is above: with patterns, that of the largest alpha and the smallest rank.
    pub fn largest_scale(&self) -> f64 {
        let mut adapter = self.adapter.clone();
        let ranks = self.rank_pattern.iter().map(|(_, rank)| rank);
        let alphas = self.alpha_pattern.iter().map(|(_, alpha)| alpha);
        adapter.rank = ranks.fold(adapter.rank, usize::min);
        adapter.alpha = alphas.fold(adapter.alpha, f64::max);
        adapter.scale()
    }

    /// Sets the modules that are trained whole and saved with the adapter.
    pub fn with_modules_to_save<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        self.modules_to_save = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the tokens whose rows of an embedding are trained: of the table that token ids go into, or by the names of
    /// tables.
    pub fn with_trainable_token_indices(mut self, tokens: impl Into<TokenIndices>) -> Self {
        self.trainable_token_indices = tokens.into();
        self
    }

    /// Chooses whether a head that is the token table computes with what an adapter makes of the table.
    pub fn with_ensure_weight_tying(mut self, tied: bool) -> Self {
        self.ensure_weight_tying = tied;
        self
    }

    /// Sets which biases of the base are trained, and saved with the adapter.
    pub fn with_bias(mut self, bias: Bias) -> Self {
        self.bias = bias;
        self
    }

    /// Sets the seed of the factors.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the adapter's name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl From<AdapterConfig> for LoraConfig {
    /// The adapter on every linear layer but the output layers.
    fn from(adapter: AdapterConfig) -> Self {
        Self {
            adapter,
            eva: EvaConfig::default(),
            targets: default_targets(),
            target_parameters: Vec::new(),
            exclude: Vec::new(),
            exclude_regex: None,
            layers_to_transform: None,
            layers_pattern: Vec::new(),
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            modules_to_save: Vec::new(),
            trainable_token_indices: TokenIndices::default(),
            ensure_weight_tying: false,
            bias: Bias::default(),
            heads: default_heads(),
            linear_types: LinearTypes::new(),
            task_type: None,
            seed: 0,
            name: default_name(),
            base_model: None,
        }
    }
}

/// Biases of the base that are trained, by PEFT's words.
///
/// They are the model's own, of which there is one: disabling or unloading an adapter does not give them back
/// as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// Every one, those of norms among them.
    All,
    /// Those of the layers that get an adapter.
    LoraOnly,
}

impl Bias {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::All, Self::LoraOnly];

    /// The word of configuration files, which is PEFT's for LoRA.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::All => "all",
            Self::LoraOnly => "lora_only",
        }
    }
}

/// PEFT's tasks, spelled as PEFT spells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskType {
    /// Classification of a sequence.
    #[serde(rename = "SEQ_CLS")]
    SeqCls,
    /// A sequence from a sequence.
    #[serde(rename = "SEQ_2_SEQ_LM")]
    Seq2SeqLm,
    /// Causal language modelling.
    #[serde(rename = "CAUSAL_LM")]
    CausalLm,
    /// Classification of tokens.
    #[serde(rename = "TOKEN_CLS")]
    TokenCls,
    /// Extractive question answering.
    #[serde(rename = "QUESTION_ANS")]
    QuestionAns,
    /// Hidden states as features.
    #[serde(rename = "FEATURE_EXTRACTION")]
    FeatureExtraction,
}

impl TaskType {
    /// All tasks.
    pub const ALL: [Self; 6] = [
        Self::SeqCls,
        Self::Seq2SeqLm,
        Self::CausalLm,
        Self::TokenCls,
        Self::QuestionAns,
        Self::FeatureExtraction,
    ];

    /// The task as PEFT's files spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SeqCls => "SEQ_CLS",
            Self::Seq2SeqLm => "SEQ_2_SEQ_LM",
            Self::CausalLm => "CAUSAL_LM",
            Self::TokenCls => "TOKEN_CLS",
            Self::QuestionAns => "QUESTION_ANS",
            Self::FeatureExtraction => "FEATURE_EXTRACTION",
        }
    }

    /// The task of that spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.as_str() == text)
    }

    /// Whether the model writes, so that it gives logits over its tokens.
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::CausalLm | Self::Seq2SeqLm)
    }

    /// The names of heads that PEFT trains and saves for this task, where the model has them.
    pub fn heads(self) -> &'static [&'static str] {
        match self {
            Self::SeqCls | Self::TokenCls => &["classifier", "score"],
            Self::QuestionAns => &["qa_outputs"],
            Self::Seq2SeqLm | Self::CausalLm | Self::FeatureExtraction => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_fills_the_defaults_that_new_sets() {
        let text = r#"{"adapter": {"rank": 4, "alpha": 8}, "targets": ["q"]}"#;
        let config: LoraConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config, LoraConfig::new(4).with_alpha(8.0).with_targets(["q"]));
        let least: LoraConfig = serde_json::from_str(r#"{"adapter": {"rank": 4}}"#).unwrap();
        assert_eq!(least, LoraConfig::new(4));
        let typo = r#"{"adapter": {"rank": 4, "alpha": 8}, "targets": ["q"], "excludes": []}"#;
        assert!(serde_json::from_str::<LoraConfig>(typo).is_err());
    }

    #[test]
    fn biases_are_spelled_the_same_by_serde_and_by_name() {
        for bias in Bias::ALL {
            assert_eq!(serde_json::to_value(bias).unwrap(), bias.name());
        }
    }

    #[test]
    fn tasks_are_spelled_the_same_by_serde_and_by_name() {
        for task in TaskType::ALL {
            assert_eq!(serde_json::to_value(task).unwrap(), task.as_str());
            assert_eq!(TaskType::parse(task.as_str()), Some(task));
        }
        assert_eq!(TaskType::parse("seq_cls"), None);
    }
}
