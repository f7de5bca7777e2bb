//! The rows of a data file, all of one format.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::problem::{BrokenRow, RowProblem};
use super::read::{self, Found, Object};
use super::row::{Format, Row};

/// A row and the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedRow {
    /// The line in the file, from 1; in a Parquet file, the row.
    pub line: usize,
    /// The row.
    pub row: Row,
}

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
    pub rows: Vec<NumberedRow>,
}

impl RowFile {
    /// Reads the file at `path`, at most its first `limit` rows; the format is found from the keys
    /// of the first row unless it is named.
    ///
    /// What kind of file it is, its extension says: `.csv`, `.parquet`, `.json` with one list of
    /// objects, and JSON Lines otherwise.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no rows, and all broken rows at once; a Parquet file in a
    /// build without the feature `parquet`.
    pub fn read(
        path: impl AsRef<Path>,
        format: Option<Format>,
        limit: Option<usize>,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        if let Some(objects) = read::binary(path, limit.unwrap_or(usize::MAX))? {
            return Self::collect(objects.into_iter(), path, format, limit);
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| DataError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path, format, limit)
    }

    /// Reads rows from the text of the file `path`, as [`read`](Self::read) does.
    ///
    /// # Errors
    ///
    /// A text without rows, and all broken rows at once.
    pub fn parse(
        text: &str,
        path: &Path,
        format: Option<Format>,
        limit: Option<usize>,
    ) -> Result<Self, DataError> {
        Self::collect(read::text(text, path), path, format, limit)
    }

    fn collect(
        objects: impl Iterator<Item = Found>,
        path: &Path,
        format: Option<Format>,
        limit: Option<usize>,
    ) -> Result<Self, DataError> {
        let mut format = format;
        let mut rows = Vec::new();
        let mut broken = Vec::new();
        for (line, object) in objects.take(limit.unwrap_or(usize::MAX)) {
            match object.and_then(|object| row(&object, &mut format)) {
                Ok(row) => rows.push(NumberedRow { line, row }),
                Err(problem) => broken.push(BrokenRow { line, problem }),
            }
        }
        let path = path.to_owned();
        match format {
            _ if !broken.is_empty() => Err(DataError::BrokenRows { path, rows: broken }),
            Some(format) if !rows.is_empty() => {
                Ok(Self { path, format, portion: Portion::Whole, rows })
            }
            _ => Err(DataError::NoRows { path }),
        }
    }
}

/// Reads one object; the first whose keys fit a format settles the file's.
fn row(object: &Object, format: &mut Option<Format>) -> Result<Row, RowProblem> {
    let found = match *format {
        Some(format) => format,
        None => Format::of(object)
            .ok_or_else(|| RowProblem::NoFormat { found: object.keys().cloned().collect() })?,
    };
    *format = Some(found);
    Row::from_json(object, found)
}
