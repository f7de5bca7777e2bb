//! Data files as JSON objects, each with the place that it stands at, whatever the file's kind.
//!
//! | extension | content |
//! | --- | --- |
//! | `.csv`, `.tsv` | a header row of keys, then a row of values a line (RFC 4180), between commas, semicolons, tabs or bars |
//! | `.parquet` | columns of strings and whole numbers, lists of references and of conversations' turns |
//! | any other | JSON: one object a line, one list of objects, objects over several lines, one object whose only list are the rows, or SQuAD's articles of paragraphs of questions |
//!
//! Each kind of text has a file of its own, and a line in [`KINDS`].

mod array;
mod articles;
mod csv;
mod encoding;
mod lines;
mod nearly;
mod once;
#[cfg(feature = "parquet")]
mod parquet;

use std::path::Path;

pub(crate) use encoding::decoded;
pub use nearly::NearlyJson;

use crate::error::DataError;
use crate::object::Object;
use crate::problem::RowProblem;
use crate::row::Place;

/// A row before its format is known, or what is wrong with it.
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The number of its article, where the file has articles.
    pub(crate) article: Option<usize>,
    pub(crate) object: Result<Object, RowProblem>,
}

impl Found {
    fn at(line: usize, object: Result<Object, RowProblem>) -> Self {
        Self { place: Place::Line(line), article: None, object }
    }
}

/// The rows of a text.
type Objects<'a> = Box<dyn Iterator<Item = Found> + 'a>;

/// A kind of text file.
struct Kind {
    /// Its extension; any where absent.
    extension: Option<&'static str>,
    /// Whether a text of that extension is one.
    is: fn(&str) -> bool,
    objects: for<'a> fn(&'a str) -> Objects<'a>,
    /// What a file without rows should hold.
    remedy: &'static str,
}

/// The kinds, in the order in which they are tried; the last one is whatever no other is.
const KINDS: [Kind; 5] = [csv::KIND, csv::TABS, array::KIND, articles::KIND, lines::KIND];

/// The objects of a text file, and what to write into it if there are none.
pub(crate) fn text<'a>(text: &'a str, path: &Path) -> (Objects<'a>, &'static str) {
    // An editor's byte order mark is no part of the first row.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let fits = |kind: &&Kind| {
        kind.extension.is_none_or(|extension| has_extension(path, extension)) && (kind.is)(text)
    };
    let kind = KINDS.iter().find(fits).unwrap_or(&lines::KIND);
    ((kind.objects)(text), kind.remedy)
}

/// What a Parquet file without rows should hold.
pub(crate) const BINARY_REMEDY: &str = "write at least one";

/// The objects of a file that is no text, at most `limit`; nothing of a file that is text.
pub(crate) fn binary(path: &Path, limit: usize) -> Result<Option<Vec<Found>>, DataError> {
    if !has_extension(path, "parquet") {
        return Ok(None);
    }
    #[cfg(feature = "parquet")]
    return parquet::objects(path, limit).map(Some);
    #[cfg(not(feature = "parquet"))]
    {
        let _ = limit;
        // It may be called so and be something that is read, or told by what it is.
        let kind = burn_lora_files::kind::of_file(path);
        if kind.is_none_or(|kind| kind != burn_lora_files::kind::PARQUET) && path.is_file() {
            let kind = kind.map_or_else(
                || "it is no Parquet file, though it is called so: give its name the ending of what it is, `.jsonl` or `.csv`".to_owned(),
                |kind| kind.to_string(),
            );
            return Err(DataError::OtherKind { path: path.to_owned(), kind });
        }
        Err(DataError::NeedsFeature { path: path.to_owned(), feature: "parquet" })
    }
}

/// Whether a file is a table, by its name.
pub(crate) fn is_table(path: &Path) -> bool {
    has_extension(path, "csv") || has_extension(path, "tsv")
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|of_path| of_path.eq_ignore_ascii_case(extension))
}
