//! `format % values`.

use super::{Align, digits, float, padded};
use crate::template::jinja::arguments::{int, needed};
use crate::template::jinja::compare::{Number, undefined};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::print;
use crate::template::jinja::text::TextMaker;
use crate::template::jinja::value::Value;

/// What stands between `%` and the letter.
#[derive(Default)]
struct Field {
    left: bool,
    plus: bool,
    space: bool,
    zeros: bool,
    prefix: bool,
    width: usize,
    precision: Option<usize>,
}

/// Values in the order in which they are asked for.
struct Values<'a> {
    all: &'a [Value],
    taken: usize,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value, Fault> {
        let value = self.all.get(self.taken).cloned();
        self.taken += 1;
        match value {
            Some(value) => Ok(value),
            None => failed("%: there are fewer values than the text asks for"),
        }
    }
}

/// `format % value`; a tuple is several values, and a dictionary has them by name.
pub(in crate::template::jinja) fn format(format: &str, value: &Value) -> Result<Value, Fault> {
    meter::read(format.len())?;
    let one = [value.clone()];
    let all = match value {
        Value::Tuple(tuple) => &tuple.items[..],
        Value::Dict(_) => &[],
        _ => &one,
    };
    let mut values = Values { all, taken: 0 };
    let mut out = TextMaker::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push(&rest[..at])?;
        rest = &rest[at + 1..];
        meter::step()?;
        let mut named = None;
        if let Some(behind) = rest.strip_prefix('(') {
            let Some(end) = behind.find(')') else { return failed("%: a name is not closed") };
            let Value::Dict(dict) = value else { return failed("%: names need a dictionary") };
            let name = &behind[..end];
            named = Some(needed("%", name, dict.named(name)?.cloned())?);
            rest = &behind[end + 1..];
        }
        let (field, behind) = field(rest, &mut values)?;
        let Some(kind) = behind.chars().next() else {
            return failed("%: the text ends in a field");
        };
        rest = &behind[kind.len_utf8()..];
        if kind == '%' {
            out.push("%")?;
            continue;
        }
        let value = match named {
            Some(value) => value,
            // `'%s' % {…}` writes the dictionary itself.
            None if matches!(value, Value::Dict(_)) && values.taken == 0 => {
                values.taken = usize::MAX;
                value.clone()
            }
            None => values.next()?,
        };
        write(&value, kind, &field, &mut out)?;
    }
    out.push(rest)?;
    // A list or nothing at all is taken for names, as a dictionary is.
    let named = matches!(value, Value::List(_) | Value::Undefined(_)) && values.taken == 0;
    if values.taken < values.all.len() && !named {
        return failed("%: there are more values than the text asks for");
    }
    out.value()
}

fn field<'a>(text: &'a str, values: &mut Values<'_>) -> Result<(Field, &'a str), Fault> {
    let mut field = Field::default();
    let mut rest = text;
    loop {
        match rest.bytes().next() {
            Some(b'-') => field.left = true,
            Some(b'+') => field.plus = true,
            Some(b' ') => field.space = true,
            Some(b'0') => field.zeros = true,
            Some(b'#') => field.prefix = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let (width, behind) = size(rest, values)?;
    if let Some(width) = width {
        field.left |= width < 0;
        field.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
    }
    rest = behind;
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = size(behind, values)?;
        let precision = precision.unwrap_or(0).max(0);
        field.precision = Some(usize::try_from(precision).unwrap_or(usize::MAX));
        rest = behind;
    }
    // C's sizes, which mean nothing.
    Ok((field, rest.trim_start_matches(['h', 'l', 'L'])))
}

/// A number, written or taken from the values by `*`.
fn size<'a>(text: &'a str, values: &mut Values<'_>) -> Result<(Option<i128>, &'a str), Fault> {
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Some(int("%", "*", &values.next()?)?), rest));
    }
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    let number = (length > 0).then(|| digits.parse().unwrap_or(i128::MAX));
    Ok((number, rest))
}

fn write(value: &Value, kind: char, field: &Field, out: &mut TextMaker) -> Result<(), Fault> {
    let align = match field {
        Field { left: true, .. } => Align::Left,
        _ => Align::Right,
    };
    let number = match (Number::of(value), kind) {
        (_, 's' | 'r' | 'a' | 'c') => {
            let mut text = TextMaker::new();
            match (kind, value) {
                ('c', Value::Int(code)) => {
                    let c = u32::try_from(*code).ok().and_then(char::from_u32);
                    let Some(c) = c else { return failed("%c: there is no such character") };
                    text.push_char(c)?;
                }
                ('s' | 'c', value) => print::write(value, &mut text)?,
                (_, value) => print::represent(value, &mut text)?,
            }
            let text = text.finish()?;
            meter::read(text.len())?;
            let kept = match field.precision {
                Some(most) => text.char_indices().nth(most).map_or(&*text, |(at, _)| &text[..at]),
                None => &text,
            };
            return padded(kept, field.width, " ", align, out);
        }
        (Some(number), _) => number,
        (None, _) => {
            return match value {
                Value::Undefined(name) => undefined(name),
                other => failed(format!("%{kind} needs a number, not {}", other.kind())),
            };
        }
    };
    let text = match (kind, number) {
        ('d' | 'i' | 'u' | 'x' | 'X' | 'o', number) => {
            let whole = match number {
                Number::Int(number) => number,
                Number::Float(number) if matches!(kind, 'd' | 'i' | 'u') => {
                    if number.is_nan() || number.abs() >= 1.7e38 {
                        return failed("a whole number has more than 128 bits");
                    }
                    number.trunc() as i128
                }
                Number::Float(_) => return failed(format!("%{kind} needs a whole number")),
            };
            let letter = if matches!(kind, 'i' | 'u') { 'd' } else { kind };
            let Some(text) = digits(whole, letter, field.prefix) else { return Ok(()) };
            let mut signed = TextMaker::new();
            signed.push(if whole < 0 { "-" } else { "" })?;
            signed.push_times("0", field.precision.unwrap_or(0).saturating_sub(text.len()))?;
            signed.push(&text)?;
            signed.finish()?
        }
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', number) => {
            let text = float(number.float(), kind, field.precision.unwrap_or(6), field.prefix)?;
            crate::template::jinja::text::Text::made(&text)?
        }
        _ => return failed(format!("%{kind} is not known")),
    };
    let mut signed = TextMaker::new();
    if !text.starts_with('-') {
        signed.push(if field.plus {
            "+"
        } else if field.space {
            " "
        } else {
            ""
        })?;
    }
    signed.push(&text)?;
    match field.zeros && !field.left {
        true => padded(&signed.finish()?, field.width, "0", Align::Inside, out),
        false => padded(&signed.finish()?, field.width, " ", align, out),
    }
}
