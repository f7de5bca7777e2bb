//! What templates expect from Python: its methods, its tests, its way of printing values.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Value, escape_formatter};
use minijinja_contrib::pycompat::unknown_method_callback;

/// How deep values may be nested to be printed. It bounds the stack, as JSON's readers do.
const MAX_DEPTH: usize = 128;

/// Makes an environment's values behave and print as in Python.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    // In Python, what has a length and items is a sequence.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
    });
    environment.add_filter("string", |value: &Value| match printed(value)? {
        Some(text) => Ok::<_, Error>(Value::from(text)),
        None if value.kind() == ValueKind::String => Ok(value.clone()),
        None => Ok(Value::from(value.to_string())),
    });
    environment.set_formatter(|out, state, value| match printed(value)? {
        Some(text) => Ok(out.write_str(&text)?),
        None => escape_formatter(out, state, value),
    });
}

/// The methods of texts, lists and dictionaries.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let (Some(text), [affix]) = (value.as_str(), arguments)
        && let Some(affix) = affix.as_str()
    {
        match name {
            "removeprefix" => return Ok(text.strip_prefix(affix).unwrap_or(text).into()),
            "removesuffix" => return Ok(text.strip_suffix(affix).unwrap_or(text).into()),
            _ => {}
        }
    }
    unknown_method_callback(state, value, name, arguments)
}

/// The text of a value that Python prints otherwise than the engine does.
fn printed(value: &Value) -> Result<Option<String>, Error> {
    let mut out = String::new();
    match value.kind() {
        ValueKind::Number | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            represent(value, 0, &mut out)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(out))
}

/// Python's `repr`.
fn represent(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    check_depth(depth)?;
    match value.kind() {
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), out),
        // What is sliced or mapped is a list here; Python prints a mapped one by its address.
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                represent(&item, depth + 1, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                represent(&key, depth + 1, out)?;
                out.push_str(": ");
                represent(&value.get_item(&key)?, depth + 1, out)?;
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

/// A text in the quotes that Python would choose.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == mark => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(mark);
}

/// A number as Python prints it: `1`, `1.0`, `1e+16`, `1e-05`.
pub(super) fn number(value: &Value) -> String {
    let integer = value.is_integer();
    match f64::try_from(value.clone()) {
        Ok(number) if !integer => float(number),
        _ => value.to_string(),
    }
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Both languages print the shortest digits that read back as the same number; Python changes to
    // exponents at these two magnitudes.
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

/// Refuses values nested so deep that printing them could exhaust the stack.
pub(super) fn check_depth(depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        let message = format!("a value is nested deeper than {MAX_DEPTH} levels");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::float;

    // Python 3's repr of the same numbers.
    #[test]
    fn floats_print_as_in_python() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.25e-7, "-1.25e-07"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(float(number), text);
        }
    }
}
