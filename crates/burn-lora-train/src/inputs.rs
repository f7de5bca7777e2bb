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

use crate::base::{self, BaseCache, BasePlace};
use crate::checkpoint::Checkpoints;
use crate::directory::RunDirectory;
use crate::observe::Observer;
use crate::{TrainError, located};
use burn_lora_config::RunConfig;

/// What files held, by their names or paths.
pub type Digests = BTreeMap<String, Digest>;

/// What the run's files held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The data files, by the paths of the configuration.
    pub data: Digests,
    /// The files of the base and its tokenizer, by their names.
    pub base: Digests,
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

/// What has changed of a run's files since its newest checkpoint, a line each. Files that are gone are passed over, as is a run
/// without a checkpoint; those of a base whose digests `bases` has are not read again.
///
/// # Errors
///
/// A file that cannot be read.
pub fn changed_since(
    config: &RunConfig,
    directory: &RunDirectory,
    bases: &BaseCache,
) -> Result<Vec<String>, TrainError> {
    let Ok(Some(checkpoint)) = Checkpoints::new(directory.checkpoints(), 1).newest() else {
        return Ok(Vec::new());
    };
    let Ok(digesting) = Digesting::start(config, Some(bases), &Observer::silent()) else {
        return Ok(Vec::new());
    };
    let now = digesting.finish(Some(bases))?;
    let mut then = checkpoint.origin.inputs;
    then.data.retain(|name, _| now.data.contains_key(name));
    then.base.retain(|name, _| now.base.contains_key(name));
    Ok(now.changes(&then).into_iter().map(|(_, line)| line).collect())
}

/// Digests that are being computed.
pub(crate) struct Digesting {
    base: BasePlace,
    inputs: JoinHandle<Result<Inputs, IoError>>,
}

impl Digesting {
    /// Begins with the files of a run; those of a base whose digests `bases` has are not read again.
    ///
    /// # Errors
    ///
    /// A base that is not there.
    pub fn start(
        config: &RunConfig,
        bases: Option<&BaseCache>,
        observer: &Observer,
    ) -> Result<Self, TrainError> {
        let data = config.data.train.iter().map(|source| &source.path).chain(&config.data.eval);
        // A pipe gives what it has once, to whoever reads the rows.
        let data = data.filter(|path| path.is_file());
        let data: Vec<_> = data.map(|path| (path.display().to_string(), path.clone())).collect();
        let model = base::place(&config.model.source, observer)?;
        let base = [model, located(&config.model.tokenizer, observer)?];
        let known = bases.and_then(|bases| bases.digests(&base));
        let [model, tokenizer] = base.clone();
        let read = move || {
            let base = match known {
                Some(known) => known,
                None => digests(base_files(&model, &tokenizer))?,
            };
            Ok(Inputs { data: digests(data)?, base })
        };
        Ok(Self { base, inputs: thread::spawn(read) })
    }

    /// Waits for what is still to be read, and leaves the base's digests with `bases`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn finish(self, bases: Option<&BaseCache>) -> Result<Inputs, TrainError> {
        let inputs = match self.inputs.join() {
            Ok(inputs) => inputs?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        if let Some(bases) = bases {
            bases.keep_digests(self.base, &inputs.base);
        }
        Ok(inputs)
    }
}

fn digests(files: impl IntoIterator<Item = (String, PathBuf)>) -> Result<Digests, IoError> {
    files.into_iter().map(|(name, path)| Ok((name, Digest::of_file(&path)?))).collect()
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

fn lines(then: &Digests, now: &Digests) -> Vec<String> {
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

    /// Every point of a sweep read the whole base anew.
    #[test]
    fn a_base_is_read_once_for_all_runs_that_share_a_cache() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        write("model.safetensors", "1");
        write("rows.jsonl", "1");
        let text = format!(
            "[model]\npath = {:?}\n[data]\ntrain = {:?}\n[output]\ndir = \"d\"\n",
            dir.path(),
            at("rows.jsonl")
        );
        let config = RunConfig::parse(&text, "run.toml", &[]).unwrap();
        let bases = BaseCache::default();
        let inputs = |bases| {
            Digesting::start(&config, bases, &Observer::silent()).unwrap().finish(bases).unwrap()
        };
        let first = inputs(Some(&bases));
        write("model.safetensors", "2");
        write("rows.jsonl", "2");
        let second = inputs(Some(&bases));
        assert_eq!(second.base, first.base);
        assert_ne!(second.data, first.data, "rows are read by every run");
        assert_ne!(inputs(None).base, first.base);
    }

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
