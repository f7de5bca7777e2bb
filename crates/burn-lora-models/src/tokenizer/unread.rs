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
        None => match (instead::model_below(dir), instead::archive(dir, "tokenizer.json")) {
            (Some(below), _) => format!("; `{below}` in it is a model: name that"),
            (None, Some(archive)) => archive,
            (None, None) if dir.join("model_index.json").is_file() => instead::note(dir, "tokenizer.json"),
            (None, None) => {
                ": bring the one of the model, or name the directory that has it".to_owned()
            }
        },
    };
    ModelError::NoTokenizer { dir: dir.to_owned(), note }
}

/// Bytes of a piece of a vocabulary, at most. The library keeps Unigram's pieces in a tree, a level a byte, and takes it down by
/// recursion: some ten thousand levels are more than a thread's stack. Real pieces have some hundred bytes.
const LONGEST_PIECE: usize = 4096;

/// What is wrong with a `tokenizer.json` that takes the library's stack or memory: a longer piece, or a charsmap that says
/// to be longer than it is. Asked of the bytes, since the library fails on what it has read before it comes to what is
/// no JSON.
pub(super) fn unsound(json: &[u8]) -> Option<String> {
    // What stands before a string says what it is: pieces come first in a list, `["piece", -1.5]`.
    let (mut at, mut before, mut last) = (0, b' ', &json[..0]);
    while let Some(&byte) = json.get(at) {
        if byte == b'"' {
            let start = at + 1;
            at = start;
            while let Some(&byte) = json.get(at).filter(|byte| **byte != b'"') {
                at += if byte == b'\\' { 2 } else { 1 };
            }
            let text = &json[start..at.min(json.len())];
            if before == b'[' && text.len() > LONGEST_PIECE {
                return Some(format!(
                    "a piece of its vocabulary has {} bytes, and no more than {LONGEST_PIECE} are read: it is damaged, or no tokenizer",
                    text.len()
                ));
            }
            if before == b':' && last == b"precompiled_charsmap" && !holds_its_trie(text) {
                return Some(
                    "its precompiled_charsmap says to be longer than it is: it is damaged"
                        .to_owned(),
                );
            }
            last = text;
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
        at += 1;
    }
    None
}

/// Whether a charsmap in base64 is as long as the size of the trie says that it begins with, four bytes, the lowest first:
/// as much is asked of memory.
fn holds_its_trie(base64: &[u8]) -> bool {
    let digits = base64.iter().filter(|byte| **byte != b'\\').map_while(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let digits: Vec<u8> = digits.take(6).collect();
    let bits = digits.iter().fold(0_u64, |bits, digit| bits << 6 | u64::from(*digit));
    // Fewer digits are no base64 of four bytes, which the library says.
    digits.len() < 6 || u64::from(((bits >> 4) as u32).swap_bytes()) <= base64.len() as u64
}

/// How many times as long a text may become, at most, by what is replaced in it. Real tokenizers stay far below.
const MOST_SWOLLEN: f64 = 4096.0;

/// What is wrong with the parts of a tokenizer through which a text would grow beyond all bounds: each of many replacements, of
/// conversions to bytes or of templates may make it twice as long.
pub(super) fn swelling(parts: &[Value]) -> Option<String> {
    let most = parts.iter().map(growth).product::<f64>();
    (most > MOST_SWOLLEN).then(|| {
        format!(
            "its parts may make a text more than {MOST_SWOLLEN} times as long, one after the other: it is damaged, or meant to take memory"
        )
    })
}

/// How many times as long a part may make a text, where it does so each time anew.
fn growth(part: &Value) -> f64 {
    let inside = ["normalizers", "pretokenizers", "processors", "decoders"];
    if let Some(parts) = inside.iter().find_map(|list| part.get(list)?.as_array()) {
        return parts.iter().map(growth).product();
    }
    let length = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, str::len) as f64;
    match part.get("type").and_then(Value::as_str) {
        // A byte that is no letter of ASCII becomes a letter of two.
        Some("ByteLevel") => 2.0,
        Some("Replace") => {
            let (pattern, content) = (part.get("pattern"), length(part.get("content")));
            match pattern.and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str) {
                // It may fit where nothing stands, between all letters.
                Some(regex)
                    if regex.is_empty() || regex.contains(['*', '?', '|', '{', '(', '^', '$']) =>
                {
                    1.0 + content
                }
                Some(_) => content.max(1.0),
                None => {
                    let found = length(pattern.and_then(|pattern| pattern.get("String")));
                    (content / found.max(1.0)).max(1.0)
                }
            }
        }
        Some("TemplateProcessing") => {
            let pieces = part.get("single").and_then(Value::as_array).into_iter().flatten();
            (pieces.filter(|piece| piece.get("Sequence").is_some()).count() as f64).max(1.0)
        }
        _ => 1.0,
    }
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

    /// The library once took the process with it: it takes the tree of its pieces down by recursion.
    #[test]
    fn a_piece_as_long_as_a_file_is_refused_before_it_is_read() {
        let file = |piece: &str, rest: &str| {
            format!(
                r#"{{"model": {{"type": "Unigram", "vocab": [["<unk>", 0.0], [ "{piece}", -1.0]]}}{rest}"#
            )
        };
        let long = "a b\\\"".repeat(1000);
        for json in [file(&long, "}"), file(&long, ", no JSON"), file(&long, "")] {
            let said = unsound(json.as_bytes()).unwrap();
            assert!(said.starts_with("a piece of its vocabulary has 5000 bytes"), "{said}");
        }
        // Cut in the middle of an escape.
        assert!(
            unsound(file(&(long.clone() + "\\"), "").split_once("]]").unwrap().0.as_bytes())
                .is_some()
        );
        assert_eq!(unsound(file(&long[..500], "}").as_bytes()), None);
        let charsmap = format!(r#"{{"normalizer": {{"precompiled_charsmap": "{long}"}}}}"#);
        assert_eq!(unsound(charsmap.as_bytes()), None);
    }

    /// The library once asked for four gigabytes because six letters said so.
    #[test]
    fn a_charsmap_is_as_long_as_it_says() {
        let said =
            |map: &str| unsound(format!(r#"{{"precompiled_charsmap" : "{map}"}}"#).as_bytes());
        // 8, 255 and 0xfbb50f00 bytes of a trie.
        assert_eq!(said("CAAAAAAAAAAAAAAA"), None);
        assert_eq!(said(""), None);
        for damaged in ["/wAAAAAAAAAAAAAA", r"\/wAAAAAAAAAAAAAA", "AA+1+1+1+1"] {
            assert!(
                said(damaged).unwrap().starts_with("its precompiled_charsmap says"),
                "{damaged}"
            );
        }
    }

    /// Fuzzing found a tokenizer of 24 kB whose 128 conversions to bytes took 22 GB for a text of five letters.
    #[test]
    fn parts_that_double_a_text_again_and_again_are_refused() {
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let anywhere = json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a"});
        let twice = json!({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}]});
        for (list, part) in [
            ("pretokenizers", &bytes),
            ("normalizers", &replace),
            ("normalizers", &anywhere),
            ("processors", &twice),
            ("decoders", &replace),
        ] {
            let of = |count: usize| json!({"type": "Sequence", list: vec![part.clone(); count]});
            assert!(swelling(&[of(13)]).unwrap().contains("4096 times"), "{part}");
            assert_eq!(swelling(&[of(4), Value::Null]), None, "{part}");
            // In several places, and in a sequence of sequences.
            assert!(swelling(&[of(7), of(7)]).is_some(), "{part}");
            assert!(swelling(&[json!({"type": "Sequence", list: [of(7), of(7)]})]).is_some());
        }
        let usual = json!({"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}, {"type": "NFKC"}, {"type": "Lowercase"}]});
        assert_eq!(swelling(&[usual, bytes]), None);
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
