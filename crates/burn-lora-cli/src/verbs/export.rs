//! `burn-lora export RUN --out DIR`: a finished run as a directory to share.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::export::{ExportOptions, export, export_dry_run};
use burn_lora_models::SaveDtype;
use clap::ValueHint;

use crate::place::place;
use crate::{output, terminal};

/// Write a directory to share: adapter or model, tokenizer, model card
#[derive(clap::Args)]
pub struct Export {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    run: PathBuf,
    /// The directory to write, which must not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = place())]
    out: PathBuf,
    /// Write base and adapter as one model (f32) instead of the adapter
    #[arg(long)]
    merged: bool,
    /// What others find the base model by, such as org/name [default: the configuration's]
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Check the run, say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The command line that writes text with what is exported.
fn generate(model: &str, adapter: Option<&str>) -> String {
    let adapter = adapter.map_or_else(String::new, |dir| format!(" --adapter {}", quoted(dir)));
    format!("burn-lora generate {}{adapter} --prompt \"…\"", quoted(model))
}

/// A text as an argument of a shell, where it needs quotes.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

impl Export {
    pub fn run(self) -> Result<(), AppError> {
        let options = ExportOptions {
            out: self.out,
            merged: self.merged.then_some(SaveDtype::F32),
            base_model: self.base_model,
            command: Some(generate),
        };
        let observer = terminal::observer(self.json);
        if self.dry_run {
            return output::dry_run(&export_dry_run(&self.run, &options, &observer)?, self.json);
        }
        let exported = export(&self.run, &options, &observer)?;
        if self.json {
            return output::json(&exported);
        }
        output::line(&format!("exported: {}", exported.out.display()))?;
        for name in &exported.files {
            output::line(&format!("  {name}"))?;
        }
        output::line("README.md states no licence yet: choose one before you share it")
    }
}

#[cfg(test)]
mod tests {
    use super::generate;

    #[test]
    fn the_cards_command_is_one_that_the_shell_takes() {
        let command = generate("models/my base", Some("DIR"));
        assert_eq!(command, "burn-lora generate \"models/my base\" --adapter DIR --prompt \"…\"");
        assert_eq!(generate("DIR", None), "burn-lora generate DIR --prompt \"…\"");
    }
}
