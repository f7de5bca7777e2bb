use proptest::prelude::*;
use serde_json::json;

use super::super::super::tokenizer::words::{MERGES as PAIRS, TOKENS as TEXTS, tokenizer as file};
use super::*;
use crate::gguf::GgufFile;
use crate::gguf::write::header::{ALIGNMENT, fields as encoded, header};

/// A directory with what a file's metadata says, changed by `change`.
fn directory(pre: &str, change: impl FnOnce(&mut Json, &mut Json)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = file(pre)
        .text(
            "tokenizer.chat_template",
            "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
        )
        .u32("tokenizer.ggml.padding_token_id", 0)
        .u32("tokenizer.ggml.unknown_token_id", 2)
        .open()
        .unwrap();
    let (mut json, mut config) = (file.tokenizer_json().unwrap(), file.tokenizer_config().unwrap());
    change(&mut json, &mut config);
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    dir
}

fn loaded(dir: &tempfile::TempDir) -> Tokenizer {
    Tokenizer::from_dir(dir.path()).unwrap()
}

/// A file of the metadata and an architecture, as a tokenizer and as metadata.
fn read(fields: &BTreeMap<String, Value>) -> (Tokenizer, GgufFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.gguf");
    let mut all = fields.clone();
    for (key, value) in [
        ("general.architecture", Value::Text("gpt2".into())),
        ("gpt2.embedding_length", Value::Unsigned(8)),
        ("gpt2.feed_forward_length", Value::Unsigned(32)),
        ("gpt2.block_count", Value::Unsigned(1)),
        ("gpt2.attention.head_count", Value::Unsigned(1)),
        ("gpt2.context_length", Value::Unsigned(64)),
        ("gpt2.attention.layer_norm_epsilon", Value::F32(1e-5)),
    ] {
        all.insert(key.to_owned(), value);
    }
    std::fs::write(&path, header(3, &encoded(&all), &[], ALIGNMENT)).unwrap();
    (Tokenizer::from_dir(&path).unwrap(), GgufFile::open(&path).unwrap())
}

fn refused(dir: &tempfile::TempDir, parts: &[&str]) {
    let message = fields(&loaded(dir), 16).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn a_tokenizer_of_every_known_way_to_cut_words_is_read_as_it_was_written() {
    for pre in ["smollm", "qwen2", "llama-bpe", "gpt-2", "bloom", "default"] {
        let dir = directory(pre, |_, _| {});
        let tokenizer = loaded(&dir);
        let written = fields(&tokenizer, 19).unwrap();
        let (again, file) = read(&written);
        assert_eq!(file.metadata().get(PRE), Some(&Value::Text(pre.into())));
        assert_eq!(file.tokenizer_json().unwrap(), {
            let text = std::fs::read(dir.path().join("tokenizer.json")).unwrap();
            serde_json::from_slice::<Json>(&text).unwrap()
        });
        assert_eq!(fields(&again, 19).unwrap(), written, "{pre}");
        assert_eq!(again.eos_ids(), tokenizer.eos_ids());
        assert_eq!(again.stop_ids(), tokenizer.stop_ids());
        assert_eq!(
            (again.bos_id(), again.pad_id(), again.unk_id()),
            (tokenizer.bos_id(), tokenizer.pad_id(), tokenizer.unk_id())
        );
        let source = |tokenizer: &Tokenizer| tokenizer.template().unwrap().source().to_owned();
        assert_eq!(source(&again), source(&tokenizer));
        assert_eq!(again.encode("ab a", true).unwrap(), tokenizer.encode("ab a", true).unwrap());
    }
}

#[test]
fn rows_without_a_token_are_unused_ones() {
    let written = fields(&loaded(&directory("smollm", |_, _| {})), 19).unwrap();
    let Some(Value::Array(Array::Text(tokens))) = written.get(TOKENS) else { panic!("tokens") };
    let Some(Value::Array(Array::Signed(types))) = written.get(TOKEN_TYPES) else {
        panic!("types")
    };
    assert_eq!(tokens[..15], TEXTS[..15]);
    assert_eq!(tokens[15..], ["[PAD15]", "[PAD16]", "[PAD17]", "[PAD18]"]);
    assert_eq!(types[..6], [3, 3, 4, 1, 1, 1]);
    assert_eq!(types[14..], [1, 5, 5, 5, 5]);
    let Some(Value::Array(Array::Text(merges))) = written.get(MERGES) else { panic!("merges") };
    assert_eq!(merges, &PAIRS);
}

#[test]
fn all_tokens_that_end_a_text_are_named_and_the_first_is_the_one_to_train_with() {
    let dir = directory("smollm", |_, _| {});
    let generation = json!({ "eos_token_id": [0, 2] });
    std::fs::write(dir.path().join("generation_config.json"), generation.to_string()).unwrap();
    let tokenizer = loaded(&dir);
    assert_eq!(tokenizer.stop_ids(), [0, 2]);
    let written = fields(&tokenizer, 16).unwrap();
    let id = |key: &str| written.get(&format!("tokenizer.ggml.{key}_token_id")).cloned();
    assert_eq!(id("eos"), Some(Value::Unsigned(0)));
    assert_eq!(id("eot"), Some(Value::Unsigned(2)));
    assert_eq!(id("eom"), None);
    assert_eq!(read(&written).0.eos_ids(), [0, 2]);
}

#[test]
fn what_a_file_cannot_say_is_refused_by_its_name() {
    let change = |change: fn(&mut Json)| directory("smollm", |json, _| change(json));
    refused(
        &change(|json| {
            json["model"] = json!({
                "type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": { "a": 3 },
            });
        }),
        &["it is WordPiece", "only byte-level BPE", "Hugging Face directory"],
    );
    refused(&change(|json| json["model"]["byte_fallback"] = json!(true)), &["BPE of characters"]);
    refused(
        &change(|json| json["model"]["end_of_word_suffix"] = json!("</w>")),
        &["`end_of_word_suffix`"],
    );
    refused(&change(|json| json["decoder"] = json!({ "type": "Fuse" })), &["not that of bytes"]);
    refused(
        &change(|json| json["normalizer"] = json!({ "type": "Lowercase" })),
        &["normalises texts", "`smollm`"],
    );
    refused(&change(|json| json["model"]["ignore_merges"] = json!(true)), &["no name"]);
    refused(
        &change(|json| json["added_tokens"][2]["lstrip"] = json!(true)),
        &["`<think>` has `lstrip`"],
    );
    let message = fields(&loaded(&directory("smollm", |_, _| {})), 14).unwrap_err().to_string();
    assert!(message.contains("token 14 has no row") && message.contains("14"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_has_the_same_tokens_before_and_after(text in "([abc12é ]|<\\|start\\|>|<think>){0,12}") {
        for pre in ["smollm", "llama-bpe"] {
            let tokenizer = loaded(&directory(pre, |_, _| {}));
            let (again, _) = read(&fields(&tokenizer, 16).unwrap());
            let ids = tokenizer.encode(&text, true).unwrap();
            prop_assert_eq!(&again.encode(&text, true).unwrap(), &ids);
            prop_assert_eq!(again.decode(&ids, true).unwrap(), tokenizer.decode(&ids, true).unwrap());
        }
    }
}
