//! Licence expressions of SPDX: `MIT OR (Apache-2.0 WITH LLVM-exception AND ISC)`. `/` stands for `OR` in old manifests.

/// Whether an expression holds where `allowed` says which licences do; `None` if it is none.
pub(super) fn holds(expression: &str, allowed: impl Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed: &allowed };
    let holds = parser.any()?;
    parser.words.is_empty().then_some(holds)
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Parser<'a> {
    /// `… OR …`, which binds least.
    fn any(&mut self) -> Option<bool> {
        let mut holds = self.all()?;
        while self.take("OR") {
            holds |= self.all()?;
        }
        Some(holds)
    }

    /// `… AND …`.
    fn all(&mut self) -> Option<bool> {
        let mut holds = self.one()?;
        while self.take("AND") {
            holds &= self.one()?;
        }
        Some(holds)
    }

    /// A licence, with its exception if it has one, or an expression in brackets.
    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let holds = self.any()?;
            return self.take(")").then_some(holds);
        }
        let licence = self.name()?;
        if !self.take("WITH") {
            return Some((self.allowed)(licence));
        }
        let exception = self.name()?;
        Some((self.allowed)(&format!("{licence} WITH {exception}")))
    }

    fn name(&mut self) -> Option<&'a str> {
        let (&word, rest) = self.words.split_first()?;
        let reserved = ["OR", "AND", "WITH", "(", ")"].contains(&word);
        (!reserved).then(|| {
            self.words = rest;
            word
        })
    }

    /// Takes this word if it is the next one.
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((&next, rest)) if next == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_as_spdx_says() {
        let mit =
            |licence: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
        for (expression, expected) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("GPL-3.0/MIT", Some(true)),
            ("GPL-3.0 AND MIT", Some(false)),
            ("MIT OR GPL-3.0 AND LGPL-3.0", Some(true)),
            ("(MIT OR GPL-3.0) AND LGPL-3.0", Some(false)),
            ("(MIT OR GPL-3.0) AND ISC", Some(true)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("Apache-2.0", Some(false)),
            ("GPL-3.0 OR (ISC AND (MIT))", Some(true)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT)", None),
            ("MIT ISC", None),
            ("AND", None),
            ("MIT WITH", None),
        ] {
            assert_eq!(holds(expression, mit), expected, "{expression}");
        }
    }
}
