//! JSON Lines: one object a line; empty lines are passed over.

use serde_json::Value;

use super::{Found, Object};
use crate::data::RowProblem;

pub(super) fn objects(text: &str) -> Box<dyn Iterator<Item = Found> + '_> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Box::new(lines.map(|(index, line)| (index + 1, object(line))))
}

/// Reads a text that is one object.
pub(super) fn object(text: &str) -> Result<Object, RowProblem> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(RowProblem::NotObject),
        Err(error) => {
            Err(RowProblem::NotJson { column: error.column(), message: without_place(&error) })
        }
    }
}

/// What the parser says, without its own place, which counts from the start of what it was given.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    message.split(" at line ").next().unwrap_or_default().to_owned()
}
