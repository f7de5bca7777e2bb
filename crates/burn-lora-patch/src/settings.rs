//! The settings of one layer's adapter: those for all layers, with the rank and the alpha that patterns give it.
//!
//! PEFT's rule (`get_pattern_key`): the first pattern that matches a path, or an ending of it from a dot on, decides;
//! `^` stands for the beginning of the path.

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use burn_lora::AdapterConfig;

use crate::config::LoraConfig;
use crate::error::{Role, TargetProblem};
use crate::path::is_named;
use crate::pattern::{Pattern, escaped};
use crate::targets::minimal_suffixes;

/// Values by pattern of layers, in the order in which they are asked: PEFT's `rank_pattern` and `alpha_pattern`.
///
/// ```
/// use burn_lora_patch::Patterns;
///
/// let ranks = Patterns::from([("q_proj", 2), (r"layers\.[01]\..*", 16)]);
/// assert_eq!(ranks.iter().next(), Some(("q_proj", 2)));
/// assert_eq!(serde_json::to_string(&ranks)?, r#"{"q_proj":2,"layers\\.[01]\\..*":16}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns<T>(Vec<(String, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Patterns<T> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, T)> {
        self.0.iter().map(|(pattern, value)| (pattern.as_str(), *value))
    }

    /// The same patterns with other values.
    pub fn map<U>(&self, mut value: impl FnMut(T) -> U) -> Patterns<U> {
        Patterns(self.0.iter().map(|(pattern, old)| (pattern.clone(), value(*old))).collect())
    }

    /// The same in the order of the alphabet, in which PEFT's files have them.
    pub(crate) fn sorted(&self) -> Self {
        let mut sorted = self.0.clone();
        sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self(sorted)
    }
}

impl<T: Copy + PartialEq> Patterns<T> {
    /// Patterns that give every layer its value where `default` is that of all others; each layer is matched by one at
    /// most, so that their order says nothing.
    pub(crate) fn exact(values: &[(&str, T)], default: T) -> Self {
        let mut left: Vec<T> = Vec::new();
        for (_, value) in values {
            if *value != default && !left.contains(value) {
                left.push(*value);
            }
        }
        let of = |value: T| {
            let with = |wanted: bool| {
                let found = values.iter().filter(move |(_, other)| (*other == value) == wanted);
                found.map(|(layer, _)| *layer)
            };
            let others: Vec<&str> = with(false).collect();
            // A path that another one ends in is told from it by its beginning alone.
            let (endings, named): (Vec<&str>, Vec<&str>) =
                with(true).partition(|layer| others.iter().any(|other| is_named(other, layer)));
            let whole = endings.into_iter().map(|layer| format!("^{}", escaped(layer)));
            let names = minimal_suffixes(named, others.iter().copied());
            let names = names.iter().map(|name| escaped(name));
            whole.chain(names).map(|pattern| (pattern, value)).collect::<Vec<_>>()
        };
        Self(left.into_iter().flat_map(of).collect()).sorted()
    }
}

impl<S: Into<String>, T> FromIterator<(S, T)> for Patterns<T> {
    fn from_iter<I: IntoIterator<Item = (S, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(pattern, value)| (pattern.into(), value)).collect())
    }
}

impl<S: Into<String>, T, const N: usize> From<[(S, T); N]> for Patterns<T> {
    fn from(entries: [(S, T); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, value)| (pattern, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Patterns<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("values by pattern of layers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Patterns(entries))
            }
        }
        deserializer.deserialize_map(Entries(std::marker::PhantomData))
    }
}

/// What the adapter of each layer is made from.
#[derive(Debug, Clone)]
pub(crate) struct Settings<'a> {
    of_all: &'a AdapterConfig,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
}

impl<'a> Settings<'a> {
    /// Those that the configuration says.
    ///
    /// # Errors
    ///
    /// Every pattern that is no regular expression.
    pub(crate) fn new(config: &'a LoraConfig) -> Result<Self, Vec<TargetProblem>> {
        let mut problems = Vec::new();
        let ranks = compiled(Role::RankPattern, &config.rank_pattern, &mut problems);
        let alphas = compiled(Role::AlphaPattern, &config.alpha_pattern, &mut problems);
        match problems.is_empty() {
            true => Ok(Self { of_all: &config.adapter, ranks, alphas }),
            false => Err(problems),
        }
    }

    /// The settings of the layer at that path.
    pub(crate) fn of(&self, layer: &str) -> AdapterConfig {
        self.decided(layer).0
    }

    /// The settings of the layer, and which rank pattern and which alpha pattern decided.
    pub(crate) fn decided(&self, layer: &str) -> (AdapterConfig, [Option<usize>; 2]) {
        let (rank, alpha) = (first(&self.ranks, layer), first(&self.alphas, layer));
        let mut adapter = self.of_all.clone();
        adapter.rank = rank.map_or(adapter.rank, |at| self.ranks[at].1);
        adapter.alpha = alpha.map_or(adapter.alpha, |at| self.alphas[at].1);
        (adapter, [rank, alpha])
    }

    /// Whether the rank pattern, or the alpha pattern, at that place matches the layer, whichever decides.
    pub(crate) fn matches(&self, role: Role, at: usize, layer: &str) -> bool {
        let pattern = match role {
            Role::RankPattern => self.ranks.get(at).map(|(pattern, _)| pattern),
            _ => self.alphas.get(at).map(|(pattern, _)| pattern),
        };
        pattern.is_some_and(|pattern| pattern.is_match(layer))
    }
}

fn compiled<T: Copy>(
    role: Role,
    patterns: &Patterns<T>,
    problems: &mut Vec<TargetProblem>,
) -> Vec<(Pattern, T)> {
    let compiled = patterns.iter().filter_map(|(text, value)| match Pattern::of_layers(text) {
        Ok(pattern) => Some((pattern, value)),
        Err(reason) => {
            let pattern = text.to_owned();
            problems.push(TargetProblem::Pattern { role, pattern, reason });
            None
        }
    });
    compiled.collect()
}

fn first<T>(patterns: &[(Pattern, T)], layer: &str) -> Option<usize> {
    patterns.iter().position(|(pattern, _)| pattern.is_match(layer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranks(config: &LoraConfig, layers: &[&str]) -> Vec<usize> {
        let settings = Settings::new(config).unwrap();
        layers.iter().map(|layer| settings.of(layer).rank).collect()
    }

    /// What PEFT 0.21.2's `get_pattern_key` gives for these keys and paths.
    #[test]
    fn the_first_pattern_that_matches_a_path_or_an_ending_from_a_dot_on_decides() {
        let layers = ["model.layers.0.q_proj", "model.layers.10.q_proj", "q_proj", "model.xq_proj"];
        let of = |patterns: &[(&str, usize)]| {
            let config = LoraConfig::new(8).with_rank_pattern(patterns.iter().copied());
            ranks(&config, &layers)
        };
        assert_eq!(of(&[("q_proj", 2)]), [2, 2, 2, 8]);
        assert_eq!(of(&[("0.q_proj", 2)]), [2, 8, 8, 8]);
        assert_eq!(of(&[(r".*0\.q_proj", 2)]), [2, 2, 8, 8]);
        assert_eq!(of(&[("^q_proj", 2)]), [8, 8, 2, 8]);
        assert_eq!(of(&[("proj", 2)]), [8, 8, 8, 8]);
        assert_eq!(of(&[("q_proj", 2), (r"layers\.0\.q_proj", 4)]), [2, 2, 2, 8]);
        assert_eq!(of(&[(r"layers\.0\.q_proj", 4), ("q_proj", 2)]), [4, 2, 2, 8]);
        assert_eq!(of(&[("q_proj|.*xq_proj", 3)]), [3, 3, 3, 3]);
        assert_eq!(of(&[(r".*\.(?!10)[0-9]+\.q_proj", 3)]), [3, 8, 8, 8], "looking ahead");
    }

    #[test]
    fn rank_and_alpha_are_decided_apart() {
        let config = LoraConfig::new(8)
            .with_alpha(16)
            .with_rank_pattern([("q", 2)])
            .with_alpha_pattern([("v", 3.0)]);
        let settings = Settings::new(&config).unwrap();
        let of = |layer| (settings.of(layer).rank, settings.of(layer).alpha);
        assert_eq!([of("q"), of("v"), of("k")], [(2, 16.0), (8, 3.0), (8, 16.0)]);
        assert_eq!(config.largest_scale(), 8.0);
        let wrong = LoraConfig::new(8).with_rank_pattern([("a)|(b", 2), ("(", 3)]);
        assert_eq!(Settings::new(&wrong).unwrap_err().len(), 2);
    }

    proptest! {
        /// What is written by name gives every layer the value that it had, in the order of the alphabet too.
        #[test]
        fn exact_patterns_give_every_layer_its_value(
            layers in prop::collection::btree_set("([ab]\\.){0,2}[cd]", 1..8),
            values in prop::collection::vec(1usize..4, 8),
        ) {
            let values: Vec<(&str, usize)> =
                layers.iter().map(String::as_str).zip(values.iter().copied()).collect();
            let mut config = LoraConfig::new(2);
            config.rank_pattern = Patterns::exact(&values, 2);
            let paths: Vec<&str> = values.iter().map(|(layer, _)| *layer).collect();
            let expected: Vec<usize> = values.iter().map(|(_, value)| *value).collect();
            prop_assert_eq!(ranks(&config, &paths), expected);
        }
    }
}
