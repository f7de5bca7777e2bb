//! What stands behind `is`: Jinja's tests.

use std::cmp::Ordering::{self, Greater, Less};

use super::arguments::{Args, int, needed};
use super::compare::{self, Number};
use super::fault::{Fault, failed};
use super::filters;
use super::text::Text;
use super::value::{Kind, Value};

/// `value is name(args)`, given the name.
type Test = fn(&str, &Value, Args) -> Result<bool, Fault>;

/// Every test there is, by its names, between which stand spaces.
static TESTS: [(&str, Test); 27] = [
    ("defined", |_, value, _| Ok(!value.is_undefined())),
    ("undefined", |_, value, _| Ok(value.is_undefined())),
    ("none", |_, value, _| Ok(matches!(value, Value::None))),
    ("boolean", |_, value, _| Ok(matches!(value, Value::Bool(_)))),
    ("true", |_, value, _| Ok(matches!(value, Value::Bool(true)))),
    ("false", |_, value, _| Ok(matches!(value, Value::Bool(false)))),
    ("integer", |_, value, _| Ok(matches!(value, Value::Int(_)))),
    ("float", |_, value, _| Ok(matches!(value, Value::Float(_)))),
    ("number", |_, value, _| Ok(Number::of(value).is_some())),
    ("string", |_, value, _| Ok(matches!(value, Value::Text(_)))),
    ("mapping", |_, value, _| Ok(matches!(value, Value::Dict(_)))),
    ("sequence iterable", |_, value, _| Ok(is_sequence(value))),
    ("callable", |_, value, _| Ok(is_callable(value))),
    ("escaped", |_, _, _| Ok(false)),
    ("lower upper", is_cased),
    ("odd", |name, value, _| Ok(int(name, "the value", value)?.rem_euclid(2) == 1)),
    ("even", |name, value, _| Ok(int(name, "the value", value)?.rem_euclid(2) == 0)),
    ("divisibleby", is_divisible),
    ("eq equalto ==", |name, value, args| compare::equal(value, &other(name, args)?)),
    ("ne !=", |name, value, args| Ok(!compare::equal(value, &other(name, args)?)?)),
    ("lt lessthan <", |name, value, args| Ok(order(name, value, args)? == Some(Less))),
    ("le <=", |name, value, args| {
        Ok(order(name, value, args)?.is_some_and(|order| order != Greater))
    }),
    ("gt greaterthan >", |name, value, args| Ok(order(name, value, args)? == Some(Greater))),
    ("ge >=", |name, value, args| Ok(order(name, value, args)?.is_some_and(|order| order != Less))),
    ("in", |name, value, args| compare::contains(&other(name, args)?, value)),
    ("sameas", |name, value, args| {
        let other = other(name, args)?;
        Ok(value.kind() == other.kind() && compare::equal(value, &other)?)
    }),
    ("filter test", |name, value, _| {
        let exists = if name == "filter" { filters::exists } else { exists };
        Ok(matches!(value, Value::Text(name) if exists(name)))
    }),
];

fn find(name: &str) -> Option<Test> {
    TESTS
        .iter()
        .find(|(names, _)| names.split(' ').any(|known| known == name))
        .map(|(_, test)| *test)
}

fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// Whether `value is name(args)`.
pub(super) fn holds(name: &Text, value: &Value, args: Args) -> Result<bool, Fault> {
    match find(name) {
        Some(test) => test(name, value, args),
        None => failed(format!("there is no test `{}`", &**name)),
    }
}

fn other(name: &str, args: Args) -> Result<Value, Fault> {
    let [other] = args.bind(name, ["other"])?;
    needed(name, "other", other)
}

fn order(name: &str, value: &Value, args: Args) -> Result<Option<Ordering>, Fault> {
    compare::order(value, &other(name, args)?)
}

/// In Python, what has a length and items is a sequence.
fn is_sequence(value: &Value) -> bool {
    matches!(
        value,
        Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_) | Value::Undefined(_)
    )
}

fn is_callable(value: &Value) -> bool {
    matches!(
        value,
        Value::Object(Kind::Macro | Kind::Joiner, _)
            | Value::Method(_)
            | Value::Function(_)
            | Value::Loop(_)
            | Value::Undefined(_)
    )
}

fn is_cased(name: &str, value: &Value, _: Args) -> Result<bool, Fault> {
    let text = super::print::soft(value)?;
    super::meter::letters(2 * text.len())?;
    let cased = |c: char| c.is_lowercase() || c.is_uppercase();
    let wanted = |c: char| if name == "lower" { c.is_lowercase() } else { c.is_uppercase() };
    Ok(text.chars().any(cased) && text.chars().filter(|c| cased(*c)).all(wanted))
}

fn is_divisible(name: &str, value: &Value, args: Args) -> Result<bool, Fault> {
    let [by] = args.bind(name, ["num"])?;
    let by = int(name, "num", &needed(name, "num", by)?)?;
    match int(name, "the value", value)?.checked_rem(by) {
        Some(rest) => Ok(rest == 0),
        None => failed("division by zero"),
    }
}
