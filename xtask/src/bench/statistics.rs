//! What the lines of a results file come to, cell by cell.
//!
//! A value of a cell is the median over its processes of the process's own median. Its spread is
//! the range over the processes, smallest to largest: of three to five processes a quartile says
//! nothing that the range does not, and the range hides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::record::{Cell, Latency, Line, Measured, StepTimes};

/// A results file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// It holds nothing.
    #[error("{path} holds no results")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is no record.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
}

/// The lines of a results file. A last line that an interrupted run cut off is left out.
///
/// # Errors
///
/// A file that cannot be read, holds nothing, or has a line that is no record.
pub fn read(path: &Path) -> Result<Vec<Line>, ReadError> {
    let bytes =
        std::fs::read(path).map_err(|reason| ReadError::Read { path: path.to_owned(), reason })?;
    let mut lines = Vec::new();
    // What follows the last newline is nothing, or what an interrupted run came to write.
    let texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (index, text) in texts.iter().enumerate() {
        match serde_json::from_slice(text) {
            Ok(line) => lines.push(line),
            Err(reason) if index + 1 == texts.len() && reason.is_eof() => {}
            Err(reason) => {
                return Err(ReadError::Line { path: path.to_owned(), line: index + 1, reason });
            }
        }
    }
    match lines.is_empty() {
        true => Err(ReadError::Empty { path: path.to_owned() }),
        false => Ok(lines),
    }
}

/// The middle one, or the mean of the two middle ones; none of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => None,
        0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

/// A median and the range around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Spread {
    /// Of these values; none of nothing.
    pub fn of(values: Vec<f64>) -> Option<Self> {
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let most = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { median: median(values)?, least, most })
    }

    /// Half the range, as a share of the median.
    pub fn half_range(&self) -> f64 {
        (self.most - self.least) / 2.0 / self.median
    }
}

/// All processes of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The cell.
    pub cell: Cell,
    /// What each of its processes measured.
    pub processes: Vec<Measured>,
}

/// The measured cells in order. Where a resumed run repeats a process, the last one counts.
pub fn summaries(lines: &[Line]) -> Vec<Summary> {
    let mut cells: BTreeMap<Cell, BTreeMap<usize, Measured>> = BTreeMap::new();
    for line in lines {
        if let Line::Sample(sample) = line {
            let processes = cells.entry(sample.cell.clone()).or_default();
            processes.insert(sample.repeat, sample.measured.clone());
        }
    }
    cells
        .into_iter()
        .map(|(cell, processes)| Summary { cell, processes: processes.into_values().collect() })
        .collect()
}

impl Summary {
    fn spread(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.processes.iter().filter_map(of).collect())
    }

    fn step(measured: &Measured, part: impl Fn(&StepTimes) -> f64) -> Option<f64> {
        median(measured.steps.iter().map(part).collect())
    }

    /// Seconds of a whole step; none of an inference cell.
    pub fn step_seconds(&self) -> Option<Spread> {
        self.part(StepTimes::total)
    }

    /// Seconds of a part of a step.
    pub fn part(&self, part: impl Fn(&StepTimes) -> f64) -> Option<Spread> {
        self.spread(|measured| Self::step(measured, &part))
    }

    /// Tokens trained a second.
    pub fn tokens_per_second(&self) -> Option<Spread> {
        let tokens = self.cell.tokens() as f64;
        self.spread(|measured| Some(tokens / Self::step(measured, StepTimes::total)?))
    }

    /// Peak resident memory, in bytes.
    pub fn peak(&self) -> Option<Spread> {
        self.spread(|measured| Some(measured.peak_bytes as f64))
    }

    /// Seconds from the start of a process to the end of its first step.
    pub fn first_step(&self) -> Option<Spread> {
        self.spread(|measured| Some(measured.first_step_seconds))
    }

    /// Operations a second in a whole step (or a forward pass of the merged model).
    pub fn flops_per_second(&self) -> Option<Spread> {
        self.spread(|measured| Some(measured.flops / Self::busy(measured)?))
    }

    /// Seconds of a whole step, or of a forward pass of the merged model.
    pub fn busy_seconds(&self) -> Option<Spread> {
        self.spread(Self::busy)
    }

    /// How much of a whole step its matrix products would take alone.
    pub fn share_of_limit(&self) -> Option<Spread> {
        self.spread(|measured| Some(measured.products_seconds / Self::busy(measured)?))
    }

    /// Seconds of what a process's operations are counted for.
    fn busy(measured: &Measured) -> Option<f64> {
        match &measured.latency {
            // The products of an inference cell are the base model's, and so are a merged one's.
            Some(latency) => median(latency.merged.clone()),
            None => Self::step(measured, StepTimes::total),
        }
    }

    /// Seconds of a forward pass without gradients.
    pub fn latency(&self, which: impl Fn(&Latency) -> &Vec<f64>) -> Option<Spread> {
        self.spread(|measured| median(which(measured.latency.as_ref()?).clone()))
    }

    /// The first process, for what is the same in all of them: counts and sizes.
    pub fn any(&self) -> Option<&Measured> {
        self.processes.first()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::record::{Method, Sample};

    /// A sample of a cell of 8 tokens whose steps take these seconds.
    pub fn sample(method: Method, rank: Option<usize>, repeat: usize, steps: &[f64]) -> Line {
        let times = |&total: &f64| StepTimes {
            forward: total / 2.0,
            backward: total / 4.0,
            optimizer: total / 4.0,
        };
        Line::Sample(Sample {
            cell: Cell {
                model: "tiny".into(),
                backend: "flex".into(),
                batch: 2,
                length: 4,
                method,
                rank,
            },
            repeat,
            measured: Measured {
                parameters: 1000,
                trainable: 100,
                adapter_bytes: rank.map(|_| 400),
                checkpoint_bytes: if rank.is_some() { 1200 } else { 12_000 },
                peak_bytes: 1 << 20,
                first_step_seconds: 0.5,
                steps: steps.iter().map(times).collect(),
                losses: vec![2.0],
                latency: None,
                flops: 80.0,
                products_seconds: 1.0,
                device_bytes: None,
            },
        })
    }

    #[test]
    fn medians_are_those_of_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let spread = Spread::of(vec![4.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, least: 1.0, most: 4.0 });
        assert_eq!(spread.half_range(), 0.75);
    }

    #[test]
    fn a_cell_is_the_median_of_the_medians_of_its_processes() {
        let lines = [
            sample(Method::Lora, Some(2), 0, &[2.0, 4.0, 100.0]),
            sample(Method::Lora, Some(2), 1, &[2.0]),
            sample(Method::Lora, Some(2), 2, &[8.0]),
        ];
        let [summary] = &summaries(&lines)[..] else { panic!("one cell") };
        assert_eq!(summary.step_seconds(), Some(Spread { median: 4.0, least: 2.0, most: 8.0 }));
        assert_eq!(
            summary.tokens_per_second(),
            Some(Spread { median: 2.0, least: 1.0, most: 4.0 })
        );
        assert_eq!(summary.part(|step| step.forward).unwrap().median, 2.0);
        assert_eq!(summary.flops_per_second().unwrap().median, 20.0);
        assert_eq!(summary.share_of_limit().unwrap().median, 0.25);
        assert_eq!(summary.latency(|latency| &latency.base), None);
    }

    #[test]
    fn an_inference_cell_is_held_against_its_merged_passes() {
        let Line::Sample(mut sample) = sample(Method::Merged, Some(2), 0, &[]) else {
            panic!("a sample")
        };
        sample.measured.latency =
            Some(Latency { base: vec![2.0, 4.0], adapter: vec![8.0], merged: vec![1.0, 2.0, 9.0] });
        let [summary] = &summaries(&[Line::Sample(sample)])[..] else { panic!("one cell") };
        assert_eq!(summary.tokens_per_second(), None);
        assert_eq!(summary.latency(|latency| &latency.base).unwrap().median, 3.0);
        assert_eq!(summary.flops_per_second().unwrap().median, 40.0);
        assert_eq!(summary.share_of_limit().unwrap().median, 0.5);
    }

    #[test]
    fn a_process_that_a_resumed_run_repeats_counts_once() {
        let lines = [sample(Method::Full, None, 0, &[2.0]), sample(Method::Full, None, 0, &[6.0])];
        assert_eq!(summaries(&lines)[0].processes.len(), 1);
        assert_eq!(summaries(&lines)[0].step_seconds().unwrap().median, 6.0);
    }

    #[test]
    fn a_cut_last_line_is_left_out_and_any_other_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let line = serde_json::to_string(&sample(Method::Full, None, 0, &[1.0])).unwrap();
        let write = |text: String| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        assert_eq!(write(format!("{line}\n{}", &line[..40])).unwrap().len(), 1);
        assert_eq!(write(format!("{line}\n{line}")).unwrap().len(), 2);
        let error = write(format!("{}\n{line}\n", &line[..40])).unwrap_err().to_string();
        assert!(error.contains("results.jsonl:1: "), "{error}");
        // A line that was ended is not one that was cut.
        let error = write(format!("{line}\n{}\n", &line[..40])).unwrap_err().to_string();
        assert!(error.contains("results.jsonl:2: "), "{error}");
        assert!(matches!(write(String::new()), Err(ReadError::Empty { .. })));
        assert!(read(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
