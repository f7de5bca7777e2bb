//! `text.format(…)`.

use super::{Align, digits, float, padded};
use crate::template::jinja::access;
use crate::template::jinja::arguments::Args;
use crate::template::jinja::compare::Number;
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::Value;

/// `format.format(args)`.
pub(in crate::template::jinja) fn format(format: &str, args: Args) -> Result<Value, Fault> {
    meter::read(format.len())?;
    let mut fields = Fields { args, next: 0 };
    let mut out = TextMaker::new();
    fields.write(format, true, &mut out)?;
    out.value()
}

struct Fields {
    args: Args,
    /// The argument that `{}` means next.
    next: usize,
}

impl Fields {
    /// Writes a text with its fields; those in a field's own format have none within.
    fn write(&mut self, format: &str, nested: bool, out: &mut TextMaker) -> Result<(), Fault> {
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            out.push(&rest[..at])?;
            meter::step()?;
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                out.push(brace)?;
                rest = behind;
                continue;
            }
            if brace == "}" {
                return failed("format: a `}` without its `{`");
            }
            let Some(end) = closing(rest) else { return failed("format: a `{` without its `}`") };
            self.field(&rest[..end], nested, out)?;
            rest = &rest[end + 1..];
        }
        out.push(rest)
    }

    fn field(&mut self, field: &str, nested: bool, out: &mut TextMaker) -> Result<(), Fault> {
        meter::step()?;
        let (name, spec) = match field.find([':', '!']) {
            Some(at) if field[at..].starts_with('!') => match field[at..].split_once(':') {
                Some((_, spec)) => (&field[..at], spec),
                None => (&field[..at], ""),
            },
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, ""),
        };
        let conversion = field[name.len()..].strip_prefix('!').and_then(|rest| rest.chars().next());
        let mut value = self.value(name)?;
        if let Some(conversion) = conversion {
            let mut text = TextMaker::new();
            match conversion {
                's' => print::write(&value, &mut text)?,
                'r' | 'a' => print::represent(&value, &mut text)?,
                other => return failed(format!("format: the conversion `{other}` is not known")),
            }
            value = text.value()?;
        }
        if spec.contains('{') {
            if !nested {
                return failed("format: fields are nested too deep");
            }
            let mut written = TextMaker::new();
            self.write(spec, false, &mut written)?;
            return write(&value, &written.finish()?, out);
        }
        write(&value, spec, out)
    }

    /// `0`, `name`, nothing, each with `.attribute` and `[item]` behind it.
    fn value(&mut self, name: &str) -> Result<Value, Fault> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let value = match (first.parse::<usize>(), first) {
            (_, "") => {
                self.next += 1;
                self.args.positional.get(self.next - 1).cloned()
            }
            (Ok(at), _) => self.args.positional.get(at).cloned(),
            (Err(_), name) => {
                meter::steps(self.args.named.len() / 8)?;
                let mut named = self.args.named.iter();
                named.find(|(known, _)| **known == *name).map(|(_, value)| value.clone())
            }
        };
        let Some(mut value) = value else {
            return failed("format: there is no argument for a field");
        };
        while !rest.is_empty() {
            if let Some(behind) = rest.strip_prefix('.') {
                let end = behind.find(['.', '[']).unwrap_or(behind.len());
                value = access::attribute(&value, &Text::made(&behind[..end])?)?;
                rest = &behind[end..];
            } else {
                let Some((key, behind)) = rest[1..].split_once(']') else {
                    return failed("format: a `[` without its `]`");
                };
                let key = match key.parse() {
                    Ok(at) => Value::Int(at),
                    Err(_) => Value::text(key)?,
                };
                value = access::item(&value, &key)?;
                rest = behind;
            }
        }
        Ok(value)
    }
}

/// Where the brace that closes a field stands.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// Writes a value as `[[fill]align][sign][#][0][width][,][.precision][letter]` says.
fn write(value: &Value, spec: &str, out: &mut TextMaker) -> Result<(), Fault> {
    if spec.is_empty() {
        return print::write(value, out);
    }
    let mut rest = spec;
    let align_of = |c: char| match c {
        '<' => Some(Align::Left),
        '^' => Some(Align::Middle),
        '>' => Some(Align::Right),
        '=' => Some(Align::Inside),
        _ => None,
    };
    let mut chars = spec.chars();
    let (first, second) = (chars.next(), chars.next());
    let (mut fill, mut align) = (" ".to_owned(), None);
    if let (Some(c), Some(found)) = (first, second.and_then(align_of)) {
        (fill, align) = (c.to_string(), Some(found));
        rest = &spec[c.len_utf8() + 1..];
    } else if let Some(found) = first.and_then(align_of) {
        align = Some(found);
        rest = &spec[1..];
    }
    let mut skip = |marks: &[char]| {
        let found = rest.chars().next().filter(|c| marks.contains(c));
        rest = &rest[usize::from(found.is_some())..];
        found
    };
    let sign = skip(&['+', '-', ' ']);
    let prefix = skip(&['#']).is_some();
    let is_number = Number::of(value).is_some();
    if skip(&['0']).is_some() {
        if fill == " " {
            "0".clone_into(&mut fill);
        }
        if align.is_none() && is_number {
            align = Some(Align::Inside);
        }
    }
    let (width, behind) = number(rest);
    let (group, behind) = match behind.strip_prefix([',', '_']) {
        Some(left) => (behind.chars().next(), left),
        None => (None, behind),
    };
    let (precision, behind) = match behind.strip_prefix('.') {
        Some(left) => {
            let (precision, left) = number(left);
            (Some(precision.unwrap_or(0)), left)
        }
        None => (None, behind),
    };
    let mut letters = behind.chars();
    let letter = letters.next();
    if letters.next().is_some() {
        return failed("format: a field has a format that is not known");
    }
    let width = width.unwrap_or(0);
    match Number::of(value) {
        Some(number) if letter != Some('s') => {
            let text = written(number, letter, precision, prefix, group)?;
            let mut signed = TextMaker::new();
            if let (Some(mark @ ('+' | ' ')), false) = (sign, text.starts_with('-')) {
                signed.push_char(mark)?;
            }
            signed.push(&text)?;
            padded(&signed.finish()?, width, &fill, align.unwrap_or(Align::Right), out)
        }
        _ if matches!(letter, None | Some('s')) => {
            let text = print::soft(value)?;
            meter::read(text.len())?;
            let kept = match precision {
                Some(most) => text.char_indices().nth(most).map_or(&*text, |(at, _)| &text[..at]),
                None => &text,
            };
            padded(kept, width, &fill, align.unwrap_or(Align::Left), out)
        }
        _ => failed(format!("format: a {} cannot be written so", value.kind())),
    }
}

/// The digits at the start of a text, and what stands behind them.
fn number(text: &str) -> (Option<usize>, &str) {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(length);
    ((length > 0).then(|| digits.parse().unwrap_or(usize::MAX)), rest)
}

/// A number in digits, with its minus.
fn written(
    number: Number,
    letter: Option<char>,
    precision: Option<usize>,
    prefix: bool,
    group: Option<char>,
) -> Result<String, Fault> {
    let text = match (number, letter) {
        (Number::Int(whole), None | Some('d' | 'x' | 'X' | 'o' | 'b' | 'n')) => {
            let letter = letter.filter(|letter| *letter != 'n').unwrap_or('d');
            let text = digits(whole, letter, prefix).unwrap_or_default();
            format!("{}{text}", if whole < 0 { "-" } else { "" })
        }
        (number, Some('%')) => {
            float(number.float() * 100.0, 'f', precision.unwrap_or(6), false)? + "%"
        }
        (number, Some(letter @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G'))) => {
            float(number.float(), letter, precision.unwrap_or(6), prefix)?
        }
        (Number::Float(number), None) => match precision {
            Some(digits) => {
                let text = float(number, 'g', digits, false)?;
                // Unlike `g`, a number stays one with a point.
                if text.contains(['.', 'e', 'n']) { text } else { text + ".0" }
            }
            None => print::float(number),
        },
        (_, letter) => {
            let letter = letter.map(String::from).unwrap_or_default();
            return failed(format!("format: `{letter}` is not known for this number"));
        }
    };
    Ok(match group {
        Some(mark) => grouped(&text, mark),
        None => text,
    })
}

/// The digits before the point in groups of three.
fn grouped(text: &str, mark: char) -> String {
    let start = usize::from(text.starts_with('-'));
    let end = text[start..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| at + start);
    let mut out = text[..start].to_owned();
    for (index, digit) in text[start..end].chars().enumerate() {
        if index > 0 && (end - start - index).is_multiple_of(3) {
            out.push(mark);
        }
        out.push(digit);
    }
    out + &text[end..]
}
