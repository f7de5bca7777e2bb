//! SQuAD's questions on a text: `context`, `question` and `answers`.
//!
//! The answers are those of the data set's own file, a list of `{text, answer_start}`; those of its
//! rows elsewhere, `{text: […], answer_start: […]}`; or a list of strings. None of them, or
//! `is_impossible`, is a question that the text does not answer. What the model reads and writes,
//! [`Squad`] says. Left out: where in the text an answer starts, and `plausible_answers`.

use serde_json::Value;

use super::{Holds, Key, Spec};
use crate::object::{Object, string, texts, wrong};
use crate::problem::RowProblem;
use crate::row::Row;

pub(super) const SPEC: Spec = Spec {
    name: "squad",
    keys: &[Key::new("context", &[]), Key::new("question", &[]), Key::new("answers", &[])],
    optional: &["title", "is_impossible"],
    holds: Holds::Text,
    read: |row, reading| row_of(row, &reading.squad),
};

/// How questions on a text are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squad {
    /// Context, question and answer.
    pub template: SquadTemplate,
    /// The answer to questions that the text does not answer.
    pub no_answer: String,
}

impl Default for Squad {
    fn default() -> Self {
        Self { template: SquadTemplate::default(), no_answer: "unanswerable".to_owned() }
    }
}

fn row_of(row: &Object, squad: &Squad) -> Result<Row, RowProblem> {
    let prompt = squad.template.prompt(&Asked {
        title: if squad.template.asks_for_title() { string(row, "title")? } else { String::new() },
        context: string(row, "context")?,
        question: string(row, "question")?,
    });
    let mut right: Vec<String> = Vec::new();
    let none = squad.no_answer.clone();
    for answer in answers(row)?.unwrap_or_else(|| vec![none]) {
        let answer = squad.template.answer(&answer);
        // People who were asked for an answer often give the same.
        if !right.contains(&answer) {
            right.push(answer);
        }
    }
    let mut right = right.into_iter();
    let completion = right.next().unwrap_or_default();
    Ok(Row::PromptCompletion { prompt, completion, alternatives: right.collect() })
}

/// The answers of a row; nothing where the text has none.
fn answers<'a>(row: &'a Object) -> Result<Option<Vec<String>>, RowProblem> {
    if row.get("is_impossible") == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    let value = row.get("answers");
    let answers = match value {
        Some(Value::Array(answers)) => {
            let text = |answer: &'a Value| match answer {
                Value::Object(answer) => answer.get("text"),
                text => Some(text),
            };
            texts("answers", answers.iter().map(text))?
        }
        Some(Value::Object(columns)) => match columns.get("text") {
            Some(Value::Array(answers)) => texts("answers.text", answers.iter().map(Some))?,
            other => return Err(wrong("answers.text", "a list of strings", other)),
        },
        _ => return Err(wrong("answers", "a list of {text, answer_start}", value)),
    };
    Ok(Some(answers).filter(|answers| !answers.is_empty()))
}

/// What a template is filled with.
struct Asked {
    title: String,
    context: String,
    question: String,
}

/// A text with `{context}`, `{question}` and `{answer}`, and `{title}` if need be.
///
/// What stands before `{answer}` is the prompt; the answer and what stands behind it are learned. A
/// space right before the answer goes with it, as it does in the words of most vocabularies.
///
/// ```
/// use burn_lora_data::SquadTemplate;
///
/// let template = SquadTemplate::parse("{context}\nQ: {question}\nA: {answer}")?;
/// assert_eq!(template.to_string(), "{context}\nQ: {question}\nA: {answer}");
/// assert!(SquadTemplate::parse("{question} {reply}").is_err());
/// # Ok::<(), burn_lora_data::SquadTemplateError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SquadTemplate {
    prompt: Vec<Part>,
    /// Between the prompt and the answer.
    lead: String,
    /// Behind the answer.
    end: String,
}

/// A piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Title,
    Context,
    Question,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SquadTemplateError {
    /// A name in braces that stands for nothing.
    #[error(
        "`{{{name}}}` stands for nothing: there are `{{context}}`, `{{question}}`, `{{title}}` and `{{answer}}`"
    )]
    Unknown {
        /// The name.
        name: String,
    },
    /// A name that must be there and is not.
    #[error("`{{{name}}}` is missing")]
    Missing {
        /// The name.
        name: &'static str,
    },
    /// A name behind the answer.
    #[error("`{{{name}}}` stands behind `{{answer}}`: only text can follow it")]
    Behind {
        /// The name.
        name: String,
    },
}

/// `{context}\n\nQuestion: {question}\nAnswer: {answer}`
impl Default for SquadTemplate {
    fn default() -> Self {
        Self {
            prompt: vec![
                Part::Context,
                Part::Text("\n\nQuestion: ".to_owned()),
                Part::Question,
                Part::Text("\nAnswer:".to_owned()),
            ],
            lead: " ".to_owned(),
            end: String::new(),
        }
    }
}

impl SquadTemplate {
    /// From its text.
    ///
    /// # Errors
    ///
    /// A name that stands for nothing, no `{question}` or no `{answer}`, or a name behind the answer.
    pub fn parse(text: &str) -> Result<Self, SquadTemplateError> {
        let mut prompt = Vec::new();
        let mut rest = text;
        let end = loop {
            let Some((before, name, after)) = next_name(rest) else {
                return Err(SquadTemplateError::Missing { name: "answer" });
            };
            if !before.is_empty() {
                prompt.push(Part::Text(before.to_owned()));
            }
            rest = after;
            prompt.push(match name {
                "answer" => break after,
                "title" => Part::Title,
                "context" => Part::Context,
                "question" => Part::Question,
                name => return Err(SquadTemplateError::Unknown { name: name.to_owned() }),
            });
        };
        if !prompt.contains(&Part::Question) {
            return Err(SquadTemplateError::Missing { name: "question" });
        }
        if let Some((_, name, _)) = next_name(end) {
            return Err(SquadTemplateError::Behind { name: name.to_owned() });
        }
        let mut lead = String::new();
        if let Some(Part::Text(last)) = prompt.last_mut()
            && last.ends_with(' ')
        {
            last.pop();
            lead.push(' ');
        }
        Ok(Self { prompt, lead, end: end.to_owned() })
    }

    fn asks_for_title(&self) -> bool {
        self.prompt.contains(&Part::Title)
    }

    fn prompt(&self, asked: &Asked) -> String {
        let part = |part: &'_ Part| match part {
            Part::Text(text) => text.clone(),
            Part::Title => asked.title.clone(),
            Part::Context => asked.context.clone(),
            Part::Question => asked.question.clone(),
        };
        self.prompt.iter().map(part).collect()
    }

    fn answer(&self, answer: &str) -> String {
        format!("{}{answer}{}", self.lead, self.end)
    }
}

impl std::fmt::Display for SquadTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |name: &str| format!("{{{name}}}");
        let asked =
            Asked { title: name("title"), context: name("context"), question: name("question") };
        write!(f, "{}{}", self.prompt(&asked), self.answer(&name("answer")))
    }
}

/// What stands before the first `{name}`, the name, and what stands behind it. Braces around anything
/// but a word are text.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let (name, after) = text[at + 1..].split_once('}')?;
        let word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
        word.then_some((&text[..at], name, after))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Format, Reading, RowFile};

    const DEFAULT: &str = "{context}\n\nQuestion: {question}\nAnswer: {answer}";

    fn read(row: &str, squad: Squad) -> Result<Row, String> {
        let reading = Reading { squad, ..Reading::default() };
        let file = RowFile::parse(row, Path::new("rows.jsonl"), &reading);
        let file = file.map_err(|error| error.to_string())?;
        assert_eq!(file.format, Format::Squad);
        Ok(file.rows[0].row.clone())
    }

    fn check(answers: &str, completion: &str, alternatives: &[&str]) {
        let row =
            format!(r#"{{"context": "c {{question}}", "question": "q", "answers": {answers}}}"#);
        let expected = Row::PromptCompletion {
            // What is filled in is not filled in again.
            prompt: "c {question}\n\nQuestion: q\nAnswer:".into(),
            completion: completion.into(),
            alternatives: alternatives.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(read(&row, Squad::default()), Ok(expected), "{answers}");
    }

    #[test]
    fn different_answers_are_all_right_and_none_has_words_of_its_own() {
        check(r#"[{"text": "a", "answer_start": 3}]"#, " a", &[]);
        check(r#"[{"text": "a"}, {"text": "b"}, {"text": "a"}]"#, " a", &[" b"]);
        check(r#"{"text": ["a", "b"], "answer_start": [3, 4]}"#, " a", &[" b"]);
        check(r#"["a", "b"]"#, " a", &[" b"]);
        check("[]", " unanswerable", &[]);
        check(r#"{"text": [], "answer_start": []}"#, " unanswerable", &[]);
        check(r#"[{"text": "a"}], "is_impossible": true"#, " unanswerable", &[]);
        check(r#"[{"text": "a"}], "is_impossible": false"#, " a", &[]);
    }

    #[test]
    fn the_template_says_what_is_read_and_what_is_written() {
        let template =
            SquadTemplate::parse("{title}|{ {context}}\n{question} ->\n{answer};").unwrap();
        let squad = Squad { template, no_answer: "?".into() };
        let row = r#"{"title": "t", "context": "c", "question": "q", "answers": []}"#;
        let expected = Row::PromptCompletion {
            prompt: "t|{ c}\nq ->\n".into(),
            completion: "?;".into(),
            alternatives: Vec::new(),
        };
        assert_eq!(read(row, squad.clone()), Ok(expected));
        let untitled = row.replace("title", "name");
        let message = "rows.jsonl:1: `title` must be a string, but is nothing";
        assert_eq!(read(&untitled, squad), Err(message.into()));
    }

    #[test]
    fn the_default_template_is_the_one_that_its_text_says() {
        assert_eq!(SquadTemplate::parse(DEFAULT), Ok(SquadTemplate::default()));
        assert_eq!(SquadTemplate::default().to_string(), DEFAULT);
    }

    #[test]
    fn a_template_that_says_too_little_or_too_much_is_refused() {
        let refused = |text: &str| SquadTemplate::parse(text).unwrap_err().to_string();
        assert_eq!(refused("{question}"), "`{answer}` is missing");
        assert_eq!(refused("{context}{answer}"), "`{question}` is missing");
        assert_eq!(
            refused("{question}{reply}{answer}"),
            "`{reply}` stands for nothing: there are `{context}`, `{question}`, `{title}` and `{answer}`"
        );
        assert_eq!(
            refused("{question}{answer}{context}"),
            "`{context}` stands behind `{answer}`: only text can follow it"
        );
    }

    #[test]
    fn answers_that_are_no_texts_are_refused_with_their_place() {
        let check = |answers: &str, message: &str| {
            let row = format!(r#"{{"context": "c", "question": "q", "answers": {answers}}}"#);
            let expected = format!("rows.jsonl:1: {message}");
            assert_eq!(read(&row, Squad::default()), Err(expected), "{answers}");
        };
        check(r#""a""#, "`answers` must be a list of {text, answer_start}, but is a string");
        check(r#"[{"text": 3}]"#, "`answers[0]` must be a string, but is a number");
        check(r#"["a", {}]"#, "`answers[1]` must be a string, but is nothing");
        check(r#"{"text": "a"}"#, "`answers.text` must be a list of strings, but is a string");
        check(
            r#"[" "]"#,
            "`answers[0]` is empty: write a text that is right for the prompt, or leave it out",
        );
    }
}
