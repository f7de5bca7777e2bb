//! What stands behind `is`: Jinja's tests.

use super::arguments::{Args, int, needed};
use super::compare::{self, Number};
use super::fault::{Fault, failed};
use super::filters;
use super::text::Text;
use super::value::{Kind, Value};

/// Whether `value is name(args)`.
pub(super) fn holds(name: &Text, value: &Value, args: Args) -> Result<bool, Fault> {
    use std::cmp::Ordering::{Greater, Less};
    let name = &**name;
    let other = |args: Args| -> Result<Value, Fault> {
        let [other] = args.bind(name, ["other"])?;
        needed(name, "other", other)
    };
    let order = |args: Args| compare::order(value, &other(args)?);
    let number = Number::of(value);
    Ok(match name {
        "defined" => !value.is_undefined(),
        "undefined" => value.is_undefined(),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => number.is_some(),
        "string" => matches!(value, Value::Text(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // In Python, what has a length and items is a sequence.
        "sequence" | "iterable" => {
            matches!(
                value,
                Value::Text(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dict(_)
                    | Value::Undefined(_)
            )
        }
        "callable" => {
            let calls = matches!(value, Value::Object(Kind::Macro | Kind::Joiner, _));
            calls
                || matches!(
                    value,
                    Value::Method(_) | Value::Function(_) | Value::Loop(_) | Value::Undefined(_)
                )
        }
        "escaped" => false,
        "lower" | "upper" => {
            let text = super::print::soft(value)?;
            super::meter::letters(2 * text.len())?;
            let cased = |c: char| c.is_lowercase() || c.is_uppercase();
            let wanted =
                |c: char| if name == "lower" { c.is_lowercase() } else { c.is_uppercase() };
            text.chars().any(cased) && text.chars().filter(|c| cased(*c)).all(wanted)
        }
        "odd" => int("odd", "the value", value)?.rem_euclid(2) == 1,
        "even" => int("even", "the value", value)?.rem_euclid(2) == 0,
        "divisibleby" => {
            let [by] = args.bind(name, ["num"])?;
            let by = int(name, "num", &needed(name, "num", by)?)?;
            match int(name, "the value", value)?.checked_rem(by) {
                Some(rest) => rest == 0,
                None => return failed("division by zero"),
            }
        }
        "eq" | "equalto" | "==" => compare::equal(value, &other(args)?)?,
        "ne" | "!=" => !compare::equal(value, &other(args)?)?,
        "lt" | "lessthan" | "<" => order(args)? == Some(Less),
        "le" | "<=" => order(args)?.is_some_and(|order| order != Greater),
        "gt" | "greaterthan" | ">" => order(args)? == Some(Greater),
        "ge" | ">=" => order(args)?.is_some_and(|order| order != Less),
        "in" => compare::contains(&other(args)?, value)?,
        "sameas" => {
            let other = other(args)?;
            value.kind() == other.kind() && compare::equal(value, &other)?
        }
        "filter" => matches!(value, Value::Text(name) if filters::exists(name)),
        "test" => matches!(value, Value::Text(name) if exists(name)),
        name => return failed(format!("there is no test `{name}`")),
    })
}

fn exists(name: &str) -> bool {
    const NAMES: [&str; 39] = [
        "defined",
        "undefined",
        "none",
        "boolean",
        "true",
        "false",
        "integer",
        "float",
        "number",
        "string",
        "mapping",
        "sequence",
        "iterable",
        "callable",
        "escaped",
        "lower",
        "upper",
        "odd",
        "even",
        "divisibleby",
        "eq",
        "equalto",
        "==",
        "ne",
        "!=",
        "lt",
        "lessthan",
        "<",
        "le",
        "<=",
        "gt",
        "greaterthan",
        ">",
        "ge",
        ">=",
        "in",
        "sameas",
        "filter",
        "test",
    ];
    NAMES.contains(&name)
}
