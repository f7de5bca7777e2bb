//! Text that comes from data, models and servers, for a terminal to show and not to obey.

use std::borrow::Cow;

/// The text with its control characters written out (`\u{1b}`), but for line ends and tabs: those that move the cursor, colour what
/// follows or set a window's title, and those that turn the direction of writing.
///
/// ```
/// use burn_lora_text::printable;
///
/// assert_eq!(printable("a\tb\n"), "a\tb\n");
/// assert_eq!(printable("\u{1b}[31mred"), "\\u{1b}[31mred");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// As [`printable`], but colours and weights (`ESC [ … m`) of a report made here stay.
pub fn printable_styled(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        shown.push_str(&printable(&rest[..at]));
        let style = rest[at + 2..].find(|c: char| !c.is_ascii_digit() && c != ';');
        match style {
            Some(length) if rest[at + 2 + length..].starts_with('m') => {
                shown.push_str(&rest[at..at + 3 + length]);
                rest = &rest[at + 3 + length..];
            }
            _ => {
                shown.push_str(&printable(&rest[at..=at]));
                rest = &rest[at + 1..];
            }
        }
    }
    shown.push_str(&printable(rest));
    shown
}

/// Whether a terminal does something else with the character than showing it.
fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (text, shown) in [
            ("plain \u{e9} \u{1f600}", "plain \u{e9} \u{1f600}"),
            ("a\rb\u{7}\u{8}\u{0}", "a\\u{d}b\\u{7}\\u{8}\\u{0}"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_report_keeps_its_colours_and_nothing_else() {
        assert_eq!(printable_styled("\u{1b}[1;31mred\u{1b}[0m"), "\u{1b}[1;31mred\u{1b}[0m");
        assert_eq!(
            printable_styled("\u{1b}[2Ja\u{1b}]0;t\u{1b}[3"),
            "\\u{1b}[2Ja\\u{1b}]0;t\\u{1b}[3"
        );
    }
}
