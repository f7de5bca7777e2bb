//! Turns a Burn model into a LoRA-adapted one, and back.
//!
//! [`patch`] hangs an adapter on the linear layers that a [`PatchConfig`] selects and freezes the
//! rest. It works on any [`Module`](burn::module::Module), a user's or one of Burn's own, without a
//! change to its code: layers are found by the paths and types that a visitor sees ([`Scan`]), and
//! the adapter hangs on the weight. A model that calls
//! [`LoraForward::lora_forward`](burn_lora::LoraForward) runs the factored path; an unchanged one
//! runs Burn's composed path, with the same result.
//!
//! - [`Targets`]: names, a pattern, or `all-linear`; an entry that picks nothing is an error.
//! - [`PatchReport`]: what was picked and what it costs.
//! - [`set_active`], [`set_multiplier`], [`merge`], [`unmerge`], [`unload`], [`delete_adapter`]: one or
//!   several named adapters at run time.
//! - [`peft`]: adapter directories as Hugging Face PEFT reads and writes them.
//! - [`trainable_ids`], [`trainable_tensors`], [`set_tensors`]: what a checkpoint holds.
//!
//! This crate knows no architecture, no run configuration and no training loop.
//!
//! ```
//! use burn::nn::transformer::TransformerEncoderConfig;
//! use burn_lora::LoraConfig;
//! use burn_lora_patch::{PatchConfig, Targets, patch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("cpu")?.autodiff();
//! let mut model = TransformerEncoderConfig::new(64, 128, 4, 2).init(&device);
//! let config = PatchConfig::new(LoraConfig::new(4, 8.0), Targets::names(["query", "value"]));
//! println!("{}", patch(&mut model, &config)?);
//!
//! let typo = PatchConfig::new(LoraConfig::new(4, 8.0), Targets::names(["querry"]));
//! let error = burn_lora_patch::plan(&burn_lora_patch::unload(model), &typo).unwrap_err();
//! assert!(error.to_string().contains("did you mean `query`?"));
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
mod patch;
mod path;
pub mod peft;
mod report;
mod rewrite;
mod scan;
mod select;
mod targets;
mod tensors;

pub use config::{PatchConfig, TaskType};
pub use error::{KeyProblem, PatchError, Role, TargetProblem};
pub use patch::{patch, plan};
pub use peft::keys::NamedTensor;
pub use report::{EntryMatch, LayerReport, LayerStatus, PatchReport, SavedModule};
pub use rewrite::{
    adapter_names, delete_adapter, merge, merge_and_unload, set_active, set_multiplier, unload,
    unmerge,
};
pub use scan::{LinearLayer, ModuleKind, ParamInfo, ParamRole, Scan};
pub use targets::{Targets, TargetsError, TargetsForm, minimal_suffixes};
pub use tensors::{set_tensors, trainable_factors, trainable_ids, trainable_tensors};
