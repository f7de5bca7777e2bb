//! The tokenizer in the metadata as a Hugging Face `tokenizer.json` and `tokenizer_config.json`.
//!
//! A file has a byte-level BPE's tokens and merges. How a text is cut into words before that is not
//! in it: `tokenizer.ggml.pre` only names it (see [`PreTokenizer`]). Tokens marked as control or
//! user-defined become added tokens, which are found in a text before anything else; those marked
//! as unused are placeholders for rows that the embedding has to spare, and are left out.

mod pre;

use serde_json::{Map, Value as Json, json};

use super::metadata::{Array, Value};
use super::{GgufError, GgufFile};
pub(super) use pre::PreTokenizer;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";

/// What the numbers in [`TOKEN_TYPES`] mean, those that matter.
pub(super) const NORMAL: i64 = 1;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;

/// Id and text of a token.
type Special<'a> = (usize, &'a str);

impl GgufFile {
    /// What the model's `tokenizer.json` would say.
    ///
    /// # Errors
    ///
    /// A tokenizer that is not byte-level BPE, a `tokenizer.ggml.pre` that is not known, a key
    /// that is missing, a vocabulary that contradicts itself.
    pub fn tokenizer_json(&self) -> Result<Json, GgufError> {
        let (pre, tokens) = (self.pre_tokenizer()?, self.tokens()?);
        let types = self.token_types(tokens.len())?;
        let kind = |id: usize| types.as_ref().map_or(NORMAL, |types| types[id]);
        let mut vocab = Map::new();
        let mut added = Vec::new();
        for (id, token) in tokens.iter().enumerate().filter(|(id, _)| kind(*id) != UNUSED) {
            if let Some(other) = vocab.insert(token.clone(), json!(id)) {
                return Err(self.damaged(format!("tokens {other} and {id} are both {token:?}")));
            }
            if matches!(kind(id), CONTROL | USER_DEFINED) && !token.is_empty() {
                added.push(json!({
                    "id": id,
                    "content": token,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": kind(id) == CONTROL,
                }));
            }
        }
        let merges = self.merges(&vocab)?;
        let [bos, eos] = self.surrounding(pre)?;
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": pre.normalizer(),
            "pre_tokenizer": pre.json(),
            "post_processor": template(bos, eos),
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": true,
                "trim_offsets": true,
                "use_regex": true,
            },
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": pre.ignores_merges(),
                "vocab": vocab,
                "merges": merges,
            },
        }))
    }

    /// What the model's `tokenizer_config.json` would say: the special tokens' texts, whether a text
    /// is put between them, the chat template.
    ///
    /// # Errors
    ///
    /// As [`Self::tokenizer_json`]; an id that is no token's.
    pub fn tokenizer_config(&self) -> Result<Json, GgufError> {
        let [bos, eos] = self.surrounding(self.pre_tokenizer()?)?;
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        config.insert("add_bos_token".into(), json!(bos.is_some()));
        config.insert("add_eos_token".into(), json!(eos.is_some()));
        for (role, key) in [
            ("bos_token", "tokenizer.ggml.bos_token_id"),
            ("eos_token", "tokenizer.ggml.eos_token_id"),
            ("unk_token", "tokenizer.ggml.unknown_token_id"),
            ("pad_token", "tokenizer.ggml.padding_token_id"),
        ] {
            if let Some((_, token)) = self.special(key)? {
                config.insert(role.into(), json!(token));
            }
        }
        config.insert("clean_up_tokenization_spaces".into(), json!(false));
        if let Some(template) = self.chat_template()? {
            config.insert("chat_template".into(), json!(template));
        }
        Ok(Json::Object(config))
    }

    fn pre_tokenizer(&self) -> Result<PreTokenizer, GgufError> {
        let (metadata, path) = (self.metadata(), || self.path().to_owned());
        match metadata.needed(MODEL, metadata.text(MODEL)?)? {
            "gpt2" => {}
            found => {
                return Err(GgufError::TokenizerModel { path: path(), found: found.to_owned() });
            }
        }
        let found = metadata.needed(PRE, metadata.text(PRE)?)?;
        PreTokenizer::of(found).ok_or_else(|| GgufError::PreTokenizer {
            path: path(),
            found: found.to_owned(),
            supported: PreTokenizer::names(),
        })
    }

    fn tokens(&self) -> Result<&[String], GgufError> {
        self.metadata().needed(TOKENS, self.metadata().texts(TOKENS)?)
    }

    /// One number a token, where the file has them.
    fn token_types(&self, tokens: usize) -> Result<Option<Vec<i64>>, GgufError> {
        let types = match self.metadata().get(TOKEN_TYPES) {
            None => return Ok(None),
            Some(Value::Array(Array::Signed(types))) => types.clone(),
            Some(Value::Array(Array::Unsigned(types))) => {
                types.iter().map(|&kind| i64::try_from(kind).unwrap_or(0)).collect()
            }
            Some(other) => {
                let found = other.to_string();
                return Err(self.metadata().unfit(TOKEN_TYPES, found, "an array of integers"));
            }
        };
        match types.len() == tokens {
            true => Ok(Some(types)),
            false => Err(self.damaged(format!("{tokens} tokens, {} types", types.len()))),
        }
    }

    /// The pairs of tokens that are merged, in order.
    fn merges(&self, vocab: &Map<String, Json>) -> Result<Vec<[String; 2]>, GgufError> {
        let pair = |merge: &String| {
            // One space, between the two: byte-level tokens have none.
            let (left, right) = merge.split_once(' ')?;
            let whole = [left, right].concat();
            let known = [left, right, &whole].into_iter().all(|token| vocab.contains_key(token));
            (known && !left.is_empty() && !right.is_empty())
                .then(|| [left.to_owned(), right.to_owned()])
        };
        let merges = self.metadata().needed(MERGES, self.metadata().texts(MERGES)?)?;
        merges
            .iter()
            .map(|merge| {
                pair(merge).ok_or_else(|| {
                    self.damaged(format!("the merge {merge:?} is not of two tokens to a third"))
                })
            })
            .collect()
    }

    /// The tokens that are put before and behind a text.
    fn surrounding(&self, pre: PreTokenizer) -> Result<[Option<Special<'_>>; 2], GgufError> {
        let one = |wanted: &str, default: bool, id: &str| match self
            .metadata()
            .flag(wanted)?
            .unwrap_or(default)
        {
            true => self.metadata().needed(id, self.special(id)?).map(Some),
            false => Ok(None),
        };
        Ok([
            one("tokenizer.ggml.add_bos_token", pre.adds_bos(), "tokenizer.ggml.bos_token_id")?,
            one("tokenizer.ggml.add_eos_token", false, "tokenizer.ggml.eos_token_id")?,
        ])
    }

    /// Id and text of a special token.
    fn special(&self, key: &str) -> Result<Option<Special<'_>>, GgufError> {
        let tokens = self.tokens()?;
        let Some(id) = self.metadata().index(key)? else { return Ok(None) };
        match tokens.get(id) {
            Some(token) => Ok(Some((id, token))),
            None => {
                Err(self.damaged(format!("`{key}` is {id}, there are {} tokens", tokens.len())))
            }
        }
    }

    fn damaged(&self, reason: String) -> GgufError {
        GgufError::Vocabulary { path: self.path().to_owned(), reason }
    }
}

/// The post-processor that puts tokens around a text; none where there are none to put.
fn template(bos: Option<Special<'_>>, eos: Option<Special<'_>>) -> Json {
    if bos.is_none() && eos.is_none() {
        return Json::Null;
    }
    let special = |token: Option<Special<'_>>, side: u8| {
        token.map(|(_, text)| json!({ "SpecialToken": { "id": text, "type_id": side } }))
    };
    let around = |name: &str, side: u8| {
        let text = json!({ "Sequence": { "id": name, "type_id": side } });
        [special(bos, side), Some(text), special(eos, side)].into_iter().flatten()
    };
    let tokens: Map<String, Json> = [bos, eos]
        .into_iter()
        .flatten()
        .map(|(id, text)| (text.to_owned(), json!({ "id": text, "ids": [id], "tokens": [text] })))
        .collect();
    json!({
        "type": "TemplateProcessing",
        "single": around("A", 0).collect::<Vec<_>>(),
        "pair": around("A", 0).chain(around("B", 1)).collect::<Vec<_>>(),
        "special_tokens": tokens,
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod words;
