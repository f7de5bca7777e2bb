//! Methods of Python's texts, lists, tuples and dictionaries.
//!
//! Those that would change a list or a dictionary are refused, as in the sandbox that transformers renders in.

mod search;
pub(super) mod split;
pub(super) mod text;

use super::arguments::{Args, needed};
use super::compare;
use super::fault::{Fault, failed};
use super::value::{ListMaker, Value};

const TEXT: [&str; 42] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
];
const LIST: [&str; 11] = [
    "count", "index", "copy", "append", "clear", "extend", "insert", "pop", "remove", "reverse",
    "sort",
];
const DICT: [&str; 9] =
    ["get", "items", "keys", "values", "copy", "clear", "pop", "update", "setdefault"];

/// Whether values of this type have the method.
pub(super) fn exists(value: &Value, name: &str) -> bool {
    match value {
        Value::Text(_) => TEXT.contains(&name) || name == "zfill",
        Value::List(_) => LIST.contains(&name),
        Value::Tuple(_) => matches!(name, "count" | "index"),
        Value::Dict(_) => DICT.contains(&name) || name == "popitem",
        Value::Float(_) => name == "is_integer",
        _ => false,
    }
}

/// `value.name(args)`, where it exists.
pub(super) fn call(value: &Value, name: &str, args: Args) -> Result<Value, Fault> {
    match value {
        Value::Text(text) => text::call(text, name, args),
        Value::List(items) | Value::Tuple(items) => match name {
            "copy" => ListMaker::of(&items.items)?.list(),
            "count" | "index" => {
                let [wanted] = args.bind(name, ["value"])?;
                let wanted = needed(name, "value", wanted)?;
                let mut found = 0;
                for (at, item) in items.items.iter().enumerate() {
                    if compare::equal(item, &wanted)? {
                        if name == "index" {
                            return Ok(Value::Int(at as i128));
                        }
                        found += 1;
                    }
                }
                if name == "index" {
                    failed("the value is not in the list")
                } else {
                    Ok(Value::Int(found))
                }
            }
            _ => failed(format!("lists do not change: `{name}` cannot be called")),
        },
        Value::Dict(dict) => match name {
            "get" => {
                let [key, default] = args.bind(name, ["key", "default"])?;
                let key = needed(name, "key", key)?;
                Ok(dict.get(&key)?.cloned().or(default).unwrap_or(Value::None))
            }
            "copy" => Ok(value.clone()),
            "keys" | "values" | "items" => {
                let mut list = ListMaker::new();
                for (key, value) in &dict.entries {
                    list.push(match name {
                        "keys" => key.clone(),
                        "values" => value.clone(),
                        _ => {
                            let mut pair = ListMaker::new();
                            pair.push(key.clone())?;
                            pair.push(value.clone())?;
                            pair.tuple()?
                        }
                    })?;
                }
                list.list()
            }
            _ => failed(format!("dictionaries do not change: `{name}` cannot be called")),
        },
        Value::Float(number) if name == "is_integer" => Ok(Value::Bool(number.fract() == 0.0)),
        other => failed(format!("a {} has no method `{name}`", other.kind())),
    }
}
