//! Keys of a `config.json` that a family's code does not read, and that change what a model computes: a bounded score, a scaled residual,
//! another activation, a number of heads under another name. Passed over, they would give another model than the one that was trained; so
//! they are refused by name, unless they say what is computed anyway.
//!
//! Known are the keys by which transformers' decoders and encoders, and llama.cpp's files, say such things: `effects` has what changes
//! something whatever the family, `stated` what other code calls a number that every family has. Left out: keys by which tensors have
//! other names or shapes and nothing else, which the files of the weights show, keys of training and of generation, and keys that change
//! rounding alone.

mod effects;
mod stated;

use burn_lora_text::nearest;
use serde_json::{Map, Value};

use super::ConfigKeys;
use super::given::shown;

pub(crate) use effects::effect;
pub use stated::{Rotary, Stated};

/// A line for each key that the family does not read and that changes what is computed.
pub(crate) fn problems<K: ConfigKeys>(keys: &K, unread: &Map<String, Value>) -> Vec<String> {
    let windows_off = unread.get("use_sliding_window") == Some(&Value::Bool(false));
    let stated = keys.stated();
    let problem = |key: &str, value: &Value| -> Option<String> {
        if value.is_null() {
            return None;
        }
        let does = match (keys.does(key, value), stated.differs(key, value)) {
            (Some(true), _) | (None, Some(None)) => return None,
            (Some(false), _) => "it asks for something else than this family does".to_owned(),
            (None, Some(Some(ours))) => format!("it differs from what is computed with, {ours}"),
            (None, None) if windows_off && key.contains("sliding_window") => return None,
            (None, None) if other_positions(&stated, key, value) => {
                "it asks for other positions than this family's".to_owned()
            }
            (None, None) => {
                format!("{}, which the code of this family does not", effect(key, value)?)
            }
        };
        Some(match nearest(key, K::ROTARY) {
            Some(near) if is_of_positions(key) => {
                format!("`{key}` is not known: did you mean `{near}`?")
            }
            _ => format!(
                "`{key}` is {}: {does}; take the key out if the model was trained without it",
                shown(value)
            ),
        })
    };
    unread.iter().filter_map(|(key, value)| problem(key, value)).collect()
}

/// Whether a key is about positions, and not about how many there are.
fn is_of_positions(key: &str) -> bool {
    let words = || key.split('_');
    let has = |some: &[&str]| words().any(|word| some.contains(&word));
    words().any(|word| {
        word.starts_with("rope") || word.ends_with("rope") || word.starts_with("rotary")
    }) || has(&["ntk", "alibi", "nope", "xpos"])
        || (has(&["position", "positional", "positions", "pos"])
            && has(&[
                "embedding",
                "embeddings",
                "encoding",
                "encodings",
                "emb",
                "interpolation",
                "att",
            ])
            && !has(&["max", "num", "n", "size", "dim"]))
}

/// What stands around the name of a kind of positions in a key that switches them on.
const SWITCHES: [&str; 9] =
    ["use", "is", "has", "embedding", "embeddings", "emb", "position", "positional", "pos"];

/// Whether a key asks for positions that are not the family's.
fn other_positions(stated: &Stated<'_>, key: &str, value: &Value) -> bool {
    let own = match value {
        Value::Null => true,
        Value::Bool(on) => {
            let mut names = key.split('_').filter(|word| !SWITCHES.contains(word));
            let of_family = names.next().is_some_and(|name| stated.positions.contains(&name));
            *on == (of_family && names.next().is_none())
        }
        Value::String(kind) => stated.positions.contains(&kind.to_lowercase().as_str()),
        Value::Number(_) => false,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    };
    is_of_positions(key) && !own
}
