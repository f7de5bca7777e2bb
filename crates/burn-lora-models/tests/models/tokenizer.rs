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

#[test]
fn what_two_files_name_is_decided_as_in_transformers() {
    let map =
        ("special_tokens_map.json", json!({"eos_token": {"content": "<end>"}, "bos_token": "<s>"}));
    let tokenizer = Tokenizer::from_dir(directory(std::slice::from_ref(&map)).path()).unwrap();
    assert_eq!((tokenizer.eos_ids(), tokenizer.bos_id()), (&[3][..], Some(1)));
    let own = |more: serde_json::Value| {
        let mut own = json!({"eos_token": "</s>", "bos_token": null});
        own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("tokenizer_config.json", own)
    };
    let today = own(json!({"added_tokens_decoder": {}}));
    let tokenizer = Tokenizer::from_dir(directory(&[map.clone(), today]).path()).unwrap();
    assert_eq!((tokenizer.eos_ids(), tokenizer.bos_id()), (&[2][..], Some(1)));
    // A configuration of before transformers 4.34 gives way to the map, which is said.
    let older = directory(&[map, own(json!({}))]);
    let tokenizer = Tokenizer::from_dir(older.path()).unwrap();
    assert_eq!((tokenizer.eos_ids(), tokenizer.bos_id()), (&[3][..], Some(1)));
    let said = "`eos_token` is `</s>`, and special_tokens_map.json, which decides";
    assert!(tokenizer.notes().iter().any(|note| note.contains(said)), "{:?}", tokenizer.notes());
}

#[test]
fn a_text_begins_once_and_a_prompt_does_not_end() {
    let config = ("tokenizer_config.json", json!({"bos_token": "<s>", "eos_token": "</s>"}));
    let dir = directory(&[config]);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("<s>one", true).unwrap(), [1, 1, 4]);
    assert_eq!(tokenizer.encode_once("<s>one").unwrap(), [1, 4]);
    // Whether or not another file says which token that is.
    let unnamed = Tokenizer::from_dir(directory(&[]).path()).unwrap();
    assert_eq!(unnamed.bos_id(), None);
    assert_eq!(unnamed.encode_once("<s>one").unwrap(), [1, 4]);
    assert_eq!(unnamed.encode_once("one one").unwrap(), [1, 4, 4]);
    assert_eq!(tokenizer.encode_prompt("one").unwrap(), [1, 4]);

    // One that ends every text that it is given.
    let mut ends = words();
    let single = ends["post_processor"]["single"].as_array_mut().unwrap();
    single.push(json!({"SpecialToken": {"id": "</s>", "type_id": 0}}));
    ends["post_processor"]["special_tokens"]["</s>"] =
        json!({"id": "</s>", "ids": [2], "tokens": ["</s>"]});
    std::fs::write(dir.path().join("tokenizer.json"), ends.to_string()).unwrap();
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("one", true).unwrap(), [1, 4, 2]);
    assert_eq!(tokenizer.encode_prompt("one").unwrap(), [1, 4]);
}

#[test]
fn what_the_reader_of_tokenizers_panics_at_is_an_error() {
    let quickstart =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/quickstart/model/tokenizer.json");
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(quickstart).unwrap()).unwrap();
    let said = |json: String| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
        Tokenizer::from_dir(dir.path()).unwrap_err().to_string()
    };
    // A merge of what the vocabulary does not have.
    let mut merge = whole.clone();
    let merges = merge["model"]["merges"].as_array_mut().unwrap();
    merges.push(json!(["\u{120}garbage", "\u{120}garbage"]));
    // A map of characters that is none.
    let mut map = whole.clone();
    map["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    // What is no decoder.
    let mut decoder = whole;
    decoder["decoder"]["decoders"][1] = json!("nan");
    for damaged in [
        merge.to_string(),
        map.to_string(),
        decoder.to_string(),
        decoder.to_string().replace("\"nan\"", "NaN"),
    ] {
        let message = said(damaged);
        assert!(message.contains("tokenizer.json"), "{message}");
    }
}

/// transformers has classes that write such settings over those of `tokenizer.json`.
#[test]
fn settings_that_are_not_followed_are_told() {
    let told = |config: Value| {
        let files = [("tokenizer_config.json", config)];
        Tokenizer::from_dir(directory(&files).path()).unwrap().notes().join("; ")
    };
    // `tokenizer.json` puts `<s>` before a text, and nothing behind it.
    let tokens = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let with = |more: Value| {
        let mut config = tokens.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        told(config)
    };
    assert_eq!(with(json!({})), "");
    let usual = json!({
        "add_bos_token": true, "add_eos_token": false, "add_prefix_space": null, "added_tokens_decoder": {},
        "additional_special_tokens": [], "chat_template": "{{ messages }}", "clean_up_tokenization_spaces": false,
        "legacy": true, "model_max_length": 1e30, "padding_side": "left", "sp_model_kwargs": {}, "image_token": "<i>",
        "tokenizer_class": "LlamaTokenizer", "use_default_system_prompt": false, "split_special_tokens": false,
        "do_lower_case": true, "extra_special_tokens": {},
    });
    assert_eq!(with(usual), "");
    let said = with(json!({"add_bos_token": false, "add_eos_token": true}));
    for part in [
        "tokenizer_config.json: `add_bos_token` is false, and tokenizer.json, which is used, puts one before a text (`<s>`)",
        "`add_eos_token` is true, and tokenizer.json, which is used, puts none behind a text (`</s>`)",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said =
        with(json!({"split_special_tokens": true, "dropout_of_merges": 0.1, "nothing": null}));
    assert!(
        said.contains("keys that are not known here and had no effect: `dropout_of_merges`"),
        "{said}"
    );
    assert!(said.contains("`split_special_tokens` is true") && !said.contains("nothing"), "{said}");
    // A normaliser with its own settings.
    let mut json = words();
    json["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": false});
    json["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let dir = directory(&[
        ("tokenizer.json", json),
        (
            "tokenizer_config.json",
            json!({"do_lower_case": true, "strip_accents": true, "add_prefix_space": true}),
        ),
    ]);
    let notes = Tokenizer::from_dir(dir.path()).unwrap().notes().to_vec();
    let expected = [
        "tokenizer_config.json: `do_lower_case` is true, and `lowercase` of tokenizer.json, which is used, is false",
        "tokenizer_config.json: `add_prefix_space` is true, and `add_prefix_space` of tokenizer.json, which is used, is false",
    ];
    assert_eq!(notes, expected);
}
