//! A tokenizer as metadata: what [`GgufFile::tokenizer_json`](crate::gguf::GgufFile::tokenizer_json) reads.
//!
//! A file has as many tokens as the model has rows; those that the tokenizer lacks are marked unused. What begins
//! and ends a text is found out by encoding one.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::super::config::ENDS;
use super::super::tokenizer::{
    CONTROL, MERGES, MODEL, NORMAL, PRE, PreTokenizer, TOKEN_TYPES, TOKENS, UNUSED, USER_DEFINED,
};
use super::super::{Array, Value};
use super::GgufWriteError;
use crate::tokenizer::Tokenizer;

/// The metadata of a tokenizer, beside a model whose token table has so many rows.
pub(super) fn fields(
    tokenizer: &Tokenizer,
    rows: usize,
) -> Result<BTreeMap<String, Value>, GgufWriteError> {
    let json = tokenizer.json().map_err(|error| kind(tokenizer, error.to_string()))?;
    check_kind(tokenizer, &json)?;
    let model = &json["model"];
    let ignores_merges = model["ignore_merges"].as_bool().unwrap_or(false);
    let pre = PreTokenizer::recognised(&json["pre_tokenizer"], &json["normalizer"], ignores_merges)
        .ok_or_else(|| GgufWriteError::PreTokenizer {
            path: tokenizer.path().to_owned(),
            supported: PreTokenizer::names(),
        })?;
    if json["decoder"]["type"] != "ByteLevel" {
        return Err(kind(tokenizer, "BPE whose decoder is not that of bytes".to_owned()));
    }
    let (tokens, types) = vocabulary(tokenizer, &json, rows)?;
    let [before, behind] = surrounding(tokenizer)?;
    let id = |id: u32| Value::Unsigned(id.into());
    let mut fields = BTreeMap::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set(MODEL, Value::Text("gpt2".into()));
    set(PRE, Value::Text(pre.name().into()));
    set(TOKENS, Value::Array(Array::Text(tokens)));
    set(TOKEN_TYPES, Value::Array(Array::Signed(types)));
    set(MERGES, Value::Array(Array::Text(merges(tokenizer, model)?)));
    set("tokenizer.ggml.add_bos_token", Value::Bool(before.is_some()));
    set("tokenizer.ggml.add_eos_token", Value::Bool(behind.is_some()));
    for (key, token) in [
        ("tokenizer.ggml.bos_token_id", before.or(tokenizer.bos_id())),
        ("tokenizer.ggml.unknown_token_id", tokenizer.unk_id()),
        ("tokenizer.ggml.padding_token_id", tokenizer.pad_id()),
    ] {
        if let Some(token) = token {
            set(key, id(token));
        }
    }
    for (key, end) in ENDS.into_iter().zip(ends(tokenizer, behind)?) {
        set(key, id(end));
    }
    if let Some(template) = tokenizer.template() {
        set("tokenizer.chat_template", Value::Text(template.source().to_owned()));
    }
    Ok(fields)
}

fn kind(tokenizer: &Tokenizer, found: String) -> GgufWriteError {
    GgufWriteError::TokenizerKind { path: tokenizer.path().to_owned(), found }
}

fn token(tokenizer: &Tokenizer, reason: String) -> GgufWriteError {
    GgufWriteError::Token { path: tokenizer.path().to_owned(), reason }
}

/// Refuses all but byte-level BPE.
fn check_kind(tokenizer: &Tokenizer, json: &Json) -> Result<(), GgufWriteError> {
    let model = &json["model"];
    match model["type"].as_str() {
        Some("BPE") => {}
        found => return Err(kind(tokenizer, found.unwrap_or("of no known kind").to_owned())),
    }
    if model["byte_fallback"] == Json::Bool(true) {
        return Err(kind(tokenizer, "BPE of characters, with bytes for the others".to_owned()));
    }
    for part in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[part].as_str().is_some_and(|text| !text.is_empty()) {
            return Err(kind(tokenizer, format!("BPE with a `{part}`")));
        }
    }
    Ok(())
}

/// Every token with its type, in the order of their ids.
fn vocabulary(
    tokenizer: &Tokenizer,
    json: &Json,
    rows: usize,
) -> Result<(Vec<String>, Vec<i64>), GgufWriteError> {
    let mut tokens: Vec<String> = (0..rows).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; rows];
    let mut put = |id: Option<u64>, text: &str, of_type: i64| {
        let id = id.and_then(|id| usize::try_from(id).ok()).unwrap_or(usize::MAX);
        let path = || tokenizer.path().to_owned();
        let Some(place) = tokens.get_mut(id) else {
            return Err(GgufWriteError::Vocabulary { path: path(), id, rows });
        };
        text.clone_into(place);
        types[id] = of_type;
        Ok(())
    };
    for (text, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        put(id.as_u64(), text, NORMAL)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let text = added["content"].as_str().unwrap_or_default();
        for property in ["lstrip", "rstrip", "single_word"] {
            if added[property] == Json::Bool(true) {
                return Err(token(tokenizer, format!("`{text}` has `{property}`")));
            }
        }
        let special = added["special"] == Json::Bool(true);
        put(added["id"].as_u64(), text, if special { CONTROL } else { USER_DEFINED })?;
    }
    Ok((tokens, types))
}

/// Pairs of tokens, with a space between the two.
fn merges(tokenizer: &Tokenizer, model: &Json) -> Result<Vec<String>, GgufWriteError> {
    let pairs = model["merges"].as_array().into_iter().flatten();
    pairs
        .map(|pair| match (pair[0].as_str(), pair[1].as_str()) {
            (Some(left), Some(right)) if !left.contains(' ') && !right.contains(' ') => {
                Ok(format!("{left} {right}"))
            }
            _ => Err(token(tokenizer, format!("the merge {pair} is of a token with a space"))),
        })
        .collect()
}

/// What the tokenizer puts before and behind a text.
fn surrounding(tokenizer: &Tokenizer) -> Result<[Option<u32>; 2], GgufWriteError> {
    let encode = |special| {
        tokenizer.encode("a", special).map_err(|error| token(tokenizer, error.to_string()))
    };
    let (plain, whole) = (encode(false)?, encode(true)?);
    let starts = (0..=whole.len() - plain.len().min(whole.len()))
        .find(|&start| whole[start..].starts_with(&plain));
    let (before, behind) = match starts {
        Some(start) => (&whole[..start], &whole[start + plain.len()..]),
        None => (&whole[..], &[][..]),
    };
    match (before, behind) {
        ([] | [_], [] | [_]) => Ok([before.first().copied(), behind.first().copied()]),
        _ => Err(token(tokenizer, "it puts several tokens before or behind a text".to_owned())),
    }
}

/// The tokens that generation stops at, as many as a file can name; the first is the one to train with.
fn ends(tokenizer: &Tokenizer, behind: Option<u32>) -> Result<Vec<u32>, GgufWriteError> {
    let ends = tokenizer.stop_ids();
    let Some(first) = ends.first() else { return Ok(behind.into_iter().collect()) };
    if behind.is_some_and(|behind| behind != *first) {
        let reason =
            format!("texts end with another token than `{first}`, which ends them in training");
        return Err(token(tokenizer, reason));
    }
    match ends.len() <= ENDS.len() {
        true => Ok(ends),
        false => {
            let reason = format!("{} tokens end texts, more than {}", ends.len(), ENDS.len());
            Err(token(tokenizer, reason))
        }
    }
}

#[cfg(test)]
mod tests;
