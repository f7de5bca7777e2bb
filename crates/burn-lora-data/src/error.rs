//! What can be wrong with data, one variant per cause.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_lora_files::missing;
use burn_lora_models::ModelError;
use burn_lora_models::template::TemplateError;

use crate::format::Format;
use crate::over_long::LongRow;
use crate::problem::{BrokenRow, RowProblem};
use crate::read::NearlyJson;
use crate::row::{Label, Place};

/// Rows that are listed one by one; a file in a wrong format has as many broken ones as rows.
const LISTED: usize = 10;

/// Stands for the name of an encoding that nobody can tell.
pub(crate) const UNKNOWN: &str = "ENCODING";

/// Data that cannot be trained or evaluated on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("{}: {}", path.display(), unreadable(path, source))]
    Unreadable {
        /// The data file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something that is no file: a device, a pipe.
    #[error("{}: is no file, but a pipe or a device: write the rows into a file", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
    },
    /// A directory in the place of a file.
    #[error("{}: is a directory: {note}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What to do.
        note: &'static str,
    },
    /// The file is no text with rows.
    #[error("{}: the data file cannot be used: {kind}", path.display())]
    OtherKind {
        /// The data file.
        path: PathBuf,
        /// What it is, and what to do.
        kind: String,
    },
    /// The file is a text in another encoding than UTF-8.
    #[error(
        "{}:{line}: column {column} is no UTF-8 (byte {byte:#04x}): convert the file, `iconv -f {encoding} -t UTF-8 FILE > OTHER`, {}",
        path.display(),
        if *encoding == UNKNOWN {
            "with what it was saved in as ENCODING: GB18030, SHIFT-JIS, EUC-KR, KOI8-R and WINDOWS-1251 are common"
        } else {
            "if that is what it was saved in"
        }
    )]
    Encoding {
        /// The data file.
        path: PathBuf,
        /// The line of the first byte that is none, from 1.
        line: usize,
        /// Its column, in characters from 1.
        column: usize,
        /// The byte.
        byte: u8,
        /// What the file may be in, or `UNKNOWN`.
        encoding: &'static str,
    },
    /// The file has no rows.
    #[error("{}: the file has no rows: {remedy}", path.display())]
    NoRows {
        /// The data file.
        path: PathBuf,
        /// What a file of its kind should hold.
        remedy: &'static str,
    },
    /// The file is of a kind that this build does not read.
    #[error(
        "{}: this build does not read such files: build with `--features {feature}`, or convert the file to JSON Lines",
        path.display()
    )]
    NeedsFeature {
        /// The data file.
        path: PathBuf,
        /// The cargo feature to build with.
        feature: &'static str,
    },
    /// A Parquet file cannot be read.
    #[error("{}: the Parquet file cannot be read: {reason}", path.display())]
    Parquet {
        /// The data file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Rows that are not what the file's format asks for.
    #[error("{}", list_rows(path, rows))]
    BrokenRows {
        /// The data file.
        path: PathBuf,
        /// Every broken row, in the order of the file.
        rows: Vec<BrokenRow>,
    },
    /// The file is written in something that is nearly JSON.
    #[error("{}:{line}: {found}", path.display())]
    NearlyJson {
        /// The data file.
        path: PathBuf,
        /// The first line that shows it, from 1.
        line: usize,
        /// What it is, and the command that converts it.
        found: NearlyJson,
    },
    /// The rows are of a format that this use of them does not take.
    #[error(
        "{}: the rows are {found}, but {expected} rows are needed here: a model that classifies is trained on classification, one that writes on the others{}",
        path.display(),
        if *found == Format::Text { ". What a text is classified as stands in `label`: rename `labels` or `class`, if that is what the rows have" } else { "" }
    )]
    OtherFormat {
        /// The data file.
        path: PathBuf,
        /// The format of the file.
        found: Format,
        /// The formats that would do, in words.
        expected: String,
    },
    /// A label that is not among the classes.
    #[error("{}{place}: label `{label}` is not one of the {classes} classes{}", path.display(), hint(nearest.as_deref()))]
    UnknownLabel {
        /// The data file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
        /// The label.
        label: Label,
        /// How many classes there are.
        classes: usize,
        /// The class with the nearest name.
        nearest: Option<String>,
    },
    /// Some labels are numbers and others names.
    #[error(
        "{}{place}: label `{label}` is a {}, but the labels before it are {}: use one kind in the whole file",
        path.display(),
        if matches!(label, Label::Number(_)) { "number" } else { "name" },
        if matches!(label, Label::Number(_)) { "names" } else { "numbers" },
    )]
    MixedLabels {
        /// The data file.
        path: PathBuf,
        /// Where the first row of the other kind stands.
        place: Place,
        /// Its label.
        label: Label,
    },
    /// Labels that are numbers, for a head whose classes are called by other numbers.
    #[error(
        "{}{place}: the label is a number, and the model's classes are called {}, so that it could be a class's place or its name: write it as a text (\"1\") where the name is meant, or give the classes as `data.labels`",
        path.display(),
        burn_lora_text::listed(names)
    )]
    NumbersByName {
        /// The data file.
        path: PathBuf,
        /// Where the first such row stands.
        place: Place,
        /// The head's names.
        names: Vec<String>,
    },
    /// No row has anything to learn.
    #[error(
        "{}: {}",
        path.display(),
        match *within {
            Some(max_length) => format!("none of the {rows} rows has a target within {max_length} tokens: raise data.max_length"),
            None => format!("there is nothing to learn in any of the {rows} rows: their answers are empty, or the chat template does not write them"),
        }
    )]
    NoTargets {
        /// The data file.
        path: PathBuf,
        /// How many rows there are.
        rows: usize,
        /// The longest row allowed, where rows are longer.
        within: Option<usize>,
    },
    /// A text to classify that has no token.
    #[error("{}{place}: the text is empty, and this tokenizer puts nothing around it, so that there is nothing to classify: take the row out", path.display())]
    EmptyText {
        /// The data file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
    },
    /// Rows longer than is allowed, where such rows are refused.
    #[error("{}", list_long(path, rows, *max_length))]
    OverLong {
        /// The data file.
        path: PathBuf,
        /// Every row that is too long, in the order of the file.
        rows: Vec<LongRow>,
        /// The longest row allowed, in tokens.
        max_length: usize,
    },
    /// A file's weight is no number to multiply its rows by.
    #[error("{}: weight = {weight} is not above 0 and at most {most}", path.display())]
    Weight {
        /// The data file.
        path: PathBuf,
        /// The weight.
        weight: f64,
        /// The largest weight allowed.
        most: f64,
    },
    /// The share of rows to hold out is no share.
    #[error("{}: held_out = {share} is not above 0 and below 1", path.display())]
    HeldOutShare {
        /// The data file.
        path: PathBuf,
        /// The share.
        share: f64,
    },
    /// The file cannot be divided into rows to train on and rows to hold out.
    #[error(
        "{}: the file has a single {unit}, but holding out needs one to train on and one to evaluate on: add {unit}s, or leave held_out out",
        path.display()
    )]
    NothingToHoldOut {
        /// The data file.
        path: PathBuf,
        /// What is held out: `row` or `article`.
        unit: &'static str,
    },
    /// All rows to train on have the same label.
    #[error(
        "{}: every row has the label `{class}`, so there is nothing to tell apart: add rows of other classes",
        path.display()
    )]
    OneClass {
        /// The data file, or the first of several.
        path: PathBuf,
        /// The only class.
        class: String,
    },
    /// The end token is asked for, but the tokenizer has none.
    #[error("data.eos is true, but {}", match unknown {
        None => "the tokenizer names no end token (eos_token): set data.eos = false, or name one in tokenizer_config.json".to_owned(),
        Some(token) => format!(
            "the end token that the tokenizer's files name, `{token}`, is not in its vocabulary: set data.eos = false, or name one that is \
             (eos_token in tokenizer_config.json, and in special_tokens_map.json where there is one)"
        ),
    })]
    NoEndToken {
        /// The one that the files name, which the vocabulary does not have.
        unknown: Option<String>,
    },
    /// A template writes an answer otherwise once other turns follow it.
    #[error(
        "{}{place}: {source}: set data.answers = \"each\", which makes an example of each answer, or \"last\", which learns the last one",
        path.display()
    )]
    Rewritten {
        /// The data file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
        /// Which message, and what changes.
        source: Box<TemplateError>,
    },
    /// A template begins an answer otherwise than its prompt ends.
    #[error(
        "{}{place}: {source}: a model that learned this text would be asked with another one. Put a `chat_template.jinja` beside the model whose \
         answers begin where its prompts end",
        path.display()
    )]
    AskedOtherwise {
        /// The data file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
        /// Which message.
        source: Box<TemplateError>,
    },
    /// A row cannot be tokenised.
    #[error("{}{place}: the row cannot be tokenised: {source}", path.display())]
    Encode {
        /// The data file.
        path: PathBuf,
        /// Where the row stands.
        place: Place,
        /// What the tokenizer says.
        source: Box<ModelError>,
    },
}

/// Why a file cannot be read.
fn unreadable(path: &Path, source: &std::io::Error) -> String {
    match source.kind() {
        ErrorKind::NotFound => format!("there is no such data file{}", missing::note(path)),
        _ => format!("the data file cannot be read: {source}"),
    }
}

fn list_rows(path: &Path, rows: &[BrokenRow]) -> String {
    // Keys that fit no format are told once: they are those of the whole file.
    let is_told = |at: usize| {
        let (RowProblem::NoFormat { .. } | RowProblem::Elsewhere { .. }) = rows[at].problem else {
            return false;
        };
        rows[..at].iter().any(|row| row.problem == rows[at].problem)
    };
    let mut lines: Vec<_> = (0..rows.len())
        .filter(|at| !is_told(*at))
        .map(|at| format!("{}{}: {}", path.display(), rows[at].place, rows[at].problem))
        .take(LISTED)
        .collect();
    if rows.len() > lines.len() {
        lines.push(format!("{}: and {} more rows", path.display(), rows.len() - lines.len()));
    }
    lines.join("\n")
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default()
}

fn list_long(path: &Path, rows: &[LongRow], max_length: usize) -> String {
    let mut lines: Vec<_> = rows
        .iter()
        .take(LISTED)
        .map(|LongRow { place, length }| {
            format!(
                "{}{place}: {length} tokens, but at most {max_length} are allowed",
                path.display()
            )
        })
        .collect();
    if rows.len() > LISTED {
        lines.push(format!("{}: and {} more rows", path.display(), rows.len() - LISTED));
    }
    lines.push("raise data.max_length, or let over-long rows be cut or dropped".to_owned());
    lines.join("\n")
}
