//! Reads keys against what is allowed and collects what is wrong instead of stopping at it.
//!
//! A key that cannot be used gives `None` and leaves a [`Problem`] behind; whoever reads goes on
//! with the next key, and at the end there is either a whole configuration or all the problems.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allowed::{Allowed, Mismatch, describe, number};
use super::error::{Place, Problem};
use super::keys::Key;
use super::rules::{EXCLUSIVE, OF_ADAPTERS};
use crate::suggest::nearest;

/// A value somebody wrote.
struct Entry<'i> {
    value: Spanned<DeValue<'i>>,
    key: Range<usize>,
    /// The override as given and the part behind `=`, if it comes from one.
    set: Option<(&'i str, &'i str)>,
}

/// The problems found so far, and the values still to be read.
pub(super) struct Reader<'i> {
    text: &'i str,
    entries: BTreeMap<String, Entry<'i>>,
    sections: BTreeMap<&'static str, Range<usize>>,
    /// Section and name of every key that there is.
    keys: Vec<(&'static str, &'static str)>,
    /// Lines whose syntax is broken already: more about them would mislead.
    broken: Vec<usize>,
    pub(super) problems: Vec<Problem>,
}

impl<'i> Reader<'i> {
    /// Takes the text apart, then lays the overrides over it, later ones over earlier ones.
    pub(super) fn new(keys: &[Key], text: &'i str, overrides: &'i [String]) -> Self {
        let mut reader = Self {
            text,
            entries: BTreeMap::new(),
            sections: BTreeMap::new(),
            keys: keys.iter().map(|key| (key.section, key.name)).collect(),
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
            let Some(section) = self.section_names().find(|section| *section == name) else {
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
            let help = match self.owner_of(path) {
                Some(section) => format!("did you mean `{section}.{path}`?"),
                None => "write section.key=value, such as train.steps=50".to_owned(),
            };
            return self.unknown_key(path.to_owned(), place, help);
        };
        if !self.section_names().any(|name| name == section) {
            let help = did_you_mean(section, self.section_names())
                .unwrap_or_else(|| self.sections_there_are());
            let message = "there is no such section".to_owned();
            return self.push(Problem { key: path.to_owned(), place, message, help: Some(help) });
        }
        let path = match self.check_key(section, key) {
            Ok(path) => path,
            Err(help) => return self.unknown_key(path.to_owned(), place, help),
        };
        let value = DeValue::parse(raw)
            .unwrap_or_else(|_| Spanned::new(0..raw.len(), DeValue::String(raw.into())));
        for (first, second, _) in EXCLUSIVE {
            if [first, second].contains(&&*path) {
                self.entries.remove(first);
                self.entries.remove(second);
            }
        }
        if path == "adapter.method" && value.get_ref().as_str() == Some("full") {
            self.entries.retain(|path, _| {
                !path.starts_with("adapter.") && !OF_ADAPTERS.contains(&path.as_str())
            });
        }
        self.entries.insert(path, Entry { value, key: 0..0, set: Some((text, raw)) });
    }

    fn unknown_section(&mut self, name: &str, span: Range<usize>) {
        let help = did_you_mean(name, self.section_names())
            .or_else(|| Some(format!("`{name}` belongs in [{}]", self.owner_of(name)?)))
            .unwrap_or_else(|| self.sections_there_are());
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

    /// Whether somebody gave this key, and not as the 0 that leaves it out.
    pub(super) fn is_on(&self, path: &str) -> bool {
        let is_zero = |entry: &Entry<'_>| number(0.0..=0.0).read(&entry.value).is_ok();
        self.entries.get(path).is_some_and(|entry| !is_zero(entry))
    }

    /// The keys of a section that somebody gave.
    pub(super) fn given_in(&self, section: &str) -> Vec<String> {
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

    /// Reports a problem of that kind if it is one.
    pub(super) fn refuse_if(
        &mut self,
        wrong: bool,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if wrong {
            self.refuse(path, message, help);
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

    /// Reads a key that must be given: `None` for a problem.
    pub(super) fn required<T: 'static>(&mut self, path: &str, allowed: &Allowed<T>) -> Option<T> {
        let given = self.given(path, allowed)?;
        if given.is_none() {
            let name = path.split_once('.').map_or(path, |(_, name)| name);
            self.missing(path, format!("write `{name} = …` ({})", allowed.words));
        }
        given
    }

    /// Reads a key that may be left out: `None` for a problem, `Some(None)` where it is not given.
    pub(super) fn given<T: 'static>(
        &mut self,
        path: &str,
        allowed: &Allowed<T>,
    ) -> Option<Option<T>> {
        let Some(entry) = self.entries.get(path) else { return Some(None) };
        let read = allowed.read(&entry.value).or_else(|mismatch| match entry.set {
            // `output.dir=2024` means the text, whatever TOML takes it for.
            Some((_, raw)) if is_scalar(entry.value.get_ref()) => {
                let text = Spanned::new(0..0, DeValue::String(raw.into()));
                allowed.read(&text).map_err(|_| mismatch)
            }
            _ => Err(mismatch),
        });
        let Mismatch { span, found, hint } = match read {
            Ok(value) => return Some(Some(value)),
            Err(mismatch) => mismatch,
        };
        let place = self.place(path, Some(span));
        let hint = hint.map_or_else(String::new, |hint| format!("{hint} "));
        let help = Some(format!("{hint}allowed: {}", allowed.words));
        let message = format!("cannot be {found}");
        self.push(Problem { key: path.to_owned(), place, message, help });
        None
    }

    fn check_key(&self, section: &str, key: &str) -> Result<String, String> {
        let names = || self.keys.iter().filter(|(of, _)| *of == section).map(|(_, name)| *name);
        if names().any(|name| name == key) {
            return Ok(format!("{section}.{key}"));
        }
        Err(did_you_mean(key, names())
            .or_else(|| Some(format!("`{key}` belongs in [{}]", self.owner_of(key)?)))
            .unwrap_or_else(|| {
                format!("the keys of [{section}] are {}", names().collect::<Vec<_>>().join(", "))
            }))
    }

    /// The sections, in the order in which they are written.
    fn section_names(&self) -> impl Iterator<Item = &'static str> + use<'i> {
        let mut names: Vec<&'static str> = self.keys.iter().map(|(section, _)| *section).collect();
        names.dedup();
        names.into_iter()
    }

    fn sections_there_are(&self) -> String {
        let names: Vec<_> = self.section_names().map(|section| format!("[{section}]")).collect();
        format!("the sections are {}", names.join(", "))
    }

    /// The section that a key of this name belongs to.
    fn owner_of(&self, key: &str) -> Option<&'static str> {
        self.keys.iter().find(|(_, name)| *name == key).map(|(section, _)| *section)
    }
}

fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, words).map(|near| format!("did you mean `{near}`?"))
}

fn is_scalar(value: &DeValue<'_>) -> bool {
    !matches!(value, DeValue::Array(_) | DeValue::Table(_))
}
