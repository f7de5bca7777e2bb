//! `prompt` with a `completion`, or with `references`: texts that are all right.

use serde_json::Value;

use super::{Holds, Key, Spec};
use crate::object::{Object, string, texts, wrong};
use crate::problem::RowProblem;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "prompt-completion",
    keys: &[
        Key::new(
            "prompt",
            &["question", "query", "instruction", "input", "input_text", "text_input", "inputs"],
        ),
        Key {
            or: Some("references"),
            ..Key::new(
                "completion",
                &["output", "response", "answer", "target", "output_text", "targets", "chosen"],
            )
        },
    ],
    optional: &[],
    holds: Holds::Text,
    read: |row, _| {
        if let Some(Value::Array(turns)) = row.get("prompt")
            && turns.iter().all(|turn| turn.get("role").is_some())
        {
            return Err(RowProblem::Turns { key: "prompt" });
        }
        let prompt = string(row, "prompt")?;
        let (completion, alternatives) = completions(row)?;
        Ok(Row::PromptCompletion { prompt, completion, alternatives })
    },
};

/// What a row wants written, and what would be as right. `references` counts where there is no
/// `completion`; a Parquet file that has both columns has nulls in one of them.
fn completions(row: &Object) -> Result<(String, Vec<String>), RowProblem> {
    let value = match (row.get("completion"), row.get("references")) {
        (None | Some(Value::Null), Some(value)) => value,
        _ => return Ok((string(row, "completion")?, Vec::new())),
    };
    let Value::Array(references) = value else {
        return Err(wrong("references", "a list of strings, as [\"…\", \"…\"]", Some(value)));
    };
    let mut texts = texts("references", references.iter().map(Some))?.into_iter();
    let first = texts.next().ok_or(RowProblem::NoReferences)?;
    Ok((first, texts.collect()))
}
