//! LoRA runs on Burn: everything a run needs, its loop, its checkpoints, its evaluation.
//!
//! - [`burn_lora_config::RunConfig`]: one TOML file describes a run; all its problems are reported at once.
//! - [`burn_lora_data`]: rows, tokenised, masked and batched, a crate of its own.
//! - [`prepare`]: everything a run needs, checked, without running it.
//! - [`run::train`]: the run. burn-train's learner, metrics, renderer, early stopping and
//!   interrupter, in a loop that counts steps.
//! - [`plan`]: the memory and the time that a run will take, before it takes them.
//! - [`evaluate::evaluate`]: what a run left, measured.
//! - [`exchange`]: one run by many processes, to the same bits; [`elsewhere`]: one whose device is another process's.
//!
//! This crate prints nothing and reads no arguments: see [`observe::Observer`].
//!
//! ```no_run
//! use burn_lora_config::RunConfig;
//! use burn_lora_train::observe::Observer;
//! use burn_lora_train::run::{RunOptions, train};
//!
//! let config = RunConfig::read("configs/quickstart.toml", &["train.steps=50".to_owned()])?;
//! let summary = train(config, RunOptions::default(), &Observer::silent())?;
//! println!("{summary}");
//! # Ok::<(), burn_lora_train::TrainError>(())
//! ```

// Ranks that are threads are part of unit tests and of others alike.
#[cfg(test)]
extern crate self as burn_lora_train;

pub mod adapter;
mod artifacts;
pub mod base;
pub mod checkpoint;
pub mod clip;
pub mod directory;
pub mod dry_run;
pub mod early_stopping;
pub mod elsewhere;
mod error;
pub mod evaluate;
pub mod exchange;
mod fit;
pub mod history;
mod ids;
pub mod inputs;
pub mod learner;
mod loader;
pub mod located;
pub mod metrics;
pub mod observe;
mod optimizer;
pub mod plain;
pub mod plan;
pub mod prepare;
pub mod run;
pub mod samples;
pub mod scene;
pub mod schedule;
mod strategy;
pub mod system_memory;

pub use error::TrainError;
pub use fit::take_steps;
pub use located::located;
