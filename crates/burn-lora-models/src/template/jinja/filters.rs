//! Jinja's filters.
//!
//! Left out: `filesizeformat`, `pprint`, `random`, `urlize`, `wordwrap`. What is escaped or marked as safe is so for `+` only.

mod list;
mod number;
mod text;

use super::access;
use super::arguments::{Args, needed, of_text};
use super::compare::undefined;
use super::fault::{Fault, failed};
use super::json;
use super::meter;
use super::print;
use super::text::{Text, TextMaker};
use super::value::{ListMaker, Value};

/// `value|name(args)`, given the name.
type Filter = fn(&str, Value, Args) -> Result<Value, Fault>;

/// Every filter there is, by its names, between which stand spaces.
const FILTERS: [(&str, Filter); 10] = [
    ("tojson", |_, value, args| json::tojson(&value, args)),
    ("d default", default),
    ("attr", attr),
    ("string", |_, value, _| print::soft(&value).map(Value::Text)),
    ("safe", safe),
    ("length count", length),
    ("items", items),
    ("abs int float round", |name, value, args| number::apply(name, &value, args)),
    (
        "batch dictsort first groupby join last list map max min reject rejectattr \
         reverse select selectattr slice sort sum unique",
        |name, value, args| list::apply(name, &value, args),
    ),
    (
        "capitalize center e escape forceescape format indent lower replace striptags \
         title trim truncate upper urlencode wordcount xmlattr",
        |name, value, args| text::apply(name, &value, args),
    ),
];

fn find(name: &str) -> Option<Filter> {
    FILTERS
        .iter()
        .find(|(names, _)| names.split(' ').any(|known| known == name))
        .map(|(_, filter)| *filter)
}

pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// `value|name(args)`.
pub(super) fn apply(name: &str, value: Value, args: Args) -> Result<Value, Fault> {
    meter::step()?;
    match find(name) {
        Some(filter) => filter(name, value, args),
        None => failed(format!("there is no filter `{name}`")),
    }
}

fn default(name: &str, value: Value, args: Args) -> Result<Value, Fault> {
    let [default, falsy] = args.bind(name, ["default_value", "boolean"])?;
    let falsy = falsy.is_some_and(|falsy| falsy.is_true());
    if value.is_undefined() || (falsy && !value.is_true()) {
        return default.map_or_else(|| Value::text(""), Ok);
    }
    Ok(value)
}

fn attr(name: &str, value: Value, args: Args) -> Result<Value, Fault> {
    let [attribute] = args.bind(name, ["name"])?;
    let attribute = of_text(name, "name", &needed(name, "name", attribute)?)?;
    // Unlike a dot, this does not look among the keys of a dictionary.
    match access::attribute(&value, &attribute)? {
        Value::Method(method) => Ok(Value::Method(method)),
        _ => Ok(Value::Undefined(attribute)),
    }
}

fn safe(_: &str, value: Value, _: Args) -> Result<Value, Fault> {
    let mut text = TextMaker::new();
    print::write(&value, &mut text)?;
    text.escaped()
}

fn length(name: &str, value: Value, _: Args) -> Result<Value, Fault> {
    match &value {
        Value::Text(text) => {
            meter::read(text.len())?;
            Ok(Value::Int(text.chars().count() as i128))
        }
        Value::List(items) | Value::Tuple(items) => Ok(Value::Int(items.items.len() as i128)),
        Value::Dict(dict) => Ok(Value::Int(dict.entries.len() as i128)),
        Value::Undefined(_) => Ok(Value::Int(0)),
        other => failed(format!("{name}: a {} has no length", other.kind())),
    }
}

fn items(_: &str, value: Value, args: Args) -> Result<Value, Fault> {
    match &value {
        Value::Undefined(_) => ListMaker::new().list(),
        Value::Dict(_) => super::methods::call(&value, "items", args),
        other => failed(format!("items: a dictionary is needed, not {}", other.kind())),
    }
}

/// What is at a path, in which dots lead further and numbers are places; nothing where it is not there.
fn at_path(item: &Value, path: &Value) -> Result<Value, Fault> {
    let Value::Text(path) = path else { return access::item(item, path) };
    meter::letters(path.len())?;
    let mut value = item.clone();
    for part in path.split('.') {
        value = match part.parse() {
            Ok(at) => access::item(&value, &Value::Int(at))?,
            Err(_) if value.is_undefined() => return undefined(path),
            Err(_) => access::item(&value, &Value::Text(Text::made(part)?))?,
        };
    }
    Ok(value)
}
