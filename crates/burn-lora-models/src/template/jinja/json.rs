//! The `tojson` of transformers: Python's `json.dumps`, which escapes nothing for HTML.

use super::arguments::{Args, int};
use super::compare;
use super::fault::{Fault, failed};
use super::meter;
use super::print;
use super::text::{Text, TextMaker};
use super::value::Value;

/// `value|tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(value: &Value, args: Args) -> Result<Value, Fault> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort] = args.bind("tojson", names)?;
    let indent =
        indent.and_then(Value::given_or_none).map(|value| indentation(&value)).transpose()?;
    let separators = match separators.and_then(Value::given_or_none) {
        Some(pair) => pair_of_texts(&pair)?,
        None if indent.is_some() => (Text::given(","), Text::given(": ")),
        None => (Text::given(", "), Text::given(": ")),
    };
    let mut writer = Writer {
        ascii: ascii.is_some_and(|value| value.is_true()),
        sort: sort.is_some_and(|value| value.is_true()),
        indent,
        separators,
        out: TextMaker::new(),
    };
    writer.value(value, 0)?;
    writer.out.value()
}

/// One level's indentation: a text, or so many spaces.
fn indentation(value: &Value) -> Result<Text, Fault> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    // As in Python, less than nothing is nothing.
    let spaces = int("tojson", "indent", value)?.max(0);
    let mut out = TextMaker::new();
    out.push_times(" ", usize::try_from(spaces).unwrap_or(usize::MAX))?;
    out.finish()
}

fn pair_of_texts(value: &Value) -> Result<(Text, Text), Fault> {
    match &value.items()?.items[..] {
        [Value::Text(between), Value::Text(behind)] => Ok((between.clone(), behind.clone())),
        _ => failed("tojson: separators must be two texts"),
    }
}

struct Writer {
    ascii: bool,
    sort: bool,
    indent: Option<Text>,
    separators: (Text, Text),
    out: TextMaker,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        meter::step()?;
        match value {
            Value::None => self.out.push("null"),
            Value::Bool(value) => self.out.push(if *value { "true" } else { "false" }),
            Value::Int(number) => self.out.push(&number.to_string()),
            Value::Float(number) => self.out.push(&float(*number)),
            Value::Text(text) => self.text(text),
            Value::List(list) | Value::Tuple(list) => {
                self.out.push("[")?;
                for (index, item) in list.items.iter().enumerate() {
                    self.next(index, depth + 1)?;
                    self.value(item, depth + 1)?;
                }
                self.close(list.items.is_empty(), depth, "]")
            }
            Value::Dict(dict) => {
                let _room = meter::room(size_of::<(Value, Value)>() * dict.entries.len())?;
                let mut entries = dict.entries.clone();
                if self.sort {
                    entries = compare::sort(entries, false)?;
                }
                self.out.push("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.next(index, depth + 1)?;
                    self.key(key)?;
                    let behind = self.separators.1.clone();
                    self.out.push(&behind)?;
                    self.value(value, depth + 1)?;
                }
                self.close(dict.entries.is_empty(), depth, "}")
            }
            other => failed(format!("tojson: {} cannot be written as JSON", other.kind())),
        }
    }

    /// What stands before an item.
    fn next(&mut self, index: usize, depth: usize) -> Result<(), Fault> {
        if index > 0 {
            let between = self.separators.0.clone();
            self.out.push(&between)?;
        }
        self.line(depth)
    }

    fn close(&mut self, is_empty: bool, depth: usize, close: &str) -> Result<(), Fault> {
        if !is_empty {
            self.line(depth)?;
        }
        self.out.push(close)
    }

    fn line(&mut self, depth: usize) -> Result<(), Fault> {
        if let Some(indent) = self.indent.clone() {
            self.out.push("\n")?;
            self.out.push_times(&indent, depth)?;
        }
        Ok(())
    }

    /// A key as JSON has it, always a text.
    fn key(&mut self, key: &Value) -> Result<(), Fault> {
        match key {
            Value::Text(text) => self.text(text),
            Value::Int(number) => self.text(&number.to_string()),
            Value::Float(number) => self.text(&float(*number)),
            Value::Bool(value) => self.text(if *value { "true" } else { "false" }),
            Value::None => self.text("null"),
            other => failed(format!("tojson: a key may not be a {}", other.kind())),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        meter::letters(text.len())?;
        self.out.push("\"")?;
        for c in text.chars() {
            match c {
                '"' => self.out.push("\\\"")?,
                '\\' => self.out.push("\\\\")?,
                '\n' => self.out.push("\\n")?,
                '\r' => self.out.push("\\r")?,
                '\t' => self.out.push("\\t")?,
                '\u{8}' => self.out.push("\\b")?,
                '\u{c}' => self.out.push("\\f")?,
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        meter::step()?;
                        self.out.push(&format!("\\u{unit:04x}"))?;
                    }
                }
                c => self.out.push_char(c)?,
            }
        }
        self.out.push("\"")
    }
}

fn float(number: f64) -> String {
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        number => print::float(number),
    }
}
