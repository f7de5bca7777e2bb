//! Rows as token ids, with what is to be predicted from them.

use super::chat;
use super::classes::{Classes, other_format};
use super::error::DataError;
use super::over_long::{Gate, Limit, OverLong};
use super::report::DataReport;
use super::row::{Message, Row};
use super::rows::{NumberedRow, RowFile};
use super::tokenizer::{Encode, EncodeError};
use crate::config::DataSection;

/// A row for language modelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenExample {
    /// The token ids.
    pub ids: Vec<u32>,
    /// What is to be predicted from each position: the next id, or nothing where that id is part of
    /// a prompt or there is none. As long as `ids`.
    pub targets: Vec<Option<u32>>,
}

impl TokenExample {
    /// How many tokens carry loss.
    pub fn target_tokens(&self) -> usize {
        self.targets.iter().flatten().count()
    }
}

/// A row for classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelExample {
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The class.
    pub label: usize,
}

/// What to generate from, and what should come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The token ids to generate from.
    pub ids: Vec<u32>,
    /// What they say.
    pub text: String,
    /// The text to expect, without the end token; white space around it has no meaning.
    pub expected: String,
    /// The texts that would be as right.
    pub alternatives: Vec<String>,
}

impl Prompt {
    /// Every text that is right, the expected one first.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        [&self.expected].into_iter().chain(&self.alternatives).map(String::as_str)
    }
}

/// How rows become token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenization {
    /// The longest row in tokens.
    pub max_length: usize,
    /// What becomes of longer rows.
    pub over_long: OverLong,
    /// Put between prompt and completion, as part of the prompt.
    pub separator: String,
    /// Whether completions and texts end with the tokenizer's end token.
    pub eos: bool,
}

impl From<&DataSection> for Tokenization {
    fn from(data: &DataSection) -> Self {
        Self {
            max_length: data.max_length,
            over_long: data.over_long,
            separator: data.separator.clone(),
            eos: data.eos,
        }
    }
}

/// Rows as examples for language modelling. Rows without a target are left out and counted.
///
/// # Errors
///
/// Classification rows, a tokenizer without an end token where one is asked for, a text that it
/// cannot encode, rows that are too long where those are refused, or no row with a target.
pub fn token_examples(
    file: &RowFile,
    tokenizer: &dyn Encode,
    how: &Tokenization,
) -> Result<(Vec<TokenExample>, DataReport), DataError> {
    let eos = end_token(file, tokenizer, how)?;
    let mut report = empty_report(file, how.max_length);
    let mut gate = Gate::new(how.into());
    let mut examples = Vec::with_capacity(file.rows.len());
    for NumberedRow { line, row } in &file.rows {
        let tokens = match row {
            Row::Messages(messages) => conversation(messages, tokenizer, eos),
            Row::PromptCompletion { prompt, completion, .. } => {
                pair(&(prompt.clone() + &how.separator), completion, tokenizer, eos)
            }
            Row::Text(text) => whole(text, tokenizer, eos),
            Row::Classification { .. } => return Err(other_format(file)),
        };
        let mut tokens = tokens.map_err(|source| encode_error(file, *line, source))?;
        if !gate.admit(*line, tokens.len(), &mut report) {
            continue;
        }
        tokens.truncate(how.max_length);
        let example = tokens.example();
        match example.target_tokens() {
            0 => report.without_target += 1,
            targets => {
                count(&mut report, example.ids.len(), targets);
                examples.push(example);
            }
        }
    }
    gate.close(file)?;
    not_empty(examples, report)
}

/// Rows as examples for classification; a limit that is a number cuts longer rows.
///
/// # Errors
///
/// Rows of another format, a label that is not among the classes, a text that cannot be encoded, or
/// rows that are too long where those are refused or where there are no others.
pub fn label_examples(
    file: &RowFile,
    tokenizer: &dyn Encode,
    classes: &Classes,
    limit: impl Into<Limit>,
) -> Result<(Vec<LabelExample>, DataReport), DataError> {
    let limit = limit.into();
    let mut report = empty_report(file, limit.max_length);
    let mut gate = Gate::new(limit);
    let mut examples = Vec::with_capacity(file.rows.len());
    for NumberedRow { line, row } in &file.rows {
        let Row::Classification { text, label } = row else { return Err(other_format(file)) };
        let Some(class) = classes.index(label) else {
            return Err(DataError::UnknownLabel {
                path: file.path.clone(),
                line: *line,
                label: label.clone(),
                classes: classes.len(),
                nearest: classes.nearest(label),
            });
        };
        let encoded = tokenizer
            .encode_cut(text, limit.max_length)
            .map_err(|source| encode_error(file, *line, source))?;
        let mut length = encoded.ids.len();
        if encoded.cut {
            length = limit.max_length.saturating_add(1);
            if limit.over_long == OverLong::Refuse {
                // A refusal tells the length before the cut.
                let whole = tokenizer.encode(text, true);
                let whole = whole.map_err(|source| encode_error(file, *line, source))?;
                length = length.max(whole.len());
            }
        }
        if !gate.admit(*line, length, &mut report) {
            continue;
        }
        count(&mut report, encoded.ids.len(), 1);
        examples.push(LabelExample { ids: encoded.ids, label: class });
    }
    gate.close(file)?;
    not_empty(examples, report)
}

/// What to generate from for every row, and the text to expect, with those that would be as right; of
/// a conversation, its last answer. Texts have none. Prompts are not cut.
///
/// # Errors
///
/// Classification rows, or a text that cannot be encoded.
pub fn prompts(
    file: &RowFile,
    tokenizer: &dyn Encode,
    how: &Tokenization,
) -> Result<Vec<Prompt>, DataError> {
    let eos = end_token(file, tokenizer, how)?;
    let mut prompts = Vec::with_capacity(file.rows.len());
    for NumberedRow { line, row } in &file.rows {
        let prompt = match row {
            Row::PromptCompletion { prompt, completion, alternatives } => {
                let text = prompt.clone() + &how.separator;
                let (expected, alternatives) = (completion.clone(), alternatives.clone());
                tokenizer
                    .encode(&text, true)
                    .map(|ids| Some(Prompt { ids, text, expected, alternatives }))
            }
            Row::Messages(messages) => last_answer(messages, tokenizer, eos),
            Row::Text(_) => Ok(None),
            Row::Classification { .. } => return Err(other_format(file)),
        };
        prompts.extend(prompt.map_err(|source| encode_error(file, *line, source))?);
    }
    Ok(prompts)
}

/// Token ids, each with whether predicting it is learned.
#[derive(Default)]
struct Tokens {
    ids: Vec<u32>,
    learned: Vec<bool>,
}

impl Tokens {
    fn push(&mut self, ids: &[u32], learned: bool) {
        self.ids.extend_from_slice(ids);
        self.learned.resize(self.ids.len(), learned);
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    fn truncate(&mut self, length: usize) {
        self.ids.truncate(length);
        self.learned.truncate(length);
    }

    fn example(self) -> TokenExample {
        let next = self.ids.iter().zip(&self.learned).skip(1);
        let targets = next.map(|(id, learned)| learned.then_some(*id));
        // Nothing follows the last position.
        let targets = targets.chain([None]).take(self.ids.len()).collect();
        TokenExample { ids: self.ids, targets }
    }
}

fn pair(
    prompt: &str,
    completion: &str,
    tokenizer: &dyn Encode,
    eos: Option<u32>,
) -> Result<Tokens, EncodeError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode(prompt, true)?, false);
    tokens.push(&tokenizer.encode(completion, false)?, true);
    tokens.push(eos.as_slice(), true);
    Ok(tokens)
}

fn whole(text: &str, tokenizer: &dyn Encode, eos: Option<u32>) -> Result<Tokens, EncodeError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode(text, true)?, true);
    if tokens.ids.last().copied() != eos {
        tokens.push(eos.as_slice(), true);
    }
    Ok(tokens)
}

fn conversation(
    messages: &[Message],
    tokenizer: &dyn Encode,
    eos: Option<u32>,
) -> Result<Tokens, EncodeError> {
    let mut tokens = Tokens::default();
    for segment in chat::segments(messages, tokenizer, eos)? {
        tokens.push(&segment.ids, segment.learned);
    }
    Ok(tokens)
}

fn last_answer(
    messages: &[Message],
    tokenizer: &dyn Encode,
    eos: Option<u32>,
) -> Result<Option<Prompt>, EncodeError> {
    let Some(last) = messages.iter().rposition(|message| message.role == "assistant") else {
        return Ok(None);
    };
    let segments = chat::segments(&messages[..=last], tokenizer, eos)?;
    let Some(end) = segments.iter().rposition(|segment| segment.learned) else {
        return Ok(None);
    };
    // A template may write an answer as several segments.
    let answer =
        segments[..end].iter().rposition(|segment| !segment.learned).map_or(0, |at| at + 1);
    let ids = segments[..answer].iter().flat_map(|segment| segment.ids.clone()).collect();
    let before = messages[..last].iter().map(|m| format!("{}: {}", m.role, m.content));
    let text = before.collect::<Vec<_>>().join("\n");
    let expected = messages[last].content.clone();
    Ok(Some(Prompt { ids, text, expected, alternatives: Vec::new() }))
}

/// The end token to close rows with: none if it is not asked for, or the chat's own closes them.
fn end_token(
    file: &RowFile,
    tokenizer: &dyn Encode,
    how: &Tokenization,
) -> Result<Option<u32>, DataError> {
    let conversation = file.rows.iter().find_map(|numbered| match &numbered.row {
        Row::Messages(messages) => Some(messages),
        _ => None,
    });
    if !how.eos || conversation.is_some_and(|messages| chat::closes_turns(messages, tokenizer)) {
        return Ok(None);
    }
    tokenizer.eos().map(Some).ok_or(DataError::NoEndToken)
}

fn encode_error(file: &RowFile, line: usize, source: EncodeError) -> DataError {
    DataError::Encode { path: file.path.clone(), line, source }
}

fn not_empty<E>(examples: Vec<E>, report: DataReport) -> Result<(Vec<E>, DataReport), DataError> {
    if examples.is_empty() {
        return Err(DataError::NoTargets {
            path: report.path,
            rows: report.rows,
            max_length: report.max_length,
        });
    }
    Ok((examples, report))
}

fn empty_report(file: &RowFile, max_length: usize) -> DataReport {
    DataReport {
        path: file.path.clone(),
        format: file.format,
        portion: file.portion,
        rows: file.rows.len(),
        without_target: 0,
        cut: 0,
        dropped: 0,
        tokens: 0,
        target_tokens: 0,
        longest: 0,
        max_length,
    }
}

fn count(report: &mut DataReport, tokens: usize, targets: usize) {
    report.tokens += tokens;
    report.target_tokens += targets;
    report.longest = report.longest.max(tokens);
}
