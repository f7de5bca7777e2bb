//! `burn-lora export RUN --out DIR`: a finished run as a directory to share, any decoder as a GGUF file, or an adapter for one
//! program that reads it.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::export::{
    ExportOptions, GgufOptions, Profile, ProfileOptions, export, export_dry_run, export_gguf,
    export_gguf_dry_run, export_profile, export_profile_dry_run,
};
use burn_lora_models::SaveDtype;
use burn_lora_models::gguf::FileType;
use clap::ValueHint;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::place::{directory, place};
use crate::{output, terminal};

/// Write a directory to share: adapter or model, tokenizer, model card; or a GGUF file
#[derive(clap::Args)]
pub struct Export {
    /// The run directory; with --gguf also a model's directory or .gguf file, or a model of the hub; with --profile also a
    /// PEFT adapter directory
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    run: PathBuf,
    /// The directory to write, which must not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = directory())]
    out: PathBuf,
    /// Write base and adapter as one model (f32) instead of the adapter
    #[arg(long)]
    merged: bool,
    /// What others find the base model by, such as org/name [default: the configuration's]
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,
    /// Write one GGUF file, its adapter merged, and a Modelfile for Ollama: f32, f16, bf16, q8_0, q4_0 or q4_k
    #[arg(long, value_name = "TYPE", value_parser = file_type(), conflicts_with_all = ["merged", "base_model"])]
    gguf: Option<FileType>,
    /// The adapter to merge (a PEFT directory) [default: the run's own, if it is a run]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "gguf", conflicts_with_all = ["merged", "base_model", "profile"], value_parser = place())]
    adapter: Option<PathBuf>,
    /// Where to load and merge for --gguf: cpu, cuda:0, …
    #[arg(long, default_value = "cpu", requires = "gguf", conflicts_with_all = ["merged", "base_model", "profile"])]
    device: String,
    /// Write the adapter alone, for the program that is to read it: peft, vllm (one rank and scale for all layers) or
    /// llama-cpp (a GGUF file to load beside the base's)
    #[arg(long, value_parser = profile(), conflicts_with_all = ["merged", "gguf"])]
    profile: Option<Profile>,
    /// The base, for --profile llama-cpp: a model's directory or .gguf file, or one of the hub that is here already
    /// [default: the run's, or the one that the adapter names]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "profile", conflicts_with_all = ["merged", "gguf"], value_parser = place())]
    base: Option<PathBuf>,
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

/// The types of a file, by name.
fn file_type() -> impl TypedValueParser<Value = FileType> {
    PossibleValuesParser::new(FileType::ALL.map(FileType::name))
        .try_map(|name| FileType::parse(&name).ok_or_else(|| format!("no type `{name}`")))
}

/// The programs, by name.
fn profile() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name))
        .try_map(|name| name.parse::<Profile>())
}

impl Export {
    pub fn run(self) -> Result<(), AppError> {
        match (self.gguf, self.profile) {
            (Some(file_type), _) => self.run_gguf(file_type),
            (None, Some(profile)) => self.run_profile(profile),
            (None, None) => self.run_directory(),
        }
    }

    fn run_profile(self, profile: Profile) -> Result<(), AppError> {
        let Self { run, out, base_model, base, json, dry_run, .. } = self;
        let options = ProfileOptions { out, profile, base_model, base };
        let observer = terminal::observer(json);
        if dry_run {
            return output::dry_run(&export_profile_dry_run(&run, &options, &observer)?, json);
        }
        output::told(&export_profile(&run, &options, &observer)?, json)
    }

    fn run_gguf(self, file_type: FileType) -> Result<(), AppError> {
        let Self { run, out, adapter, device, json, dry_run, .. } = self;
        let options = GgufOptions { out, file_type, adapter, device };
        let observer = terminal::observer(json);
        if dry_run {
            return output::dry_run(&export_gguf_dry_run(&run, &options, &observer)?, json);
        }
        let exported = export_gguf(&run, &options, &observer)?;
        if json {
            return output::json(&exported);
        }
        output::line(&format!("exported: {}", exported.out.display()))?;
        for name in &exported.files {
            output::line(&format!("  {name}"))?;
        }
        let counts: Vec<String> = exported
            .tensors
            .iter()
            .map(|count| format!("{} {}", count.tensors, count.ggml_type))
            .collect();
        output::line(&format!("tensors: {}", counts.join(", ")))
    }

    fn run_directory(self) -> Result<(), AppError> {
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
