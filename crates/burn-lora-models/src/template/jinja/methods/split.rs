//! Methods of texts that take them apart.

use crate::template::jinja::arguments::{Args, int, needed, of_text};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::lexer::is_space;
use crate::template::jinja::meter;
use crate::template::jinja::text::Text;
use crate::template::jinja::value::{ListMaker, Value};

pub(super) fn call(text: &Text, name: &str, args: Args) -> Result<Value, Fault> {
    match name {
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            let keep = keep.is_some_and(|keep| keep.is_true());
            let mut list = ListMaker::new();
            for line in lines(text) {
                list.push(Value::text(if keep { line } else { without_end(line) })?)?;
            }
            list.list()
        }
        "partition" | "rpartition" => {
            let [between] = args.bind(name, ["sep"])?;
            let between = of_text(name, "sep", &needed(name, "sep", between)?)?;
            let found =
                if name == "partition" { text.find(&*between) } else { text.rfind(&*between) };
            let parts = match found {
                Some(at) => [&text[..at], &between, &text[at + between.len()..]],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            let mut list = ListMaker::new();
            parts.into_iter().try_for_each(|part| list.push(Value::text(part)?))?;
            list.tuple()
        }
        _ => {
            let [between, most] = args.bind(name, ["sep", "maxsplit"])?;
            let most = most.map_or(Ok(-1), |most| int(name, "maxsplit", &most))?;
            let most =
                if most < 0 { usize::MAX } else { usize::try_from(most).unwrap_or(usize::MAX) };
            match between.and_then(Value::given_or_none) {
                Some(between) => by(text, &of_text(name, "sep", &between)?, most, name == "rsplit"),
                None => by_space(text, most, name == "rsplit"),
            }
        }
    }
}

fn by(text: &str, between: &str, most: usize, from_right: bool) -> Result<Value, Fault> {
    if between.is_empty() {
        return failed("split: `sep` is empty");
    }
    let mut list = ListMaker::new();
    let most = most.saturating_add(1);
    if from_right {
        text.rsplitn(most, between).try_for_each(|part| list.push(Value::text(part)?))?;
        list.as_mut_slice().reverse();
    } else {
        text.splitn(most, between).try_for_each(|part| list.push(Value::text(part)?))?;
    }
    list.list()
}

/// Between runs of white space, without that at the sides.
fn by_space(text: &str, most: usize, from_right: bool) -> Result<Value, Fault> {
    meter::letters(text.len())?;
    let mut list = ListMaker::new();
    let mut rest = if from_right {
        text.trim_end_matches(is_space)
    } else {
        text.trim_start_matches(is_space)
    };
    let mut splits = 0;
    while !rest.is_empty() {
        let cut = if splits == most {
            None
        } else if from_right {
            rest.rfind(is_space)
        } else {
            rest.find(is_space)
        };
        let Some(at) = cut else {
            // What is left over keeps the white space at its other side.
            list.push(Value::text(rest)?)?;
            break;
        };
        let width = rest[at..].chars().next().map_or(0, char::len_utf8);
        let (part, left) = if from_right {
            (&rest[at + width..], &rest[..at])
        } else {
            (&rest[..at], &rest[at..])
        };
        list.push(Value::text(part)?)?;
        rest = if from_right {
            left.trim_end_matches(is_space)
        } else {
            left.trim_start_matches(is_space)
        };
        splits += 1;
    }
    if from_right {
        list.as_mut_slice().reverse();
    }
    list.list()
}

fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// The lines of a text, as Python's `splitlines(True)` has them.
pub(in crate::template::jinja) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = match rest.find(is_line_end) {
            Some(at) if rest[at..].starts_with("\r\n") => at + 2,
            Some(at) => at + rest[at..].chars().next().map_or(1, char::len_utf8),
            None => rest.len(),
        };
        let (line, left) = rest.split_at(length);
        rest = left;
        Some(line)
    })
}

/// A line without what ends it.
pub(in crate::template::jinja) fn without_end(line: &str) -> &str {
    line.strip_suffix("\r\n").or_else(|| line.strip_suffix(is_line_end)).unwrap_or(line)
}
