//! Regular expressions over paths, as Python's `re` reads them: with looking ahead and behind, which lists of
//! targets for a part of a model are written with.
//!
//! Left out: flags that `re` alone has (`(?a)`, `(?L)`).

use fancy_regex::Regex;

/// A regular expression.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Box<Regex>);

impl Pattern {
    /// The expression, or what is wrong with it.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        Regex::new(text).map(|regex| Self(Box::new(regex))).map_err(|error| error.to_string())
    }

    /// The expression between `before` and `after`, in parentheses that capture nothing.
    pub(crate) fn within(before: &str, text: &str, after: &str) -> Result<Self, String> {
        // Alone first, so that an unbalanced parenthesis cannot be closed by what is put around it.
        Self::new(text)?;
        Self::new(&format!("{before}(?:{text}){after}"))
    }

    /// A key of PEFT's `rank_pattern` and `alpha_pattern`, which `get_pattern_key` reads so: it matches a path, or an
    /// ending of it from a dot on.
    pub(crate) fn of_layers(text: &str) -> Result<Self, String> {
        Self::within(r"^(?:.*\.)?", text, "$")
    }

    /// Whether it matches somewhere in the path. One that gives up over a path does not match it.
    pub(crate) fn is_match(&self, path: &str) -> bool {
        self.0.is_match(path).unwrap_or(false)
    }

    /// What its last group matches in the path.
    pub(crate) fn last_group<'a>(&self, path: &'a str) -> Option<&'a str> {
        let found = self.0.captures(path).ok().flatten()?;
        found.get(found.len() - 1).map(|group| group.as_str())
    }
}

/// The text as an expression that matches it and nothing else.
pub(crate) fn escaped(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}
