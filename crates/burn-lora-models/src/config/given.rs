//! The keys of a `config.json` as they were given: read into a family's own, with errors that name the key; and what
//! says that the weights are quantised.

use std::cell::RefCell;
use std::path::Path;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::{Map, Value};

use crate::ModelError;
use crate::weights::scheme;

/// A family's keys, and what was given beside them. The value that is not as it should be is named by its key.
pub(crate) fn keys_of<K: DeserializeOwned>(
    given: Map<String, Value>,
    path: &Path,
) -> Result<(K, Map<String, Value>), ModelError> {
    // Values are read one by one: the one that fails is the last that was taken.
    let (last, unread) = (RefCell::new(String::new()), RefCell::new(Map::new()));
    let taken = given.into_iter().map(|(key, value)| {
        last.replace(format!("`{key}` is {}", shown(&value)));
        (key.clone(), Taken { key, value, unread: &unread })
    });
    let read = K::deserialize(MapDeserializer::new(taken));
    let keys = read.map_err(|error: serde_json::Error| {
        let said = error.to_string();
        let problem = match said.rsplit_once("expected ") {
            Some((_, wanted)) => format!("{}: {} is needed", last.borrow(), in_words(wanted)),
            // A field that is missing, or there under both of its names.
            None => said.replace("field ", "key "),
        };
        ModelError::Config { path: path.to_owned(), problems: vec![problem] }
    })?;
    Ok((keys, unread.into_inner()))
}

/// The keys under the family's own names, where `also` says that they stand for one: theirs, and its own.
///
/// # Errors
///
/// Two that stand for one and differ.
pub(crate) fn by_own_names(
    mut given: Map<String, Value>,
    also: &[(&str, &str)],
) -> Result<Map<String, Value>, Vec<String>> {
    let mut problems = Vec::new();
    for (theirs, own) in also {
        let Some(value) = given.remove(*theirs) else { continue };
        match given.get(*own) {
            Some(other) if *other != value => problems.push(format!(
                "`{theirs}` is {} and `{own}` is {}, which are one and the same: keep one",
                shown(&value),
                shown(other)
            )),
            _ => {
                given.insert((*own).to_owned(), value);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(given),
        false => Err(problems),
    }
}

/// A value that says whether it was read: serde reads those of keys that a struct has, and ignores all others.
struct Taken<'a> {
    key: String,
    value: Value,
    /// Where it goes if nobody does.
    unread: &'a RefCell<Map<String, Value>>,
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Taken<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Taken<'_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.value.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.value.deserialize_option(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.unread.borrow_mut().insert(self.key, self.value);
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// By what the weights are quantised, and what to do, if the configuration says that they are.
pub(crate) fn quantised(given: &Map<String, Value>) -> Option<(String, &'static str)> {
    // The second is MLX's; newer versions of it write both.
    let settings = ["quantization_config", "quantization"].into_iter().find_map(|key| {
        given.get(key)?.as_object().filter(|settings| !settings.is_empty()).map(|all| (key, all))
    });
    settings.map(|(key, settings)| {
        let on = |key: &str| settings.get(key) == Some(&Value::Bool(true));
        let method = match settings.get("quant_method").and_then(Value::as_str) {
            Some(method) => method,
            None if on("load_in_4bit") || on("load_in_8bit") => "bitsandbytes",
            None if settings.contains_key("group_size") => "MLX",
            None => "no method named",
        };
        // What the method makes, where it makes several things.
        let format = settings.get("format").and_then(Value::as_str);
        let format = format.map_or_else(String::new, |format| format!(", format {format}"));
        let way = scheme::of_method(method).map_or(scheme::ORIGINAL, |scheme| scheme.way);
        (format!("`{key}`: {method}{format}"), way)
    })
}

/// A value, short.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.len() > 80 => format!("a text of {} bytes", text.len()),
        other => other.to_string(),
    }
}

/// What serde calls a type.
fn in_words(expected: &str) -> &str {
    match expected {
        "usize" => "a whole number of at least 0",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Keys {
        #[serde(alias = "d")]
        width: usize,
        #[serde(default)]
        epsilon: f64,
        #[serde(default)]
        bias: bool,
        window: Option<usize>,
    }

    fn said(given: Value) -> String {
        let Value::Object(given) = given else { panic!("no object") };
        keys_of::<Keys>(given, Path::new("config.json")).unwrap_err().to_string()
    }

    #[test]
    fn the_value_that_is_not_as_it_should_be_is_named_by_its_key() {
        for (given, expected) in [
            (json!({"width": -1}), "`width` is -1: a whole number of at least 0 is needed"),
            (json!({"width": 4.0}), "`width` is 4.0: a whole number of at least 0 is needed"),
            (json!({"width": "4", "other": 1}), "`width` is \"4\": a whole number"),
            (json!({"width": 4, "epsilon": null}), "`epsilon` is null: a number is needed"),
            (json!({"other": {"a": [1]}, "width": [4]}), "`width` is a list: a whole number"),
            (json!({"width": 4, "bias": null, "epsilon": 1}), "`bias` is null: true or false"),
            (json!({"width": 4, "window": {}}), "`window` is an object: a whole number"),
            (json!({"epsilon": 1e-5}), "missing key `width`"),
            (json!({"width": 4, "d": 4}), "duplicate key `width`"),
        ] {
            let said = said(given.clone());
            assert!(said.contains(expected), "{given}: {said}");
        }
    }

    #[test]
    fn a_key_that_stands_for_another_is_read_as_that_one() {
        let of = |given: Value| {
            let Value::Object(given) = given else { panic!("no object") };
            by_own_names(given, &[("num_attention_heads", "n_head")])
        };
        let own = json!({"n_head": 8, "x": 1});
        for given in [json!({"num_attention_heads": 8, "x": 1}), own.clone()] {
            assert_eq!(of(given).map(Value::Object), Ok(own.clone()));
        }
        assert_eq!(
            of(json!({"num_attention_heads": 8, "n_head": 8, "x": 1})).map(Value::Object),
            Ok(own)
        );
        let problems = of(json!({"num_attention_heads": 8, "n_head": 12})).unwrap_err();
        assert!(problems[0].contains("is 8 and `n_head` is 12"), "{problems:?}");
    }

    #[test]
    fn what_no_field_reads_comes_back() {
        let Value::Object(given) = json!({"d": 4, "window": 2, "cap": 50.0, "deep": {"a": [1]}})
        else {
            panic!("no object")
        };
        let (keys, unread) = keys_of::<Keys>(given, Path::new("config.json")).unwrap();
        assert_eq!((keys.width, keys.window), (4, Some(2)));
        assert_eq!(Value::Object(unread), json!({"cap": 50.0, "deep": {"a": [1]}}));
    }

    #[test]
    fn quantised_weights_are_told_by_what_every_tool_writes() {
        for (given, expected) in [
            (json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}), Some("gptq")),
            (
                json!({"quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}}),
                Some("compressed-tensors, format float-quantized"),
            ),
            (json!({"quantization_config": {"quant_method": "fp8"}}), Some("fp8")),
            (json!({"quantization_config": {"load_in_4bit": true}}), Some("bitsandbytes")),
            (json!({"quantization": {"group_size": 64, "bits": 4}}), Some("MLX")),
            (json!({"quantization_config": null}), None),
            (json!({"quantization_config": {}}), None),
            (json!({"hidden_size": 8}), None),
        ] {
            let found = quantised(given.as_object().unwrap());
            assert_eq!(found.is_some(), expected.is_some(), "{given}");
            let (how, way) = found.unwrap_or_default();
            assert!(how.contains(expected.unwrap_or("")), "{given}: {how}");
            assert!(expected.is_none() || way.contains("use the model that"), "{given}: {way}");
        }
    }
}
