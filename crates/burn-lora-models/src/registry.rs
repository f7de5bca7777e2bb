//! The table of model families: from the `model_type` of a `config.json` to the model that is built.
//!
//! A row names a variant, the family's model and the `model_type`s that it serves; everything else is
//! the family's own ([`Model`], [`Decoder`] or [`Classifier`], and [`ModelConfig`]). Two enums come of each
//! table, over models and over configurations, which do what their variants do. As a module an enum *is* its
//! variant: paths start with the family's own fields (a derived enum would put the variant's name before
//! them).

use std::fmt;
use std::path::Path;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Int, Tensor};

use crate::ModelError;
use crate::classifier::{Classifier, ClassifierConfig};
use crate::config::{model_type, text_of};
use crate::decoder::{Decoder, Head, KvCache, Placement};
use crate::families::{
    bert, bloom, distilbert, gemma, gpt_neox, gpt2, llama, modernbert, olmo2, phi3, smollm3,
};
use crate::gguf::GgufFamily;
use crate::model::{Description, Model, ModelConfig};
use crate::weights::Builder;

macro_rules! families {
    (
        $(#[$about_model:meta])* $Model:ident,
        $(#[$about_config:meta])* $Config:ident, $model_types:ident;
        $($(#[$about:meta])* $Variant:ident($Family:ty): $($model_type:literal),+;)+
    ) => {
        const $model_types: &[&str] = &[$($($model_type),+),+];

        $(#[$about_model])*
        #[derive(Debug, Clone)]
        #[allow(clippy::large_enum_variant, reason = "a handful exist at a time")]
        #[non_exhaustive]
        pub enum $Model {
            $($(#[$about])* $Variant($Family),)+
        }

        $(#[$about_config])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "a handful exist at a time")]
        #[non_exhaustive]
        pub enum $Config {
            $($(#[$about])* $Variant(<$Family as Model>::Config),)+
        }

        impl ModelConfig for $Config {
            fn from_json(text: &str, path: &Path) -> Result<Self, ModelError> {
                match model_type(text, path, $model_types).map_err(of_other_task)? {
                    $($($model_type)|+ => {
                        <$Family as Model>::Config::from_json(text, path).map(Self::$Variant)
                    })+
                    other => unreachable!("`{other}` is not in the table"),
                }
            }

            fn with_dropout(self) -> Self {
                match self {
                    $(Self::$Variant(config) => Self::$Variant(config.with_dropout()),)+
                }
            }

            fn about(&self) -> &dyn Description {
                match self {
                    $(Self::$Variant(config) => config.about(),)+
                }
            }
        }

        impl Model for $Model {
            type Config = $Config;

            fn build(config: &$Config, root: &mut Builder<'_>) -> Result<Self, ModelError> {
                match config {
                    $($Config::$Variant(config) => {
                        <$Family as Model>::build(config, root).map(Self::$Variant)
                    })+
                }
            }

            fn config(&self) -> &dyn Description {
                match self {
                    $(Self::$Variant(model) => model.config(),)+
                }
            }
        }

        impl Module for $Model {
            fn collect_devices(&self, devices: Devices) -> Devices {
                match self {
                    $(Self::$Variant(model) => model.collect_devices(devices),)+
                }
            }

            fn fork(self, device: &Device) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.fork(device)),)+
                }
            }

            fn to_device(self, device: &Device) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.to_device(device)),)+
                }
            }

            fn train(self) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.train()),)+
                }
            }

            fn valid(&self) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.valid()),)+
                }
            }

            fn materialize(self) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.materialize()),)+
                }
            }

            fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                match self {
                    $(Self::$Variant(model) => model.visit(visitor),)+
                }
            }

            fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                match self {
                    $(Self::$Variant(model) => Self::$Variant(model.map(mapper)),)+
                }
            }
        }

        impl ModuleDisplayDefault for $Model {
            fn content(&self, content: Content) -> Option<Content> {
                match self {
                    $(Self::$Variant(model) => model.content(content),)+
                }
            }
        }

        impl ModuleDisplay for $Model {}

        impl fmt::Display for $Model {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$Variant(model) => model.fmt(f),)+
                }
            }
        }
    };
}

/// [`families!`] of decoders.
macro_rules! decoders {
    (
        $(#[$about_model:meta])* $Model:ident, $(#[$about_config:meta])* $Config:ident;
        $($(#[$about:meta])* $Variant:ident($Family:ty): $($model_type:literal),+;)+
    ) => {
        families! {
            $(#[$about_model])* $Model, $(#[$about_config])* $Config, DECODERS;
            $($(#[$about])* $Variant($Family): $($model_type),+;)+
        }

        const GGUF: &[&[GgufFamily]] =
            &[$(<<$Family as Model>::Config as ModelConfig>::GGUF),+];

        impl Decoder for $Model {
            fn forward(
                &self,
                ids: Tensor<2, Int>,
                placement: &Placement,
                cache: Option<&mut KvCache>,
            ) -> Tensor<3> {
                match self {
                    $(Self::$Variant(model) => model.forward(ids, placement, cache),)+
                }
            }

            fn head(&self) -> Head<'_> {
                match self {
                    $(Self::$Variant(model) => model.head(),)+
                }
            }
        }
    };
}

/// [`families!`] of encoders with a classification head.
macro_rules! classifiers {
    (
        $(#[$about_model:meta])* $Model:ident, $(#[$about_config:meta])* $Config:ident;
        $($(#[$about:meta])* $Variant:ident($Family:ty): $($model_type:literal),+;)+
    ) => {
        families! {
            $(#[$about_model])* $Model, $(#[$about_config])* $Config, CLASSIFIERS;
            $($(#[$about])* $Variant($Family): $($model_type),+;)+
        }

        impl ClassifierConfig for $Config {
            fn labels(&self) -> &[String] {
                match self {
                    $(Self::$Variant(config) => config.labels(),)+
                }
            }

            fn with_labels(self, labels: Vec<String>) -> Self {
                match self {
                    $(Self::$Variant(config) => Self::$Variant(config.with_labels(labels)),)+
                }
            }
        }

        impl Classifier for $Model {
            fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
                match self {
                    $(Self::$Variant(model) => model.logits(ids, lengths),)+
                }
            }
        }
    };
}

decoders! {
    /// A decoder of any family.
    CausalLm,
    /// The configuration of a decoder of any family.
    CausalConfig;
    /// Llama and what has its blocks: SmolLM2, Mistral, Qwen2, Qwen3.
    Llama(llama::LlamaForCausalLM): "llama", "mistral", "qwen2", "qwen3";
    /// Gemma.
    Gemma(gemma::GemmaForCausalLM): "gemma";
    /// Gemma 2.
    Gemma2(gemma::Gemma2ForCausalLM): "gemma2";
    /// Gemma 3, what it does with text.
    Gemma3(gemma::Gemma3ForCausalLM): "gemma3_text", "gemma3";
    /// OLMo 2.
    Olmo2(olmo2::Olmo2ForCausalLM): "olmo2";
    /// Phi-3.
    Phi3(phi3::Phi3ForCausalLM): "phi3";
    /// SmolLM3.
    SmolLM3(smollm3::SmolLM3ForCausalLM): "smollm3";
    /// GPT-NeoX, Pythia.
    GptNeoX(gpt_neox::GptNeoXForCausalLM): "gpt_neox";
    /// GPT-2.
    Gpt2(gpt2::Gpt2LMHeadModel): "gpt2";
    /// BLOOM.
    Bloom(bloom::BloomForCausalLM): "bloom";
}

classifiers! {
    /// An encoder of any family with a classification head.
    SequenceClassifier,
    /// The configuration of a classifier of any family.
    SequenceClassifierConfig;
    /// BERT, MiniLM.
    Bert(bert::BertForSequenceClassification): "bert";
    /// RoBERTa.
    Roberta(bert::RobertaForSequenceClassification): "roberta";
    /// DistilBERT.
    DistilBert(distilbert::DistilBertForSequenceClassification): "distilbert";
    /// ModernBERT.
    ModernBert(modernbert::ModernBertForSequenceClassification): "modernbert";
}

/// What is unknown in the one table and known in the other is of another task.
fn of_other_task(error: ModelError) -> ModelError {
    let ModelError::UnknownArchitecture { path, found, supported, .. } = error else {
        return error;
    };
    let is_of = |names: &[&str]| names.contains(&found.trim_matches('`'));
    let of_other_task = match (is_of(DECODERS), is_of(CLASSIFIERS)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    ModelError::UnknownArchitecture { path, found, supported, of_other_task }
}

/// The families of GGUF files.
pub(crate) fn gguf_families() -> impl Iterator<Item = &'static GgufFamily> {
    GGUF.iter().copied().flatten()
}

/// An architecture of the table, by its `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture(&'static str);

impl Architecture {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        DECODERS.iter().chain(CLASSIFIERS).copied().map(Self)
    }

    /// Its `model_type`.
    pub fn model_type(self) -> &'static str {
        self.0
    }

    /// Whether it generates text ([`CausalLm`]); else it classifies ([`SequenceClassifier`]).
    pub fn is_causal(self) -> bool {
        DECODERS.contains(&self.0)
    }

    /// The architecture of the directory's `config.json`. A GGUF file names one as well.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or parsed, a `model_type` that is not in the table.
    pub fn of_dir(dir: &Path) -> Result<Self, ModelError> {
        let (text, path) = text_of(dir)?;
        Self::of_json(&text, &path)
    }

    /// The architecture that the text of a `config.json` names. `path` is for the errors.
    ///
    /// # Errors
    ///
    /// As [`Self::of_dir`].
    pub fn of_json(text: &str, path: &Path) -> Result<Self, ModelError> {
        let all: Vec<&'static str> = Self::all().map(Self::model_type).collect();
        model_type(text, path, &all).map(Self)
    }
}
