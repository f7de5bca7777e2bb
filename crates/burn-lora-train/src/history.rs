//! `metrics.jsonl`: what every step and every evaluation measured, a line each.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_report::record::Record;

use crate::TrainError;

/// The records of a run, in memory and, where it has one, in its file.
#[derive(Debug, Default)]
pub struct History {
    file: Option<(PathBuf, File)>,
    records: Vec<Record>,
}

impl History {
    /// Opens the file and keeps what lies at or before `step`; what a lost run wrote after its last
    /// checkpoint is cut off.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or a line but the last is no record.
    pub fn open(path: &Path, step: usize) -> Result<Self, TrainError> {
        let mut records = if path.exists() { Self::read(path)? } else { Vec::new() };
        records.retain(|record| step > 0 && record.step() <= step);
        let mut text = Vec::new();
        for record in &records {
            text.extend(line(record, path)?);
        }
        files::write(path, &text)?;
        let file =
            OpenOptions::new().append(true).open(path).map_err(TrainError::io("write", path))?;
        Ok(Self { file: Some((path.to_owned(), file)), records })
    }

    /// Reads the records of a file. A last line without its end is one that was being written when
    /// the run was lost, and is left out.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a whole line of it is no record.
    pub fn read(path: &Path) -> Result<Vec<Record>, TrainError> {
        let text = files::read_text(path)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|error| TrainError::Damaged {
                    path: path.to_owned(),
                    reason: format!("line {}: {error}", index + 1),
                })
            })
            .collect()
    }

    /// Adds a record to memory and file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn push(&mut self, record: Record) -> Result<(), TrainError> {
        if let Some((path, file)) = &mut self.file {
            file.write_all(&line(&record, path)?).map_err(TrainError::io("write", &*path))?;
        }
        self.records.push(record);
        Ok(())
    }

    /// All records so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

fn line(record: &Record, path: &Path) -> Result<Vec<u8>, TrainError> {
    let mut line = serde_json::to_vec(record)
        .map_err(|error| TrainError::io("write", path)(std::io::Error::other(error)))?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use burn_lora_report::record::{EvalRecord, StepRecord};

    use super::*;

    fn record(step: usize) -> Record {
        Record::Step(StepRecord {
            step,
            loss: 1.5,
            learning_rate: 1e-3,
            gradient_norm: 0.25,
            targets: 10,
            tokens: 20,
            seconds: 0.5,
        })
    }

    fn eval(step: usize) -> Record {
        Record::Eval(EvalRecord {
            step,
            eval_loss: 2.0,
            perplexity: 2.0_f64.exp(),
            accuracy: 0.5,
            exact_match: Some(0.25),
            bleu: Some(0.125),
        })
    }

    #[test]
    fn records_come_back_as_they_were_and_later_ones_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut history = History::open(&path, 0).unwrap();
        let all = [eval(0), record(1), record(2), eval(2), record(3)];
        for record in all {
            history.push(record).unwrap();
        }
        assert_eq!(History::read(&path).unwrap(), all);
        assert_eq!(History::open(&path, 2).unwrap().records(), &all[..4]);
        assert_eq!(History::read(&path).unwrap(), all[..4]);
        assert!(History::open(&path, 0).unwrap().records().is_empty(), "a new run starts empty");
    }

    #[test]
    fn a_perplexity_beyond_any_number_is_read_again_and_does_not_damage_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut history = History::open(&path, 0).unwrap();
        let of = |step, eval_loss: f64| {
            let perplexity = eval_loss.exp();
            EvalRecord { step, eval_loss, perplexity, accuracy: 0.0, exact_match: None, bleu: None }
        };
        let all = [of(0, 709.0), of(1, 710.0), of(2, f64::INFINITY)].map(Record::Eval);
        assert!(matches!(all[1], Record::Eval(record) if record.perplexity == f64::INFINITY));
        for record in all {
            history.push(record).unwrap();
        }
        assert_eq!(History::read(&path).unwrap(), all);
        assert_eq!(History::open(&path, 2).unwrap().records(), all);
        // A line that lacks the figure is broken all the same.
        std::fs::write(&path, "{\"step\":1,\"eval_loss\":1.0,\"accuracy\":0.5}\n").unwrap();
        assert!(matches!(History::read(&path), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn a_line_that_was_being_written_is_left_out_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        History::open(&path, 0).unwrap().push(record(1)).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..9])).unwrap();
        assert_eq!(History::read(&path).unwrap(), [record(1)]);
        std::fs::write(&path, format!("{whole}{{}}\n{whole}")).unwrap();
        assert!(History::read(&path).unwrap_err().to_string().contains("line 2"));
    }
}
