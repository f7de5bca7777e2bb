//! Filters that make numbers.

use crate::template::jinja::arguments::{Args, int, of_text};
use crate::template::jinja::compare::{Number, undefined};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::lexer::is_space;
use crate::template::jinja::meter;
use crate::template::jinja::value::Value;

pub(super) fn apply(name: &str, value: &Value, args: Args) -> Result<Value, Fault> {
    // A number is read from copies of a text.
    let read = if let Value::Text(text) = value { text.len() } else { 0 };
    meter::letters(read)?;
    let _room = meter::room(4 * read)?;
    match name {
        "int" => {
            let [default, base] = args.bind(name, ["default", "base"])?;
            let base = base.map_or(Ok(10), |base| int(name, "base", &base))?;
            if let Value::Undefined(name) = value {
                return undefined(name);
            }
            if real(value).is_some_and(|number| number.is_finite() && number.abs() >= 1.7e38) {
                return failed("a whole number has more than 128 bits");
            }
            Ok(whole(value, base).map_or_else(|| default.unwrap_or(Value::Int(0)), Value::Int))
        }
        "float" => {
            let [default] = args.bind(name, ["default"])?;
            if let Value::Undefined(name) = value {
                return undefined(name);
            }
            Ok(real(value).map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        "round" => {
            let [precision, method] = args.bind(name, ["precision", "method"])?;
            let precision = precision.map_or(Ok(0), |value| int(name, "precision", &value))?;
            let method = method.map(|method| of_text(name, "method", &method)).transpose()?;
            round(number(name, value)?, precision, method.as_deref().unwrap_or("common"))
        }
        _ => match number(name, value)? {
            Number::Int(number) => Ok(Value::Int(number.saturating_abs())),
            Number::Float(number) => Ok(Value::Float(number.abs())),
        },
    }
}

fn number(name: &str, value: &Value) -> Result<Number, Fault> {
    match (Number::of(value), value) {
        (Some(number), _) => Ok(number),
        (None, Value::Undefined(name)) => undefined(name),
        (None, other) => failed(format!("{name}: a number is needed, not {}", other.kind())),
    }
}

/// Python's `int`, which reads texts in a base.
fn whole(value: &Value, base: i128) -> Option<i128> {
    if let Value::Text(text) = value {
        let text = text.trim_matches(is_space).replace('_', "").to_ascii_lowercase();
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text.strip_prefix('+').unwrap_or(&text)),
        };
        let prefix = match base {
            2 => "0b",
            8 => "0o",
            16 => "0x",
            _ => "",
        };
        let digits = digits.strip_prefix(prefix).unwrap_or(digits);
        let radix = u32::try_from(base).ok().filter(|radix| (2..=36).contains(radix));
        if let Some(number) =
            radix.and_then(|r| i128::from_str_radix(&format!("{sign}{digits}"), r).ok())
        {
            return Some(number);
        }
    }
    if let Some(Number::Int(number)) = Number::of(value) {
        return Some(number);
    }
    real(value).filter(|number| number.is_finite()).map(|number| number.trunc() as i128)
}

fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => text.trim_matches(is_space).replace('_', "").parse().ok(),
        value => Number::of(value).map(Number::float),
    }
}

fn round(number: Number, precision: i128, method: &str) -> Result<Value, Fault> {
    const MOST: i128 = 300;
    let precision = precision.clamp(-MOST, MOST) as i32;
    let power = 10_f64.powi(precision);
    match (method, number) {
        ("common", Number::Int(number)) if precision >= 0 => Ok(Value::Int(number)),
        ("common", Number::Int(number)) => {
            let step = 10_i128.checked_pow(precision.unsigned_abs()).unwrap_or(i128::MAX);
            let (down, rest) = (number.div_euclid(step), number.rem_euclid(step));
            let up = match (rest.saturating_mul(2)).cmp(&step) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Equal => down % 2 != 0,
            };
            Ok(Value::Int((down + i128::from(up)).saturating_mul(step)))
        }
        ("common", Number::Float(number)) if precision >= 0 => {
            // Written digits are rounded as Python rounds: from the exact value, and halves to even.
            let digits = precision as usize;
            meter::steps(digits)?;
            Ok(Value::Float(format!("{number:.digits$}").parse().unwrap_or(number)))
        }
        ("common", Number::Float(number)) => {
            Ok(Value::Float((number * power).round_ties_even() / power))
        }
        ("ceil", number) => Ok(Value::Float((number.float() * power).ceil() / power)),
        ("floor", number) => Ok(Value::Float((number.float() * power).floor() / power)),
        _ => failed("round: the method must be common, ceil or floor"),
    }
}
