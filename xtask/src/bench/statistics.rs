//! Results files read, and what several processes say together: the median, and as its spread the range, smallest to largest. Of three to
//! five processes a quartile says nothing that the range does not, and the range hides nothing.

use std::path::{Path, PathBuf};

use super::record::Line;

/// A results file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] burn_lora_files::IoError),
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
    let bytes = burn_lora_files::read(path)?;
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

    /// In another unit.
    pub fn times(self, factor: f64) -> Self {
        let Self { median, least, most } = self;
        Self { median: factor * median, least: factor * least, most: factor * most }
    }

    /// Half the range, as a share of the median.
    pub fn half_range(&self) -> f64 {
        (self.most - self.least) / 2.0 / self.median
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Method;
    use crate::bench::record::tests::sample;

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
