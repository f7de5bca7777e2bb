//! Python's way of writing values: `str` and `repr`.

use super::fault::Fault;
use super::meter;
use super::text::{Text, TextMaker};
use super::value::{Kind, Value};

/// `str(value)`.
pub(super) fn soft(value: &Value) -> Result<Text, Fault> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other => {
            let mut out = TextMaker::new();
            write(other, &mut out)?;
            out.finish()
        }
    }
}

/// Writes `str(value)`.
pub(super) fn write(value: &Value, out: &mut TextMaker) -> Result<(), Fault> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Text(text) => out.push(text),
        other => represent(other, out),
    }
}

/// Writes `repr(value)`.
pub(super) fn represent(value: &Value, out: &mut TextMaker) -> Result<(), Fault> {
    meter::step()?;
    match value {
        Value::Undefined(_) => out.push("Undefined"),
        Value::None => out.push("None"),
        Value::Bool(true) => out.push("True"),
        Value::Bool(false) => out.push("False"),
        Value::Int(number) => out.push(&number.to_string()),
        Value::Float(number) => out.push(&float(*number)),
        Value::Text(text) => quote(text, out),
        Value::List(list) => items("[", &list.items, "]", out),
        Value::Tuple(tuple) if tuple.items.len() == 1 => items("(", &tuple.items, ",)", out),
        Value::Tuple(tuple) => items("(", &tuple.items, ")", out),
        Value::Dict(dict) => {
            out.push("{")?;
            for (index, (key, value)) in dict.entries.iter().enumerate() {
                out.push(if index > 0 { ", " } else { "" })?;
                represent(key, out)?;
                out.push(": ")?;
                represent(value, out)?;
            }
            out.push("}")
        }
        Value::Method(method) => {
            out.push("<method ")?;
            out.push(&method.1)?;
            out.push(">")
        }
        Value::Function(_) => out.push("<function>"),
        Value::Object(Kind::Namespace, _) => out.push("<Namespace>"),
        Value::Object(Kind::Macro, _) => out.push("<Macro>"),
        Value::Object(Kind::Joiner | Kind::Cycler, _) => out.push("<object>"),
        Value::Loop(_) => out.push("<LoopContext>"),
    }
}

fn items(open: &str, items: &[Value], close: &str, out: &mut TextMaker) -> Result<(), Fault> {
    out.push(open)?;
    for (index, item) in items.iter().enumerate() {
        out.push(if index > 0 { ", " } else { "" })?;
        represent(item, out)?;
    }
    out.push(close)
}

/// A text in the quotes that Python would choose.
fn quote(text: &str, out: &mut TextMaker) -> Result<(), Fault> {
    meter::letters(text.len())?;
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push_char(mark)?;
    for c in text.chars() {
        match c {
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\\' => out.push("\\\\")?,
            c if c == mark => {
                out.push("\\")?;
                out.push_char(c)?;
            }
            ' '..='~' => out.push_char(c)?,
            // Tables are gone through for it, the more the further behind.
            c if meter::steps(if c < '\u{10000}' { 1 } else { 4 }).map(|()| is_printable(c))? => {
                out.push_char(c)?;
            }
            c => {
                meter::step()?;
                out.push(&match u32::from(c) {
                    code if code < 0x100 => format!("\\x{code:02x}"),
                    code if code < 0x1_0000 => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                })?;
            }
        }
    }
    out.push_char(mark)
}

/// Both languages escape the same categories of Unicode. Behind another character, so that marks which combine with one are shown.
pub(super) fn is_printable(c: char) -> bool {
    let mut behind = [0; 5];
    behind[0] = b'a';
    let length = c.encode_utf8(&mut behind[1..]).len();
    let text = std::str::from_utf8(&behind[..=length]).unwrap_or_default();
    matches!(c, '\'' | '"' | '\\') || text.escape_debug().nth(1) == Some(c)
}

/// A float as Python prints it: `1.0`, `1e+16`, `1e-05`.
pub(super) fn float(number: f64) -> String {
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
