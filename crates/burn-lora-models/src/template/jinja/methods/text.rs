//! Methods of texts: which is called, and those that change letters or fill up.

use super::{search, split};
use crate::template::jinja::arguments::{Args, count, int, needed, of_text};
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::format::{self, Align};
use crate::template::jinja::lexer::is_space;
use crate::template::jinja::meter;
use crate::template::jinja::print;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::Value;

pub(super) fn call(text: &Text, name: &str, args: Args) -> Result<Value, Fault> {
    match name {
        "splitlines" | "expandtabs" | "count" => meter::letters(text.len())?,
        "find" | "rfind" | "index" | "rindex" => meter::search(text.len())?,
        name if name.starts_with("is") => meter::letters(2 * text.len())?,
        _ => meter::read(text.len())?,
    }
    match name {
        "upper" | "lower" | "casefold" | "swapcase" | "capitalize" | "title" => {
            let [] = args.bind(name, [])?;
            cased(text, name)
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            let chars = match chars.and_then(Value::given_or_none) {
                Some(chars) => Some(of_text(name, "chars", &chars)?),
                None => None,
            };
            stripped(text, name != "rstrip", name != "lstrip", chars.as_deref())
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"])?;
            let width = count(name, "width", &needed(name, "width", width)?)?;
            let fill = match fill {
                Some(fill) => of_text(name, "fillchar", &fill)?,
                None => Text::given(" "),
            };
            if fill.chars().count() != 1 {
                return failed(format!("{name}: `fillchar` must be one character"));
            }
            let align = match name {
                "center" => Align::Center,
                "ljust" => Align::Left,
                _ => Align::Right,
            };
            let mut out = TextMaker::new();
            format::padded(text, width, &fill, align, &mut out)?;
            out.value()
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"])?;
            let width = count(name, "width", &needed(name, "width", width)?)?;
            let zeros = width.saturating_sub(text.chars().count());
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            let mut out = TextMaker::new();
            out.push(sign)?;
            out.push_times("0", zeros)?;
            out.push(digits)?;
            out.value()
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            let size = size.map_or(Ok(8), |size| count(name, "tabsize", &size))?;
            let (mut out, mut column) = (TextMaker::new(), 0);
            for c in text.chars() {
                match c {
                    '\t' if size > 0 => {
                        let spaces = size - column % size;
                        out.push_times(" ", spaces)?;
                        column += spaces;
                    }
                    '\t' => {}
                    '\n' | '\r' => {
                        out.push_char(c)?;
                        column = 0;
                    }
                    c => {
                        out.push_char(c)?;
                        column += 1;
                    }
                }
            }
            out.value()
        }
        "replace" => {
            let [old, new, times] = args.bind(name, ["old", "new", "count"])?;
            let old = of_text(name, "old", &needed(name, "old", old)?)?;
            let new = of_text(name, "new", &needed(name, "new", new)?)?;
            let times = times.map_or(Ok(-1), |times| int(name, "count", &times))?;
            replaced(text, &old, &new, times)
        }
        "format" => format::braces::format(text, args),
        "join" => {
            let [items] = args.bind(name, ["iterable"])?;
            let mut out = TextMaker::new();
            for (index, item) in needed(name, "iterable", items)?.items()?.items.iter().enumerate()
            {
                meter::step()?;
                out.push(if index > 0 { text } else { "" })?;
                out.push(&of_text(name, "an item", item)?)?;
            }
            out.value()
        }
        "removeprefix" | "removesuffix" => {
            let [affix] =
                args.bind(name, [if name == "removeprefix" { "prefix" } else { "suffix" }])?;
            let affix = of_text(name, "the text", &needed(name, "the text", affix)?)?;
            let rest = match name {
                "removeprefix" => text.strip_prefix(&*affix),
                _ => text.strip_suffix(&*affix),
            };
            rest.map_or(Ok(Value::Text(text.clone())), Value::text)
        }
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => {
            split::call(text, name, args)
        }
        name if name.starts_with("is") => {
            let [] = args.bind(name, [])?;
            Ok(Value::Bool(is(text, name)))
        }
        _ => search::call(text, name, args),
    }
}

/// `text` without what stands at its sides.
pub(in crate::template::jinja) fn stripped(
    text: &str,
    left: bool,
    right: bool,
    chars: Option<&str>,
) -> Result<Value, Fault> {
    let is_cut = |c: char| match chars {
        None => Ok(is_space(c)),
        Some(chars) => meter::read(chars.len()).map(|()| chars.contains(c)),
    };
    let mut kept = text;
    while let Some(c) = kept.chars().next().filter(|_| left)
        && is_cut(c)?
    {
        kept = &kept[c.len_utf8()..];
    }
    while let Some(c) = kept.chars().next_back().filter(|_| right)
        && is_cut(c)?
    {
        kept = &kept[..kept.len() - c.len_utf8()];
    }
    meter::letters(text.len() - kept.len())?;
    Value::text(kept)
}

/// `text.replace(old, new, times)`; all of them where `times` is negative.
pub(in crate::template::jinja) fn replaced(
    text: &str,
    old: &str,
    new: &str,
    times: i128,
) -> Result<Value, Fault> {
    meter::read(text.len() + old.len())?;
    let times = if times < 0 { usize::MAX } else { usize::try_from(times).unwrap_or(usize::MAX) };
    let mut out = TextMaker::new();
    let mut at = 0;
    for (found, _) in text.match_indices(old).take(times) {
        meter::step()?;
        out.push(&text[at..found])?;
        out.push(new)?;
        at = found + old.len();
    }
    out.push(&text[at..])?;
    out.value()
}

/// `text` in other letters.
pub(in crate::template::jinja) fn cased(text: &str, name: &str) -> Result<Value, Fault> {
    meter::letters(if name == "swapcase" { 2 * text.len() } else { text.len() })?;
    // A letter becomes at most three.
    let _room = meter::room(3 * text.len())?;
    let title = |word: &str| {
        let mut letters = word.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        first + &letters.as_str().to_lowercase()
    };
    let text = match name {
        "upper" => text.to_uppercase(),
        "lower" => text.to_lowercase(),
        // Beyond lower case: letters that are written otherwise at a word's end, and the one that has no upper case of one letter.
        "casefold" => text.to_lowercase().replace('ß', "ss").replace('ς', "σ").replace('ſ', "s"),
        "capitalize" => title(text),
        "swapcase" => text
            .chars()
            .flat_map(|c| -> Vec<char> {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            })
            .collect(),
        // Words are runs of letters.
        _ => {
            let mut out = String::with_capacity(text.len());
            let mut within = false;
            for c in text.chars() {
                if !within {
                    out.extend(c.to_uppercase());
                } else {
                    out.extend(c.to_lowercase());
                }
                within = c.is_alphabetic();
            }
            out
        }
    };
    Value::text(&text)
}

fn is(text: &str, name: &str) -> bool {
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let cased = |c: &char| c.is_uppercase() || c.is_lowercase();
    match name {
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(|c| c.is_alphanumeric()),
        "isascii" => text.is_ascii(),
        "isdigit" => all(|c| c.is_ascii_digit() || "²³¹⁰⁴⁵⁶⁷⁸⁹".contains(c)),
        "isdecimal" => all(|c| c.is_ascii_digit()),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(is_space),
        "isprintable" => text.chars().all(print::is_printable),
        "isidentifier" => {
            all(|c| c.is_alphanumeric() || c == '_') && !text.starts_with(|c: char| c.is_numeric())
        }
        "islower" => {
            text.chars().any(|c| cased(&c)) && text.chars().filter(cased).all(char::is_lowercase)
        }
        "isupper" => {
            text.chars().any(|c| cased(&c)) && text.chars().filter(cased).all(char::is_uppercase)
        }
        // Each word begins with a capital, and goes on without.
        _ => {
            let (mut within, mut any) = (false, false);
            for c in text.chars() {
                if (c.is_uppercase() && within) || (c.is_lowercase() && !within) {
                    return false;
                }
                within = cased(&c);
                any |= within;
            }
            any
        }
    }
}
