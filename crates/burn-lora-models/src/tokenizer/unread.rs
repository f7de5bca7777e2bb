//! Why there is no tokenizer to read: what a directory has in the place of a `tokenizer.json`, and what a file says that
//! is newer than the library that reads it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::ModelError;
use crate::weights::instead;

/// The library that reads `tokenizer.json`.
const LIBRARY: &str = "tokenizers 0.23";
/// The version that it writes into its files.
const VERSION: &str = "1.0";

/// Files that older and other tokenizers are kept in.
const OTHERS: [&str; 8] = [
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "tokenizer.tiktoken",
    "qwen.tiktoken",
    "vocab.txt",
    "vocab.json",
];

/// The parts of a tokenizer with the types that each may have, as the library's source lists them.
const PARTS: [(&str, &str, &[&str]); 5] = [
    (
        "normalizer",
        "normalizers",
        &[
            "Bert",
            "BertNormalizer",
            "Strip",
            "StripAccents",
            "NFC",
            "NFD",
            "NFKC",
            "NFKD",
            "Sequence",
            "Lowercase",
            "Nmt",
            "Precompiled",
            "Replace",
            "Prepend",
            "ByteLevel",
        ],
    ),
    (
        "pre_tokenizer",
        "pretokenizers",
        &[
            "BertPreTokenizer",
            "ByteLevel",
            "Delimiter",
            "CharDelimiterSplit",
            "Metaspace",
            "Whitespace",
            "Sequence",
            "Split",
            "Punctuation",
            "WhitespaceSplit",
            "Digits",
            "UnicodeScripts",
            "FixedLength",
        ],
    ),
    ("model", "", &["BPE", "WordPiece", "WordLevel", "Unigram"]),
    (
        "post_processor",
        "processors",
        &["BertProcessing", "RobertaProcessing", "ByteLevel", "TemplateProcessing", "Sequence"],
    ),
    (
        "decoder",
        "decoders",
        &[
            "BPEDecoder",
            "ByteLevel",
            "WordPiece",
            "Metaspace",
            "CTC",
            "Sequence",
            "Replace",
            "Fuse",
            "Strip",
            "ByteFallback",
        ],
    ),
];

/// The error for a directory without a `tokenizer.json`.
pub(super) fn absent(dir: &Path) -> ModelError {
    let path = dir.join("tokenizer.json");
    if let Some(target) = instead::dangling(&path) {
        return ModelError::DanglingLink { path, target };
    }
    let other = OTHERS.into_iter().find(|name| dir.join(name).is_file());
    let note = match other {
        Some(name) => format!(
            "; its `{name}` is of another kind, of which `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` in \
             Python makes one"
        ),
        None if dir.join("adapter_config.json").is_file() => {
            "; its `adapter_config.json` is an adapter's: name its base as the model, and this directory as the adapter".to_owned()
        }
        None => ": bring the one of the model, or name the directory that has it".to_owned(),
    };
    ModelError::NoTokenizer { dir: dir.to_owned(), note }
}

/// What a `tokenizer.json` has that the library does not know, if it has such a part.
pub(super) fn newer(json: &[u8]) -> Option<String> {
    let file: Map<String, Value> = serde_json::from_slice(json).ok()?;
    if let Some(version) = file.get("version").and_then(Value::as_str).filter(|v| *v != VERSION) {
        return Some(format!(
            "its version is {version}, and {VERSION} is read: a tokenizer.json as {LIBRARY} or an earlier version writes it is needed"
        ));
    }
    PARTS.iter().find_map(|(part, list, known)| {
        let unknown = unknown(file.get(*part)?, list, known)?;
        Some(format!(
            "its {part} is of the type {unknown}, which is newer than what is read here: a tokenizer.json as {LIBRARY} or \
             an earlier version writes it is needed"
        ))
    })
}

/// The first type that is not known, of a part or of those in its sequence.
fn unknown<'a>(part: &'a Value, list: &str, known: &[&str]) -> Option<&'a Value> {
    let own = part.get("type").filter(|own| !own.as_str().is_some_and(|own| known.contains(&own)));
    let inside = || part.get(list)?.as_array()?.iter().find_map(|one| unknown(one, "", known));
    own.or_else(inside)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_that_the_library_does_not_know_is_named() {
        let said = |part: &str, value: Value| newer(json!({part: value}).to_string().as_bytes());
        for (part, value) in [
            ("model", json!({"type": "SuperBPE", "vocab": {}})),
            (
                "pre_tokenizer",
                json!({"type": "Sequence", "pretokenizers": [
                {"type": "Digits"}, {"type": "SuperBPE"}]}),
            ),
            ("decoder", json!({"type": "SuperBPE"})),
        ] {
            let said = said(part, value).unwrap();
            assert!(said.starts_with(&format!("its {part} is of the type \"SuperBPE\"")), "{said}");
        }
        assert_eq!(said("model", json!({"type": "BPE"})), None);
        assert_eq!(said("model", json!({"vocab": {}})), None, "the oldest files name no type");
        assert_eq!(said("normalizer", Value::Null), None);
        assert_eq!(newer(b"not JSON"), None);
        assert!(said("version", json!("2.0")).unwrap().starts_with("its version is 2.0"));
        assert_eq!(said("version", json!("1.0")), None);
    }

    /// The lists here are the library's own, as far as it takes what they name.
    #[test]
    fn what_the_library_reads_is_known() {
        for (part, value) in [
            (
                "normalizer",
                json!({"type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}),
            ),
            ("pre_tokenizer", json!({"type": "CharDelimiterSplit", "delimiter": "-"})),
            ("decoder", json!({"type": "ByteFallback"})),
        ] {
            let mut file = json!({"version": "1.0", "truncation": null, "padding": null,
                "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
                "post_processor": null, "decoder": null,
                "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}});
            file[part] = value;
            let text = file.to_string();
            tokenizers::Tokenizer::from_bytes(&text).unwrap();
            assert_eq!(newer(text.as_bytes()), None);
        }
    }
}
