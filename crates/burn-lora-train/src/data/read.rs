//! Data files as JSON objects, each with the place that it stands at, whatever the file's kind.
//!
//! | extension | content |
//! | --- | --- |
//! | `.json` | one list of objects, or lines as below |
//! | `.csv` | a header row of keys, then a row of values a line (RFC 4180) |
//! | `.parquet` | columns of strings and whole numbers, lists of references and of conversations' turns |
//! | any other | JSON Lines: one object a line |

mod array;
mod csv;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;

use std::path::Path;

use serde_json::{Map, Value};

use super::error::DataError;
use super::problem::RowProblem;

/// A row before its format is known.
pub(super) type Object = Map<String, Value>;

/// The line (of Parquet, the row) that something stands at, from 1, and the row or what is wrong.
pub(super) type Found = (usize, Result<Object, RowProblem>);

/// The objects of a text file, of the kind that its extension says.
pub(super) fn text<'a>(text: &'a str, path: &Path) -> Box<dyn Iterator<Item = Found> + 'a> {
    // An editor's byte order mark is no part of the first row.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if has_extension(path, "csv") {
        csv::objects(text)
    } else if has_extension(path, "json") && text.trim_start().starts_with('[') {
        array::objects(text)
    } else {
        lines::objects(text)
    }
}

/// The objects of a file that is no text, at most `limit`; nothing of a file that is text.
pub(super) fn binary(path: &Path, limit: usize) -> Result<Option<Vec<Found>>, DataError> {
    if !has_extension(path, "parquet") {
        return Ok(None);
    }
    #[cfg(feature = "parquet")]
    return parquet::objects(path, limit).map(Some);
    #[cfg(not(feature = "parquet"))]
    {
        let _ = limit;
        Err(DataError::NeedsFeature { path: path.to_owned(), feature: "parquet" })
    }
}

/// What a file without rows should hold.
pub(super) fn remedy(path: &Path) -> &'static str {
    if has_extension(path, "csv") {
        "write a header row, then a row of values a line"
    } else if has_extension(path, "parquet") {
        "write at least one"
    } else {
        "write one JSON object a line"
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|of_path| of_path.eq_ignore_ascii_case(extension))
}
