//! Rows as token ids, with what is to be predicted from them.

use std::collections::BTreeSet;

use burn_lora_models::ModelError;
use burn_lora_models::conversation::{Chat, ChatFormat, Message, Segment};
use burn_lora_models::template::{Instability, TemplateError};
use burn_lora_models::tokenizer::Tokenizer;

use crate::answers::Answers;
use crate::classes::{Classes, other_format};
use crate::error::DataError;
use crate::over_long::{Gate, Limit, OverLong};
use crate::report::DataReport;
use crate::row::{Conversation, Place, PlacedRow, Row};
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
    /// Which answers of conversations are learned.
    pub answers: Answers,
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
            Row::Messages(conversation) => {
                conversations(conversation, &chat, how.answers, &mut report)
            }
            Row::PromptCompletion { prompt, completion, .. } => {
                let prompt = prompt.clone() + &how.separator;
                pair(&prompt, completion, tokenizer, eos).map(|tokens| vec![tokens])
            }
            Row::Text(text) => whole(text, tokenizer, eos).map(|tokens| vec![tokens]),
            Row::Classification { .. } => return Err(other_format(file)),
        };
        let tokens = tokens.map_err(|source| {
            // Whatever the answers are taken by, the advice would not help a template that asks otherwise.
            let source = match row {
                Row::Messages(conversation) => {
                    asks_otherwise(conversation, &chat).unwrap_or(source)
                }
                _ => source,
            };
            rewritten(file, place, source, how.answers)
        })?;
        // Rows are counted as what they become.
        report.rows += tokens.len().saturating_sub(1);
        report.empty += usize::from(teaches_nothing(row));
        for mut tokens in tokens {
            if !gate.admit(place, tokens.len(), &mut report) {
                continue;
            }
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
        if ids.is_empty() {
            return Err(DataError::EmptyText { path: file.path.clone(), place: place.clone() });
        }
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

/// Closes what is learned, unless it says its end itself.
fn close(tokens: &mut Tokens, tokenizer: &Tokenizer, eos: Option<u32>) {
    let said = |last: &u32| tokenizer.eos_ids().contains(last);
    if !tokens.ids.last().is_some_and(said) {
        tokens.push(eos.as_slice(), true);
    }
}

fn pair(
    prompt: &str,
    completion: &str,
    tokenizer: &Tokenizer,
    eos: Option<u32>,
) -> Result<Tokens, ModelError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode_prompt(prompt)?, false);
    tokens.push(&tokenizer.encode(completion, false)?, true);
    close(&mut tokens, tokenizer, eos);
    Ok(tokens)
}

fn whole(text: &str, tokenizer: &Tokenizer, eos: Option<u32>) -> Result<Tokens, ModelError> {
    let mut tokens = Tokens::default();
    tokens.push(&tokenizer.encode_once(text)?, true);
    close(&mut tokens, tokenizer, eos);
    Ok(tokens)
}

/// The examples of a conversation: one, or one for each answer.
fn conversations(
    conversation: &Conversation,
    chat: &Chat<'_>,
    answers: Answers,
    report: &mut DataReport,
) -> Result<Vec<Tokens>, ModelError> {
    let chat = of_conversation(chat, conversation);
    let all = match answers.beginnings(conversation) {
        None => vec![(&**conversation, chat.prompt_and_answers(conversation)?)],
        Some(beginnings) => beginnings
            .into_iter()
            .map(|messages| Ok((messages, chat.prompt_and_last_answer(messages)?)))
            .collect::<Result<Vec<_>, ModelError>>()?,
    };
    for key in conversation.iter().flat_map(|message| message.fields().keys()) {
        if !KNOWN.contains(&key.as_str()) && !chat.may_read(key) {
            report.no_effect(key);
        }
    }
    let last = conversation.iter().rposition(Message::is_answer).map_or(0, |at| at + 1);
    report.behind += conversation.len() - last;
    let mut examples = Vec::with_capacity(all.len());
    // A turn that stands before several answers is one turn.
    let mut lost = BTreeSet::new();
    for (messages, segments) in all {
        report.shortened += usize::from(leaves_out(&chat, messages, &segments));
        lost.extend(unwritten(messages, &segments));
        let mut tokens = Tokens::default();
        for Segment { ids, learned, .. } in &segments {
            tokens.push(ids, *learned);
        }
        examples.push(tokens);
    }
    for turn in lost {
        *report.unwritten.entry(conversation[turn].role().to_owned()).or_default() += 1;
    }
    Ok(examples)
}

/// Keys of a message that are read whatever the template reads.
const KNOWN: [&str; 4] = ["role", "content", "weight", "train"];

/// Whether the template left out a part of what an answer says.
fn leaves_out(chat: &Chat<'_>, messages: &[Message], segments: &[Segment]) -> bool {
    let mut written = segments.iter().filter(|segment| segment.learned).rev();
    let mut answers = messages.iter().filter(|message| message.is_learned()).rev();
    // From the end, since of several answers only the last may be learned.
    answers.any(|answer| match (written.next(), answer.content()) {
        (Some(segment), Some(content)) => !segment.text.contains(chat.without_end(content).trim()),
        _ => false,
    })
}

/// The turns, other than answers, whose text is nowhere in what the template wrote.
fn unwritten(messages: &[Message], segments: &[Segment]) -> Vec<usize> {
    let text: String = segments.iter().map(|segment| segment.text.as_str()).collect();
    let last = messages.iter().rposition(Message::is_answer).map_or(0, |at| at + 1);
    let turns = messages[..last].iter().enumerate().filter(|(_, message)| !message.is_answer());
    let is_lost = |(_, message): &(usize, &Message)| {
        let said = message.content().unwrap_or_default().trim();
        // A template may write a text as JSON.
        let quoted = || serde_json::Value::from(said).to_string();
        !text.contains(said) && !text.contains(quoted().trim_matches('"'))
    };
    turns.filter(is_lost).map(|(turn, _)| turn).collect()
}

/// The chat of a conversation, which may have tools.
pub(crate) fn of_conversation<'a>(chat: &Chat<'a>, conversation: &Conversation) -> Chat<'a> {
    match &conversation.tools {
        Some(tools) => chat.with_tools(tools),
        None => chat.clone(),
    }
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
        let unknown = tokenizer.unknown_eos().map(str::to_owned);
        return Err(DataError::NoEndToken { unknown });
    }
    Ok((chat, eos))
}

/// The error of a template whose prompt for some answer is not how the text with it begins.
fn asks_otherwise(conversation: &Conversation, chat: &Chat<'_>) -> Option<ModelError> {
    let chat = of_conversation(chat, conversation);
    let beginnings = Answers::Each.beginnings(conversation)?;
    let error = beginnings.into_iter().find_map(|it| chat.prompt_and_last_answer(it).err())?;
    matches!(
        error,
        ModelError::Template(TemplateError::Unstable { change: Instability::Prompt, .. })
    )
    .then_some(error)
}

/// What is wrong with a row whose answers cannot be told from what stands before them.
fn rewritten(file: &RowFile, place: &Place, source: ModelError, answers: Answers) -> DataError {
    let (path, at) = (file.path.clone(), place.clone());
    match source {
        ModelError::Template(
            source @ TemplateError::Unstable { change: Instability::Prompt, .. },
        ) => DataError::AskedOtherwise { path, place: at, source: Box::new(source) },
        // That is what the advice would be.
        ModelError::Template(source @ TemplateError::Unstable { .. })
            if answers == Answers::All =>
        {
            DataError::Rewritten { path, place: at, source: Box::new(source) }
        }
        source => encode_error(file, place, source),
    }
}

pub(crate) fn encode_error(file: &RowFile, place: &Place, source: ModelError) -> DataError {
    DataError::Encode { path: file.path.clone(), place: place.clone(), source: source.into() }
}

fn not_empty<E>(examples: Vec<E>, report: DataReport) -> Result<(Vec<E>, DataReport), DataError> {
    if examples.is_empty() {
        return Err(DataError::NoTargets {
            path: report.path,
            rows: report.rows,
            within: (report.cut + report.dropped > 0).then_some(report.max_length),
        });
    }
    Ok((examples, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_a_template_writes_nowhere_are_found_and_those_behind_the_last_answer_are_not() {
        let turn = |role: &str, content: &str| Message::new(role, content);
        let messages = [
            turn("system", "be \"kind\""),
            turn("system", "be brief"),
            turn("user", "a\nb"),
            turn("tool", " 42 "),
            turn("assistant", "c"),
            turn("user", "d"),
        ];
        let written = |text: &str| {
            let text = text.to_owned();
            vec![Segment { ids: vec![0], text, learned: false }]
        };
        let all = written("be \"kind\"|be brief|a\nb|42|c");
        assert!(unwritten(&messages, &all).is_empty());
        // As JSON a text is there, too.
        let quoted = written("be \\\"kind\\\"|be brief|a\\nb|42|c");
        assert!(unwritten(&messages, &quoted).is_empty());
        assert_eq!(unwritten(&messages, &written("be brief|a\nb|c")), [0, 3]);
    }
}
