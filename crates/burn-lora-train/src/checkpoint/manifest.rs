//! What a checkpoint consists of and stands on, so that it is whole and this run's, or refused.
//!
//! `manifest.json` has size and SHA-256 of every file beside it, the step, the seed and the settings that the steps were taken
//! with, the data files and the base that they were taken on, how much of `metrics.jsonl` is covered, and a SHA-256 of all that.

use std::collections::BTreeMap;
use std::path::Path;

use burn_lora_files::digest::Digest;
use burn_lora_files::{IoError, names};
use serde::{Deserialize, Serialize};

use crate::history::Covered;
use crate::inputs::Inputs;

/// The manifest's own file.
pub(super) const MANIFEST: &str = "manifest.json";

/// What a checkpoint is of: which steps, of which run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The seed.
    pub seed: u64,
    /// SHA-256 of the settings that decide a step.
    pub settings: String,
    /// The files that the run reads.
    pub inputs: Inputs,
    /// The time that its chat template writes, in seconds since 1970-01-01, where it writes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
}

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Steps taken.
    pub step: usize,
    /// Whose steps.
    pub origin: Origin,
    /// The part of `metrics.jsonl` that was written by then.
    pub metrics: Covered,
    /// The other files of the checkpoint, by name.
    pub files: BTreeMap<String, Digest>,
}

/// As it is in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    manifest: Manifest,
    /// SHA-256 of the manifest's JSON.
    sha256: String,
}

impl Manifest {
    /// The digests of all files of a directory.
    pub fn files(dir: &Path) -> Result<BTreeMap<String, Digest>, IoError> {
        let digest = |name: String| {
            let digest = Digest::of_file(&dir.join(&name))?;
            Ok((name, digest))
        };
        names(dir)?.into_iter().map(digest).collect()
    }

    /// The bytes of `manifest.json`.
    pub fn sealed(self) -> Result<Vec<u8>, serde_json::Error> {
        let sha256 = Digest::of(&serde_json::to_vec(&self)?).sha256;
        let mut text = serde_json::to_vec_pretty(&Sealed { manifest: self, sha256 })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the manifest of the checkpoint in `dir`, which is of step `step`, and compares every file with it.
    ///
    /// # Errors
    ///
    /// The file that is not as it was written, and how.
    pub fn checked(dir: &Path, step: usize) -> Result<Self, (String, String)> {
        let of = |name: &str, reason: String| (name.to_owned(), reason);
        let text = match burn_lora_files::bytes(&dir.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) => return Err(of(MANIFEST, missing(&error))),
        };
        let sealed: Sealed = serde_json::from_slice(&text)
            .map_err(|error| of(MANIFEST, format!("is no manifest: {error}")))?;
        let manifest = sealed.manifest;
        // Sealed again it has its hash again, and what JSON does not mind was changed all the same.
        if manifest.clone().sealed().is_ok_and(|written| written != text) {
            return Err(of(MANIFEST, "was changed since it was written".to_owned()));
        }
        if manifest.step != step {
            return Err(of(MANIFEST, format!("is of step {}", manifest.step)));
        }
        for (name, written) in &manifest.files {
            let now = match Digest::of_file(&dir.join(name)) {
                Ok(now) => now,
                Err(error) => return Err(of(name, missing(&error.source))),
            };
            if now.bytes != written.bytes {
                let (now, written) = (now.bytes, written.bytes);
                return Err(of(name, format!("has {now} bytes, and {written} were written")));
            }
            if now.sha256 != written.sha256 {
                return Err(of(name, "was changed since it was written".to_owned()));
            }
        }
        Ok(manifest)
    }
}

fn missing(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
