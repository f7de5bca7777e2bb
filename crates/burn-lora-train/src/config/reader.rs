//! Reads keys against the schema and collects what is wrong instead of stopping at it.
//!
//! A key that cannot be used gives `None` and leaves a [`Problem`] behind; whoever reads goes on
//! with the next key, and at the end there is either a whole configuration or all the problems.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::schema::{self, Fallback, Key, SECTIONS};
use crate::suggest::nearest;

/// Keys of which only one can hold: giving one in an override drops the others.
const EXCLUSIVE: [[&str; 2]; 3] = [
    ["train.steps", "train.epochs"],
    ["model.path", "model.config"],
    ["data.eval", "data.held_out"],
];

/// Keys outside of `[adapter]` that mean something for adapters only: `method = "full"` in an override
/// drops them too.
const OF_ADAPTERS: [&str; 2] = ["train.lora_plus", "train.keep_best"];

/// A value somebody wrote.
struct Entry<'i> {
    value: Spanned<DeValue<'i>>,
    key: Range<usize>,
    /// The override as given and the part behind `=`, if it comes from one.
    set: Option<(&'i str, &'i str)>,
}

/// What is wrong with a value: where in the file, and what was found there.
pub(super) struct Mismatch {
    pub(super) span: Range<usize>,
    pub(super) found: String,
}

/// A Rust value that a TOML value can stand for.
pub(super) trait FromToml: Sized {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch>;
}

/// The problems found so far, and the values still to be read.
pub(super) struct Reader<'i> {
    text: &'i str,
    entries: BTreeMap<String, Entry<'i>>,
    sections: BTreeMap<&'static str, Range<usize>>,
    /// Lines whose syntax is broken already: more about them would mislead.
    broken: Vec<usize>,
    pub(super) problems: Vec<Problem>,
}

impl<'i> Reader<'i> {
    /// Takes the text apart, then lays the overrides over it, later ones over earlier ones.
    pub(super) fn new(text: &'i str, overrides: &'i [String]) -> Self {
        let mut reader = Self {
            text,
            entries: BTreeMap::new(),
            sections: BTreeMap::new(),
            broken: Vec::new(),
            problems: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = reader.file(error.span().unwrap_or(0..0));
            let Place::File { line, .. } = &place else { continue };
            let line = *line;
            let message = error.message().to_owned();
            // The first error of a line is the cause of those that follow.
            reader.push(Problem { key: String::new(), place, message, help: None });
            reader.broken.push(line);
        }
        reader.sections_of(table.into_inner());
        for text in overrides {
            reader.set(text);
        }
        reader
    }

    fn sections_of(&mut self, table: DeTable<'i>) {
        for (name, value) in table {
            let (span, name) = (name.span(), name.into_inner());
            let Some(section) = SECTIONS.iter().find(|section| **section == name) else {
                self.unknown_section(&name, span);
                continue;
            };
            match value.into_inner() {
                DeValue::Table(keys) => {
                    self.sections.insert(section, span);
                    for (key, value) in keys {
                        let (span, key) = (key.span(), key.into_inner());
                        if self.broken.contains(&self.line(&span)) {
                            continue;
                        }
                        match self.check_key(section, &key) {
                            Ok(path) => {
                                self.entries.insert(path, Entry { value, key: span, set: None });
                            }
                            Err(help) => {
                                let place = self.file(span);
                                self.unknown_key(format!("{section}.{key}"), place, help);
                            }
                        }
                    }
                }
                other => {
                    let message = format!("is a section, but stands here as {}", describe(&other));
                    let help = Some(format!("write [{section}] and its keys below"));
                    let place = self.file(span);
                    self.push(Problem { key: name.into_owned(), place, message, help });
                }
            }
        }
    }

    fn set(&mut self, text: &'i str) {
        let place = Place::Override { text: text.to_owned() };
        let Some((path, raw)) = text.split_once('=') else {
            let message = "is not an override".to_owned();
            let help = Some("write section.key=value, such as train.steps=50".to_owned());
            return self.push(Problem { key: String::new(), place, message, help });
        };
        let (path, raw) = (path.trim(), raw.trim());
        let Some((section, key)) = path.split_once('.') else {
            let help = match owner_of(path) {
                Some(section) => format!("did you mean `{section}.{path}`?"),
                None => "write section.key=value, such as train.steps=50".to_owned(),
            };
            return self.unknown_key(path.to_owned(), place, help);
        };
        if !SECTIONS.contains(&section) {
            let help = did_you_mean(section, SECTIONS).unwrap_or_else(sections_there_are);
            let message = "there is no such section".to_owned();
            return self.push(Problem { key: path.to_owned(), place, message, help: Some(help) });
        }
        let path = match self.check_key(section, key) {
            Ok(path) => path,
            Err(help) => return self.unknown_key(path.to_owned(), place, help),
        };
        let value = DeValue::parse(raw)
            .unwrap_or_else(|_| Spanned::new(0..raw.len(), DeValue::String(raw.into())));
        for other in EXCLUSIVE.iter().filter(|group| group.contains(&&*path)).flatten() {
            self.entries.remove(*other);
        }
        if path == "adapter.method" && value.get_ref().as_str() == Some("full") {
            self.entries.retain(|path, _| {
                !path.starts_with("adapter.") && !OF_ADAPTERS.contains(&path.as_str())
            });
        }
        self.entries.insert(path, Entry { value, key: 0..0, set: Some((text, raw)) });
    }

    fn check_key(&self, section: &str, key: &str) -> Result<String, String> {
        if schema::find(section, key).is_some() {
            return Ok(format!("{section}.{key}"));
        }
        let near = did_you_mean(key, schema::keys_of(section).map(|key| key.name));
        Err(near
            .or_else(|| Some(format!("`{key}` belongs in [{}]", owner_of(key)?)))
            .unwrap_or_else(|| {
                let names: Vec<_> = schema::keys_of(section).map(|key| key.name).collect();
                format!("the keys of [{section}] are {}", names.join(", "))
            }))
    }

    fn unknown_section(&mut self, name: &str, span: Range<usize>) {
        let help = did_you_mean(name, SECTIONS)
            .or_else(|| Some(format!("`{name}` belongs in [{}]", owner_of(name)?)))
            .unwrap_or_else(sections_there_are);
        let place = self.file(span);
        let message = "there is no such section".to_owned();
        self.push(Problem { key: name.to_owned(), place, message, help: Some(help) });
    }

    fn unknown_key(&mut self, key: String, place: Place, help: String) {
        let message = "there is no such key".to_owned();
        self.push(Problem { key, place, message, help: Some(help) });
    }

    fn push(&mut self, problem: Problem) {
        match &problem.place {
            Place::File { line, .. } if self.broken.contains(line) => {}
            _ => self.problems.push(problem),
        }
    }

    fn file(&self, span: Range<usize>) -> Place {
        let line = self.line(&span);
        Place::File { span, line }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Where a key stands; a key that is not given, at its section's head.
    fn place(&self, path: &str, value: Option<Range<usize>>) -> Place {
        match self.entries.get(path) {
            Some(Entry { set: Some((text, _)), .. }) => {
                Place::Override { text: (*text).to_owned() }
            }
            Some(entry) => self.file(value.unwrap_or_else(|| entry.key.clone())),
            None => {
                let section = path.split('.').next().unwrap_or(path);
                self.file(self.sections.get(section).cloned().unwrap_or(0..0))
            }
        }
    }

    /// Whether somebody gave this key.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// The keys of a section that somebody gave.
    pub(super) fn given(&self, section: &str) -> Vec<String> {
        let prefix = format!("{section}.");
        self.entries.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
    }

    /// Reports a problem of a key that is right in itself but not beside the others, unless broken
    /// syntax may hide what the others are.
    pub(super) fn refuse(
        &mut self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.broken.is_empty() {
            let place = self.place(path, None);
            let (message, help) = (message.into(), Some(help.into()));
            self.push(Problem { key: path.to_owned(), place, message, help });
        }
    }

    /// Reports that a key is missing, unless one was taken for a misspelling of it already.
    pub(super) fn missing(&mut self, path: &str, help: impl Into<String>) {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let meant = did_you_mean(name, [name]);
        let misspelt = |problem: &Problem| {
            problem.key.starts_with(&format!("{section}.")) && problem.help == meant
        };
        if !self.problems.iter().any(misspelt) {
            self.refuse(path, "is missing", help);
        }
    }

    /// Reads a key that always has a value: its own, or the schema's default.
    pub(super) fn value<T: FromToml>(
        &mut self,
        path: &str,
        holds: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let key = schema_key(path)?;
        match self.optional(path, &holds)? {
            Some(value) => Some(value),
            None => match key.default {
                Fallback::Toml(default) => {
                    let value = DeValue::parse(default).ok()?;
                    T::from_toml(&value).ok().filter(holds)
                }
                Fallback::Required | Fallback::Derived(_) => {
                    self.missing(path, format!("write `{} = …` ({})", key.name, key.allowed));
                    None
                }
            },
        }
    }

    /// Reads a key that may be left out: `None` for a problem, `Some(None)` where it is not given.
    pub(super) fn optional<T: FromToml>(
        &mut self,
        path: &str,
        holds: impl Fn(&T) -> bool,
    ) -> Option<Option<T>> {
        let Some(entry) = self.entries.get(path) else { return Some(None) };
        let read = T::from_toml(&entry.value).or_else(|mismatch| match entry.set {
            // `--set output.dir=2024` means the text, whatever TOML takes it for.
            Some((_, raw)) if is_scalar(entry.value.get_ref()) => {
                let text = Spanned::new(0..0, DeValue::String(raw.into()));
                T::from_toml(&text).map_err(|_| mismatch)
            }
            _ => Err(mismatch),
        });
        let (span, found) = match read {
            Ok(value) if holds(&value) => return Some(Some(value)),
            Ok(_) => (entry.value.span(), describe(entry.value.get_ref())),
            Err(Mismatch { span, found }) => (span, found),
        };
        let place = self.place(path, Some(span));
        let help = schema_key(path).map(|key| format!("allowed: {}", key.allowed));
        let message = format!("cannot be {found}");
        self.push(Problem { key: path.to_owned(), place, message, help });
        None
    }

    /// Reads a key that holds one of a few words.
    pub(super) fn word<T: Copy>(&mut self, path: &str, words: &[(&str, T)]) -> Option<T> {
        let find = |text: &str| words.iter().find(|(word, _)| *word == text);
        let given: String = self.value(path, |_| true)?;
        if let Some((_, value)) = find(&given) {
            return Some(*value);
        }
        let allowed = schema_key(path).map_or("", |key| key.allowed);
        let place = self.place(path, self.entries.get(path).map(|entry| entry.value.span()));
        let help = match nearest(&given, words.iter().map(|(word, _)| *word)) {
            Some(word) => format!("did you mean \"{word}\"? allowed: {allowed}"),
            None => format!("allowed: {allowed}"),
        };
        let message = format!("cannot be \"{given}\"");
        self.push(Problem { key: path.to_owned(), place, message, help: Some(help) });
        None
    }
}

fn schema_key(path: &str) -> Option<&'static Key> {
    let (section, name) = path.split_once('.')?;
    schema::find(section, name)
}

fn sections_there_are() -> String {
    format!("the sections are {}", SECTIONS.map(|section| format!("[{section}]")).join(", "))
}

/// The section that a key of this name belongs to.
fn owner_of(key: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|section| schema::find(section, key).is_some())
}

fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, words).map(|near| format!("did you mean `{near}`?"))
}

fn is_scalar(value: &DeValue<'_>) -> bool {
    !matches!(value, DeValue::Array(_) | DeValue::Table(_))
}

/// A value as it is named in a message.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn mismatch<T>(value: &Spanned<DeValue<'_>>) -> Result<T, Mismatch> {
    Err(Mismatch { span: value.span(), found: describe(value.get_ref()) })
}

impl FromToml for String {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        value.get_ref().as_str().map(str::to_owned).map_or_else(|| mismatch(value), Ok)
    }
}

impl FromToml for bool {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        value.get_ref().as_bool().map_or_else(|| mismatch(value), Ok)
    }
}

impl FromToml for i64 {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        number.map_or_else(|| mismatch(value), Ok)
    }
}

impl FromToml for u64 {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        // Through i64, the range of a TOML integer, so that what is read can be written again.
        i64::from_toml(value)?.try_into().or_else(|_| mismatch(value))
    }
}

impl FromToml for usize {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        i64::from_toml(value)?.try_into().or_else(|_| mismatch(value))
    }
}

impl FromToml for f64 {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(_) => i64::from_toml(value).ok().map(|number| number as f64),
            _ => None,
        };
        // No key means anything at infinity or at what is not a number.
        number.filter(|number: &f64| number.is_finite()).map_or_else(|| mismatch(value), Ok)
    }
}

impl<T: FromToml> FromToml for Vec<T> {
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Mismatch> {
        let Some(items) = value.get_ref().as_array() else { return mismatch(value) };
        items
            .iter()
            .map(|item| {
                T::from_toml(item).map_err(|inner| Mismatch {
                    span: inner.span,
                    found: format!("a list with {}", inner.found),
                })
            })
            .collect()
    }
}
