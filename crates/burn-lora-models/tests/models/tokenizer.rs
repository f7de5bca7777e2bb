//! The tokenizer of a directory, and the special tokens its files name.

use burn_lora_models::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// A tokenizer of whole words that, like MiniLM's, asks for truncation and padding.
fn words() -> Value {
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [special(0, "<pad>"), special(1, "<s>"), special(2, "</s>"), special(3, "<end>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        },
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "<pad>",
                  "vocab": {"<pad>": 0, "<s>": 1, "</s>": 2, "<end>": 3, "one": 4, "two": 5, "three": 6}}
    })
}

fn directory(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), words().to_string()).unwrap();
    for (name, value) in files {
        std::fs::write(dir.path().join(name), value.to_string()).unwrap();
    }
    dir
}

#[test]
fn text_goes_there_and_back_uncut_and_unpadded() {
    let dir = directory(&[]);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("one two three two", true).unwrap(), [1, 4, 5, 6, 5]);
    assert_eq!(tokenizer.encode("one two three two", false).unwrap(), [4, 5, 6, 5]);
    assert_eq!(tokenizer.encode("one<end>two", false).unwrap(), [4, 3, 5]);
    assert_eq!(tokenizer.decode(&[1, 4, 5, 2], true).unwrap(), "one two");
    assert_eq!(tokenizer.decode(&[1, 4, 5, 2], false).unwrap(), "<s> one two </s>");
    assert_eq!(tokenizer.token_to_id("<end>"), Some(3));
    assert_eq!(tokenizer.token_to_id("four"), None);
    assert_eq!(tokenizer.id_to_token(6).as_deref(), Some("three"));
    assert_eq!(tokenizer.vocab_size(), 7);
}

#[test]
fn special_tokens_come_from_the_files_beside_it() {
    let check = |files: &[(&str, Value)], eos: &[u32], pad: Option<u32>, bos: Option<u32>| {
        let tokenizer = Tokenizer::from_dir(directory(files).path()).unwrap();
        assert_eq!(tokenizer.eos_ids(), eos, "{files:?}");
        assert_eq!((tokenizer.pad_id(), tokenizer.bos_id()), (pad, bos), "{files:?}");
    };
    check(&[], &[], None, None);
    let config =
        ("config.json", json!({"eos_token_id": 2, "pad_token_id": null, "bos_token_id": 1}));
    check(std::slice::from_ref(&config), &[2], None, Some(1));
    // What generation says comes before what the model says.
    let generation = ("generation_config.json", json!({"eos_token_id": [3, 2], "pad_token_id": 0}));
    check(&[config.clone(), generation.clone()], &[3, 2], Some(0), Some(1));
    // The tokenizer's own end is the first, the one to train with; in either way of writing it.
    let own = ("tokenizer_config.json", json!({"eos_token": "</s>", "pad_token": "<end>"}));
    check(&[config.clone(), generation.clone(), own], &[2, 3], Some(3), Some(1));
    let own =
        ("tokenizer_config.json", json!({"eos_token": {"content": "</s>"}, "bos_token": null}));
    check(&[generation, own], &[2, 3], Some(0), None);
}

#[test]
fn its_files_are_listed_for_copying() {
    let dir = directory(&[("tokenizer_config.json", json!({})), ("unrelated.json", json!({}))]);
    let files = Tokenizer::from_dir(dir.path()).unwrap().files().unwrap();
    let expected = ["tokenizer.json", "tokenizer_config.json"]
        .map(|name| (name, std::fs::read(dir.path().join(name)).unwrap()));
    assert_eq!(files, expected);
}

#[test]
fn damaged_and_missing_files_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let message = Tokenizer::from_dir(empty.path()).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json"), "{message}");
    let dir = directory(&[("generation_config.json", json!([1]))]);
    let message = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(message.contains("generation_config.json"), "{message}");
    std::fs::write(dir.path().join("tokenizer.json"), "{\"model\": 3}").unwrap();
    let message = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json"), "{message}");
}

#[test]
fn a_directory_with_another_kind_of_tokenizer_is_told_with_the_way_to_one() {
    let dir = tempfile::tempdir().unwrap();
    let said = || Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(said().contains("no `tokenizer.json`: bring the one of the model"), "{}", said());
    for name in ["vocab.json", "vocab.txt", "tokenizer.model"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
        let expected = format!("its `{name}` is of another kind");
        assert!(said().contains(&expected) && said().contains("save_pretrained"), "{}", said());
    }
}
