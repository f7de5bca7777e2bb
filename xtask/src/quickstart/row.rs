//! One row: a sentence and the tool call that it asks for.
//!
//! ```text
//! {"prompt":"Please remind me to water the plants at 7 pm","completion":"{\"tool\":\"set_reminder\",..}"}
//! ```

use rand::Rng;
use rand::seq::IndexedRandom;

use super::grammar::{Grammar, Kind, Piece, Tool};

const OPENINGS: [&str; 8] = [
    "please ",
    "can you ",
    "could you ",
    "hey, ",
    "ok, ",
    "would you ",
    "now ",
    "I'd like you to ",
];
const CLOSINGS: [&str; 4] = [".", ", please", ", thanks", "!"];

/// A sentence and its tool call.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The sentence.
    pub prompt: String,
    /// The call, one JSON object without spaces: the tool first, then what the sentence mentions.
    pub completion: String,
}

impl Row {
    /// Draws a sentence of the tool; none where two arguments came out equal.
    pub fn draw(grammar: &Grammar, tool: &Tool, rng: &mut impl Rng) -> Option<Self> {
        let phrasing = tool.phrasings.choose(rng)?;
        let mut values: Vec<Option<(String, Kind)>> = vec![None; tool.arguments.len()];
        let mut sentence = String::new();
        for piece in phrasing {
            match piece {
                Piece::Literal(text) => sentence.push_str(text),
                Piece::Name(name) => {
                    let index = tool.arguments.iter().position(|(argument, _)| argument == name)?;
                    let value = grammar.draw(&tool.arguments[index].1, rng);
                    if values.iter().flatten().any(|(other, _)| *other == value.0) {
                        return None;
                    }
                    sentence.push_str(&value.0);
                    values[index] = Some(value);
                }
                Piece::Range(..) => return None,
            }
        }
        let mut completion = format!("{{\"tool\":{}", quoted(&tool.name));
        for ((argument, _), value) in tool.arguments.iter().zip(&values) {
            let Some((text, kind)) = value else { continue };
            // A number stays as it was written: `3.40` is JSON, and the sentence has that zero.
            let value = if *kind == Kind::Number { text.clone() } else { quoted(text) };
            completion.push_str(&format!(",{}:{value}", quoted(argument)));
        }
        completion.push('}');
        // A capital letter would change a value that the sentence begins with.
        let capital = matches!(phrasing.first(), Some(Piece::Literal(_)));
        Some(Self { prompt: spoken(&sentence, capital, rng), completion })
    }

    /// The row as a line of JSON.
    pub fn to_line(&self) -> String {
        format!(
            "{{\"prompt\":{},\"completion\":{}}}\n",
            quoted(&self.prompt),
            quoted(&self.completion)
        )
    }
}

/// The sentence as someone might say it: with an opening, a closing, a capital letter, or bare.
fn spoken(sentence: &str, capital: bool, rng: &mut impl Rng) -> String {
    let question = sentence.ends_with('?');
    let mut text = sentence.to_owned();
    if question {
        if rng.random_bool(0.3) {
            text.pop();
        }
    } else if sentence.starts_with("I ") || sentence.starts_with("I'") {
        if rng.random_bool(0.3) {
            text.push('.');
        }
    } else {
        if rng.random_bool(0.4) {
            text.insert_str(0, OPENINGS.choose(rng).copied().unwrap_or_default());
        }
        if rng.random_bool(0.4) {
            text.push_str(CLOSINGS.choose(rng).copied().unwrap_or_default());
        }
    }
    if capital && rng.random_bool(0.3) { capitalised(&text) } else { text }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text with its first letter in upper case.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
