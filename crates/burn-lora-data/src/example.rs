//! Rows as token ids, with what is to be predicted from them.

use burn_lora_models::ModelError;
use burn_lora_models::conversation::{Chat, ChatFormat, Message};
use burn_lora_models::tokenizer::Tokenizer;

use crate::classes::{Classes, other_format};
use crate::error::DataError;
use crate::over_long::{Gate, Limit, OverLong};
use crate::report::DataReport;
use crate::row::{Place, PlacedRow, Row};
use crate::row_file::RowFile;

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

/// How rows become token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenization {
    /// The longest row, and what becomes of longer ones.
    pub limit: Limit,
    /// Put between prompt and completion, as part of the prompt.
    pub separator: String,
    /// Whether completions and texts end with the tokenizer's end token.
    pub eos: bool,
}

/// Rows as examples for language modelling. Rows without a target are left out and counted.
///
/// # Errors
///
/// Classification rows, a tokenizer without an end token where one is asked for, a text that it
/// cannot encode, rows that are too long where those are refused, or no row with a target.
pub fn token_examples(
    file: &RowFile,
    tokenizer: &Tokenizer,
    how: &Tokenization,
) -> Result<(Vec<TokenExample>, DataReport), DataError> {
    let (chat, eos) = endings(file, tokenizer, how)?;
    let mut report = DataReport::of(file, how.limit.max_length);
    let mut gate = Gate::new(how.limit);
    let mut examples = Vec::with_capacity(file.rows.len());
    for PlacedRow { place, row, .. } in &file.rows {
        let tokens = match row {
            Row::Messages(messages) => conversation(messages, &chat),
            Row::PromptCompletion { prompt, completion, .. } => {
                pair(&(prompt.clone() + &how.separator), completion, tokenizer, eos)
            }
            Row::Text(text) => whole(text, tokenizer, eos),
            Row::Classification { .. } => return Err(other_format(file)),
        };
        let mut tokens = tokens.map_err(|source| encode_error(file, place, source))?;
        if !gate.admit(place, tokens.len(), &mut report) {
            continue;
        }
        report.empty += usize::from(teaches_nothing(row));
        tokens.truncate(how.limit.max_length);
        let example = tokens.example();
        match example.target_tokens() {
            0 => report.without_target += 1,
            targets => {
                report.count(place, example.ids.len(), targets);
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
    tokenizer: &Tokenizer,
    classes: &Classes,
    limit: impl Into<Limit>,
) -> Result<(Vec<LabelExample>, DataReport), DataError> {
    let limit = limit.into();
    let mut report = DataReport::of(file, limit.max_length);
    let mut gate = Gate::new(limit);
    let mut examples = Vec::with_capacity(file.rows.len());
    for PlacedRow { place, row, .. } in &file.rows {
        let Row::Classification { text, label } = row else { return Err(other_format(file)) };
        let Some(class) = classes.index(label) else {
            return Err(DataError::UnknownLabel {
                path: file.path.clone(),
                place: place.clone(),
                label: label.clone(),
                classes: classes.len(),
                nearest: classes.nearest(label),
            });
        };
        let (ids, cut) = tokenizer
            .encode_within(text, limit.max_length)
            .map_err(|source| encode_error(file, place, source))?;
        let mut length = ids.len();
        if cut {
            length = limit.max_length.saturating_add(1);
            if limit.over_long == OverLong::Refuse {
                // A refusal tells the length before the cut.
                let whole = tokenizer.encode(text, true);
                let whole = whole.map_err(|source| encode_error(file, place, source))?;
                length = length.max(whole.len());
            }
        }
        if !gate.admit(place, length, &mut report) {
            continue;
        }
        report.count(place, ids.len(), 1);
        examples.push(LabelExample { ids, label: class });
    }
    gate.close(file)?;
    not_empty(examples, report)
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

/// Whether something that the row has learned is empty.
fn teaches_nothing(row: &Row) -> bool {
    let is_empty = |text: &str| text.trim().is_empty();
    match row {
        Row::Messages(messages) => messages.iter().any(|message| {
            message.is_learned()
                && message.content().is_none_or(is_empty)
                && !message.has("tool_calls")
                && !message.has("function_call")
        }),
        Row::PromptCompletion { completion, .. } => is_empty(completion),
        Row::Text(_) | Row::Classification { .. } => false,
    }
}

fn pair(
    prompt: &str,
    completion: &str,
    tokenizer: &Tokenizer,
    eos: Option<u32>,
) -> Result<Tokens, ModelError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode(prompt, true)?, false);
    tokens.push(&tokenizer.encode(completion, false)?, true);
    tokens.push(eos.as_slice(), true);
    Ok(tokens)
}

fn whole(text: &str, tokenizer: &Tokenizer, eos: Option<u32>) -> Result<Tokens, ModelError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode(text, true)?, true);
    if tokens.ids.last().copied() != eos {
        tokens.push(eos.as_slice(), true);
    }
    Ok(tokens)
}

fn conversation(messages: &[Message], chat: &Chat<'_>) -> Result<Tokens, ModelError> {
    let mut tokens = Tokens::default();
    for segment in chat.prompt_and_answers(messages)? {
        tokens.push(&segment.ids, segment.learned);
    }
    Ok(tokens)
}

/// How the file's conversations are written, and the end token to close its other rows with, if that
/// is asked for.
pub(crate) fn endings<'a>(
    file: &RowFile,
    tokenizer: &'a Tokenizer,
    how: &Tokenization,
) -> Result<(Chat<'a>, Option<u32>), DataError> {
    let chat = Chat::of(tokenizer);
    if !how.eos {
        return Ok((chat.without_end_token(), None));
    }
    let eos = tokenizer.eos_ids().first().copied();
    let closes = file.format.is_conversation() && chat.format() != ChatFormat::Lines;
    if eos.is_none() && !closes {
        return Err(DataError::NoEndToken);
    }
    Ok((chat, eos))
}

pub(crate) fn encode_error(file: &RowFile, place: &Place, source: ModelError) -> DataError {
    DataError::Encode { path: file.path.clone(), place: place.clone(), source: source.into() }
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
