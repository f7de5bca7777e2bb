//! Turns a Burn model into a LoRA-adapted one, and back: the one crate to add.
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora_patch::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?.autodiff();
//! let model = TransformerEncoderConfig::new(64, 128, 4, 2).init(&device);
//!
//! let config = LoraConfig::new(8).with_alpha(16).with_targets(["query", "value"]);
//! let (model, report) = model.with_lora(&config)?;
//! assert_eq!((report.adapted(), report.linears()), (4, 12));
//!
//! let typo = LoraConfig::new(8).with_targets(["querry"]);
//! let error = model.unload_lora().plan_lora(&typo).unwrap_err();
//! assert!(error.to_string().contains("did you mean `query`?"));
//! # Ok(())
//! # }
//! ```
//!
//! It works on any [`Module`](burn::module::Module), a user's or one of Burn's own, without a
//! change to its code: layers are found by the paths and types that a visitor sees ([`Scan`]), and
//! the adapter hangs on the weight. A model that calls [`LoraForward::lora_forward`] runs the factored
//! path; an unchanged one runs Burn's composed path, which is slower.
//!
//! - [`guide`]: from choosing layers to resuming a run; what moves, what is saved, what is refused.
//! - [`LoraModule`]: everything as methods of a model.
//! - [`LoraConfig`], [`Targets`]: what to adapt, and how; an entry that picks nothing is an error.
//! - [`Eva`]: a start from what goes into the layers, which the model is shown first.
//! - [`Loftq`]: a start from what weights lost in the format that they are held in.
//! - [`PatchReport`]: what was picked and what it costs.
//! - [`peft`]: adapter directories as Hugging Face PEFT reads and writes them.
//! - [`combine`]: several adapters as one, or one of a smaller rank.
//! - [`readers`]: adapters for programs that read less of them than PEFT does.
//! - [`trainable_group`], [`trainable_ids`], [`trainable_tensors`], [`set_tensors`]: what a checkpoint holds;
//!   `train`, with the feature of that name: checkpoints of the adapter alone for burn-train.
//!
//! This crate knows no architecture, no run configuration and no training loop.

pub mod combine;
mod config;
mod error;
mod eva;
mod group;
mod groups;
pub mod guide;
mod layout;
mod loftq;
mod module;
mod patch;
mod path;
mod pattern;
pub mod peft;
pub mod readers;
mod report;
mod rewrite;
mod scan;
mod select;
mod settings;
mod targets;
mod tensors;
mod tokens;
#[cfg(feature = "train")]
pub mod train;

#[doc(inline)]
pub use combine::{Combination, CombineOptions, combine_adapters};
pub use config::{Bias, LoraConfig, TaskType};
pub use error::{KeyProblem, PatchError, Role, TargetProblem};
pub use eva::{Eva, EvaConfig};
pub use group::trainable_group;
pub use layout::{Layout, LinearTypes};
pub use loftq::Loftq;
pub use module::LoraModule;
pub use patch::{patch, plan};
pub use peft::LoadOptions;
pub use peft::keys::NamedTensor;
pub use report::{
    BiasReport, EntryMatch, LayerReport, LayerStatus, PatchReport, SavedModule, TrainedRows,
};
pub use rewrite::{
    adapter_names, check_mergeable, delete_adapter, merge, merge_and_unload, merge_and_unload_f32,
    set_active, set_multiplier, swap_adapter, unload, unmerge,
};
pub use scan::{LinearLayer, ModuleKind, ParamInfo, ParamRole, Scan};
pub use settings::Patterns;
pub use targets::{Targets, TargetsError, TargetsForm, minimal_suffixes};
pub use tensors::{set_tensors, trainable_factors, trainable_ids, trainable_tensors};
pub use tokens::TokenIndices;

/// The crate of the adapter itself, whole.
pub use burn_lora;
#[doc(inline)]
pub use burn_lora::{
    Adapter, AdapterConfig, Adapters, ConvForward, Init, LoraError, LoraForward, Method, device,
    lora_forward_together,
};

/// All that a program with a model of its own needs: `use burn_lora_patch::prelude::*;`.
pub mod prelude {
    pub use burn::config::Config as _;
    pub use burn_lora::{ConvForward, Init, LoraForward, Method};

    pub use crate::{
        Combination, CombineOptions, Layout, LoadOptions, LoraConfig, LoraModule, PatchError,
        PatchReport, Targets, TaskType,
    };
}
