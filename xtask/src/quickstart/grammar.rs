//! The grammar that sentences are drawn from: rules for the slots, and tools with their phrasings.
//!
//! The format is described at the head of `slots.txt` and `base-tools.txt`. A [`Grammar`] that
//! parsed is whole: every rule that is referred to exists, none leads back to itself, and every
//! placeholder of a phrasing is an argument of its tool.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::IndexedRandom;

const SLOTS: &str = include_str!("../../../datasets/quickstart/grammar/slots.txt");
const BASE_TOOLS: &str = include_str!("../../../datasets/quickstart/grammar/base-tools.txt");
const NEW_TOOLS: &str = include_str!("../../../datasets/quickstart/grammar/new-tools.txt");

/// What is wrong with a grammar file.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GrammarError {
    /// A line is none of the known kinds.
    #[error(
        "`{line}` is no rule, tool or phrasing: write `text NAME = ..`, `number NAME = ..` or `tool NAME(..)`"
    )]
    Line {
        /// The line as read.
        line: String,
    },
    /// A placeholder names nothing.
    #[error("`{user}` refers to `{name}`, which is not there: define it or correct the name")]
    Unknown {
        /// The rule or tool that refers.
        user: String,
        /// What it refers to.
        name: String,
    },
    /// A rule leads back to itself.
    #[error("rule `{name}` leads back to itself: break the circle")]
    Circle {
        /// The rule.
        name: String,
    },
    /// A tool has no phrasing.
    #[error("tool `{name}` has no phrasing: add one, indented, below it")]
    NoPhrasing {
        /// The tool.
        name: String,
    },
}

/// The JSON type of a slot's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A JSON string.
    Text,
    /// A JSON number.
    Number,
}

/// A piece of an alternative or of a phrasing.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text that stands as it is.
    Literal(String),
    /// A rule (in a rule) or an argument (in a phrasing).
    Name(String),
    /// A whole number, both ends included.
    Range(u32, u32),
}

#[derive(Debug)]
struct Rule {
    kind: Kind,
    alternatives: Vec<Vec<Piece>>,
}

/// A tool, its arguments in the order of the JSON object, and the ways to ask for it.
#[derive(Debug)]
pub struct Tool {
    /// The tool's name.
    pub name: String,
    /// How many times the rows of another tool are drawn of this one.
    pub weight: usize,
    /// Argument names with the names of their rules.
    pub arguments: Vec<(String, String)>,
    /// The phrasings; a [`Piece::Name`] in one is an argument.
    pub phrasings: Vec<Vec<Piece>>,
}

/// Rules and tools.
#[derive(Debug)]
pub struct Grammar {
    rules: BTreeMap<String, Rule>,
    /// The tools in the order of the file.
    pub tools: Vec<Tool>,
}

impl Grammar {
    /// The tools of the pre-training.
    pub fn base() -> Result<Self, GrammarError> {
        Self::parse(&[SLOTS, BASE_TOOLS])
    }

    /// The tools of the fine-tuning.
    pub fn new_tools() -> Result<Self, GrammarError> {
        Self::parse(&[SLOTS, NEW_TOOLS])
    }

    fn parse(files: &[&str]) -> Result<Self, GrammarError> {
        let mut grammar = Self { rules: BTreeMap::new(), tools: Vec::new() };
        for file in files {
            let mut section = Section::None;
            for line in
                file.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            {
                section = grammar.line(line, section)?;
            }
        }
        grammar.check()?;
        Ok(grammar)
    }

    fn line(&mut self, line: &str, section: Section) -> Result<Section, GrammarError> {
        let broken = || GrammarError::Line { line: line.into() };
        if line.starts_with(' ') {
            match &section {
                Section::None => return Err(broken()),
                Section::Rule(name) => {
                    let more = line.trim().trim_start_matches('|').trim();
                    let rule = self.rules.get_mut(name).ok_or_else(broken)?;
                    rule.alternatives.extend(more.split(" | ").map(pieces));
                }
                Section::Tool => {
                    self.tools.last_mut().ok_or_else(broken)?.phrasings.push(pieces(line.trim()));
                }
            }
            return Ok(section);
        }
        let (keyword, rest) = line.split_once(' ').ok_or_else(broken)?;
        let kind = match keyword {
            "tool" => {
                let (call, weight) = rest.rsplit_once(')').ok_or_else(broken)?;
                let (name, arguments) = call.split_once('(').ok_or_else(broken)?;
                let weight = match weight.trim() {
                    "" => 1,
                    times => {
                        times.strip_prefix('x').and_then(|n| n.parse().ok()).ok_or_else(broken)?
                    }
                };
                let arguments = arguments
                    .split(", ")
                    .map(|pair| {
                        pair.split_once(": ").map(|(name, rule)| (name.into(), rule.into()))
                    })
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(broken)?;
                let name = name.into();
                self.tools.push(Tool { name, weight, arguments, phrasings: Vec::new() });
                return Ok(Section::Tool);
            }
            "text" => Kind::Text,
            "number" => Kind::Number,
            _ => return Err(broken()),
        };
        let (name, alternatives) = rest.split_once(" = ").ok_or_else(broken)?;
        let rule = Rule {
            kind,
            alternatives: alternatives.split(" | ").map(|text| pieces(text.trim())).collect(),
        };
        self.rules.insert(name.into(), rule);
        Ok(Section::Rule(name.into()))
    }

    fn check(&self) -> Result<(), GrammarError> {
        for name in self.rules.keys() {
            self.check_rule(name, &mut Vec::new())?;
        }
        for tool in &self.tools {
            if tool.phrasings.is_empty() {
                return Err(GrammarError::NoPhrasing { name: tool.name.clone() });
            }
            let unknown = |name: &String| GrammarError::Unknown {
                user: tool.name.clone(),
                name: name.clone(),
            };
            if let Some((_, rule)) =
                tool.arguments.iter().find(|(_, rule)| !self.rules.contains_key(rule))
            {
                return Err(unknown(rule));
            }
            for piece in tool.phrasings.iter().flatten() {
                match piece {
                    Piece::Name(name)
                        if !tool.arguments.iter().any(|(argument, _)| argument == name) =>
                    {
                        return Err(unknown(name));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn check_rule<'g>(
        &'g self,
        name: &'g str,
        path: &mut Vec<&'g str>,
    ) -> Result<(), GrammarError> {
        if path.contains(&name) {
            return Err(GrammarError::Circle { name: name.into() });
        }
        let unknown = || GrammarError::Unknown {
            user: path.last().copied().unwrap_or_default().into(),
            name: name.into(),
        };
        let rule = self.rules.get(name).ok_or_else(unknown)?;
        path.push(name);
        for piece in rule.alternatives.iter().flatten() {
            if let Piece::Name(next) = piece {
                self.check_rule(next, path)?;
            }
        }
        path.pop();
        Ok(())
    }

    /// Draws what a rule can hold. A rule that is not there draws the empty text; [`Grammar::base`]
    /// and [`Grammar::new_tools`] have none such.
    pub fn draw(&self, rule: &str, rng: &mut impl Rng) -> (String, Kind) {
        let Some(rule) = self.rules.get(rule) else { return (String::new(), Kind::Text) };
        let pieces = rule.alternatives.choose(rng).map(Vec::as_slice).unwrap_or_default();
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name(name) => text.push_str(&self.draw(name, rng).0),
                Piece::Range(low, high) => {
                    text.push_str(&rng.random_range(*low..=*high).to_string())
                }
            }
        }
        (text, rule.kind)
    }
}

/// What an indented line belongs to.
enum Section {
    None,
    Rule(String),
    Tool,
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, part) in text.split(['{', '}']).enumerate() {
        match index % 2 {
            0 if part.is_empty() => {}
            0 => pieces.push(Piece::Literal(part.into())),
            _ => pieces.push(placeholder(part)),
        }
    }
    pieces
}

fn placeholder(name: &str) -> Piece {
    let range =
        name.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    match (name, range) {
        (_, Some((low, high))) if low <= high => Piece::Range(low, high),
        _ => Piece::Name(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_rule_goes_on_over_lines_and_draws_every_alternative() {
        let grammar = Grammar::parse(&["text a = x{b}\n  | y\nnumber b = {3-3}"]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let drawn: std::collections::BTreeSet<_> =
            (0..64).map(|_| grammar.draw("a", &mut rng).0).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["x3", "y"]);
        assert_eq!(grammar.draw("b", &mut rng), ("3".into(), Kind::Number));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let check = |text: &str, error: GrammarError| {
            assert_eq!(Grammar::parse(&[text]).unwrap_err(), error)
        };
        check("text a = {b}", GrammarError::Unknown { user: "a".into(), name: "b".into() });
        check("text a = {b}\ntext b = {a}", GrammarError::Circle { name: "a".into() });
        check(
            "tool t(x: a)\n  do {x}",
            GrammarError::Unknown { user: "t".into(), name: "a".into() },
        );
        check(
            "text a = 1\ntool t(x: a)\n  do {y}",
            GrammarError::Unknown { user: "t".into(), name: "y".into() },
        );
        check("text a = 1\ntool t(x: a)", GrammarError::NoPhrasing { name: "t".into() });
        check("phrase a = 1", GrammarError::Line { line: "phrase a = 1".into() });
        check("  at first", GrammarError::Line { line: "  at first".into() });
    }

    #[test]
    fn the_committed_grammars_parse() {
        assert_eq!(Grammar::base().unwrap().tools.len(), 69);
        assert_eq!(Grammar::new_tools().unwrap().tools.len(), 8);
    }
}
