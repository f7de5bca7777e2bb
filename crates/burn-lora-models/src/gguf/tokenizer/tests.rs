use serde_json::{Value as Json, json};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, Tokenizer};

use super::super::writer::Writer;
use super::PreTokenizer;
use super::words::{MERGES, tokenizer};

fn build(writer: &Writer) -> Tokenizer {
    let json = writer.open().unwrap().tokenizer_json().unwrap();
    Tokenizer::from_bytes(json.to_string()).unwrap()
}

fn check_ids(writer: &Writer, text: &str, expected: &[u32]) {
    let tokenizer = build(writer);
    assert_eq!(tokenizer.encode(text, true).unwrap().get_ids(), expected, "{text:?}");
}

fn check_refused(writer: &Writer, parts: &[&str]) {
    let message = writer.open().unwrap().tokenizer_json().expect_err("no tokenizer").to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn texts_become_the_ids_that_the_merges_give() {
    // The first merge comes first: ` ab` is `Ġ` and `ab`, and not `Ġa` and `b`.
    check_ids(&tokenizer("smollm"), "ab ab a", &[11, 6, 11, 12]);
    // smollm and qwen2 keep digits apart, the others merge them.
    check_ids(&tokenizer("smollm"), "a12", &[3, 7, 8]);
    check_ids(&tokenizer("qwen2"), "a12", &[3, 7, 8]);
    check_ids(&tokenizer("gpt-2"), "a12", &[3, 13]);
    check_ids(&tokenizer("default"), "a12", &[3, 13]);
}

#[test]
fn special_tokens_are_found_in_a_text() {
    let writer = tokenizer("smollm");
    check_ids(&writer, "<|start|>ab<think>c<|end|>", &[1, 11, 2, 5, 0]);
    let tokenizer = build(&writer);
    // Control tokens are special, user-defined ones are not.
    assert_eq!(tokenizer.decode(&[1, 12, 2, 4, 14, 0], true).unwrap(), " a<think>bé");
    assert_eq!(tokenizer.decode(&[1, 11, 0], false).unwrap(), "<|start|>ab<|end|>");
    assert_eq!(tokenizer.token_to_id("[PAD15]"), None);
    assert_eq!(tokenizer.get_vocab_size(true), 15);
}

#[test]
fn qwen2_composes_characters_first() {
    check_ids(&tokenizer("qwen2"), "e\u{301}", &[14]);
    let json = tokenizer("qwen2").open().unwrap().tokenizer_json().unwrap();
    assert_eq!(json["normalizer"], json!({ "type": "NFC" }));
}

#[test]
fn llama_3_begins_a_text_and_keeps_words_that_are_tokens() {
    // Without its merge, `ab` is a token all the same.
    let writer = tokenizer("llama-bpe").without("tokenizer.ggml.merges");
    let writer = writer.texts("tokenizer.ggml.merges", &MERGES[1..]);
    check_ids(&writer, "ab", &[1, 11]);
    check_ids(&writer.flag("tokenizer.ggml.add_bos_token", false), "ab", &[11]);
    let smollm = tokenizer("smollm").without("tokenizer.ggml.merges");
    check_ids(&smollm.texts("tokenizer.ggml.merges", &MERGES[1..]), "ab", &[3, 4]);
}

#[test]
fn the_file_says_what_surrounds_a_text() {
    let both = tokenizer("smollm")
        .flag("tokenizer.ggml.add_bos_token", true)
        .flag("tokenizer.ggml.add_eos_token", true);
    check_ids(&both, "ab", &[1, 11, 0]);
    let pair = build(&both).encode(("a", "b"), true).unwrap();
    assert_eq!(pair.get_ids(), [1, 3, 0, 1, 4, 0]);
    let none = both.without("tokenizer.ggml.bos_token_id");
    check_refused(&none, &["tokenizer.ggml.bos_token_id"]);
}

/// The pieces of a text that has a bit of everything, in a byte-level spelling undone.
///
/// Expected are those of the regular expressions in llama.cpp's `llama-vocab.cpp`, applied in turn
/// by Python's `regex` module.
#[test]
fn texts_are_cut_as_llama_cpp_cuts_them() {
    let text = "It'S 12345 x½Ä,a$=b\r\n\n  we'll\t 你好  ";
    for (name, expected) in [
        (
            "smollm",
            &[
                "It", "'", "S", " ", "1", "2", "3", "4", "5", " x", "½", "Ä", ",", "a", "$=", "b",
                "\r\n\n ", " we", "'ll", "\t", " 你好", "  ",
            ][..],
        ),
        (
            "qwen2",
            &[
                "It", "'S", " ", "1", "2", "3", "4", "5", " x", "½", "Ä", ",a", "$=", "b",
                "\r\n\n", " ", " we", "'ll", "\t", " 你好", "  ",
            ],
        ),
        (
            "llama-bpe",
            &[
                "It", "'S", " ", "123", "45", " x", "½", "Ä", ",a", "$=", "b", "\r\n\n", " ",
                " we", "'ll", "\t", " 你好", "  ",
            ],
        ),
        (
            "gpt-2",
            &[
                "It", "'", "S", " 12345", " x", "½", "Ä", ",", "a", "$=", "b", "\r\n\n ", " we",
                "'ll", "\t", " 你好", "  ",
            ],
        ),
        (
            "bloom",
            &["It'S", " 12345", " x½Ä", ",", "a$=b", "\r\n\n ", " we'll", "\t", " 你好", "  "],
        ),
        (
            "default",
            &[
                "It", "'", "S", " ", "123", "45", " x", "½", "Ä", ",", "a", "$=", "b", "\r\n\n ",
                " we", "'", "ll", "\t", " 你好", "  ",
            ],
        ),
    ] {
        let json = PreTokenizer::of(name).unwrap().json();
        let pre: tokenizers::PreTokenizerWrapper = serde_json::from_value(json).unwrap();
        let mut pieces = PreTokenizedString::from(text);
        pre.pre_tokenize(&mut pieces).unwrap();
        let found: Vec<&str> = pieces
            .get_splits(OffsetReferential::Original, OffsetType::Byte)
            .into_iter()
            .map(|(_, (start, end), _)| &text[start..end])
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_configuration_names_special_tokens_and_template() {
    let file = tokenizer("smollm")
        .u32("tokenizer.ggml.padding_token_id", 0)
        .u32("tokenizer.ggml.unknown_token_id", 2)
        .text("tokenizer.chat_template", "{{ messages }}")
        .open()
        .unwrap();
    let expected: Json = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "add_eos_token": false,
        "bos_token": "<|start|>",
        "eos_token": "<|end|>",
        "unk_token": "<think>",
        "pad_token": "<|end|>",
        "clean_up_tokenization_spaces": false,
        "chat_template": "{{ messages }}",
    });
    assert_eq!(file.tokenizer_config().unwrap(), expected);
    let plain = tokenizer("llama-bpe").open().unwrap().tokenizer_config().unwrap();
    assert_eq!(plain["add_bos_token"], json!(true));
    assert_eq!(plain.get("chat_template"), None);
}

#[test]
fn what_cannot_be_rebuilt_is_named() {
    check_refused(&tokenizer("tekken"), &["`tekken`", "`smollm`", "tokenizer.json"]);
    let pieces =
        tokenizer("default").without("tokenizer.ggml.model").text("tokenizer.ggml.model", "llama");
    check_refused(&pieces, &["`llama`", "put the model's `tokenizer.json` beside it"]);
    for key in ["model", "pre", "tokens", "merges"] {
        let key = format!("tokenizer.ggml.{key}");
        check_refused(&tokenizer("smollm").without(&key), &[&format!("`{key}`")]);
    }
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_refused() {
    let without = |key: &str| tokenizer("smollm").without(key);
    let merges = "tokenizer.ggml.merges";
    for merge in ["a", "a c", "a z", " a", "a b c", "[PAD15] a"] {
        check_refused(&without(merges).texts(merges, &[merge]), &[merge, "not of two tokens"]);
    }
    let types = "tokenizer.ggml.token_type";
    check_refused(&without(types).i32s(types, &[3; 5]), &["16 tokens, 5 types"]);
    check_refused(&without(types).text(types, "normal"), &[types, "an array of integers"]);
    let tokens = ["a", "b", "a"];
    let twice = without(types).without("tokenizer.ggml.tokens");
    check_refused(&twice.texts("tokenizer.ggml.tokens", &tokens), &["tokens 0 and 2", "\"a\""]);
    let beyond = without("tokenizer.ggml.eos_token_id").u32("tokenizer.ggml.eos_token_id", 16);
    let message = beyond.open().unwrap().tokenizer_config().unwrap_err().to_string();
    assert!(message.contains("is 16, there are 16 tokens"), "{message}");
}

/// Its error says to put one beside the file, so that it is taken from there.
#[test]
fn a_tokenizer_that_cannot_be_rebuilt_is_read_from_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let spm = super::super::writer::tiny_llama()
        .text("tokenizer.ggml.model", "llama")
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .text("tokenizer.chat_template", "{{ messages[0].content }}");
    std::fs::write(&path, spm.bytes()).unwrap();
    let open = || crate::tokenizer::Tokenizer::from_dir(&path);
    let error = open().unwrap_err().to_string();
    assert!(error.contains("`llama`") && error.contains("`tokenizer.json` beside it"), "{error}");
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"one": 0, "<s>": 1, "</s>": 2}, "unk_token": "one"},
    });
    std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    let tokenizer = open().unwrap();
    assert_eq!(tokenizer.encode("one one", true).unwrap(), [0, 0]);
    assert_eq!((tokenizer.eos_ids(), tokenizer.bos_id()), (&[2][..], Some(1)));
    assert!(tokenizer.template().is_some());
    assert_eq!(tokenizer.files().unwrap()[0].0, "tokenizer.json");
}
