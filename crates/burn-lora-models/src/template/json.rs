//! The `tojson` of transformers: Python's `json.dumps`, which escapes nothing for HTML.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::python;

/// `value|tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let option = |name: &str| -> Result<Option<Value>, Error> {
        let value: Option<Value> = options.get(name)?;
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = option("indent")?.as_ref().map(indentation).transpose()?;
    let separators = match option("separators")? {
        Some(pair) => (text(&pair, 0)?, text(&pair, 1)?),
        None if indent.is_some() => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    let ensure_ascii = ensure_ascii.or(option("ensure_ascii")?);
    let mut writer = Writer {
        ascii: ensure_ascii.is_some_and(|value| value.is_true()),
        sort: option("sort_keys")?.is_some_and(|value| value.is_true()),
        indent,
        separators,
        out: String::new(),
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// One level's indentation: a text, or so many spaces.
fn indentation(value: &Value) -> Result<String, Error> {
    /// More than any text wants; a template could ask for gigabytes.
    const MOST: usize = 64;
    match value.as_str() {
        Some(text) if text.len() <= MOST => Ok(text.to_owned()),
        Some(_) => Err(refused(format!("tojson: indent has more than {MOST} characters"))),
        // As in Python, less than nothing is nothing.
        None => match i64::try_from(value.clone())?.max(0) {
            spaces if spaces <= MOST as i64 => Ok(" ".repeat(spaces as usize)),
            spaces => {
                Err(refused(format!("tojson: indent is {spaces}, at most {MOST} is allowed")))
            }
        },
    }
}

fn text(pair: &Value, index: usize) -> Result<String, Error> {
    let item = pair.get_item_by_index(index)?;
    let text = item.as_str().map(str::to_owned);
    text.ok_or_else(|| refused("tojson: separators must be two texts".to_owned()))
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

struct Writer {
    ascii: bool,
    sort: bool,
    indent: Option<String>,
    separators: (String, String),
    out: String,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        python::check_depth(depth)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => {
                let number = python::number(value);
                self.out.push_str(match number.as_str() {
                    "nan" => "NaN",
                    "inf" => "Infinity",
                    "-inf" => "-Infinity",
                    number => number,
                });
            }
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item)).collect();
                self.items(['[', ']'], items, depth)?;
            }
            ValueKind::Map => {
                let mut items = Vec::new();
                for key in value.try_iter()? {
                    items.push((Some(name(&key)?), value.get_item(&key)?));
                }
                if self.sort {
                    items.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.items(['{', '}'], items, depth)?;
            }
            kind => return Err(refused(format!("tojson: {kind} cannot be written as JSON"))),
        }
        Ok(())
    }

    fn items(
        &mut self,
        [open, close]: [char; 2],
        items: Vec<(Option<String>, Value)>,
        depth: usize,
    ) -> Result<(), Error> {
        self.out.push(open);
        let empty = items.is_empty();
        for (index, (key, value)) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push_str(&self.separators.0);
            }
            self.line(depth + 1);
            if let Some(key) = key {
                self.text(&key);
                self.out.push_str(&self.separators.1);
            }
            self.value(&value, depth + 1)?;
        }
        if !empty {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string does not fail.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// A key as JSON has it, always a text.
fn name(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::Number => Ok(python::number(key)),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        kind => Err(refused(format!("tojson: a key may not be a {kind}"))),
    }
}
