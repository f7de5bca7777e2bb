//! The files that a run stands on: its data and its base, by size and SHA-256.
//!
//! They are read on a thread of their own while the run reads them too, so that most of the time nobody waits. A checkpoint holds
//! what they were, and a run that goes on says what has changed since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use burn_lora_files::IoError;
use burn_lora_files::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::observe::Observer;
use crate::{TrainError, located};
use burn_lora_config::{ModelSource, RunConfig};

/// What the run's files held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The data files, by the paths of the configuration.
    pub data: BTreeMap<String, Digest>,
    /// The files of the base and its tokenizer, by their names.
    pub base: BTreeMap<String, Digest>,
}

/// What may have changed since a checkpoint was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The data files.
    Data,
    /// The base model's files.
    Base,
    /// `metrics.jsonl` of the run: the run goes on with what is left of it.
    Metrics,
}

impl Changed {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Data, Self::Base, Self::Metrics];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Base => "base",
            Self::Metrics => "metrics",
        }
    }
}

/// Digests that are being computed.
pub(crate) struct Digesting(JoinHandle<Result<Inputs, IoError>>);

impl Digesting {
    /// Begins with the files of a run.
    ///
    /// # Errors
    ///
    /// A base that is not there.
    pub fn start(config: &RunConfig, observer: &Observer) -> Result<Self, TrainError> {
        let data = config.data.train.iter().map(|source| &source.path).chain(&config.data.eval);
        // A pipe gives what it has once, to whoever reads the rows.
        let data: Vec<PathBuf> = data.filter(|path| path.is_file()).cloned().collect();
        let model = match &config.model.source {
            ModelSource::Pretrained(dir) => located(dir, observer)?,
            ModelSource::Random(file) => file.clone(),
        };
        let tokenizer = located(&config.model.tokenizer, observer)?;
        let read = move || {
            let of = |path: PathBuf, name: String| Ok((name, Digest::of_file(&path)?));
            let name = |path: PathBuf| of(path.clone(), path.display().to_string());
            let base = base_files(&model, &tokenizer);
            Ok(Inputs {
                data: data.into_iter().map(name).collect::<Result<_, IoError>>()?,
                base: base
                    .into_iter()
                    .map(|(name, path)| of(path, name))
                    .collect::<Result<_, IoError>>()?,
            })
        };
        Ok(Self(thread::spawn(read)))
    }

    /// Waits for what is still to be read.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn finish(self) -> Result<Inputs, TrainError> {
        match self.0.join() {
            Ok(inputs) => Ok(inputs?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The files that decide a base: its configuration, weights and tokenizer.
fn base_files(model: &Path, tokenizer: &Path) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for (place, tokenizer_only) in [(tokenizer, true), (model, false)] {
        if !place.is_dir() {
            let name = place.file_name().unwrap_or(place.as_os_str());
            files.insert(name.to_string_lossy().into_owned(), place.to_owned());
            continue;
        }
        // What cannot be listed was refused by whoever read it.
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let decides = match Path::new(&name).extension().and_then(|end| end.to_str()) {
                Some("safetensors") => !tokenizer_only,
                Some("json") => !tokenizer_only || name.contains("token"),
                Some("jinja") => true,
                _ => false,
            };
            if decides && entry.path().is_file() {
                files.insert(name, entry.path());
            }
        }
    }
    files
}

impl Inputs {
    /// What has changed from `then` to now, of each kind, a line each.
    pub fn changes(&self, then: &Self) -> Vec<(Changed, String)> {
        let data = lines(&then.data, &self.data).into_iter().map(|line| (Changed::Data, line));
        let base = lines(&then.base, &self.base).into_iter().map(|line| (Changed::Base, line));
        data.chain(base).collect()
    }
}

fn lines(then: &BTreeMap<String, Digest>, now: &BTreeMap<String, Digest>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, was) in then {
        match now.get(name) {
            None => lines.push(format!("`{name}` is gone")),
            Some(is) if is.bytes != was.bytes => {
                lines.push(format!("`{name}` had {} bytes and has {}", was.bytes, is.bytes));
            }
            Some(is) if is != was => lines.push(format!("`{name}` has other content")),
            Some(_) => {}
        }
    }
    let new = now.keys().filter(|name| !then.contains_key(*name));
    lines.extend(new.map(|name| format!("`{name}` is new")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_told_by_its_kind_and_its_file() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let of = |data: &[(&str, &str)], base: &[(&str, &str)]| {
            let all = |files: &[(&str, &str)]| {
                files.iter().map(|(name, text)| ((*name).to_owned(), digest(text))).collect()
            };
            Inputs { data: all(data), base: all(base) }
        };
        let then = of(&[("a", "1"), ("b", "2"), ("c", "3")], &[("m", "4")]);
        assert_eq!(then.changes(&then), []);
        let now = of(&[("a", "1"), ("b", "9"), ("d", "3")], &[("m", "45")]);
        let expected = [
            (Changed::Data, "`b` has other content"),
            (Changed::Data, "`c` is gone"),
            (Changed::Data, "`d` is new"),
            (Changed::Base, "`m` had 1 bytes and has 2"),
        ];
        assert_eq!(now.changes(&then), expected.map(|(kind, line)| (kind, line.to_owned())));
    }
}
