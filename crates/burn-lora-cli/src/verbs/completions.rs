//! `burn-lora completions SHELL`: what a shell needs to complete commands and options.

use burn_lora_app::AppError;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::{Cli, output};

/// Print a script that completes burn-lora's commands in a shell
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), AppError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "burn-lora", &mut script);
        output::bytes(&script)
    }
}
