//! What can be wrong with data, one variant per cause.

use std::fmt;
use std::path::PathBuf;

use super::row::{Format, Label};
use super::tokenizer::EncodeError;

/// Broken rows that are listed one by one; a file in a wrong format has as many as it has rows.
const LISTED: usize = 10;

/// Data that cannot be trained or evaluated on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("{}: the data file cannot be read: {source}", path.display())]
    Unreadable {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no rows.
    #[error("{}: the file has no rows: write one JSON object a line", path.display())]
    NoRows {
        /// The data file.
        path: PathBuf,
    },
    /// Rows that are not what the file's format asks for.
    #[error("{}", list_rows(path, rows))]
    BrokenRows {
        /// The data file.
        path: PathBuf,
        /// Every broken row, in the order of the file.
        rows: Vec<BrokenRow>,
    },
    /// The rows are of a format that this use of them does not take.
    #[error(
        "{}: the rows are {found}, but {expected} rows are needed here",
        path.display()
    )]
    OtherFormat {
        /// The data file.
        path: PathBuf,
        /// The format of the file.
        found: Format,
        /// The formats that would do, in words.
        expected: &'static str,
    },
    /// A label that is not among the classes.
    #[error("{}:{line}: label `{label}` is not one of the {classes} classes{}", path.display(), hint(nearest.as_deref()))]
    UnknownLabel {
        /// The data file.
        path: PathBuf,
        /// Line of the row, from 1.
        line: usize,
        /// The label.
        label: Label,
        /// How many classes there are.
        classes: usize,
        /// The class with the nearest name.
        nearest: Option<String>,
    },
    /// Some labels are numbers and others names.
    #[error(
        "{}:{line}: label `{label}` is a {}, but the labels before it are {}: use one kind in the whole file",
        path.display(),
        if matches!(label, Label::Number(_)) { "number" } else { "name" },
        if matches!(label, Label::Number(_)) { "names" } else { "numbers" },
    )]
    MixedLabels {
        /// The data file.
        path: PathBuf,
        /// Line of the first row of the other kind, from 1.
        line: usize,
        /// Its label.
        label: Label,
    },
    /// No row has anything to learn.
    #[error(
        "{}: none of the {rows} rows has a target within {max_length} tokens: raise data.max_length",
        path.display()
    )]
    NoTargets {
        /// The data file.
        path: PathBuf,
        /// How many rows there are.
        rows: usize,
        /// The longest row allowed.
        max_length: usize,
    },
    /// The end token is asked for, but the tokenizer has none.
    #[error(
        "data.eos is true, but the tokenizer names no end token (eos_token): set data.eos = false, or name one in tokenizer_config.json"
    )]
    NoEndToken,
    /// A row cannot be tokenised.
    #[error("{}:{line}: the row cannot be tokenised: {source}", path.display())]
    Encode {
        /// The data file.
        path: PathBuf,
        /// Line of the row, from 1.
        line: usize,
        /// What the tokenizer says.
        source: EncodeError,
    },
}

/// A row that is not what its file's format asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRow {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: RowProblem,
}

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// The line is not JSON.
    #[error("not JSON (column {column}): {message}; every line is one whole JSON object")]
    NotJson {
        /// Where the parser stopped, from 1.
        column: usize,
        /// What it says.
        message: String,
    },
    /// The line is JSON, but not an object.
    #[error("the line is not a JSON object: write {{\"key\": value, …}}")]
    NotObject,
    /// Keys that no format has.
    #[error("the keys {} fit no format: {}", list(found), suggest(found))]
    NoFormat {
        /// The keys of the row.
        found: Vec<String>,
    },
    /// Keys that the format needs are missing.
    #[error(
        "the file is {format}, but the row has no {}; its keys are {}{}",
        list(missing),
        list(found),
        other_format(*other)
    )]
    Keys {
        /// The format of the file.
        format: Format,
        /// The keys that are missing.
        missing: Vec<&'static str>,
        /// The keys of the row.
        found: Vec<String>,
        /// The format that the row would fit.
        other: Option<Format>,
    },
    /// A value of the wrong type.
    #[error("`{key}` must be {expected}, but is {found}")]
    Type {
        /// Path of the value.
        key: String,
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A conversation in which there is nothing to learn.
    #[error("no message has the role `assistant`; the roles are {}", list(roles))]
    NoAssistant {
        /// The roles that there are.
        roles: Vec<String>,
    },
}

fn list_rows(path: &std::path::Path, rows: &[BrokenRow]) -> String {
    let mut lines: Vec<_> = rows
        .iter()
        .take(LISTED)
        .map(|row| format!("{}:{}: {}", path.display(), row.line, row.problem))
        .collect();
    if rows.len() > LISTED {
        lines.push(format!("{}: and {} more rows", path.display(), rows.len() - LISTED));
    }
    lines.join("\n")
}

fn list<S: fmt::Display>(words: &[S]) -> String {
    if words.is_empty() {
        return "(none)".to_owned();
    }
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default()
}

fn other_format(other: Option<Format>) -> String {
    other.map(|format| format!(", which fit format = \"{format}\"")).unwrap_or_default()
}

/// Names that other tools use for what is called `prompt`, `completion`, `messages`, `text`, `label` here.
const ELSEWHERE: [(&str, &str); 12] = [
    ("instruction", "prompt"),
    ("question", "prompt"),
    ("input", "prompt"),
    ("output", "completion"),
    ("response", "completion"),
    ("answer", "completion"),
    ("target", "completion"),
    ("conversations", "messages"),
    ("conversation", "messages"),
    ("sentence", "text"),
    ("class", "label"),
    ("category", "label"),
];

fn suggest(found: &[String]) -> String {
    let renames: Vec<_> = ELSEWHERE
        .iter()
        .filter(|(theirs, ours)| {
            found.iter().any(|key| key == theirs) && !found.iter().any(|key| key == ours)
        })
        .map(|(theirs, ours)| format!("rename `{theirs}` to `{ours}`"))
        .collect();
    if !renames.is_empty() {
        return renames.join(", ");
    }
    let formats = Format::ALL.map(|format| format!("{} ({format})", list(format.keys())));
    format!("a row has {}", formats.join(", or "))
}
