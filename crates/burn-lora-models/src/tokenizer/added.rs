//! Tokens that other files name beside `tokenizer.json`: `added_tokens_decoder` and `additional_special_tokens` of
//! `tokenizer_config.json`, and `added_tokens.json`. As in transformers they get the ids behind those that are there.
//!
//! Left out: single tokens by their role (`pad_token`), which a vocabulary without them does not have.

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::text;

/// Gives the tokenizer what it lacks of these; a line for each token that cannot get the id which its file says.
pub(super) fn add(
    inner: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    added: &Map<String, Value>,
) -> tokenizers::Result<Vec<String>> {
    let special: Vec<AddedToken> = ["additional_special_tokens", "extra_special_tokens"]
        .iter()
        .filter_map(|key| config.get(*key)?.as_array())
        .flatten()
        .filter_map(|value| Some(token(value, text(Some(value))?, true)))
        .collect();
    let mut named: Vec<(Option<u32>, AddedToken)> = Vec::new();
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    for (id, value) in decoder.into_iter().flatten() {
        if let (Ok(id), Some(content)) = (id.parse(), text(Some(value))) {
            named.push((Some(id), token(value, content, false)));
        }
    }
    for (content, id) in added {
        if let Some(id) = id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            let is_special = special.iter().any(|token| token.content == *content);
            named.push((Some(id), AddedToken::from(content.clone(), is_special)));
        }
    }
    named.sort_by_key(|(id, _)| *id);
    named.extend(special.into_iter().map(|token| (None, token)));
    let (mut notes, mut next) = (Vec::new(), None);
    for (id, token) in named {
        if inner.token_to_id(&token.content).is_some() {
            continue;
        }
        let behind = *next.get_or_insert_with(|| {
            inner.get_vocab(true).into_values().max().map_or(0, |last| last + 1)
        });
        if id.is_some_and(|id| id != behind) {
            let (content, id) = (&token.content, id.unwrap_or_default());
            notes.push(format!(
                "the token `{content}` has the id {id} there, and none in tokenizer.json, which ends at {behind}: its text is taken apart"
            ));
            continue;
        }
        match token.special {
            true => inner.add_special_tokens([token])?,
            false => inner.add_tokens([token])?,
        };
        next = Some(behind + 1);
    }
    Ok(notes)
}

/// A token with the properties that a file gives it, as the flags of an object.
fn token(value: &Value, content: &str, special: bool) -> AddedToken {
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(special);
    AddedToken::from(content, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokenizer() -> tokenizers::Tokenizer {
        let text = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": null, "decoder": null, "truncation": null, "padding": null,
            "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"},
        });
        tokenizers::Tokenizer::from_bytes(text.to_string()).unwrap()
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// The ids are those that transformers 5.23 gives the same files.
    #[test]
    fn tokens_of_other_files_get_the_ids_behind() {
        let decoder = json!({"added_tokens_decoder": {"3": {"content": "<|x|>", "special": true}, "0": {"content": "a"}}});
        let several = json!({"additional_special_tokens": ["<|x|>", {"content": "<|y|>"}]});
        for (config, added, expected) in [
            (decoder, json!({}), vec![0, 3, 1]),
            (several, json!({}), vec![0, 3, 1]),
            (json!({}), json!({"<|x|>": 3}), vec![0, 3, 1]),
            (json!({}), json!({}), vec![0, 2, 2, 2, 1]),
        ] {
            let mut inner = tokenizer();
            let notes = add(&mut inner, &fields(config), &fields(added)).unwrap();
            assert!(notes.is_empty(), "{notes:?}");
            assert_eq!(inner.encode("a <|x|> b", false).unwrap().get_ids(), expected);
        }
    }

    #[test]
    fn a_token_that_cannot_get_its_id_is_told() {
        let config = fields(json!({"added_tokens_decoder": {"7": {"content": "<|x|>"}}}));
        let mut inner = tokenizer();
        let notes = add(&mut inner, &config, &Map::new()).unwrap();
        assert_eq!(inner.token_to_id("<|x|>"), None);
        let [note] = notes.as_slice() else { panic!("{notes:?}") };
        assert!(note.contains("`<|x|>` has the id 7") && note.contains("ends at 3"), "{note}");
    }
}
