//! Comma-separated values: the first row names the keys, every further row is an object of strings.
//!
//! A cell with commas, quotes or line breaks stands in quotes, a quote within it is doubled (RFC
//! 4180). A `label` that is written as a whole number is one, so that classes are ordered by value;
//! an empty one is none.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Found, Kind, Objects};
use crate::object::Object;
use crate::problem::RowProblem;

pub(super) const KIND: Kind = Kind {
    extension: Some("csv"),
    is: |_| true,
    objects,
    remedy: "write a header row, then a row of values a line",
};

/// Values between tabs.
pub(super) const TABS: Kind = Kind { extension: Some("tsv"), ..KIND };

/// What stands between values: what the header has most of, since spreadsheets write semicolons where the comma is the decimal point.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|&byte| byte == delimiter).count();
    // The last of equals: a header of one key has none of any.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

/// The line that Excel reads the mark between values from, `sep=;`, and the text behind it.
fn declared(text: &str) -> Option<(u8, &str)> {
    let (first, rest) = text.split_once('\n')?;
    let mark = first.trim_end_matches('\r').trim_matches('"').strip_prefix("sep=")?;
    match mark.as_bytes() {
        &[mark] => Some((mark, rest)),
        _ => None,
    }
}

fn objects(text: &str) -> Objects<'_> {
    let (first, mark, text) = match declared(text) {
        Some((mark, rest)) => (2, mark, rest),
        None => (1, delimiter(text), text),
    };
    let alone = |line, problem| Box::new(std::iter::once(Found::at(line, Err(problem))));
    // The parser takes the end of the file for the end of the cell, where every row in it would be lost, and what stands behind a quote
    // that closes for a part of the cell, without the quote.
    if let Some((line, problem)) = broken_quote(text, mark) {
        return alone(first + line, problem);
    }
    let mut builder = ReaderBuilder::new();
    builder.delimiter(mark);
    let mut reader = builder.flexible(true).trim(Trim::Headers).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return alone(first, not_csv(&error)),
    };
    let mut lines = Lines { text, at: 0, line: first };
    let twice =
        header.iter().enumerate().find(|(at, key)| header.iter().take(*at).any(|k| k == *key));
    if let Some((_, key)) = twice {
        return alone(lines.of(0), RowProblem::NamedTwice { key: key.to_owned() });
    }
    Box::new(reader.into_records().map(move |record| match record {
        Ok(record) => {
            let start = record.position().map_or(0, csv::Position::byte);
            Found::at(lines.of(start), object(&header, &record))
        }
        Err(error) => {
            let start = error.position().map_or(0, csv::Position::byte);
            Found::at(lines.of(start), Err(not_csv(&error)))
        }
    }))
}

fn object(header: &StringRecord, record: &StringRecord) -> Result<Object, RowProblem> {
    if header.len() != record.len() {
        return Err(RowProblem::Cells { found: record.len(), keys: header.len() });
    }
    let value = |key: &str, cell: &str| match cell.parse::<i64>() {
        _ if key != "label" => cell.into(),
        // `007` and `+7` are names.
        Ok(number) if number.to_string() == cell => number.into(),
        _ => cell.into(),
    };
    Ok(header.iter().zip(record).map(|(key, cell)| (key.to_owned(), value(key, cell))).collect())
}

fn not_csv(error: &csv::Error) -> RowProblem {
    RowProblem::NotCsv { message: error.to_string() }
}

/// Line numbers of rising places in a text.
///
/// The parser's own line is that of the byte where it went on, which may be the rest of the line
/// break before, or an empty line.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line of the first byte from `start` on that is no line break.
    fn of(&mut self, start: u64) -> usize {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at)
            && ((self.at as u64) < start || matches!(byte, b'\r' | b'\n'))
        {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

/// How many lines are before the one on which a quote opens that nothing closes, or closes with text behind it.
fn broken_quote(text: &str, mark: u8) -> Option<(usize, RowProblem)> {
    let mut bytes = text.bytes().peekable();
    let (mut line, mut starts_cell, mut opened) = (0, true, None);
    while let Some(byte) = bytes.next() {
        line += usize::from(byte == b'\n');
        match byte {
            b'"' if opened.is_some() => {
                if bytes.next_if_eq(&b'"').is_none() {
                    opened = None;
                    // Spaces up to the end of the cell are no text.
                    while mark != b' ' && bytes.next_if_eq(&b' ').is_some() {}
                    let ends = |&byte: &u8| byte == mark || matches!(byte, b'\r' | b'\n');
                    if bytes.peek().is_some_and(|byte| !ends(byte)) {
                        return Some((line, RowProblem::BehindQuote));
                    }
                }
            }
            _ if opened.is_some() => {}
            b'"' if starts_cell => {
                opened = Some(line);
                starts_cell = false;
            }
            _ => starts_cell = byte == mark || matches!(byte, b'\r' | b'\n'),
        }
    }
    opened.map(|line| (line, RowProblem::OpenQuote))
}
