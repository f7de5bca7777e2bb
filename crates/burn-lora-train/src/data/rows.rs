//! Reading a data file: JSON Lines, one row a line, all rows of one format.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{BrokenRow, DataError, RowProblem};
use super::row::{Format, Row};

/// A row and the line that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedRow {
    /// The line in the file, from 1.
    pub line: usize,
    /// The row.
    pub row: Row,
}

/// The rows of a data file; there is at least one, and all are of one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// What every row holds.
    pub format: Format,
    /// The rows, in the order of the file; empty lines are passed over.
    pub rows: Vec<NumberedRow>,
}

impl RowFile {
    /// Reads the file at `path`, at most its first `limit` rows; the format is found from the keys
    /// of the first row unless it is named.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no rows, and all broken rows at once.
    pub fn read(
        path: impl AsRef<Path>,
        format: Option<Format>,
        limit: Option<usize>,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
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
        // An editor's byte order mark is no part of the first row.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut format = format;
        let mut rows = Vec::new();
        let mut broken = Vec::new();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        for (index, text) in lines.take(limit.unwrap_or(usize::MAX)) {
            let line = index + 1;
            match row(text, &mut format) {
                Ok(row) => rows.push(NumberedRow { line, row }),
                Err(problem) => broken.push(BrokenRow { line, problem }),
            }
        }
        let path = path.to_owned();
        match format {
            _ if !broken.is_empty() => Err(DataError::BrokenRows { path, rows: broken }),
            Some(format) if !rows.is_empty() => Ok(Self { path, format, rows }),
            _ => Err(DataError::NoRows { path }),
        }
    }
}

/// Reads one line; the first whose keys fit a format settles the file's.
fn row(text: &str, format: &mut Option<Format>) -> Result<Row, RowProblem> {
    let object = object(text)?;
    let found = match *format {
        Some(format) => format,
        None => Format::of(&object)
            .ok_or_else(|| RowProblem::NoFormat { found: object.keys().cloned().collect() })?,
    };
    *format = Some(found);
    Row::from_json(&object, found)
}

fn object(text: &str) -> Result<Map<String, Value>, RowProblem> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(RowProblem::NotObject),
        Err(error) => {
            let column = error.column();
            // The parser's own place counts lines within the row, which is always the first.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Err(RowProblem::NotJson { column, message })
        }
    }
}
