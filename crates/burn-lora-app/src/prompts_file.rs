//! Prompts from a JSON Lines file, continued in batches into another one.
//!
//! A row has `prompt`, or `messages` of which the last is not the assistant's, and no `output` yet. What is written is the
//! row with `output` added, in the same order.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_lora_data::{Conversation, NearlyJson, conversation, elsewhere};
use burn_lora_files::{self as files, IoError};
use burn_lora_models::ModelError;
use burn_lora_train::observe::Observer;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::AppError;
use crate::generator::{Generator, Writing};

/// What a file of prompts holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Prompts {
    /// How many there are.
    pub rows: usize,
    /// Tokens of the longest.
    pub longest_prompt: usize,
    /// How many tokens the model reads and writes together; none where it has no limit.
    pub context: Option<usize>,
}

/// Rows of prompts, as a file or a stream has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// What they are called in messages: the file.
    pub name: PathBuf,
    /// A row a line.
    pub text: String,
}

/// Reads and checks every row of `input`, and writes nothing.
///
/// # Errors
///
/// Those of [`continue_file`] that come before the first continuation.
pub fn check_file(generator: &Generator, input: &Rows, how: &Writing) -> Result<Prompts, AppError> {
    let rows = read(generator, input, how)?;
    Ok(Prompts {
        rows: rows.len(),
        longest_prompt: rows.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0),
        context: generator.context(),
    })
}

/// Where continuations go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, which is written whole or not at all; whether it replaces one.
    File {
        /// The file itself, where a link to it was given.
        path: PathBuf,
        /// Whether it is there already.
        replaces: bool,
    },
    /// A pipe or a device, which is written to and stays what it is.
    Stream(PathBuf),
}

impl Destination {
    /// Where the rows of `input` go if `output` is named for them, `replace` saying that a file there may be replaced.
    ///
    /// # Errors
    ///
    /// A file that is there and was not to be replaced, the input itself, a directory, a link that leads nowhere.
    pub fn of(input: &Path, output: &Path, replace: bool) -> Result<Self, AppError> {
        let refused = |reason| AppError::Output { path: output.to_owned(), reason };
        let Ok(there) = fs::metadata(output) else {
            return match output.is_symlink() {
                true => Err(refused("is a link that leads nowhere")),
                false => Ok(Self::File { path: output.to_owned(), replaces: false }),
            };
        };
        if there.is_dir() {
            return Err(refused("is a directory"));
        }
        if !there.is_file() {
            return Ok(Self::Stream(output.to_owned()));
        }
        let path = fs::canonicalize(output).map_err(IoError::at("read", output))?;
        if fs::canonicalize(input).is_ok_and(|input| input == path) {
            return Err(refused("is the file that the rows are read from"));
        }
        match replace {
            true => Ok(Self::File { path, replaces: true }),
            false => Err(AppError::OutputExists { path: output.to_owned() }),
        }
    }

    fn write(&self, text: &str) -> Result<(), AppError> {
        match self {
            Self::File { path, .. } => Ok(files::write(path, text.as_bytes())?),
            Self::Stream(path) => {
                let stream = OpenOptions::new().write(true).open(path);
                let written = stream.and_then(|mut stream| stream.write_all(text.as_bytes()));
                Ok(written.map_err(IoError::at("write", path))?)
            }
        }
    }
}

/// Rows with what follows their prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continued {
    /// How many there are.
    pub rows: usize,
    /// The rows with their continuations, a line of JSON each.
    pub lines: String,
}

/// Continues every row of `input` into `output`, making the directories above it; how many rows there were.
///
/// # Errors
///
/// Those of [`continued`]; a file that cannot be written.
pub fn continue_file(
    generator: &Generator,
    input: &Rows,
    output: &Destination,
    how: &Writing,
    observer: &Observer,
) -> Result<usize, AppError> {
    let Continued { rows, lines } = continued(generator, input, how, observer)?;
    output.write(&lines)?;
    Ok(rows)
}

/// Continues every row of `input`, and writes nothing.
///
/// # Errors
///
/// A row that is none or has a prompt that the model cannot read, named by file and line and found before
/// any is continued; sampling that is out of range.
pub fn continued(
    generator: &Generator,
    input: &Rows,
    how: &Writing,
    observer: &Observer,
) -> Result<Continued, AppError> {
    let rows = read(generator, input, how)?;
    observer.stage("generating");
    let total = rows.len() as u64;
    let prompts: Vec<Vec<u32>> = rows.iter().map(|(_, ids)| ids.clone()).collect();
    let outputs = match prompts.is_empty() {
        true => Vec::new(),
        false => generator.write_all_told(&prompts, how, &mut |ended| {
            observer.progress(ended as u64, total);
        })?,
    };
    let mut lines = String::new();
    for ((row, _), text) in rows.iter().zip(outputs) {
        let mut row = row.clone();
        row.insert("output".to_owned(), text.into());
        lines.push_str(&Value::Object(row).to_string());
        lines.push('\n');
    }
    observer.done();
    Ok(Continued { rows: rows.len(), lines })
}

/// Each row, and the tokens of its prompt.
type Asking = Vec<(Map<String, Value>, Vec<u32>)>;

fn read(generator: &Generator, input: &Rows, how: &Writing) -> Result<Asking, AppError> {
    how.sampling.check().map_err(|reason| ModelError::Generation { reason })?;
    let Rows { name, text } = input;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refused =
            |reason: String| AppError::Prompt { path: name.clone(), line: index + 1, reason };
        let row: Map<String, Value> =
            serde_json::from_str(line).map_err(|error| refused(no_row(line, &error)))?;
        let ids = match asked(&row).map_err(refused)? {
            Asked::Prompt(text) => generator.prompt(text)?,
            // A row is told by its line, whatever is wrong with it.
            Asked::Conversation(row) => {
                generator.row(&row).map_err(|error| refused(error.to_string()))?
            }
        };
        if row.get("output").is_some_and(|value| !value.is_null()) {
            return Err(refused(
                "the row has an `output` already, in whose place the continuation would be written: call it otherwise, `jq -c '.reference=.output|del(.output)' FILE > OTHER`".to_owned(),
            ));
        }
        if let Some(problem) = generator.unfit(&ids) {
            return Err(refused(format!("the prompt {problem}")));
        }
        rows.push((row, ids));
    }
    Ok(rows)
}

/// What a line is that is no row.
fn no_row(line: &str, error: &serde_json::Error) -> String {
    if let Some(found) = NearlyJson::of_line(line) {
        return found.to_string();
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    format!(
        "no JSON object (column {}: {said}): write every prompt as a line of its own, {{\"prompt\": \"…\"}} or {{\"messages\": […]}}",
        error.column()
    )
}

/// What a row asks for.
#[derive(Debug, PartialEq)]
enum Asked<'a> {
    Prompt(&'a str),
    Conversation(Conversation),
}

fn asked(row: &Map<String, Value>) -> Result<Asked<'_>, String> {
    if let Some(Value::String(prompt)) = row.get("prompt") {
        return Ok(Asked::Prompt(prompt));
    }
    if !["messages", "conversations"].iter().any(|key| row.contains_key(*key)) {
        let keys: Vec<&str> = row.keys().map(String::as_str).collect();
        let found = || {
            format!("expected `prompt` (a text) or `messages` (a list); found: {}", keys.join(", "))
        };
        return Err(elsewhere(row).map_or_else(found, |problem| problem.to_string()));
    }
    let row = conversation(row).map_err(|problem| problem.to_string())?;
    match row.messages.last().is_some_and(|last| !last.is_answer()) {
        true => Ok(Asked::Conversation(row)),
        false => Err("`messages` must end with what is to be answered".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use burn_lora_models::conversation::Message;
    use serde_json::json;

    use super::*;

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_row_asks_with_a_prompt_or_with_messages() {
        assert_eq!(asked(&row(json!({"prompt": "a", "id": 3}))), Ok(Asked::Prompt("a")));
        let chat = row(json!({"messages": [{"role": "user", "content": "b"}]}));
        let expected = vec![Message::new("user", "b")];
        assert_eq!(asked(&chat), Ok(Asked::Conversation(expected.into())));
        // As training reads it: with the row's system text, its tools, and ShareGPT's names.
        let chat = row(json!({"system": "s", "tools": [{"name": "f"}],
            "conversations": [{"from": "human", "value": "b"}]}));
        let Ok(Asked::Conversation(read)) = asked(&chat) else { panic!("no conversation") };
        assert_eq!(read.messages, [Message::new("system", "s"), Message::new("user", "b")]);
        assert!(read.tools.is_some());
    }

    #[test]
    fn what_asks_for_nothing_is_refused_with_what_was_found() {
        let refused = |value| asked(&row(value)).unwrap_err();
        assert!(refused(json!({"text": "a", "id": 1})).contains("found: text, id"));
        assert!(refused(json!({"messages": [{"role": "user"}]})).contains("`messages[0].content`"));
        assert!(refused(json!({"contents": [{"parts": [{"text": "a"}]}]})).contains("Gemini"));
        let answered = json!({"messages": [{"role": "assistant", "content": "b"}]});
        assert!(refused(answered).contains("answered"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_there_a_link_and_the_input_are_never_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["in.jsonl", "there.jsonl"] {
            fs::write(at(name), "mine").unwrap();
        }
        std::os::unix::fs::symlink(at("there.jsonl"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("in.jsonl"), at("in-link")).unwrap();
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).unwrap();
        let of = |name: &str, replace| Destination::of(&at("in.jsonl"), &at(name), replace);
        for name in ["there.jsonl", "link"] {
            assert!(matches!(of(name, false), Err(AppError::OutputExists { .. })), "{name}");
        }
        for name in ["in.jsonl", "in-link", "dangling", "."] {
            assert!(matches!(of(name, true), Err(AppError::Output { .. })), "{name}");
        }
        of("link", true).unwrap().write("new").unwrap();
        assert!(at("link").is_symlink(), "what it leads to is replaced");
        assert_eq!(fs::read_to_string(at("there.jsonl")).unwrap(), "new");
        of("a/new.jsonl", false).unwrap().write("new").unwrap();
        assert_eq!(fs::read_to_string(at("a/new.jsonl")).unwrap(), "new");
        let null = Path::new("/dev/null");
        let stream = Destination::of(&at("in.jsonl"), null, false).unwrap();
        assert_eq!(stream, Destination::Stream(null.to_owned()));
        stream.write("gone").unwrap();
        assert!(!null.is_file(), "a device stays one");
    }
}
