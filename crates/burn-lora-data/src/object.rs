//! A row before its format is known, and its values by type.

use serde_json::{Map, Value};

use crate::problem::RowProblem;

/// A row as a file holds it.
pub(crate) type Object = Map<String, Value>;

/// The string at `key`.
pub(crate) fn string(row: &Object, key: &str) -> Result<String, RowProblem> {
    match row.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(wrong(key, "a string", other)),
    }
}

/// The strings of a list, each with something in it besides white space.
pub(crate) fn texts<'a>(
    key: &str,
    values: impl IntoIterator<Item = Option<&'a Value>>,
) -> Result<Vec<String>, RowProblem> {
    let one = |(index, value): (usize, Option<&Value>)| {
        let key = format!("{key}[{index}]");
        match value {
            Some(Value::String(text)) if text.trim().is_empty() => Err(RowProblem::Empty { key }),
            Some(Value::String(text)) => Ok(text.clone()),
            other => Err(wrong(key, "a string", other)),
        }
    };
    values.into_iter().enumerate().map(one).collect()
}

/// That another type is needed than the value has.
pub(crate) fn wrong(
    key: impl Into<String>,
    expected: &'static str,
    found: Option<&Value>,
) -> RowProblem {
    let found = match found {
        None => "nothing",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Number(number)) if number.is_f64() => {
            "a number with a fraction, or beyond whole numbers"
        }
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    };
    RowProblem::Type { key: key.into(), expected, found }
}
