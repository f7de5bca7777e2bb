//! The rows of a data file, all of one format.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::advice::advice;
use crate::elsewhere::elsewhere;
use crate::error::DataError;
use crate::format::{Format, Squad};
use crate::object::Object;
use crate::problem::{BrokenRow, RowProblem};
use crate::read::{self, Found, NearlyJson};
use crate::row::{Place, PlacedRow, Row};

/// Which of a file's rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// All, or those within a limit.
    Whole,
    /// Those to train on, after others were held out.
    Kept {
        /// How many were.
        held_out: usize,
    },
    /// Those held out.
    HeldOut {
        /// How many rows there were before.
        of: usize,
    },
}

/// How a file is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// What every row holds; found from the keys of the first row where absent.
    pub format: Option<Format>,
    /// How many of the first rows are read; all where absent.
    pub limit: Option<usize>,
    /// How questions on a text are written.
    pub squad: Squad,
}

/// The rows of a data file; there is at least one, and all are of one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// What every row holds.
    pub format: Format,
    /// Which of the file's rows these are.
    pub portion: Portion,
    /// The rows, in the order of the file; empty lines are passed over.
    pub rows: Vec<PlacedRow>,
    /// Keys of rows that their format does not have, with how often each was there.
    pub unused: BTreeMap<String, usize>,
}

impl RowFile {
    /// Reads the file at `path`.
    ///
    /// What kind of file it is, its extension says: `.csv`, `.parquet`, `.json` with one list of
    /// objects or SQuAD's articles, and JSON Lines otherwise.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no rows, and all broken rows at once; a Parquet file in a
    /// build without the feature `parquet`.
    pub fn read(path: impl AsRef<Path>, reading: &Reading) -> Result<Self, DataError> {
        let path = path.as_ref();
        // A device may have no end, and a pipe is read by whoever comes first.
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => return Err(directory(path)),
            Ok(about) if !about.is_file() => {
                return Err(DataError::NoFile { path: path.to_owned() });
            }
            _ => {}
        }
        if let Some(objects) = read::binary(path, reading.limit.unwrap_or(usize::MAX))? {
            return Self::collect(objects.into_iter(), path, reading, read::BINARY_REMEDY);
        }
        Self::parse(&read::decoded(path)?, path, reading)
    }

    /// Reads rows from the text of the file `path`, as [`read`](Self::read) does.
    ///
    /// # Errors
    ///
    /// A text without rows, and all broken rows at once.
    pub fn parse(text: &str, path: &Path, reading: &Reading) -> Result<Self, DataError> {
        let (objects, remedy) = read::text(text, path);
        Self::collect(objects, path, reading, remedy).map_err(|error| match error {
            DataError::BrokenRows { path, rows } => match nearly_json(text, &rows) {
                Some((line, found)) => DataError::NearlyJson { path, line, found },
                None => DataError::BrokenRows { rows: of_table(rows, &path), path },
            },
            error => error,
        })
    }

    fn collect(
        objects: impl Iterator<Item = Found>,
        path: &Path,
        reading: &Reading,
        remedy: &'static str,
    ) -> Result<Self, DataError> {
        let mut format = reading.format;
        let mut rows = Vec::new();
        let mut broken = Vec::new();
        let mut unused: BTreeMap<String, usize> = BTreeMap::new();
        for Found { place, article, object } in objects.take(reading.limit.unwrap_or(usize::MAX)) {
            let read = object.and_then(|object| {
                let row = row(&object, &mut format, reading)?;
                let unknown = |key: &&String| {
                    !object[*key].is_null()
                        && !format.is_some_and(|format| format.reads(key, &object))
                };
                for key in object.keys().filter(unknown) {
                    *unused.entry(key.clone()).or_default() += 1;
                }
                Ok(row)
            });
            match read {
                Ok(row) => rows.push(PlacedRow { place, article, row }),
                Err(problem) => broken.push(BrokenRow { place, problem }),
            }
        }
        let path = path.to_owned();
        match format {
            _ if !broken.is_empty() => Err(DataError::BrokenRows { path, rows: broken }),
            Some(format) if !rows.is_empty() => {
                Ok(Self { path, format, portion: Portion::Whole, rows, unused })
            }
            _ => Err(DataError::NoRows { path, remedy }),
        }
    }
}

/// The rows with what is said of a table whose columns fit no format: it may lack the line that names them.
fn of_table(mut rows: Vec<BrokenRow>, path: &Path) -> Vec<BrokenRow> {
    if read::is_table(path) {
        for row in &mut rows {
            // Names that are near are those of columns.
            if let RowProblem::NoFormat { advice, .. } = &mut row.problem
                && !advice.starts_with("the nearest")
            {
                *advice = format!("the first line of a table names its columns; {advice}");
            }
        }
    }
    rows
}

/// What is said of a directory, which may be one that `datasets` wrote.
fn directory(path: &Path) -> DataError {
    let of_datasets = ["dataset_info.json", "dataset_dict.json", "state.json"];
    let note = match of_datasets.iter().any(|name| path.join(name).is_file()) {
        true => {
            "`datasets` wrote it: write its rows as lines of JSON, `datasets.load_from_disk(DIR).to_json(FILE)` in Python (of one split, where \
             there are several)"
        }
        false => "name the files in it, in a list where there are several",
    };
    DataError::Directory { path: path.to_owned(), note }
}

/// What the file is written in, where its broken rows all are no JSON and the first is something that is nearly JSON; and the line of it.
fn nearly_json(text: &str, rows: &[BrokenRow]) -> Option<(usize, NearlyJson)> {
    let no_json = |row: &BrokenRow| matches!(row.problem, RowProblem::NotJson { .. });
    let Place::Line(line) = rows.first().filter(|_| rows.iter().all(no_json))?.place else {
        return None;
    };
    let listed = text.trim_start_matches('\u{feff}').trim_start().starts_with('[');
    let row = text.lines().nth(line.saturating_sub(1)).filter(|_| !listed);
    let found = row.and_then(NearlyJson::of_line).or_else(|| NearlyJson::of_whole(text))?;
    Some((line, found))
}

/// Reads one object; the first whose keys fit a format settles the file's.
fn row(object: &Object, format: &mut Option<Format>, reading: &Reading) -> Result<Row, RowProblem> {
    let found = match *format {
        Some(format) => format,
        None => Format::of(object).ok_or_else(|| {
            if let Some(problem) = elsewhere(object) {
                return problem;
            }
            let found: Vec<_> = object.keys().cloned().collect();
            let within = object.iter().find(|(_, value)| {
                value.as_object().is_some_and(|inner| Format::of(inner).is_some())
            });
            let advice = match within {
                Some((key, _)) => format!("the row itself lies in `{key}`: write that alone"),
                None => advice(&found),
            };
            RowProblem::NoFormat { advice, found }
        })?,
    };
    *format = Some(found);
    found.read(object, reading)
}
