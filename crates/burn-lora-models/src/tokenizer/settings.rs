//! What a `tokenizer_config.json` says that is not done: keys that are not known, and what contradicts the `tokenizer.json` beside it, which is
//! what is used. transformers lets some of its classes write such settings over those of `tokenizer.json`, so that ids differ there.

use burn_lora_text::listed;
use serde_json::{Map, Value};

use super::{Tokenizer, numbers, text};

/// Keys that are read, or that say nothing of ids and texts of tokens beyond what `tokenizer.json` does.
const KNOWN: &[&str] = &[
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "added_tokens_decoder",
    "additional_special_tokens",
    "auto_map",
    "backend",
    "chat_template",
    "clean_up_tokenization_spaces",
    "clean_text",
    "default_chat_template",
    "device_map",
    "do_basic_tokenize",
    "do_lower_case",
    "errors",
    "extra_special_tokens",
    "fix_mistral_regex",
    "from_slow",
    "full_tokenizer_file",
    "is_local",
    "keep_accents",
    "legacy",
    "legacy_behaviour",
    "local_files_only",
    "mask_token",
    "max_len",
    "max_length",
    "merges_file",
    "model_input_names",
    "model_max_length",
    "model_specific_special_tokens",
    "name_or_path",
    "never_split",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding",
    "padding_side",
    "processor_class",
    "remove_space",
    "response_schema",
    "return_token_type_ids",
    "revision",
    "sp_model_kwargs",
    "spaces_between_special_tokens",
    "special_tokens",
    "special_tokens_map_file",
    "split_special_tokens",
    "stride",
    "strip_accents",
    "tokenize_chinese_chars",
    "tokenizer_class",
    "tokenizer_file",
    "tokenizer_type",
    "torch_dtype",
    "transformers_version",
    "trim_offsets",
    "truncation",
    "truncation_side",
    "truncation_strategy",
    "trust_remote_code",
    "unsloth_version",
    "use_default_system_prompt",
    "use_fast",
    "vocab_file",
    "vocab_size",
    "vocab_type",
    "wordpieces_prefix",
];

/// A line for each key of a file that should name ids of tokens and does not.
pub(super) fn no_ids(file: &str, settings: &Map<String, Value>) -> Vec<String> {
    let told = |key: &&str| {
        let value = settings.get(*key).filter(|value| !value.is_null())?;
        let all = value.as_array().map_or(1, Vec::len);
        (numbers(Some(value)).len() < all).then(|| {
            format!("{file}: `{key}` is {value}, which is no id of a token, and had no effect")
        })
    };
    ["eos_token_id", "bos_token_id"].iter().filter_map(told).collect()
}

/// A line for whatever is not done, without the name of the file.
pub(super) fn notes(tokenizer: &Tokenizer, config: &Map<String, Value>) -> Vec<String> {
    let is_unknown = |(key, value): &(&String, &Value)| {
        let of_token =
            key.ends_with("_token") || key.ends_with("_tokens") || key.ends_with("_token_id");
        !(KNOWN.contains(&key.as_str()) || of_token || key.starts_with('_') || value.is_null())
    };
    let unknown: Vec<&String> = config.iter().filter(is_unknown).map(|(key, _)| key).collect();
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        notes.push(format!("keys that are not known here and had no effect: {}", listed(&unknown)));
    }
    if let Some(text) = tokenizer.unknown_eos().filter(|_| !tokenizer.eos.is_empty()) {
        notes.push(format!(
            "`eos_token` is `{text}`, which is no token of tokenizer.json: texts end by the numbers that the other files have"
        ));
    }
    let on = |key: &str| config.get(key).and_then(Value::as_bool);
    // What stands around a text that is empty is put there by `tokenizer.json`.
    let around = tokenizer.encode("", true).unwrap_or_default();
    let begins = around.first().is_some_and(|first| tokenizer.bos == Some(*first));
    let behind = around[usize::from(begins)..].last();
    let ends = [
        ("add_bos_token", "bos_token", tokenizer.bos, around.first(), "before"),
        ("add_eos_token", "eos_token", tokenizer.eos.first().copied(), behind, "behind"),
    ];
    for (key, role, token, found, place) in ends {
        let (Some(asked), Some(token)) = (on(key), token) else { continue };
        let is_there = found == Some(&token);
        if asked != is_there {
            let name = text(config.get(role)).unwrap_or(role);
            let does = if is_there { "one" } else { "none" };
            notes.push(format!(
                "`{key}` is {asked}, and tokenizer.json, which is used, puts {does} {place} a text (`{name}`)"
            ));
        }
    }
    for (key, of_normalizer, name) in [
        ("do_lower_case", true, "lowercase"),
        ("strip_accents", true, "strip_accents"),
        ("tokenize_chinese_chars", true, "handle_chinese_chars"),
        ("add_prefix_space", false, "add_prefix_space"),
    ] {
        let Some(asked) = on(key) else { continue };
        let part = tokenizer.guarded(|inner| {
            Ok(match of_normalizer {
                true => serde_json::to_value(inner.get_normalizer())?,
                false => serde_json::to_value(inner.get_pre_tokenizer())?,
            })
        });
        let used = part.ok().and_then(|part| part.get(name).and_then(Value::as_bool));
        if let Some(used) = used.filter(|used| *used != asked) {
            notes.push(format!(
                "`{key}` is {asked}, and `{name}` of tokenizer.json, which is used, is {used}"
            ));
        }
    }
    if on("split_special_tokens") == Some(true) {
        notes.push(
            "`split_special_tokens` is true, and special tokens that stand in a text become one id each here"
                .to_owned(),
        );
    }
    notes
}
