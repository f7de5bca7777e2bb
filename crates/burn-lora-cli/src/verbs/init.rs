//! `burn-lora init NAME --out run.toml`: a configuration to start from.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::presets::{self, Fill};
use burn_lora_config::RunConfig;
use clap::ValueHint;
use serde::Serialize;

use crate::output;
use crate::place::{is_stream, output as output_file};

/// List the ready configurations, print one, or copy one with your paths filled in
#[derive(clap::Args)]
pub struct Init {
    /// The configuration; without it, all are listed
    name: Option<String>,
    /// The file to write, which must not exist; without it, or with `-`, the configuration is printed
    #[arg(long, value_name = "FILE", requires = "name", value_hint = ValueHint::FilePath, value_parser = output_file())]
    out: Option<PathBuf>,
    /// Fill in the base model
    #[arg(long, value_name = "PATH", requires = "name", value_hint = ValueHint::AnyPath)]
    model: Option<String>,
    /// Fill in the training rows
    #[arg(long, value_name = "FILE", requires = "name", value_hint = ValueHint::FilePath)]
    data: Option<String>,
    /// Fill in the rows to evaluate on
    #[arg(long, value_name = "FILE", requires = "name", value_hint = ValueHint::FilePath)]
    eval: Option<String>,
    /// Fill in the run directory
    #[arg(long, value_name = "DIR", requires = "name", value_hint = ValueHint::DirPath)]
    dir: Option<String>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Init {
    pub fn run(self) -> Result<(), AppError> {
        let Some(name) = self.name else {
            return match self.json {
                true => {
                    output::json(&Listed { configurations: presets::ALL.map(Named::from).into() })
                }
                false => output::shown(&list()),
            };
        };
        let out = self.out.filter(|path| !is_stream(path));
        let eval_stays = self.data.is_some() && self.eval.is_none();
        let fill = Fill { model: self.model, data: self.data, eval: self.eval, dir: self.dir };
        let text = presets::find(&name)?.filled(&fill)?;
        let config = RunConfig::parse(&text, &name, &[])?;
        if let Some(path) = &out {
            presets::write_new(path, &text)?;
        }
        let out = out.map(|path| path.display().to_string());
        match (self.json, &out) {
            (true, _) => output::json(&Made { name: &name, out: out.as_deref(), text: &text })?,
            (false, None) => output::bytes(text.as_bytes())?,
            (false, Some(out)) => output::line(&format!("written: {out}"))?,
        }
        if let Some(eval) = config.data.eval.filter(|_| eval_stays) {
            let eval = eval.display();
            output::note(&format!("note: [data] eval is still {eval}; --eval fills it in"));
        }
        Ok(())
    }
}

/// The list as JSON.
#[derive(Serialize)]
struct Listed {
    configurations: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    name: &'static str,
    summary: String,
}

impl From<presets::Preset> for Named {
    fn from(preset: presets::Preset) -> Self {
        Self { name: preset.name, summary: preset.summary() }
    }
}

/// A configuration that was filled in, as JSON.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    /// The file, where one was written.
    out: Option<&'a str>,
    /// The configuration.
    text: &'a str,
}

/// A line for each configuration.
fn list() -> String {
    let width = presets::ALL.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    let line = |preset: &presets::Preset| format!("{:width$}  {}\n", preset.name, preset.summary());
    presets::ALL.iter().map(line).collect()
}
