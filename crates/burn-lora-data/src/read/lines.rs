//! JSON Lines: one object a line; empty lines are passed over.

use serde_json::Value;

use super::once::{self, Once};
use super::{Found, Kind, Objects};
use crate::object::Object;
use crate::problem::RowProblem;

pub(super) const KIND: Kind =
    Kind { extension: None, is: |_| true, objects, remedy: "write one JSON object a line" };

fn objects(text: &str) -> Objects<'_> {
    // Files that were put behind each other bring their byte order marks with them.
    let lines = text.lines().map(|line| line.trim_start_matches('\u{feff}')).enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    Box::new(lines.map(|(index, line)| Found::at(index + 1, object(line))))
}

/// Reads a text that is one object.
pub(super) fn object(text: &str) -> Result<Object, RowProblem> {
    if let Some(number) = once::rounded(text) {
        return Err(RowProblem::Rounded { number: number.to_owned() });
    }
    match serde_json::from_str(text).map(|Once(value)| value) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::String(inner)) if serde_json::from_str::<Object>(&inner).is_ok() => {
            Err(RowProblem::Quoted)
        }
        Ok(_) => Err(RowProblem::NotObject),
        Err(error) => Err(match once::twice(&error) {
            Some(key) => RowProblem::KeyTwice { key },
            None => not_json(&error, "every line is one whole JSON object"),
        }),
    }
}

/// What the parser says, without its own line, which counts from the start of what it was given.
pub(super) fn not_json(error: &serde_json::Error, expected: &'static str) -> RowProblem {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    RowProblem::NotJson { column: error.column(), message, expected }
}
