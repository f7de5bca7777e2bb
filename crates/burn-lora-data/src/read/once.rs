//! JSON of which nothing is lost in silence. Of a key that stands twice in an object parsers keep the last value, and of a whole number
//! beyond 64 bits the first seventeen digits, and say nothing.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How the error of a key begins that stands twice, and what ends its name.
const TWICE: (&str, &str) = ("a key twice: ", " at line ");

/// The first whole number in a text of JSON that is beyond 64 bits, where there is one. Numbers with a point or an exponent are
/// rounded everywhere.
pub(super) fn rounded(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(inside) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = inside.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            rest = &inside[end + 1..];
            continue;
        }
        let (number, behind) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        let is_whole = number.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
        if is_whole
            && number.len() > 18
            && number.parse::<i64>().is_err()
            && number.parse::<u64>().is_err()
        {
            return Some(number);
        }
        rest = behind;
    }
    None
}

/// A value of which every key stands once.
pub(super) struct Once(pub(super) Value);

/// The key that stands twice, where that is what is wrong.
pub(super) fn twice(error: &serde_json::Error) -> Option<String> {
    let said = error.to_string();
    let key = said.strip_prefix(TWICE.0)?;
    Some(key.rfind(TWICE.1).map_or(key, |end| &key[..end]).to_owned())
}

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Once(value))) = entries.next_entry::<String, Once>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format!("{}{key}", TWICE.0)));
            }
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_wherever_it_stands() {
        for text in [
            r#"{"prompt": "a", "prompt": "b"}"#,
            r#"{"messages": [{"role": "user", "prompt": 1, "prompt": 1}]}"#,
        ] {
            let error = serde_json::from_str::<Once>(text).err().unwrap();
            assert_eq!(twice(&error).as_deref(), Some("prompt"), "{text}");
        }
        let error = serde_json::from_str::<Once>("{").err().unwrap();
        assert_eq!(twice(&error), None);
    }

    #[test]
    fn what_has_every_key_once_is_the_value_that_it_is() {
        let text = r#"{"a": [1, -2, 3.5, 18446744073709551616, null, true, "é"], "b": {"a": {}}}"#;
        let Once(value) = serde_json::from_str(text).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }
}
