//! Names in code quotes, one after the other, and problems on lines of their own.

use std::fmt::{Display, Write};

/// How many of many names are shown.
const SHOWN: usize = 8;

/// `` `a`, `b` or `c` ``
pub fn or<S: AsRef<str>>(names: &[S]) -> String {
    joined(names, " or ")
}

/// `` `a`, `b` and `c` ``
pub fn and<S: AsRef<str>>(names: &[S]) -> String {
    joined(names, " and ")
}

/// The first eight names, and how many more there are: `` `a`, `b` and 3 more ``, or `none`.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let (shown, rest) = names.split_at(names.len().min(SHOWN));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", joined(shown, ", "))
}

/// A line for each problem, begun by `start`: the first eight, and how many more there are.
///
/// ```
/// assert_eq!(burn_lora_text::lines(&["a", "b"], "  - "), "\n  - a\n  - b");
/// ```
pub fn lines<P: Display>(problems: &[P], start: &str) -> String {
    let (shown, rest) = problems.split_at(problems.len().min(SHOWN));
    let mut text = String::new();
    for problem in shown {
        // Writing into a text cannot fail.
        let _ = write!(text, "\n{start}{problem}");
    }
    if !rest.is_empty() {
        let _ = write!(text, "\n{start}and {} more", rest.len());
    }
    text
}

/// Commas between the names, and `last` before the last one.
fn joined<S: AsRef<str>>(names: &[S], last: &str) -> String {
    let mut text = String::new();
    for (at, name) in names.iter().enumerate() {
        text.push_str(match at {
            0 => "",
            at if at + 1 == names.len() => last,
            _ => ", ",
        });
        text.push('`');
        text.push_str(name.as_ref());
        text.push('`');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_as_in_a_sentence() {
        assert_eq!(or::<&str>(&[]), "");
        assert_eq!(or(&["a"]), "`a`");
        assert_eq!(and(&["a", "b"]), "`a` and `b`");
        assert_eq!(or(&["a", "b", "c"]), "`a`, `b` or `c`");
    }

    #[test]
    fn of_many_names_eight_are_shown() {
        let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(listed(&names), "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7` and 2 more");
        assert_eq!(listed(&names[..2]), "`0`, `1`");
        assert_eq!(listed(&names[..0]), "none");
        assert_eq!(lines(&names, "- ").lines().count(), 10, "an empty one, eight, and the rest");
        assert!(lines(&names, "- ").ends_with("\n- 7\n- and 2 more"));
        assert_eq!(lines(&names[..1], "- "), "\n- 0");
    }
}
