//! Keys that were written inside of something that wraps the model, or as PEFT has them in memory.
//!
//! A compiler, data parallel training, activation checkpoints, PEFT twice: each puts a name of its own among those of the modules. Such
//! keys name the same tensors, and are read as what they name. Where a name is left that is no wrapper's, all keys have one cause, and
//! it is told once.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{PREFIX, prefixed};
use crate::error::KeyProblem;

/// What wraps a module in PyTorch and gives it a name: `torch.compile`, data parallel training and DeepSpeed, fully sharded training of
/// either age, activation checkpoints.
const WRAPPERS: [&str; 5] =
    ["_orig_mod", "module", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module"];

/// DoRA's factor, which is a module in memory and a tensor in files.
pub(super) const MAGNITUDE: &str = "lora_magnitude_vector";

/// The factors of embeddings, which are a dictionary's tensors in memory.
const TABLE_A: &str = "lora_embedding_A";
const TABLE_B: &str = "lora_embedding_B";

/// Rows of an embedding, which are one of a dictionary's tensors in memory.
const TOKENS: &str = "trainable_tokens_delta";

/// MiSS's factor, which is one of a dictionary's tensors in memory.
const BLOCK: &str = "miss_block";

/// What a key names, without PEFT's prefix and whatever wrapped the model when it was written, as PEFT spells it.
///
/// ```
/// use burn_lora_patch::peft::unwrapped_key;
///
/// let key = "module.base_model.model.model._orig_mod.q_proj.lora_A.default.weight";
/// assert_eq!(unwrapped_key(key), "model.q_proj.lora_A.weight");
/// ```
pub fn unwrapped_key(key: &str) -> String {
    let mut parts: Vec<&str> = key.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
    let prefix: Vec<&str> = PREFIX.split('.').collect();
    while parts.starts_with(&prefix) {
        parts.drain(..prefix.len());
    }
    if let Some(at) = parts.iter().position(|part| *part == "modules_to_save") {
        parts.drain(at..parts.len().min(at + 2));
    }
    // In memory there is the adapter's name: `lora_A.default.weight`.
    if let [.., factor, _, "weight" | "bias"] = parts[..]
        && factor.starts_with("lora_")
    {
        parts.remove(parts.len() - 2);
    }
    if let [.., MAGNITUDE, "weight"] | [.., BLOCK | TOKENS | TABLE_A | TABLE_B, _] = parts[..] {
        parts.pop();
    }
    // loralib's factors are parameters, and no layers with a weight.
    if let [.., "lora_A" | "lora_B"] = parts[..] {
        parts.push("weight");
    }
    parts.join(".")
}

/// The key that PEFT's files have for what a key names: [`unwrapped_key`] with PEFT's prefix before it.
///
/// ```
/// use burn_lora_patch::peft::plain_key;
///
/// let key = "base_model.model.model.q_proj.lora_A.weight";
/// assert_eq!(plain_key("_orig_mod.base_model.model.model.q_proj.lora_A.default.weight"), key);
/// assert_eq!(plain_key(key), key);
/// ```
pub fn plain_key(key: &str) -> String {
    prefixed("", &unwrapped_key(key))
}

/// The tensors by key, those under a wrapper's keys under the model's.
pub(super) fn unwrapped<T>(
    tensors: Vec<(String, T)>,
    known: &BTreeSet<&str>,
) -> BTreeMap<String, T> {
    let (own, foreign): (Vec<_>, Vec<_>) =
        tensors.into_iter().partition(|(key, _)| known.contains(key.as_str()));
    let mut found: BTreeMap<String, T> = own.into_iter().collect();
    for (key, tensor) in foreign {
        let bare = unwrapped_key(&key);
        let inner = bare.strip_prefix("model.").map(str::to_owned);
        let outer = format!("model.{bare}");
        let mut names = [Some(bare), inner, Some(outer)].into_iter().flatten();
        let place = names.find_map(|name| {
            let place = prefixed("", &name);
            (known.contains(place.as_str()) && !found.contains_key(&place)).then_some(place)
        });
        found.insert(place.unwrap_or(key), tensor);
    }
    found
}

/// The one thing that all problems come to, where all keys have a name within that the model's keys have not.
pub(super) fn one_cause(problems: &[KeyProblem]) -> Option<KeyProblem> {
    let (mut surplus, mut missing) = (Vec::new(), BTreeSet::new());
    for problem in problems {
        match problem {
            KeyProblem::Surplus { key, .. } => surplus.push(key.as_str()),
            KeyProblem::Missing { key, .. } => {
                missing.insert(key.as_str());
            }
            _ => return None,
        }
    }
    let first: Vec<&str> = surplus.first()?.split('.').collect();
    let mut cuts = (0..first.len()).flat_map(|at| (at + 1..first.len()).map(move |end| (at, end)));
    let without = |(at, end): (usize, usize)| [&first[..at], &first[end..]].concat().join(".");
    let (at, end) = cuts.find(|cut| missing.contains(without(*cut).as_str()))?;
    let (inserted, meant) = (format!("{}.", first[at..end].join(".")), without((at, end)));
    let meant_by: BTreeSet<String> = surplus
        .iter()
        .filter_map(|key| {
            let ends = key.match_indices(&inserted);
            let mut names = ends.map(|(at, part)| [&key[..at], &key[at + part.len()..]].concat());
            names.find(|name| missing.contains(name.as_str()))
        })
        .collect();
    let all = meant_by.len() == surplus.len() && meant_by.len() == missing.len();
    all.then_some(KeyProblem::Inserted { inserted, meant, count: surplus.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "base_model.model.model.layers.0.q.lora_A.weight";
    const M: &str = "base_model.model.model.layers.0.q.lora_magnitude_vector";
    const E: &str = "base_model.model.model.embed.lora_embedding_A";
    const D: &str = "base_model.model.model.layers.0.q.miss_block";
    const BETA: &str = "base_model.model.model.layers.0.q.lora_B.bias";
    const T: &str = "base_model.model.model.embed.token_adapter.trainable_tokens_delta";

    fn known() -> BTreeSet<&'static str> {
        [A, M, D, E, BETA, T, "base_model.model.score.weight"].into()
    }

    #[test]
    fn a_key_of_a_wrapped_model_is_read_as_what_it_names() {
        for (written, key) in [
            ("model.layers.0.q.lora_A.weight", A),
            ("layers.0.q.lora_A.weight", A),
            ("base_model.model._orig_mod.model.layers.0.q.lora_A.weight", A),
            ("_orig_mod.base_model.model.model.layers.0.q.lora_A.weight", A),
            ("module.base_model.model.model.layers.0.q.lora_A.weight", A),
            ("module._orig_mod.base_model.model.model.layers.0.q.lora_A.weight", A),
            ("base_model.model.base_model.model.model.layers.0.q.lora_A.weight", A),
            ("base_model.model.model.model.layers.0.q.lora_A.weight", A),
            (
                "_fsdp_wrapped_module.base_model.model.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.q.lora_A.weight",
                A,
            ),
            ("base_model.model.model.layers.0.q.lora_A.default.weight", A),
            ("base_model.model.model.layers.0.q.lora_A.poems.weight", A),
            ("layers.0.q.lora_A", A),
            ("base_model.model.model.embed.lora_embedding_A.default", E),
            ("module.base_model.model.model.embed.lora_embedding_A", E),
            ("base_model.model.model.layers.0.q.lora_magnitude_vector.default.weight", M),
            ("module.base_model.model.model.layers.0.q.lora_magnitude_vector.weight", M),
            ("base_model.model.model.layers.0.q.miss_block.default", D),
            ("base_model.model.model.layers.0.q.lora_B.default.bias", BETA),
            ("module.base_model.model.model.embed.token_adapter.trainable_tokens_delta.default", T),
            (
                "base_model.model.score.modules_to_save.default.weight",
                "base_model.model.score.weight",
            ),
        ] {
            let found = unwrapped(vec![(written.to_owned(), ())], &known());
            assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), [key], "{written}");
        }
    }

    #[test]
    fn what_names_no_tensor_or_another_tensors_place_keeps_its_key() {
        let other = "base_model.model.model.layers.1.q.lora_A.weight";
        let wrapped = "module.base_model.model.model.layers.0.q.lora_A.weight";
        let tensors = [wrapped, A, other].map(|key| (key.to_owned(), ()));
        let found = unwrapped(tensors.into(), &known());
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), [A, other, wrapped]);
    }

    #[test]
    fn keys_with_one_name_too_many_have_one_cause() {
        let key = |tower: &str, layer: usize| {
            format!("base_model.model.model.{tower}layers.{layer}.q.lora_A.weight")
        };
        let missing = |layer| KeyProblem::Missing { key: key("", layer), expected: vec![1] };
        let surplus = |tower: &str, layer| KeyProblem::Surplus {
            key: key(tower, layer),
            found: vec![1],
            nearest: None,
        };
        let tower = "language_model.";
        let found = one_cause(&[missing(0), missing(1), surplus(tower, 0), surplus(tower, 1)]);
        let (inserted, meant) = (tower.to_owned(), key("", 0));
        assert_eq!(found, Some(KeyProblem::Inserted { inserted, meant, count: 2 }));
        for other in [
            vec![missing(0), missing(1), surplus(tower, 0)],
            vec![missing(0), surplus(tower, 0), surplus(tower, 1)],
            vec![missing(0), missing(1), surplus(tower, 0), surplus("vision.", 1)],
            vec![missing(0)],
            vec![],
        ] {
            assert_eq!(one_cause(&other), None);
        }
    }
}
