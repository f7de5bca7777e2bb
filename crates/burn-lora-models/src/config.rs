//! What the configurations of all families share: where a `config.json` is found, and how its problems are
//! gathered, all of them at once.

mod checked;
mod given;
pub(crate) mod unread;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use checked::{Basics, Checked, ConfigKeys};
pub use unread::{Rotary, Stated};

pub(crate) use given::{by_own_names, keys_of, quantised};
pub(crate) use unread::effect;

use crate::weights::instead;
use crate::{ModelError, gguf};

/// The text of a `config.json`, and where it stands: `path` itself, the one in a directory, or what
/// a GGUF file says in its place.
pub(crate) fn text_of(path: &Path) -> Result<(String, PathBuf), ModelError> {
    if gguf::is_gguf(path) {
        return Ok((gguf::config_text(path)?, path.to_owned()));
    }
    let path = match path.is_dir() {
        true => in_dir(path)?,
        false if instead::is_of_weights(path) => return Err(instead::file(path)),
        false => path.to_owned(),
    };
    let text = burn_lora_files::read_text(&path)
        .map_err(|error| ModelError::io("read", &path)(error.source))?;
    Ok((text, path))
}

/// The `config.json` of a directory.
fn in_dir(dir: &Path) -> Result<PathBuf, ModelError> {
    let path = dir.join("config.json");
    if let Some(target) = instead::dangling(&path) {
        return Err(ModelError::DanglingLink { path, target });
    }
    match path.exists() {
        true => Ok(path),
        false => Err(ModelError::NoConfig {
            dir: dir.to_owned(),
            note: instead::note(dir, "config.json"),
        }),
    }
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &Path) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

/// Keys of a `config.json` with their values, given or by default.
pub(crate) fn settings(keys: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(keys) {
        Ok(Value::Object(settings)) => settings,
        _ => Map::new(),
    }
}

/// The `model_type` that a `config.json` names, one of `allowed`.
pub(crate) fn model_type(
    text: &str,
    path: &Path,
    allowed: &[&'static str],
) -> Result<&'static str, ModelError> {
    #[derive(Deserialize)]
    struct Named {
        model_type: Option<String>,
    }
    let named: Named = parse(text, path)?;
    let found = named.model_type.as_deref();
    allowed.iter().copied().find(|known| found == Some(*known)).ok_or_else(|| {
        ModelError::UnknownArchitecture {
            path: path.to_owned(),
            found: found.map_or("missing".into(), |name| format!("`{name}`")),
            supported: allowed.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
            of_other_task: None,
        }
    })
}

/// The most of anything that is built: some ten times what any published model has. So few bytes and operations follow
/// from three such counts that 64 bits hold their number.
const MOST: usize = 1 << 22;
/// The most blocks.
const MOST_BLOCKS: usize = 1 << 12;

/// What checking a configuration finds.
#[derive(Debug, Default)]
pub struct Problems {
    /// What is wrong with it.
    found: Vec<String>,
    /// The keys that are not known here, and had no effect.
    unknown: Vec<String>,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: impl Into<String>) {
        self.found.push(problem.into());
    }

    pub(crate) fn extend(&mut self, problems: Vec<String>) {
        self.found.extend(problems);
    }

    /// A key that is not known here.
    fn unknown(&mut self, key: &str) {
        self.unknown.push(key.to_owned());
    }

    /// What a reader of one value found, or its value. With problems, the default is used by nobody.
    pub(crate) fn take<T: Default>(&mut self, result: Result<T, Vec<String>>) -> T {
        result.map_err(|found| self.extend(found)).unwrap_or_default()
    }

    /// Numbers of things of which there must be one.
    pub(crate) fn at_least_one<const N: usize>(&mut self, counts: [(&str, usize); N]) {
        for (key, _) in counts.into_iter().filter(|&(_, count)| count == 0) {
            self.add(format!("`{key}` is 0: at least 1 is needed"));
        }
    }

    /// Sizes of tensors.
    pub(crate) fn sizes<const N: usize>(&mut self, counts: [(&str, usize); N]) {
        self.at_least_one(counts);
        for (key, count) in counts {
            self.at_most(MOST, key, count);
        }
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&mut self, key: &str, count: usize) {
        self.at_least_one([(key, count)]);
        self.at_most(MOST_BLOCKS, key, count);
    }

    /// What all heads together have.
    pub(crate) fn heads(&mut self, (key, heads): (&str, usize), head_dim: usize) {
        if heads.saturating_mul(head_dim) > MOST {
            self.add(format!(
                "{heads} heads (`{key}`) of {head_dim} numbers (`head_dim`) each: at most {MOST} numbers are supported"
            ));
        }
    }

    fn at_most(&mut self, most: usize, key: &str, count: usize) {
        if count > most {
            self.add(format!("`{key}` is {count}: at most {most} is supported"));
        }
    }

    pub(crate) fn positive(&mut self, key: &str, value: f64) {
        if !(value > 0.0 && value.is_finite()) {
            self.add(format!("`{key}` is {value}: it must be positive"));
        }
    }

    pub(crate) fn not_negative(&mut self, key: &str, value: f64) {
        if !(value >= 0.0 && value.is_finite()) {
            self.add(format!("`{key}` is {value}: it must not be negative"));
        }
    }

    /// Probabilities of dropping.
    pub(crate) fn probabilities<const N: usize>(&mut self, values: [(&str, Option<f64>); N]) {
        let given = values.into_iter().filter_map(|(key, value)| Some((key, value?)));
        for (key, value) in given.filter(|(_, value)| !(0.0..1.0).contains(value)) {
            self.add(format!("`{key}` is {value}: it must be from 0, below 1"));
        }
    }

    /// The heads share out the residual stream; `unless` says what else would do.
    pub(crate) fn shared_out(
        &mut self,
        (width_key, width): (&str, usize),
        (heads_key, heads): (&str, usize),
        unless: impl Display,
    ) {
        if !width.is_multiple_of(heads.max(1)) {
            self.add(format!(
                "`{width_key}` ({width}) is not a multiple of `{heads_key}` ({heads}){unless}"
            ));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Fails where there are any; gives the keys that are not known here.
    pub(crate) fn none(self, path: &Path) -> Result<Vec<String>, ModelError> {
        match self.is_empty() {
            true => Ok(self.unknown),
            false => Err(ModelError::Config { path: path.to_owned(), problems: self.found }),
        }
    }
}
