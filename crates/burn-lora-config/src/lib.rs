//! What a run is, read from one TOML file.
//!
//! Every key is declared once, as a field of its section ([`reference()`] prints them): unknown keys,
//! wrong types, values out of range, keys that are missing and keys that contradict each other are
//! all reported at once, each with its line. What comes out, a [`RunConfig`], is complete (every
//! default filled in) and consistent; it is plain data, from which models, data sets and learners
//! are built elsewhere. Whether the files it names exist is found when they are read.
//!
//! Paths in the file are relative to the current directory, not to the file, so that a configuration
//! can be kept apart from what it names, and means the same when it is copied into a run directory.
//!
//! An override (`section.key=value`) replaces what the file says, and what contradicts it there:
//! `train.steps=50` also takes the file's `epochs` back. The value is TOML, or else a plain string.
//!
//! ```
//! use burn_lora_config::{Length, RunConfig};
//!
//! let file = r#"
//! [model]
//! path = "models/smollm2-135m"
//! [data]
//! train = "train.jsonl"
//! [train]
//! epochs = 3
//! [output]
//! dir = "runs/smollm2"
//! "#;
//! let config = RunConfig::parse(file, "run.toml", &["train.steps=50".into()])?;
//! assert_eq!(config.train.length, Length::Steps(50));
//!
//! let errors = RunConfig::parse(&file.replace("epochs", "epoch"), "run.toml", &[]).unwrap_err();
//! assert_eq!(
//!     errors.to_string(),
//!     "run.toml:7: train.epoch: there is no such key; did you mean `epochs`?"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed;
mod error;
mod keys;
mod named;
mod reader;
mod reference;
mod rules;
mod sections;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{ConfigErrors, Place, Problem};
pub use keys::{Decides, UnwritableError};
pub use named::Named;
pub use reference::reference;
pub use sections::{
    AdapterSection, DataSection, Length, LoraSection, Metric, ModelSection, ModelSource,
    OutputSection, RunConfig, Schedule, TrainSection, Warmup,
};
pub use write::Difference;

use keys::Part;
use reader::Reader;

impl RunConfig {
    /// Reads the configuration file at `path`, with overrides such as `train.steps=50` laid over it,
    /// later ones over earlier ones.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or every problem of file and overrides.
    pub fn read(path: impl AsRef<Path>, overrides: &[String]) -> Result<Self, ConfigErrors> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = burn_lora_files::read_text(path)
            .map_err(|error| ConfigErrors::unreadable(&name, error.source))?;
        Self::parse(&text, &name, overrides)
    }

    /// Reads a configuration from its text; `name` stands for the file in messages.
    ///
    /// # Errors
    ///
    /// Every problem of the text and of the overrides.
    pub fn parse(text: &str, name: &str, overrides: &[String]) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(&Self::keys(), text, overrides);
        match <Self as Part>::read(&mut reader) {
            Some(config) if reader.problems.is_empty() => Ok(config),
            _ => Err(ConfigErrors::new(name, text, reader.problems)),
        }
    }
}
