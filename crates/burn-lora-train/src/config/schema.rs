//! Every key of a run configuration, once: what it may hold, what it defaults to, what it means.
//!
//! The reader takes what is allowed and the defaults from here, and [`reference`] prints the same
//! rows as the table in README, so that neither can drift from the other.

use std::fmt::Write;

/// One key of the configuration.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// What may stand there, in words; part of every message about the key.
    pub(super) allowed: &'static str,
    pub(super) default: Fallback,
    pub(super) meaning: &'static str,
}

/// What holds when a key is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The key must be given.
    Required,
    /// This TOML value.
    Toml(&'static str),
    /// Something that follows from other keys, said in words.
    Derived(&'static str),
}

use Fallback::{Derived, Required, Toml};

const fn key(
    section: &'static str,
    name: &'static str,
    allowed: &'static str,
    default: Fallback,
    meaning: &'static str,
) -> Key {
    Key { section, name, allowed, default, meaning }
}

/// The sections, in the order in which they are written.
pub(super) const SECTIONS: [&str; 5] = ["model", "adapter", "data", "train", "output"];

/// The keys, in the order in which they are written.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("model", "path", "path of a directory or .gguf file, or a model of the hub", Derived("required, unless `config` is given"),
        "the base model: a Hugging Face directory (config.json, safetensors, tokenizer.json), a GGUF file, or `org/name`, with `@revision` if need be"),
    key("model", "config", "path of a file", Derived("none"),
        "a model's config.json, to start from random weights; needs `method = \"full\"` and a `tokenizer`"),
    key("model", "tokenizer", "path of a directory", Derived("`path`"),
        "directory that holds tokenizer.json"),
    key("model", "dtype", "\"f32\"", Toml("\"f32\""),
        "number format to compute in"),
    key("adapter", "method", "\"lora\", \"dora\" or \"full\"", Toml("\"lora\""),
        "train low-rank factors (`dora`: and the magnitude of each column), or every parameter, for which the other keys of this section mean nothing"),
    key("adapter", "rank", "whole number from 1", Toml("8"),
        "columns of factor A and rows of factor B"),
    key("adapter", "alpha", "number from 0", Derived("2 · `rank`"),
        "numerator of the scale"),
    key("adapter", "dropout", "number from 0, below 1", Toml("0.0"),
        "probability that an input of A is zeroed while training"),
    key("adapter", "rslora", "true or false", Toml("false"),
        "scale by alpha / √rank instead of alpha / rank"),
    key("adapter", "init", "\"kaiming\" or \"gaussian\"", Toml("\"kaiming\""),
        "how A starts; B starts at zero"),
    key("adapter", "targets", "\"all-linear\", a list of module names, or { regex = \"…\" }", Toml("\"all-linear\""),
        "the linear layers to adapt: exact paths or endings of them; a regex matches the whole path"),
    key("adapter", "exclude", "list of module names", Toml("[]"),
        "layers that `targets` would match but that are left alone"),
    key("adapter", "layers_to_transform", "list of layer numbers from 0", Derived("all"),
        "adapt only these layers of the stack"),
    key("adapter", "layers_pattern", "list of names", Toml("[]"),
        "names of the lists of layers that the numbers count in, such as [\"layers\"]"),
    key("adapter", "modules_to_save", "list of module names", Toml("[]"),
        "modules trained whole and saved beside the factors; a classification head always is"),
    key("data", "train", "path of a file, or a list of paths and { path = \"…\", weight = … }", Required,
        "training rows: .jsonl, .json, .csv or .parquet; a weight says how often a file's rows are in an epoch"),
    key("data", "eval", "path of a file", Derived("none"),
        "rows held out of training, of the same format"),
    key("data", "held_out", "number from 0, below 1", Toml("0.0"),
        "share of the training rows to hold out instead of `eval`"),
    key("data", "format", "\"auto\", \"messages\", \"instruction\", \"prompt-completion\", \"text\" or \"classification\"", Toml("\"auto\""),
        "what a row holds; `auto` goes by the keys of the first row"),
    key("data", "max_length", "whole number from 2", Toml("512"),
        "longest row in tokens"),
    key("data", "over_long", "\"cut\", \"drop\" or \"refuse\"", Toml("\"cut\""),
        "what becomes of longer rows"),
    key("data", "packing", "true or false", Toml("false"),
        "put several short rows into one of `max_length`, attention kept apart"),
    key("data", "separator", "string", Toml("\"\""),
        "put between prompt and completion, as part of the prompt"),
    key("data", "eos", "true or false", Toml("true"),
        "end each completion or text with the tokenizer's end token"),
    key("data", "labels", "list of class names", Derived("those of the training rows, sorted"),
        "classes in the order of the model's outputs"),
    key("data", "eval_limit", "whole number from 1", Derived("all"),
        "use only the first rows of `eval`"),
    key("data", "generate_max_tokens", "whole number from 1", Toml("64"),
        "longest text to generate where generated text is scored or shown"),
    key("train", "device", "device such as \"auto\", \"cpu\", \"cuda:0\" or \"wgpu\"", Toml("\"auto\""),
        "where to compute"),
    key("train", "steps", "whole number from 1", Derived("from `epochs`"),
        "number of optimiser steps"),
    key("train", "epochs", "number above 0", Derived("1, unless `steps` is given"),
        "passes over the training rows; a fraction is allowed"),
    key("train", "batch_size", "whole number from 1", Toml("8"),
        "rows that go through the model at once"),
    key("train", "accumulate", "whole number from 1", Toml("1"),
        "batches per optimiser step"),
    key("train", "learning_rate", "number above 0", Toml("2e-4"),
        "highest learning rate"),
    key("train", "schedule", "\"cosine\", \"linear\" or \"constant\"", Toml("\"cosine\""),
        "how the learning rate falls after the warm-up, to 0 at the end"),
    key("train", "warmup", "share of the steps below 1 (as 0.06), or whole number of steps", Toml("0.0"),
        "steps in which the learning rate rises from 0"),
    key("train", "clip", "number from 0", Toml("1.0"),
        "largest norm of the whole gradient; 0 does not clip"),
    key("train", "weight_decay", "number from 0", Toml("0.01"),
        "AdamW's weight decay"),
    key("train", "lora_plus", "number from 1", Toml("1.0"),
        "LoRA+: how many times the learning rate of A that of B is"),
    key("train", "label_smoothing", "number from 0, below 1", Toml("0.0"),
        "share of each target's probability that is spread over all classes in training"),
    key("train", "no_decay", "list of parameter names", Toml("[]"),
        "parameters without weight decay: exact names or endings of them, such as [\"bias\", \"norm.weight\"]"),
    key("train", "betas", "two numbers from 0, below 1", Toml("[0.9, 0.999]"),
        "AdamW's decay rates of the two moments"),
    key("train", "epsilon", "number above 0", Toml("1e-8"),
        "AdamW's epsilon"),
    key("train", "seed", "whole number from 0", Toml("0"),
        "seed of initialisation, shuffling and dropout"),
    key("train", "eval_every", "whole number from 0", Toml("0"),
        "steps between evaluations; 0 evaluates only before and after"),
    key("train", "save_every", "whole number from 0", Toml("0"),
        "steps between checkpoints; 0 saves only at the end"),
    key("train", "keep", "whole number from 1", Toml("2"),
        "newest checkpoints that are kept"),
    key("train", "threads", "whole number from 0", Toml("0"),
        "threads to compute with on the CPU; 0 takes all"),
    key("train", "exact_match", "true or false", Toml("false"),
        "generate for every row of `eval` before and after, and count what is exactly right"),
    key("train", "bleu", "true or false", Toml("false"),
        "generate for every prompt of `eval` before and after, and score by BLEU with all of its references, case ignored"),
    key("train", "samples", "whole number from 0", Toml("3"),
        "sample outputs shown before and after"),
    key("train", "early_stopping", "whole number from 0", Toml("0"),
        "evaluations without improvement after which the run ends; 0 never ends it"),
    key("train", "metric", "\"loss\", \"accuracy\", \"exact-match\" or \"bleu\"", Toml("\"loss\""),
        "what decides which evaluation is best, for `early_stopping` and `keep_best`"),
    key("train", "keep_best", "true or false", Toml("false"),
        "keep the adapter of the best evaluation in `best/` of the run directory"),
    key("train", "group_by_length", "true or false", Toml("true"),
        "batch rows of like lengths"),
    key("train", "shuffle", "true or false", Toml("true"),
        "a new order of the rows in every epoch; otherwise the order of the file, ungrouped"),
    key("output", "dir", "path of a directory", Required,
        "the run directory; made if it is not there"),
];

/// The keys of one section.
pub(super) fn keys_of(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

/// Finds a key by section and name.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    keys_of(section).find(|key| key.name == name)
}

/// The configuration reference: a Markdown table of every key, as it stands in README.
pub fn reference() -> String {
    let mut table = String::from(
        "| section | key | value | default | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in KEYS {
        let default = match key.default {
            Required => "required".to_owned(),
            Toml(value) => format!("`{value}`"),
            Derived(words) => words.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `[{}]` | `{}` | {} | {default} | {} |",
            key.section, key.name, key.allowed, key.meaning
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_once_in_a_section_that_exists() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(SECTIONS.contains(&key.section), "{key:?}");
            let first = KEYS.iter().position(|k| (k.section, k.name) == (key.section, key.name));
            assert_eq!(first, Some(index), "{key:?}");
        }
    }

    #[test]
    fn a_table_cell_holds_no_bar() {
        for key in KEYS {
            assert!(!format!("{key:?}").contains('|'), "{key:?}");
        }
        assert!(reference().contains(
            "| `[train]` | `batch_size` | whole number from 1 | `8` | rows that go through the model at once |\n"
        ));
        assert_eq!(reference().lines().count(), KEYS.len() + 2);
    }
}
