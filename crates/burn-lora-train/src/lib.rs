//! LoRA runs on Burn: configuration, data, learners, the step loop, checkpoints, evaluation, merging.
//!
//! - [`config::RunConfig`]: one TOML file describes a run; all its problems are reported at once.
//! - [`data`]: rows, tokenised, masked and batched, a crate of its own.
//! - [`run::train`]: the run. burn-train's learner, metrics, renderer, early stopping and
//!   interrupter, in a loop that counts steps.
//! - [`prepare`]: everything a run needs, checked, without running it.
//! - [`plan`]: the memory and the time that a run will take, before it takes them.
//! - [`evaluate::evaluate`], [`merge::merge`]: what a run left, measured and merged.
//!
//! This crate prints nothing and reads no arguments: see [`observe::Observer`].
//!
//! ```no_run
//! use burn_lora_train::config::RunConfig;
//! use burn_lora_train::observe::Observer;
//! use burn_lora_train::run::{RunOptions, train};
//!
//! let config = RunConfig::read("configs/quickstart.toml", &["train.steps=50".to_owned()])?;
//! let summary = train(config, RunOptions::default(), &Observer::silent())?;
//! println!("{summary}");
//! # Ok::<(), burn_lora_train::TrainError>(())
//! ```

mod base;
pub mod bleu;
pub mod chat;
pub mod checkpoint;
pub mod clip;
pub use burn_lora_config as config;
pub mod directory;
pub mod dry_run;
mod error;
pub mod evaluate;
pub mod export;
mod fit;
pub mod generator;
pub mod history;
pub mod html;
mod ids;
pub mod inspect;
pub mod learner;
mod left_behind;
mod loader;
mod located;
pub mod merge;
pub mod metrics;
pub mod observe;
mod optimizer;
pub mod patience;
pub mod plan;
mod plot;
pub mod prepare;
pub mod prompts_file;
pub mod ready;
pub mod run;
pub mod schedule;
pub mod score;
pub mod silent;
mod strategy;
pub mod summary;
pub mod sweep;
pub mod system_memory;
pub mod tensorboard;

pub use burn_lora_data as data;

use burn_lora_files as files;
use burn_lora_text as suggest;

pub use error::TrainError;
pub use fit::take_steps;
pub use located::{fetch, fetch_dry_run, located};
