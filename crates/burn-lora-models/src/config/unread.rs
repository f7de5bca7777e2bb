//! Keys of a `config.json` that a family's code does not read, and that change what a model computes: a bounded score, a scaled residual,
//! another activation, a number of heads under another name. Passed over, they would give another model than the one that was trained; so
//! they are refused by name, unless they say what is computed anyway.
//!
//! Known are the keys by which transformers' decoders and encoders, and llama.cpp's files, say such things: `effects` has what changes
//! something whatever the family, `stated` what other code calls a number that every family has, `inert` what changes nothing: keys by which
//! tensors have other names or shapes and nothing else, which the files of the weights show, keys of training and of generation, and
//! keys that change rounding alone. What none of them has is listed, so that somebody can ask what it means.

mod effects;
mod inert;
mod stated;

use burn_lora_text::nearest;
use serde_json::{Map, Value};

use super::given::shown;
use super::{ConfigKeys, Problems};

pub(crate) use effects::effect;
pub use stated::{Rotary, Stated};

/// What a key that the family does not read comes to.
enum Meaning {
    /// It says what is computed anyway, or changes nothing.
    Known,
    /// It changes what is computed, in that way.
    Other(String),
    /// Nobody here knows.
    Unknown,
}

/// Tells of the keys that the family does not read: a problem for each that changes what is computed, and those that nobody knows.
pub(crate) fn tell<K: ConfigKeys>(keys: &K, unread: &Map<String, Value>, problems: &mut Problems) {
    for (key, value) in unread {
        let does = match meaning(keys, unread, (key.as_str(), value)) {
            Meaning::Known => continue,
            Meaning::Unknown => {
                problems.unknown(key);
                continue;
            }
            Meaning::Other(does) => does,
        };
        problems.add(match nearest(key, K::ROTARY) {
            Some(near) if is_of_positions(key) => {
                format!("`{key}` is not known: did you mean `{near}`?")
            }
            _ => format!(
                "`{key}` is {}: {does}; take the key out if the model was trained without it",
                shown(value)
            ),
        });
    }
}

/// What that key comes to, beside all that the family does not read.
fn meaning<K: ConfigKeys>(
    keys: &K,
    unread: &Map<String, Value>,
    (key, value): (&str, &Value),
) -> Meaning {
    let stated = keys.stated();
    let windows_off = unread.get("use_sliding_window") == Some(&Value::Bool(false));
    match (keys.does(key, value), stated.differs(key, value)) {
        _ if value.is_null() => Meaning::Known,
        (Some(true), _) | (None, Some(None)) => Meaning::Known,
        (Some(false), _) => {
            Meaning::Other("it asks for something else than this family does".to_owned())
        }
        (None, Some(Some(ours))) => {
            Meaning::Other(format!("it differs from what is computed with, {ours}"))
        }
        (None, None) if windows_off && key.contains("sliding_window") => Meaning::Known,
        (None, None) if other_positions(&stated, key, value) => {
            Meaning::Other("it asks for other positions than this family's".to_owned())
        }
        (None, None) => match effect(key, value) {
            Some(does) => Meaning::Other(format!("{does}, which the code of this family does not")),
            None if effects::is_known(key) || is_of_positions(key) => Meaning::Known,
            None if inert::is_known(key) => Meaning::Known,
            None => Meaning::Unknown,
        },
    }
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
