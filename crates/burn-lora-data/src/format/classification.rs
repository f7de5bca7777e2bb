//! `text` and `label`: a text and its class.

use serde_json::{Number, Value};

use super::{Holds, Key, Spec};
use crate::object::{Object, string, wrong};
use crate::problem::RowProblem;
use crate::row::{Label, Row};

pub(super) const SPEC: Spec = Spec {
    name: "classification",
    keys: &[
        Key::new("text", &["sentence", "content", "document"]),
        Key::new("label", &["labels", "class", "category", "intent"]),
    ],
    optional: &[],
    holds: Holds::Label,
    read: |row, _| Ok(Row::Classification { text: string(row, "text")?, label: label(row)? }),
};

fn label(row: &Object) -> Result<Label, RowProblem> {
    let value = row.get("label");
    let label = match value {
        Some(Value::String(name)) if name.trim().is_empty() => return Err(RowProblem::NoLabel),
        Some(Value::String(name)) => Some(Label::Name(name.clone())),
        Some(Value::Number(number)) => whole(number).map(Label::Number),
        _ => None,
    };
    label.ok_or_else(|| wrong("label", "a string or a whole number", value))
}

/// A whole number, which a column with gaps elsewhere may have been written with a point for: `1.0`.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15)?;
        Some(float as i64)
    })
}
