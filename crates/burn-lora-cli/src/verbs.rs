//! The verbs, a file each.

pub mod chat;
pub mod check;
pub mod completions;
pub mod eval;
pub mod export;
pub mod fetch;
pub mod generate;
pub mod init;
pub mod inspect;
pub mod merge;
pub mod plan;
pub mod sweep;
pub mod train;

/// `--set section.key=value`, shared by the verbs that read a configuration.
#[derive(clap::Args)]
pub struct Overrides {
    /// Override a key of the configuration, such as `--set train.steps=50`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}
