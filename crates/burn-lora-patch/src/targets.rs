//! Which linear layers are meant: names, a pattern, or all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path::is_named;
use crate::pattern::Pattern;

/// The linear layers to adapt.
///
/// The rules are PEFT's (`target_modules`, `exclude_modules`, `layers_to_transform`, `layers_pattern`);
/// what is added is that nothing is passed over in silence: an entry that picks no layer is an error with
/// the nearest names that exist.
///
/// | in code | in a file | picks |
/// | --- | --- | --- |
/// | `"all-linear"` | `"all-linear"` | every linear layer but the output layers |
/// | `["q_proj", "mlp.up_proj"]` | the same | layers whose path is the entry, or ends in it from a dot on |
/// | `Targets::regex(r".*_proj")` | `{ regex = ".*_proj" }` | layers whose whole path matches |
///
/// ```
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora_patch::device::parse("cpu")?;
/// let model = TransformerEncoderConfig::new(16, 32, 2, 3).init(&device);
/// let adapted = |targets: Targets| -> Result<usize, PatchError> {
///     Ok(model.plan_lora(&LoraConfig::new(2).with_targets(targets))?.adapted())
/// };
/// assert_eq!(adapted(["query", "value"].into())?, 6);
/// assert_eq!(adapted("0.mha.query".into())?, 1);
/// assert_eq!(adapted(Targets::regex(r"layers\.[12]\.mha\..*"))?, 8);
/// let typo = adapted(["querry"].into()).unwrap_err().to_string();
/// assert!(typo.contains("did you mean `query`?"), "{typo}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TargetsForm", into = "TargetsForm")]
#[non_exhaustive]
pub enum Targets {
    /// Every linear layer except the output layers (`heads`, the head of a classifier, and whatever
    /// is trained whole).
    AllLinear,
    /// Layers by name: the exact path, or a suffix of it on a dot boundary.
    Names(Vec<String>),
    /// Layers whose whole path matches this regular expression.
    Regex(String),
}

/// What `"all-linear"` is spelled as.
pub(crate) const ALL_LINEAR: &str = "all-linear";

/// The key of a pattern.
const REGEX: &str = "regex";

impl Targets {
    /// Targets by name.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// No targets, beside parameters that are adapted by themselves; `"none"` in files.
    pub fn none() -> Self {
        Self::Names(Vec::new())
    }

    /// Targets by a regular expression, which must match a whole path.
    pub fn regex(pattern: impl Into<String>) -> Self {
        Self::Regex(pattern.into())
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for Targets {
    fn from(names: [S; N]) -> Self {
        Self::names(names)
    }
}

impl<S: Into<String>> From<Vec<S>> for Targets {
    fn from(names: Vec<S>) -> Self {
        Self::names(names)
    }
}

impl<S: Clone + Into<String>> From<&[S]> for Targets {
    fn from(names: &[S]) -> Self {
        Self::names(names.iter().cloned())
    }
}

impl From<&str> for Targets {
    /// `"all-linear"`, or else one name.
    fn from(word: &str) -> Self {
        match word.eq_ignore_ascii_case(ALL_LINEAR) {
            true => Self::AllLinear,
            false => Self::names([word]),
        }
    }
}

impl From<String> for Targets {
    /// `"all-linear"`, or else one name.
    fn from(word: String) -> Self {
        word.as_str().into()
    }
}

/// The word for no targets.
const NONE: &str = "none";

/// [`Targets`] in the forms that they have in a file.
///
/// Whoever reads a file brings what stands there into one of these; which of them are targets is said by
/// the conversion, in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "targets are \"all-linear\", \"none\", a list of module names such as [\"q_proj\", \"v_proj\"], or { regex = \"…\" }"
)]
pub enum TargetsForm {
    /// A word: `"all-linear"`.
    Word(String),
    /// A list of names.
    Names(Vec<String>),
    /// A table: `{ regex = "…" }`.
    Pattern(BTreeMap<String, String>),
}

impl TargetsForm {
    /// The forms, in words.
    pub const WORDS: &str =
        "\"all-linear\", \"none\", a list of module names, or { regex = \"…\" }";
}

/// Why a form is none of [`Targets`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("targets cannot be {}; allowed: {}", self.found(), TargetsForm::WORDS)]
pub enum TargetsError {
    /// A word other than `all-linear`.
    Word(String),
    /// A list without names.
    Empty,
    /// A table with other keys than `regex`.
    Table,
}

impl TargetsError {
    /// What was found, and where it belongs: what a message goes on with after `cannot be`.
    pub fn found(&self) -> String {
        match self {
            Self::Word(word) if word.contains(['*', '|', '(', '[', '\\', '^', '$', '+']) => {
                format!(
                    "the string \"{word}\" (a pattern stands in a table, {{ regex = '{word}' }})"
                )
            }
            Self::Word(word) => {
                let names: Vec<_> =
                    word.split([',', ' ']).filter(|name| !name.is_empty()).collect();
                format!(
                    "the string \"{word}\" (a module name stands in a list, [\"{}\"])",
                    names.join("\", \"")
                )
            }
            Self::Empty => "an empty list".to_owned(),
            Self::Table => "a table without exactly the key `regex`".to_owned(),
        }
    }
}

impl TryFrom<TargetsForm> for Targets {
    type Error = TargetsError;

    fn try_from(form: TargetsForm) -> Result<Self, TargetsError> {
        match form {
            TargetsForm::Word(word) if word.eq_ignore_ascii_case(ALL_LINEAR) => Ok(Self::AllLinear),
            TargetsForm::Word(word) if word == NONE => Ok(Self::none()),
            TargetsForm::Word(word) => Err(TargetsError::Word(word)),
            TargetsForm::Names(names) if names.is_empty() => Err(TargetsError::Empty),
            TargetsForm::Names(names) => Ok(Self::Names(names)),
            TargetsForm::Pattern(mut table) => match (table.remove(REGEX), table.is_empty()) {
                (Some(pattern), true) => Ok(Self::Regex(pattern)),
                _ => Err(TargetsError::Table),
            },
        }
    }
}

impl From<Targets> for TargetsForm {
    fn from(targets: Targets) -> Self {
        match targets {
            Targets::AllLinear => Self::Word(ALL_LINEAR.to_owned()),
            Targets::Names(names) if names.is_empty() => Self::Word(NONE.to_owned()),
            Targets::Names(names) => Self::Names(names),
            Targets::Regex(pattern) => Self::Pattern([(REGEX.to_owned(), pattern)].into()),
        }
    }
}

/// Whether a name is meant to be [`ALL_LINEAR`], however it is written.
pub(crate) fn is_all_linear(name: &str) -> bool {
    name.replace(['_', ' '], "-").eq_ignore_ascii_case(ALL_LINEAR)
}

/// The pattern of whole paths that a name with a pattern's signs was probably meant to be: a star after a
/// letter is a shell's, and what stands before the name in a path is not asked for.
pub(crate) fn as_pattern(name: &str) -> Option<String> {
    if !name.contains(['*', '\\', '|', '^', '$', '(', '[', '?', '+']) {
        return None;
    }
    let mut pattern = String::new();
    let mut before = [' ', '.'];
    for sign in name.chars() {
        let [escape, last] = before;
        let is_word = last.is_alphanumeric() || last == '_';
        if sign == '*' && (pattern.is_empty() || is_word && escape != '\\') {
            pattern.push('.');
        }
        pattern.push(sign);
        before = [last, sign];
    }
    let whole = match pattern.contains('|') {
        _ if pattern.starts_with(['^', '.']) => pattern,
        true => format!(".*({pattern})"),
        false => format!(".*{pattern}"),
    };
    Pattern::new(&whole).is_ok().then_some(whole)
}

/// A pattern that must match a whole path, as Python's `re.fullmatch`.
#[derive(Debug, Clone)]
pub(crate) struct FullMatch {
    whole: Pattern,
    part: Pattern,
}

impl FullMatch {
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let part = Pattern::new(pattern)?;
        let whole = Pattern::within("^", pattern, "$")?;
        Ok(Self { whole, part })
    }

    pub(crate) fn is_match(&self, path: &str) -> bool {
        self.whole.is_match(path)
    }

    /// Whether a part of the path matches, which is not enough.
    pub(crate) fn is_found_in(&self, path: &str) -> bool {
        self.part.is_match(path)
    }
}

/// Where the number of a layer stands in a path (PEFT's `layers_to_transform`).
#[derive(Debug, Clone)]
pub(crate) enum LayerIndex {
    /// The first number with two segments before it and one after it: `model.layers.3.mlp`.
    Anywhere,
    /// The first number that follows one of these names.
    After(Vec<Pattern>),
}

impl LayerIndex {
    /// The rule for `layers_pattern`, whose entries PEFT puts into an expression unescaped.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, (String, String)> {
        if patterns.is_empty() {
            return Ok(Self::Anywhere);
        }
        patterns
            .iter()
            .map(|pattern| {
                Pattern::within(r"^(?:.*?\.)??", pattern, r"\.([0-9]+)\.")
                    .map_err(|error| (pattern.clone(), error))
            })
            .collect::<Result<_, _>>()
            .map(Self::After)
    }

    /// The number of the layer that `path` is in.
    pub(crate) fn of(&self, path: &str) -> Option<usize> {
        match self {
            Self::Anywhere => {
                let segments: Vec<&str> = path.split('.').collect();
                (2..segments.len().saturating_sub(1))
                    .map(|at| segments[at])
                    .find(|segment| is_number(segment))
                    .and_then(|segment| segment.parse().ok())
            }
            Self::After(patterns) => {
                patterns.iter().find_map(|pattern| pattern.last_group(path)?.parse().ok())
            }
        }
    }
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fewest and shortest names that pick exactly `wanted` out of `wanted` and `others`.
///
/// PEFT writes long lists of targets in this form. Every name is a suffix, on a dot boundary, of a
/// wanted path and of no other one.
pub fn minimal_suffixes<'a>(
    wanted: impl IntoIterator<Item = &'a str>,
    others: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let others: Vec<&str> = others.into_iter().collect();
    let mut names: Vec<String> = Vec::new();
    let mut wanted: Vec<&str> = wanted.into_iter().collect();
    wanted.sort_unstable();
    for path in wanted {
        if names.iter().any(|name| is_named(path, name)) {
            continue;
        }
        let mut starts: Vec<usize> = path.rmatch_indices('.').map(|(at, _)| at + 1).collect();
        starts.push(0);
        let unambiguous = starts
            .into_iter()
            .map(|start| &path[start..])
            .find(|suffix| !others.iter().any(|other| is_named(other, suffix)));
        let name = unambiguous.unwrap_or(path).to_owned();
        names.retain(|longer| !is_named(longer, &name));
        names.push(name);
    }
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(patterns: &[&str], path: &str) -> Option<usize> {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        LayerIndex::new(&patterns).unwrap().of(path)
    }

    #[test]
    fn a_pattern_matches_whole_paths_only() {
        let pattern = FullMatch::new("a|ab").unwrap();
        assert!(pattern.is_match("ab"));
        assert!(!pattern.is_match("abc"));
        assert!(!FullMatch::new("q_proj").unwrap().is_match("layers.0.q_proj"));
        assert!(FullMatch::new("a)|(b").is_err());
        let spared = FullMatch::new(r"(?!.*\blm_head\b).*_(proj|head)").unwrap();
        assert!(spared.is_match("layers.0.q_proj") && !spared.is_match("lm_head"));
    }

    /// What PEFT 0.21.2's expressions give for these paths.
    #[test]
    fn the_layer_is_the_first_number_where_peft_looks() {
        assert_eq!(index(&[], "model.layers.3.mlp.up_proj"), Some(3));
        assert_eq!(index(&[], "model.layers.3.experts.7.up_proj"), Some(3));
        assert_eq!(index(&[], "layers.3.up_proj"), None);
        assert_eq!(index(&[], "model.layers.3"), None);
        assert_eq!(index(&["layers"], "layers.3.up_proj"), Some(3));
        assert_eq!(index(&["layers"], "model.layers.3.up_proj"), Some(3));
        assert_eq!(index(&["experts"], "model.layers.3.experts.7.up_proj"), Some(7));
        assert_eq!(index(&["h", "layers"], "model.layers.3.up_proj"), Some(3));
        assert_eq!(index(&["(h|layers)"], "model.layers.3.up_proj"), Some(3));
        assert_eq!(index(&["ayers"], "model.layers.3.up_proj"), None);
        assert_eq!(index(&["layers"], "model.layers.99999999999999999999999.x"), None);
    }

    #[test]
    fn suffixes_condense_to_the_shortest_that_are_unambiguous() {
        let wanted = ["l.0.attn.q", "l.1.attn.q", "l.0.attn.dense", "l.1.attn.dense"];
        let others = ["l.0.mlp.dense", "l.1.mlp.dense", "l.0.attn"];
        assert_eq!(minimal_suffixes(wanted, others), ["attn.dense", "q"]);
        assert_eq!(minimal_suffixes(["a.x"], ["b.a.x", "x"]), ["a.x"]);
    }

    #[test]
    fn what_code_and_files_say_is_the_same() {
        assert_eq!(Targets::from(["a", "b"]), Targets::from(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(Targets::from(&["a", "b"][..]), Targets::names(["a", "b"]));
        assert_eq!(Targets::from("a"), Targets::names(["a"]));
        assert_eq!(Targets::from("All-Linear".to_owned()), Targets::AllLinear);
        let read: Targets = serde_json::from_str(r#"{"regex": "a.*"}"#).unwrap();
        assert_eq!(read, Targets::regex("a.*"));
    }

    #[test]
    fn no_targets_are_a_word_of_their_own() {
        assert_eq!(serde_json::to_string(&Targets::none()).unwrap(), r#""none""#);
        assert_eq!(serde_json::from_str::<Targets>(r#""none""#).unwrap(), Targets::none());
    }

    #[test]
    fn serde_forms_go_both_ways_and_wrong_ones_name_the_right_ones() {
        for text in [r#""all-linear""#, r#"["a","b"]"#, r#"{"regex":"a.*"}"#] {
            let targets: Targets = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&targets).unwrap(), text);
        }
        assert_eq!(serde_json::from_str::<Targets>(r#""All-Linear""#).unwrap(), Targets::AllLinear);
        let unknown = serde_json::from_str::<Targets>(r#"{"regexp":"a"}"#).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "targets cannot be a table without exactly the key `regex`; allowed: \"all-linear\", \"none\", a list of \
             module names, or { regex = \"…\" }"
        );
        let number = serde_json::from_str::<Targets>("3").unwrap_err();
        assert!(number.to_string().contains("targets are \"all-linear\""), "{number}");
        assert!(serde_json::from_str::<Targets>("[]").is_err());
        assert!(serde_json::from_str::<Targets>("{}").is_err());
    }

    proptest! {
        /// Condensing never changes what is picked, unless a wanted path is itself a suffix of
        /// another path (then no list of names could tell them apart).
        #[test]
        fn minimal_suffixes_pick_the_same_set(
            paths in prop::collection::btree_set("[ab]\\.[cd](\\.[ab]){1,3}", 1..12),
            choice in prop::collection::vec(any::<bool>(), 12),
        ) {
            let (wanted, others): (Vec<_>, Vec<_>) =
                paths.iter().zip(choice).partition(|(_, chosen)| *chosen);
            let wanted: Vec<&str> = wanted.into_iter().map(|(path, _)| path.as_str()).collect();
            let others: Vec<&str> = others.into_iter().map(|(path, _)| path.as_str()).collect();
            prop_assume!(!wanted.iter().any(|w| others.iter().any(|o| is_named(o, w))));
            let names = minimal_suffixes(wanted.iter().copied(), others.iter().copied());
            let picked: Vec<&str> = paths
                .iter()
                .map(String::as_str)
                .filter(|path| names.iter().any(|name| is_named(path, name)))
                .collect();
            prop_assert_eq!(picked, wanted);
        }
    }
}
