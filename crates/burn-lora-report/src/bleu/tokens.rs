//! The 13a rules: how `mteval-v13a` cuts a text of a Western language into tokens.
//!
//! The script's regular expressions all look at one or two characters, and run one after the other
//! over the whole text. Here each is a pass of [`spaced`].

use super::Case;

/// The tokens of a text.
pub fn tokens(text: &str, case: Case) -> Vec<String> {
    // In this order: `&amp;lt;` becomes `<`.
    let text = text
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        .replace("-\n", "")
        .replace('\n', " ")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let mut padded = Vec::with_capacity(text.len() + 2);
    padded.push(' ');
    for character in text.chars() {
        match is_symbol(character) {
            true => padded.extend([' ', character, ' ']),
            false => padded.push(character),
        }
    }
    padded.push(' ');
    // Between digits, as in 1,234.5, a point or a comma is part of the number.
    let padded =
        spaced(&padded, |a, b| !a.is_ascii_digit() && is_point(b), |a, b| [a, ' ', b, ' ']);
    let padded =
        spaced(&padded, |a, b| is_point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let padded = spaced(&padded, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    padded
        .split(|character| is_space(*character))
        .filter(|token| !token.is_empty())
        .map(|token| {
            let token: String = token.iter().collect();
            match case {
                Case::Kept => token,
                Case::Ignored => token.to_lowercase(),
            }
        })
        .collect()
}

/// Replaces pairs from left to right, as a regular expression of two characters does: what a pair took is
/// not looked at again.
fn spaced(
    text: &[char],
    is_pair: impl Fn(char, char) -> bool,
    replacement: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match tail {
            [second, tail @ ..] if is_pair(*first, *second) => {
                out.extend(replacement(*first, *second));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn is_point(character: char) -> bool {
    matches!(character, '.' | ',')
}

/// ASCII's symbols but for the apostrophe, comma, hyphen and point.
fn is_symbol(character: char) -> bool {
    matches!(character, '!'..='&' | '('..='+' | '/' | ':'..='@' | '['..='`' | '{'..='~')
}

/// What Python's `str.split` splits at: Unicode's white space and ASCII's four separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}
