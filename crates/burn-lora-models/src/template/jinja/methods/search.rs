//! Methods of texts that look for something: `find`, `index`, `count`, `startswith` and their like.

use std::ops::Range;

use crate::template::jinja::arguments::{Args, int, needed, of_text};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::text::Text;
use crate::template::jinja::value::Value;

pub(super) fn call(text: &Text, name: &str, args: Args) -> Result<Value, Fault> {
    let [wanted, start, end] = args.bind(name, ["sub", "start", "end"])?;
    let wanted = needed(name, "sub", wanted)?;
    let bounds = [start.and_then(Value::given_or_none), end.and_then(Value::given_or_none)];
    let (range, first) = match within(text, name, &bounds)? {
        Some(range) => range,
        None if matches!(name, "startswith" | "endswith") => return Ok(Value::Bool(false)),
        None if name == "count" => return Ok(Value::Int(0)),
        None if matches!(name, "find" | "rfind") => return Ok(Value::Int(-1)),
        None => return failed(format!("{name}: the text is not there")),
    };
    let part = &text[range];
    if matches!(name, "startswith" | "endswith") {
        let affixes = match &wanted {
            Value::Tuple(affixes) => affixes.clone(),
            other => {
                let mut one = crate::template::jinja::value::ListMaker::new();
                one.push(other.clone())?;
                one.tuple()?.items()?
            }
        };
        for affix in &affixes.items {
            let affix = of_text(name, "the text", affix)?;
            meter::read(affix.len())?;
            if if name == "startswith" {
                part.starts_with(&*affix)
            } else {
                part.ends_with(&*affix)
            } {
                return Ok(Value::Bool(true));
            }
        }
        return Ok(Value::Bool(false));
    }
    let wanted = of_text(name, "sub", &wanted)?;
    let found = match name {
        "count" if wanted.is_empty() => return Ok(Value::Int(part.chars().count() as i128 + 1)),
        "count" => return Ok(Value::Int(part.matches(&*wanted).count() as i128)),
        "find" | "index" => part.find(&*wanted),
        "rfind" | "rindex" => part.rfind(&*wanted),
        _ => return failed(format!("a text has no method `{name}`")),
    };
    match found {
        Some(at) => Ok(Value::Int((first + part[..at].chars().count()) as i128)),
        None if name.ends_with("index") => failed(format!("{name}: the text is not there")),
        None => Ok(Value::Int(-1)),
    }
}

/// The bytes between two bounds, which count characters, and the character that they begin with.
fn within(
    text: &str,
    name: &str,
    bounds: &[Option<Value>; 2],
) -> Result<Option<(Range<usize>, usize)>, Fault> {
    if let [None, None] = bounds {
        return Ok(Some((0..text.len(), 0)));
    }
    meter::letters(text.len())?;
    let length = text.chars().count() as i128;
    let place = |bound: &Option<Value>, default: i128| -> Result<i128, Fault> {
        let Some(bound) = bound else { return Ok(default) };
        let at = int(name, "a bound", bound)?;
        Ok(if at < 0 { at.saturating_add(length).max(0) } else { at })
    };
    let (start, end) = (place(&bounds[0], 0)?, place(&bounds[1], length)?.min(length));
    if start > end {
        return Ok(None);
    }
    let byte = |at: i128| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((byte(start)..byte(end), start as usize)))
}
