//! What the command line does: with runs, with the models and adapters that they leave, and before there is one.
//!
//! - [`presets`]: run configurations that are ready to use.
//! - [`sweep`]: many runs of one configuration.
//! - [`merge`], [`export`]: a finished run as a model, or as a directory to share.
//! - [`combine`]: several adapters as one, one of a smaller rank; [`extract`]: one of what two models differ in.
//! - [`inspect`]: what an adapter is, beside its base where that is at hand.
//! - [`generator`], [`prompts_file`], [`chat`]: text from what was trained.
//! - [`fetch`]: models of the hub.
//!
//! [`AppError`] is the widest error of the project. It says what is wrong and what can be done about it, but no flag of
//! a command line, nor is anything printed here: that is left to whoever has one.

pub mod chat;
pub mod combine;
pub mod dry_write;
mod error;
pub mod export;
pub mod extract;
pub mod fetch;
pub mod generator;
pub mod inspect;
pub mod merge;
pub mod presets;
pub mod prompts_file;
pub mod sweep;

pub use error::AppError;
