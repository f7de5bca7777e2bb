//! Which files of a repository a model is loaded from.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use burn_lora_files::IoError;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::HubError;
use crate::listing::stays_inside;

/// What describes a model and its text, fetched where a repository has it.
const DESCRIPTIONS: [&str; 11] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Endings of files with weights, for errors that say what a repository has instead.
const WEIGHTS: [&str; 10] =
    [".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".msgpack", ".npz"];

/// An index has a short line a tensor; one longer than this is none.
pub(crate) const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Which files are wanted. Configuration and tokenizer come with either, where the repository has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// `model.safetensors`, or `model.safetensors.index.json` and the shards that it names.
    Safetensors,
    /// One GGUF file, by its name in the repository.
    Gguf(String),
}

/// The weights of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Weights {
    /// One file.
    Single(String),
    /// Shards, which this index names.
    Sharded(&'static str),
}

impl Files {
    /// The weights among the files that there are; a single file is preferred, as the loader does.
    pub(crate) fn weights(&self, has: impl Fn(&str) -> bool) -> Option<Weights> {
        match self {
            Self::Safetensors if has(SINGLE) => Some(Weights::Single(SINGLE.to_owned())),
            Self::Safetensors => has(INDEX).then_some(Weights::Sharded(INDEX)),
            Self::Gguf(name) => (is_gguf(name) && has(name)).then(|| Weights::Single(name.clone())),
        }
    }
}

/// The names of the small files beside the weights, of those that there are.
pub(crate) fn descriptions(has: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static str> {
    DESCRIPTIONS.into_iter().filter(move |name| has(name))
}

/// The files with weights, or all files where there are none.
pub(crate) fn instead(names: &[String]) -> Vec<String> {
    let weights = |name: &&String| WEIGHTS.iter().any(|ending| name.ends_with(ending));
    let found: Vec<_> = names.iter().filter(weights).cloned().collect();
    if found.is_empty() { names.to_vec() } else { found }
}

pub(crate) fn is_gguf(name: &str) -> bool {
    name.ends_with(".gguf")
}

#[derive(Deserialize)]
struct Index {
    weight_map: Map<String, Value>,
}

/// The shards that an index on the disk names, each once, in order.
pub(crate) fn shards(path: &Path) -> Result<BTreeSet<String>, HubError> {
    let bad = |problem: String| HubError::BadIndex { path: path.to_owned(), problem };
    let file = burn_lora_files::open(path).map_err(IoError::at("read", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_INDEX_BYTES + 1).read_to_end(&mut bytes).map_err(IoError::at("read", path))?;
    if bytes.len() as u64 > MAX_INDEX_BYTES {
        return Err(bad(format!("it is longer than {MAX_INDEX_BYTES} bytes")));
    }
    shards_of(&bytes, path)
}

/// The shards that an index's text names, each once, in order; `path` is where it is, or would be.
pub(crate) fn shards_of(bytes: &[u8], path: &Path) -> Result<BTreeSet<String>, HubError> {
    let bad = |problem: String| HubError::BadIndex { path: path.to_owned(), problem };
    let index: Index = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in index.weight_map {
        match shard {
            Value::String(name) if stays_inside(&name) => shards.insert(name),
            other => {
                return Err(bad(format!("`{tensor}` is said to be in {other}, which is no file")));
            }
        };
    }
    if shards.is_empty() { Err(bad("it names no shards".to_owned())) } else { Ok(shards) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(files: &Files, names: &[&str]) -> Option<Weights> {
        files.weights(|name| names.contains(&name))
    }

    #[test]
    fn a_single_file_is_preferred_to_shards() {
        let names =
            ["model.safetensors", "model.safetensors.index.json", "consolidated.safetensors"];
        let single = Some(Weights::Single("model.safetensors".to_owned()));
        assert_eq!(weights(&Files::Safetensors, &names), single);
        assert_eq!(weights(&Files::Safetensors, &names[1..]), Some(Weights::Sharded(INDEX)));
        assert_eq!(weights(&Files::Safetensors, &names[2..]), None);
    }

    #[test]
    fn a_named_file_must_be_gguf() {
        let names = ["a/q4.gguf", "pytorch_model.bin"];
        let named = |name: &str| weights(&Files::Gguf(name.to_owned()), &names);
        assert_eq!(named("a/q4.gguf"), Some(Weights::Single("a/q4.gguf".to_owned())));
        assert_eq!(named("q4.gguf"), None);
        assert_eq!(named("pytorch_model.bin"), None);
    }

    fn of_index(text: &str) -> Result<Vec<String>, HubError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(INDEX);
        std::fs::write(&path, text).unwrap();
        shards(&path).map(|shards| shards.into_iter().collect())
    }

    #[test]
    fn an_index_names_each_shard_once() {
        let text =
            r#"{"metadata": {"total_size": 8}, "weight_map": {"c": "2", "a": "1", "b": "2"}}"#;
        assert_eq!(of_index(text).unwrap(), ["1", "2"]);
    }

    #[test]
    fn an_index_that_is_none_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"weight_map": {}}"#,
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {"a": "../../x"}}"#,
            r#"{"weight_map": {"a": "/etc/passwd"}}"#,
        ] {
            assert!(matches!(of_index(text), Err(HubError::BadIndex { .. })), "{text}");
        }
    }
}
