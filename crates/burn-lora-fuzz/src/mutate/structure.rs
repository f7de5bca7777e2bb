//! Changes to what a file says, which leave it a file of its kind: keys, numbers and lengths of JSON, alone, in a line, or in the header of
//! safetensors; lines of a text.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// No more nodes of a document are looked at.
const NODES: usize = 2048;

/// What a line of a configuration may be set to.
const VALUES: [&str; 12] = [
    "0",
    "-1",
    "18446744073709551615",
    "1e308",
    "nan",
    "true",
    "\"\"",
    "\"a\"",
    "[]",
    "[[]]",
    "{}",
    "1979-05-27",
];

/// The input with something else in one place; nothing, where it has no structure that is known.
pub(super) fn changed(input: &[u8], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    if let Some((header, rest)) = header(input) {
        let header = of_json(header, random)?;
        let length = header.len() as u64;
        return Some([&length.to_le_bytes(), header.as_bytes(), rest].concat());
    }
    let text = std::str::from_utf8(input).ok()?;
    if let Some(changed) = of_json(text, random) {
        return Some(changed.into_bytes());
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = (!lines.is_empty()).then(|| random.random_range(0..lines.len()))?;
    match of_json(&lines[at], random) {
        Some(line) => lines[at] = line,
        None => line(&mut lines, at, random),
    }
    Some((lines.join("\n") + "\n").into_bytes())
}

/// The header of a safetensors file, and what is behind it.
fn header(input: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = input.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, rest))
}

/// A line that is set to something else, stands twice, elsewhere or not at all.
fn line(lines: &mut Vec<String>, at: usize, random: &mut ChaCha8Rng) {
    let other = random.random_range(0..lines.len());
    match random.random_range(0..5) {
        0 => lines.swap(at, other),
        1 => lines.insert(other, lines[at].clone()),
        2 => {
            lines.remove(at);
        }
        3 => {
            // The key of one and the value of another.
            let (Some((key, _)), Some((_, value))) =
                (lines[at].split_once('='), lines[other].split_once('='))
            else {
                return;
            };
            lines[at] = format!("{key}={value}");
        }
        _ => {
            let Some((key, _)) = lines[at].split_once('=') else { return };
            lines[at] = format!("{key}= {}", VALUES.choose(random).unwrap_or(&"0"));
        }
    }
}

/// JSON with another value in one place.
fn of_json(text: &str, random: &mut ChaCha8Rng) -> Option<String> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    if !document.is_object() && !document.is_array() {
        return None;
    }
    let mut places = vec![String::new()];
    let mut at = 0;
    while at < places.len() && places.len() < NODES {
        let place = places[at].clone();
        places.extend(below(document.pointer(&place)?).map(|name| format!("{place}/{name}")));
        at += 1;
    }
    let other = document.pointer(places.choose(random)?)?.clone();
    let node = document.pointer_mut(places.choose(random)?)?;
    *node = change(node.take(), other, random);
    Some(document.to_string())
}

/// The names of what is directly in a value, as pointers have them.
fn below(value: &Value) -> Box<dyn Iterator<Item = String> + '_> {
    match value {
        Value::Array(items) => Box::new((0..items.len()).map(|index| index.to_string())),
        Value::Object(fields) => {
            Box::new(fields.keys().map(|key| key.replace('~', "~0").replace('/', "~1")))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// Another value for one, of which `other` is one that stands elsewhere.
fn change(value: Value, other: Value, random: &mut ChaCha8Rng) -> Value {
    let times = 1_usize << random.random_range(0..10);
    match (random.random_range(0..8), value) {
        (0, _) => other,
        (1, _) => edge(random),
        // Parsers go no deeper than 128 by themselves.
        (2, value) => (0..times.min(64)).fold(value, |inner, _| json!([inner])),
        (3, value) => json!({"a": value}),
        (_, Value::Number(number)) => {
            let number = number.as_f64().unwrap_or(0.0);
            let numbers = [-number, number + 1.0, number - 1.0, number * 2.0, number / 3.0];
            let chosen = *numbers.choose(random).unwrap_or(&0.0);
            match chosen.fract() == 0.0 && chosen.abs() < 1e15 {
                true => json!(chosen as i64),
                false => json!(chosen),
            }
        }
        (_, Value::String(text)) => match random.random_range(0..4) {
            0 => Value::from(text.repeat(times.min(1 + (16 << 10) / (1 + text.len())))),
            1 => Value::from(format!("{text}\0\u{202e}é")),
            2 => Value::from(text.chars().skip(1).collect::<String>()),
            _ => edge(random),
        },
        (_, Value::Array(mut items)) => {
            match (random.random_range(0..3), items.is_empty()) {
                (0, false) => {
                    items.remove(random.random_range(0..items.len()));
                }
                (1, false) => items = items.iter().cycle().take(times.min(512)).cloned().collect(),
                _ => items.push(other),
            }
            Value::Array(items)
        }
        (_, Value::Object(fields)) => Value::Object(of_fields(fields, other, random)),
        _ => edge(random),
    }
}

/// An object with a key less, more, or spelt otherwise.
fn of_fields(
    mut fields: Map<String, Value>,
    other: Value,
    random: &mut ChaCha8Rng,
) -> Map<String, Value> {
    let keys: Vec<String> = fields.keys().cloned().collect();
    let Some(key) = keys.choose(random) else {
        fields.insert("a".to_owned(), other);
        return fields;
    };
    match random.random_range(0..4) {
        0 => {
            fields.remove(key);
        }
        1 => {
            fields.insert(key.clone(), other);
        }
        2 => {
            let value = fields.remove(key).unwrap_or_default();
            fields.insert(key.chars().rev().collect(), value);
        }
        _ => {
            let value = fields.get(key).cloned().unwrap_or_default();
            fields.insert(format!("{key}_"), value);
        }
    }
    fields
}

/// A value of another kind, or at the edge of one.
fn edge(random: &mut ChaCha8Rng) -> Value {
    let edges = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1_u64 << 32),
        json!(1_u64 << 53),
        json!(f64::MAX),
        json!(5e-324),
        json!(""),
        json!("18446744073709551616"),
        json!([]),
        json!({}),
    ];
    edges.choose(random).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn all(input: &[u8]) -> Vec<Vec<u8>> {
        let of = |seed| changed(input, &mut ChaCha8Rng::seed_from_u64(seed));
        (0..3000).filter_map(of).collect()
    }

    #[test]
    fn what_was_json_stays_json_and_what_was_a_header_a_header() {
        let json = br#"{"a": [1, {"b/c": "x"}], "d": null}"#;
        let found = all(json);
        assert_eq!(found.len(), 3000);
        let read = |it: &Vec<u8>| serde_json::from_slice::<Value>(it).unwrap();
        assert!(found.iter().all(|it| !read(it).is_null() || it == b"null"));
        // What is deep in it is reached, too.
        let deep = |it: &Vec<u8>| read(it).pointer("/a/1/b~1c").is_some_and(|at| at != "x");
        assert!(found.iter().any(deep));
        let file = [&(json.len() as u64).to_le_bytes()[..], json, &[1, 2, 3]].concat();
        for it in all(&file) {
            let (header, rest) = header(&it).unwrap();
            assert!(serde_json::from_str::<Value>(header).is_ok() && rest == [1, 2, 3]);
        }
    }

    #[test]
    fn lines_are_changed_by_themselves() {
        let rows = b"{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n";
        let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
        for it in all(rows) {
            assert!(String::from_utf8(it).unwrap().lines().all(is_json));
        }
        let toml = all(b"[adapter]\nrank = 8\nalpha = 16\n");
        let has = |line: &str| {
            toml.iter().any(|it| String::from_utf8_lossy(it).lines().any(|l| l == line))
        };
        assert!(has("rank = 16") && has("rank = nan") && has("alpha = \"\""));
    }
}
