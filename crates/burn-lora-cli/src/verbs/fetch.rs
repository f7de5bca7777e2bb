//! `burn-lora fetch ORG/NAME`: a model of the Hugging Face hub, into the cache that Python shares.

use std::fmt;

use burn_lora_app::AppError;
use burn_lora_app::fetch::{fetch, fetch_dry_run};
use burn_lora_hub::{Snapshot, SnapshotFile};
use burn_lora_text::size;
use serde::Serialize;

use crate::{output, terminal};

/// Fetch a model from the Hugging Face hub, or bring it up to date
#[derive(clap::Args)]
pub struct Fetch {
    /// The model, such as HuggingFaceTB/SmolLM2-135M-Instruct, with @REVISION if need be
    id: String,
    /// A .gguf file of the repository, instead of its safetensors
    #[arg(long, value_name = "NAME")]
    gguf: Option<String>,
    /// Print one JSON object instead of the directory
    #[arg(long)]
    json: bool,
    /// Ask the hub for the files and their sizes, say which would be downloaded, and download none
    #[arg(long)]
    dry_run: bool,
}

impl Fetch {
    pub fn run(self) -> Result<(), AppError> {
        if self.dry_run {
            let snapshot = fetch_dry_run(&self.id, self.gguf.as_deref())?;
            return output::dry_run(&Model::new(&self.id, &snapshot), self.json);
        }
        let snapshot = fetch(&self.id, self.gguf.as_deref(), &terminal::observer(self.json))?;
        if self.json {
            return output::json(&Model::new(&self.id, &snapshot));
        }
        output::line(&snapshot.directory.display())
    }
}

/// A model, as JSON or as what a dry run found.
#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    commit: &'a str,
    /// The snapshot's directory.
    directory: String,
    /// Bytes that a fetch would download.
    to_download: u64,
    files: &'a [SnapshotFile],
}

impl<'a> Model<'a> {
    fn new(id: &'a str, snapshot: &'a Snapshot) -> Self {
        Self {
            id,
            commit: &snapshot.commit,
            directory: snapshot.directory.display().to_string(),
            to_download: snapshot.to_download(),
            files: &snapshot.files,
        }
    }
}

impl fmt::Display for Model<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "would download {} into {}", size(self.to_download), self.directory)?;
        let width = self.files.iter().map(|file| file.name.len()).max().unwrap_or(0);
        for file in self.files {
            let what = match (file.cached, file.to_download) {
                (true, _) => "in the cache".to_owned(),
                (false, rest) if rest == file.bytes => "to download".to_owned(),
                (false, rest) => format!("{} left to download", size(rest)),
            };
            write!(f, "\n  {:width$}  {:>9}  {what}", file.name, size(file.bytes))?;
        }
        Ok(())
    }
}
