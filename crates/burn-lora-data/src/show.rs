//! One training row as the model sees it: its tokens, and which of them carry loss.

use std::fmt::Write;

use burn_lora_models::tokenizer::Tokenizer;

use crate::classes::Classes;
use crate::example::{LabelExample, TokenExample};

/// The most tokens shown.
const SHOWN: usize = 60;

/// A table of the tokens; `loss` marks those the model learns to write.
pub fn tokens(example: Option<&TokenExample>, tokenizer: &Tokenizer) -> String {
    let Some(example) = example else { return String::new() };
    // Position t predicts token t + 1: the token that is learned stands one further on.
    let learned = [false].into_iter().chain(example.targets.iter().map(Option::is_some));
    let marks = learned.map(|learned| if learned { "loss" } else { "" });
    table(&example.ids, marks, tokenizer)
}

/// A table of the tokens and the class.
pub fn label(example: Option<&LabelExample>, tokenizer: &Tokenizer, classes: &Classes) -> String {
    let Some(example) = example else { return String::new() };
    let class = classes.names().get(example.label).map_or("", String::as_str);
    let table = table(&example.ids, std::iter::repeat(""), tokenizer);
    format!("{table}class {}: {class}\n", example.label)
}

fn table<'a>(ids: &[u32], marks: impl Iterator<Item = &'a str>, tokenizer: &Tokenizer) -> String {
    let mut text = format!("{:>5} {:>7}  {:<24} {}\n", "at", "id", "token", "carries");
    for (at, (id, mark)) in ids.iter().zip(marks).enumerate().take(SHOWN) {
        let token = tokenizer.id_to_token(*id).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{at:>5} {id:>7}  {token:<24} {mark}");
    }
    if ids.len() > SHOWN {
        let _ = writeln!(text, "      … and {} more", ids.len() - SHOWN);
    }
    text
}
