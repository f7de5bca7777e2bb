//! `metrics.jsonl`: what every step and every evaluation measured, a line each.
//!
//! A checkpoint knows how much of the file was written by then ([`Covered`]). A run that goes on keeps that part byte for byte and cuts
//! what a lost run wrote after it; a part that is not as it was written is refused, with the line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_files::digest::{Digest, Running};
use burn_lora_report::record::Record;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// How much of the file there was, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covered {
    /// Lines.
    pub lines: usize,
    /// Size and hash of them.
    pub content: Digest,
}

/// The records of a run, in memory and, where it has one, in its file.
#[derive(Debug, Default)]
pub struct History {
    file: Option<(PathBuf, File)>,
    written: Running,
    records: Vec<Record>,
}

impl History {
    /// A new file, in the place of one that is there.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        Self::keeping(path, &[], Vec::new())
    }

    /// Goes on with the file of a run whose newest checkpoint covers so much of it; what came after that is cut off.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or the part that is covered is not as it was written: the line is named.
    pub fn resume(path: &Path, covered: &Covered) -> Result<Self, TrainError> {
        if !path.exists() && covered.lines > 0 {
            let reason = "is not there, as the whole file is not".to_owned();
            return Err(TrainError::Metrics { path: path.to_owned(), line: 1, reason });
        }
        let bytes = files::read(path)?;
        let length = usize::try_from(covered.content.bytes).unwrap_or(usize::MAX);
        match bytes.get(..length) {
            Some(kept) if Digest::of(kept) == covered.content => {
                Self::keeping(path, kept, parsed(path, kept)?)
            }
            _ => Err(altered(path, &bytes, covered)),
        }
    }

    /// Goes on with what is left of the file: its lines that are records up to `step`, in the order of the steps.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn salvage(path: &Path, step: usize) -> Result<Self, TrainError> {
        let bytes = if path.exists() { files::read(path)? } else { Vec::new() };
        let (mut kept, mut records) = (Vec::new(), Vec::<Record>::new());
        for line in whole_lines(&bytes) {
            let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
            let place = record.place();
            if place.0 <= step && records.last().map(Record::place) < Some(place) {
                kept.extend([line, b"\n"].concat());
                records.push(record);
            }
        }
        Self::keeping(path, &kept, records)
    }

    fn keeping(path: &Path, kept: &[u8], records: Vec<Record>) -> Result<Self, TrainError> {
        files::write(path, kept)?;
        let file =
            OpenOptions::new().append(true).open(path).map_err(TrainError::io("write", path))?;
        let mut written = Running::default();
        written.add(kept);
        Ok(Self { file: Some((path.to_owned(), file)), written, records })
    }

    /// Reads the records of a file. A last line without its end is one that was being written when
    /// the run was lost, and is left out.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a whole line of it is no record.
    pub fn read(path: &Path) -> Result<Vec<Record>, TrainError> {
        parsed(path, &files::read(path)?)
    }

    /// Adds a record to memory and file.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn push(&mut self, record: Record) -> Result<(), TrainError> {
        if let Some((path, file)) = &mut self.file {
            let line = serde_json::to_vec(&record).map(|line| [&line[..], b"\n"].concat());
            let line = line.map_err(std::io::Error::from);
            let written = line.and_then(|line| file.write_all(&line).map(|()| line));
            self.written.add(&written.map_err(TrainError::io("write", &*path))?);
        }
        self.records.push(record);
        Ok(())
    }

    /// All records so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// All that is written so far.
    pub fn covered(&self) -> Covered {
        Covered { lines: self.records.len(), content: self.written.so_far() }
    }
}

/// The lines that have their end.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(&[][..], |end| &bytes[..end]);
    whole.split(|&byte| byte == b'\n').filter(move |_| !whole.is_empty())
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<Vec<Record>, TrainError> {
    let damaged = |(index, error): (usize, serde_json::Error)| TrainError::Damaged {
        path: path.to_owned(),
        reason: format!("line {}: {error}", index + 1),
    };
    let parse =
        |(index, line)| serde_json::from_slice(line).map_err(|error| damaged((index, error)));
    whole_lines(bytes).enumerate().map(parse).collect()
}

/// What is wrong with the part that is covered, and from which line on.
fn altered(path: &Path, bytes: &[u8], covered: &Covered) -> TrainError {
    let at =
        |line: usize, reason: String| TrainError::Metrics { path: path.to_owned(), line, reason };
    let mut lines = whole_lines(bytes);
    let (mut last, mut evaluated) = (0, false);
    for number in 1..=covered.lines {
        let Some(line) = lines.next() else {
            return at(number, format!("is missing: {} lines were written", covered.lines));
        };
        let (step, evaluation) = match serde_json::from_slice(line) {
            Ok(record) => Record::place(&record),
            Err(error) => return at(number, format!("is no record: {error}")),
        };
        // The next step, or what was measured after the last one.
        if step != last + usize::from(!evaluation) || (evaluation && evaluated) {
            let before =
                if number == 1 { String::new() } else { format!(" after one of step {last}") };
            return at(number, format!("is of step {step}{before}"));
        }
        (last, evaluated) = (step, evaluation);
    }
    at(covered.lines, "or one before it was changed since it was written".to_owned())
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
            ..StepRecord::default()
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
        let mut history = History::create(&path).unwrap();
        let all = [eval(0), record(1), record(2), eval(2), record(3)];
        let mut covered = history.covered();
        for (index, record) in all.into_iter().enumerate() {
            history.push(record).unwrap();
            if index == 3 {
                covered = history.covered();
            }
        }
        assert_eq!(History::read(&path).unwrap(), all);
        let bytes = std::fs::read(&path).unwrap();
        let resumed = History::resume(&path, &covered).unwrap();
        assert_eq!((resumed.records(), resumed.covered()), (&all[..4], covered.clone()));
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(kept, bytes[..kept.len()], "what is kept is kept byte for byte");
        assert_eq!(History::read(&path).unwrap(), all[..4]);
        assert!(History::create(&path).unwrap().records().is_empty(), "a new run starts empty");
    }

    #[test]
    fn a_perplexity_beyond_any_number_is_read_again_and_does_not_damage_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut history = History::create(&path).unwrap();
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
        let covered = history.covered();
        assert_eq!(History::resume(&path, &covered).unwrap().records(), all);
        // A line that lacks the figure is broken all the same.
        std::fs::write(&path, "{\"step\":1,\"eval_loss\":1.0,\"accuracy\":0.5}\n").unwrap();
        assert!(matches!(History::read(&path), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn a_line_that_was_being_written_is_left_out_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        History::create(&path).unwrap().push(record(1)).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{}", &whole[..9])).unwrap();
        assert_eq!(History::read(&path).unwrap(), [record(1)]);
        std::fs::write(&path, format!("{whole}{{}}\n{whole}")).unwrap();
        assert!(History::read(&path).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn holes_doubles_reversed_lines_and_other_content_are_refused_with_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut history = History::create(&path).unwrap();
        for record in [eval(0), record(1), record(2), eval(2), record(3)] {
            history.push(record).unwrap();
        }
        let covered = history.covered();
        let whole = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let of = |order: &[usize]| -> String {
            order.iter().map(|&index| format!("{}\n", lines[index])).collect()
        };
        let binary = [&whole.as_bytes()[..whole.len() / 2], &[0xff, b'\n', 0xfe]].concat();
        let other = whole.replacen("1.5", "1.4", 1);
        let cases: [(Vec<u8>, usize); 8] = [
            (of(&[0, 1, 3, 4]).into(), 3),
            (of(&[0, 1, 1, 2, 3, 4]).into(), 3),
            (of(&[4, 3, 2, 1, 0]).into(), 1),
            (of(&[0, 1, 2, 3]).into(), 5),
            (Vec::new(), 1),
            (binary, 3),
            (other.into(), 5),
            (of(&[1, 2, 3, 4]).into(), 5),
        ];
        for (content, expected) in cases {
            std::fs::write(&path, &content).unwrap();
            match History::resume(&path, &covered).unwrap_err() {
                TrainError::Metrics { line, .. } => {
                    assert_eq!(line, expected, "{}", String::from_utf8_lossy(&content));
                }
                other => panic!("{other}"),
            }
            assert_eq!(std::fs::read(&path).unwrap(), content, "a refusal changes nothing");
        }
        // A tail after what is covered is cut, whatever it is.
        let torn = [whole.as_bytes(), &[0xff, b'\n', 0, 0xfe]].concat();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(History::resume(&path, &covered).unwrap().records().len(), 5);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        // What is left is used where that is asked for.
        std::fs::write(&path, of(&[4, 1, 1, 2])).unwrap();
        assert_eq!(History::salvage(&path, 2).unwrap().records(), [record(1), record(2)]);
        std::fs::remove_file(&path).unwrap();
        let gone = History::resume(&path, &covered);
        assert!(matches!(gone, Err(TrainError::Metrics { line: 1, .. })));
        assert!(History::salvage(&path, 2).unwrap().records().is_empty());
    }
}
