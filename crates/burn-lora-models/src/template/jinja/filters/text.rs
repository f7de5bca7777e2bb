//! Filters of texts.

use crate::template::jinja::arguments::{Args, count, int, needed, of_text};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::format::{self, Align, percent};
use crate::template::jinja::lexer::is_space;
use crate::template::jinja::meter;
use crate::template::jinja::methods::split::{lines, without_end};
use crate::template::jinja::methods::text::{cased, replaced, stripped};
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::{DictMaker, ListMaker, Value};

pub(super) fn apply(name: &str, value: &Value, args: Args) -> Result<Value, Fault> {
    if name == "xmlattr" {
        return xmlattr(value, args);
    }
    if name == "urlencode" && matches!(value, Value::Dict(_) | Value::List(_) | Value::Tuple(_)) {
        return query(value);
    }
    let text = print::soft(value)?;
    match name {
        "trim" | "replace" | "center" | "format" => meter::read(text.len())?,
        _ => meter::letters(text.len())?,
    }
    match name {
        "upper" | "lower" | "capitalize" => {
            let [] = args.bind(name, [])?;
            cased(&text, name)
        }
        "title" => {
            let mut out = TextMaker::new();
            let starts = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
            for word in text.split_inclusive(starts) {
                match cased(word, "capitalize")? {
                    Value::Text(word) => out.push(&word)?,
                    other => print::write(&other, &mut out)?,
                }
            }
            out.value()
        }
        "trim" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = chars.and_then(Value::given_or_none);
            let chars = chars.map(|chars| of_text(name, "chars", &chars)).transpose()?;
            stripped(&text, true, true, chars.as_deref())
        }
        "replace" => {
            let [old, new, times] = args.bind(name, ["old", "new", "count"])?;
            let old = print::soft(&needed(name, "old", old)?)?;
            let new = print::soft(&needed(name, "new", new)?)?;
            let times = times.and_then(Value::given_or_none);
            let times = times.map_or(Ok(-1), |times| int(name, "count", &times))?;
            replaced(&text, &old, &new, times)
        }
        "center" => {
            let [width] = args.bind(name, ["width"])?;
            let width = width.map_or(Ok(80), |width| count(name, "width", &width))?;
            let mut out = TextMaker::new();
            format::padded(&text, width, " ", Align::Center, &mut out)?;
            out.value()
        }
        "indent" => indent(&text, args),
        "truncate" => truncate(&text, args),
        "format" => {
            let values = if args.named.is_empty() {
                let mut values = ListMaker::new();
                values.extend(&args.positional)?;
                values.tuple()?
            } else if args.positional.is_empty() {
                let mut values = DictMaker::new();
                for (name, value) in args.named {
                    values.insert(Value::Text(name), value)?;
                }
                values.dict()?
            } else {
                return failed("format: values have places or names, not both");
            };
            percent::format(&text, &values)
        }
        "wordcount" => {
            let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
            Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i128))
        }
        "urlencode" => {
            let mut out = TextMaker::new();
            quoted(&text, "/", &mut out)?;
            out.value()
        }
        "striptags" => striptags(&text),
        // `escape`, `e`, `forceescape`
        _ if text.is_escaped() && name != "forceescape" => Ok(Value::Text(text)),
        _ => {
            let mut out = TextMaker::new();
            out.push_escaped(&text)?;
            out.escaped()
        }
    }
}

fn indent(text: &str, args: Args) -> Result<Value, Fault> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let indentation = match width {
        Some(Value::Text(text)) => text,
        width => {
            let width = width.map_or(Ok(4), |width| count("indent", "width", &width))?;
            let mut spaces = TextMaker::new();
            spaces.push_times(" ", width)?;
            spaces.finish()?
        }
    };
    let is = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (first, blank) = (is(first), is(blank));
    let mut out = TextMaker::new();
    // What ends with a line end has one empty line more.
    let ended = text.is_empty() || text.ends_with('\n');
    let all = lines(text).map(without_end).chain(ended.then_some(""));
    for (index, line) in all.enumerate() {
        meter::step()?;
        if index > 0 {
            out.push("\n")?;
        }
        if if index > 0 { blank || !line.is_empty() } else { first } {
            out.push(&indentation)?;
        }
        out.push(line)?;
    }
    out.value()
}

fn truncate(text: &str, args: Args) -> Result<Value, Fault> {
    let [length, killwords, end, leeway] =
        args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.map_or(Ok(255), |length| count("truncate", "length", &length))?;
    let end = end.map_or(Ok(Text::given("...")), |end| of_text("truncate", "end", &end))?;
    let leeway = leeway.and_then(Value::given_or_none);
    let leeway = leeway.map_or(Ok(5), |leeway| count("truncate", "leeway", &leeway))?;
    let ends = end.chars().count();
    if length < ends {
        return failed(format!("truncate: `length` must be at least {ends}, as long as its end"));
    }
    if text.chars().count() <= length.saturating_add(leeway) {
        return Value::text(text);
    }
    let cut = text.char_indices().nth(length - ends).map_or(text, |(at, _)| &text[..at]);
    let kept = match killwords {
        Some(value) if value.is_true() => cut,
        _ => cut.rfind(' ').map_or(cut, |at| &cut[..at]),
    };
    let mut out = TextMaker::new();
    out.push(kept)?;
    out.push(&end)?;
    out.value()
}

fn xmlattr(value: &Value, args: Args) -> Result<Value, Fault> {
    let [space] = args.bind("xmlattr", ["autospace"])?;
    let Value::Dict(dict) = value else {
        return failed(format!("xmlattr: a dictionary is needed, not {}", value.kind()));
    };
    let space = space.is_none_or(|space| space.is_true());
    let mut out = TextMaker::new();
    for (key, value) in &dict.entries {
        if matches!(value, Value::None | Value::Undefined(_)) {
            continue;
        }
        let key = of_text("xmlattr", "a key", key)?;
        meter::letters(key.len())?;
        if key.contains(|c: char| is_space(c) || matches!(c, '/' | '>' | '=')) {
            return failed("xmlattr: a key with a character that no attribute may have");
        }
        out.push(if out.len() > 0 || space { " " } else { "" })?;
        out.push_escaped(&key)?;
        out.push("=\"")?;
        out.push_escaped(&print::soft(value)?)?;
        out.push("\"")?;
    }
    out.value()
}

/// Without tags and comments, and with one space in the place of white space.
fn striptags(text: &str) -> Result<Value, Fault> {
    let mut plain = TextMaker::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        plain.push(&rest[..at])?;
        let close = if rest[at..].starts_with("<!--") { "-->" } else { ">" };
        let Some(end) = rest[at..].find(close) else {
            rest = &rest[at..];
            break;
        };
        rest = &rest[at + end + close.len()..];
    }
    plain.push(rest)?;
    let plain = plain.finish()?;
    let mut out = TextMaker::new();
    for word in plain.split(is_space).filter(|word| !word.is_empty()) {
        out.push(if out.len() > 0 { " " } else { "" })?;
        out.push(word)?;
    }
    out.value()
}

/// A text for an address, in which the characters of `safe` stay.
fn quoted(text: &str, safe: &str, out: &mut TextMaker) -> Result<(), Fault> {
    meter::letters(text.len())?;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) {
            out.push_char(c)?;
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                meter::step()?;
                out.push(&format!("%{byte:02X}"))?;
            }
        }
    }
    Ok(())
}

/// Pairs as what stands behind the `?` of an address.
fn query(value: &Value) -> Result<Value, Fault> {
    let pairs = match value {
        Value::Dict(_) => super::apply("items", value.clone(), Args::default())?,
        pairs => pairs.clone(),
    };
    let mut out = TextMaker::new();
    for pair in &pairs.items()?.items {
        let pair = pair.items()?;
        let [key, value] = &pair.items[..] else { return failed("urlencode: pairs are needed") };
        out.push(if out.len() > 0 { "&" } else { "" })?;
        for (part, behind) in [(key, "="), (value, "")] {
            let mut plain = TextMaker::new();
            quoted(&print::soft(part)?, "", &mut plain)?;
            // In a query a space is a plus.
            out.push(&plain.finish()?.replace("%20", "+"))?;
            out.push(behind)?;
        }
    }
    out.value()
}
