//! TensorBoard event files of scalars, written without TensorBoard.
//!
//! An event file is a list of TFRecords, each with one `Event` message: first the file's version,
//! then a value each. [`EventWriter`] writes one as values come. [`write_events`] writes a whole
//! history at once, so that no state is kept: at the end of a run and after a resume, the file is
//! what `metrics.jsonl` says. Use one or the other in a directory, for TensorBoard reads every event
//! file there.
//!
//! | tag | from |
//! | --- | --- |
//! | `train/loss`, `train/learning_rate`, `train/gradient_norm`, `train/tokens_per_second` | steps |
//! | `eval/loss`, `eval/perplexity`, `eval/accuracy`, `eval/exact_match`, `eval/bleu` | evaluations |
//!
//! Histograms, images, text and hyperparameters are left out.
//!
//! ```no_run
//! use burn_lora_train::tensorboard::EventWriter;
//!
//! let mut writer = EventWriter::create("runs/quickstart".as_ref(), 1_700_000_000)?;
//! writer.scalar("train/loss", 1, 1_700_000_001.5, 2.25)?;
//! writer.flush()?;
//! # Ok::<(), burn_lora_train::TrainError>(())
//! ```

mod crc32c;
mod event;
mod tfrecord;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::history::Record;
use crate::{TrainError, files};

/// A name for the event file of a run that is written anew each time. TensorBoard takes any file for
/// one whose name has `tfevents` in it.
pub const FILE_NAME: &str = "events.out.tfevents.burn-lora";

/// An event file that grows.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Creates `events.out.tfevents.{start_seconds}.{host}` in the directory, and the directories
    /// above it. `start_seconds` counts from 1970 (UTC). Where the system does not tell the host's
    /// name, `burn-lora` stands for it.
    ///
    /// # Errors
    ///
    /// The directory or the file cannot be created, or the file is there already.
    pub fn create(dir: &Path, start_seconds: u64) -> Result<Self, TrainError> {
        files::create_dir(dir)?;
        let path = dir.join(format!("events.out.tfevents.{start_seconds:010}.{}", host()));
        let file = File::create_new(&path).map_err(TrainError::io("create", &path))?;
        let mut writer = Self { path, file: BufWriter::new(file) };
        writer.write(&event::version(start_seconds as f64))?;
        writer.flush()?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a value. `wall_time` is in seconds from 1970 (UTC).
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn scalar(
        &mut self,
        tag: &str,
        step: u64,
        wall_time: f64,
        value: f64,
    ) -> Result<(), TrainError> {
        self.write(&event::scalar(tag, step, wall_time, value as f32))
    }

    /// Hands what was added to the system, where TensorBoard sees it.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), TrainError> {
        self.file.flush().map_err(TrainError::io("write", &self.path))
    }

    fn write(&mut self, event: &[u8]) -> Result<(), TrainError> {
        let record = tfrecord::framed(event);
        self.file.write_all(&record).map_err(TrainError::io("write", &self.path))
    }
}

/// Writes all records as one event file, in place of the one that was there; see [`FILE_NAME`].
///
/// Records do not say when they were made. Their wall time is `start_seconds`, in seconds from 1970
/// (UTC), and the seconds of all steps up to them, so TensorBoard's relative axis shows the time spent on
/// steps.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_events(path: &Path, start_seconds: f64, records: &[Record]) -> Result<(), TrainError> {
    Ok(files::write(path, &rendered(start_seconds, records))?)
}

/// The file's bytes.
fn rendered(start_seconds: f64, records: &[Record]) -> Vec<u8> {
    let mut bytes = tfrecord::framed(&event::version(start_seconds));
    let mut wall_time = start_seconds;
    for record in records {
        let step = match record {
            Record::Step(record) => {
                wall_time += record.seconds;
                record.step
            }
            Record::Eval(record) => record.step,
        };
        for (tag, value) in scalars(record) {
            let event = event::scalar(tag, step as u64, wall_time, value as f32);
            bytes.extend(tfrecord::framed(&event));
        }
    }
    bytes
}

/// The tags of a record and their values; for whoever feeds an [`EventWriter`].
pub fn scalars(record: &Record) -> Vec<(&'static str, f64)> {
    match record {
        Record::Step(record) => {
            let mut scalars = vec![
                ("train/loss", record.loss),
                ("train/learning_rate", record.learning_rate),
                ("train/gradient_norm", record.gradient_norm),
            ];
            // A step too short for the clock has no rate.
            if record.seconds > 0.0 {
                let rate = record.tokens as f64 / record.seconds;
                scalars.push(("train/tokens_per_second", rate));
            }
            scalars
        }
        Record::Eval(record) => {
            let mut scalars = vec![
                ("eval/loss", record.eval_loss),
                ("eval/perplexity", record.perplexity),
                ("eval/accuracy", record.accuracy),
            ];
            scalars.extend(record.exact_match.map(|share| ("eval/exact_match", share)));
            scalars.extend(record.bleu.map(|score| ("eval/bleu", score)));
            scalars
        }
    }
}

/// The host's name where the system shows it as a file, without characters that have no place in a file's
/// name.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.trim().chars().filter(fits).take(64).collect();
    if name.is_empty() { "burn-lora".to_owned() } else { name }
}

#[cfg(test)]
mod tests;
