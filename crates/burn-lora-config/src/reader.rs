//! Reads keys against what is allowed and collects what is wrong instead of stopping at it.
//!
//! A key that cannot be used gives `None` and leaves a [`Problem`] behind; whoever reads goes on
//! with the next key, and at the end there is either a whole configuration or all the problems.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::allowed::{Allowed, Mismatch, describe, number};
use crate::error::{Place, Problem};
use crate::keys::Key;
use crate::rules;
use burn_lora::Method;
use burn_lora_text::nearest;

const NO_SECTION: &str = "there is no such section";
const NO_TOML: &str = "a run configuration is TOML: sections such as `[model]`, and keys such as `path = \"…\"` below them";
const NO_KEY: &str = "there is no such key";

/// What PEFT, transformers and their trainers call a key, and what it is here.
const OF_OTHERS: [(&str, &str); 22] = [
    ("r", "rank"),
    ("lora_r", "rank"),
    ("lora_alpha", "alpha"),
    ("lora_dropout", "dropout"),
    ("use_rslora", "rslora"),
    ("init_lora_weights", "init"),
    ("target_modules", "targets"),
    ("lora_target", "targets"),
    ("exclude_modules", "exclude"),
    ("model_name_or_path", "path"),
    ("base_model", "path"),
    ("lr", "learning_rate"),
    ("lr_scheduler_type", "schedule"),
    ("max_steps", "steps"),
    ("num_train_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("per_device_train_batch_size", "batch_size"),
    ("gradient_accumulation_steps", "accumulate"),
    ("max_grad_norm", "clip"),
    ("max_seq_length", "max_length"),
    ("sequence_len", "max_length"),
    ("output_dir", "dir"),
];

/// What to write in the place of what another language, or a word processor, has on a line that is no TOML.
fn of_another_language(line: &str) -> Option<&'static str> {
    if line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']) {
        return Some("write straight quotes, as on the keyboard");
    }
    if line.contains('\u{a0}') {
        return Some(
            "a blank there is one that does not break, which TOML has not: write a plain one",
        );
    }
    let (_, value) = line.split_once('=')?;
    match value.split('#').next().unwrap_or(value).trim() {
        "None" | "null" | "NULL" | "nil" | "~" => {
            Some("TOML has no value for nothing: leave the key out")
        }
        "True" | "TRUE" | "yes" | "on" => Some("write `true`"),
        "False" | "FALSE" | "no" | "off" => Some("write `false`"),
        _ => None,
    }
}

/// A value somebody wrote.
struct Entry<'i> {
    value: Spanned<DeValue<'i>>,
    key: Range<usize>,
    /// The override as given and the part behind `=`, if it comes from one.
    set: Option<(&'i str, &'i str)>,
}

/// The problems found so far, and the values still to be read.
pub(crate) struct Reader<'i> {
    /// Where the lines of the text end.
    ends: Vec<usize>,
    entries: BTreeMap<String, Entry<'i>>,
    sections: BTreeMap<&'static str, Range<usize>>,
    /// Section and name of every key that there is.
    keys: Vec<(&'static str, &'static str)>,
    /// Lines whose syntax is broken already: more about them would mislead.
    broken: BTreeSet<usize>,
    pub(crate) problems: Vec<Problem>,
}

impl<'i> Reader<'i> {
    /// Takes the text apart, then lays the overrides over it, later ones over earlier ones.
    pub(crate) fn new(keys: &[Key], text: &'i str, overrides: &'i [String]) -> Self {
        let mut reader = Self {
            ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            entries: BTreeMap::new(),
            sections: BTreeMap::new(),
            keys: keys.iter().map(|key| (key.section, key.name)).collect(),
            broken: BTreeSet::new(),
            problems: Vec::new(),
        };
        let (table, mut errors) = DeTable::parse_recoverable(text);
        let another =
            !errors.is_empty() && !text.lines().any(|line| line.trim_start().starts_with('['));
        if another {
            // Another language: what each of its lines lacks to be TOML helps nobody.
            errors.truncate(1);
        }
        let lines: Vec<&str> = text.lines().collect();
        for error in errors {
            let place = reader.file(error.span().unwrap_or(0..0));
            let Place::File { line, .. } = &place else { continue };
            let line = *line;
            // The first error of a line is the cause of those that follow.
            if reader.broken.contains(&line) {
                continue;
            }
            let help = match another {
                true => Some(NO_TOML),
                false => lines.get(line - 1).and_then(|line| of_another_language(line)),
            };
            let help = help.map(str::to_owned);
            reader.push("", place, error.message(), help);
            reader.broken.insert(line);
        }
        if !another {
            reader.sections_of(table.into_inner());
        }
        for text in overrides {
            reader.set(text);
        }
        reader
    }

    fn sections_of(&mut self, table: DeTable<'i>) {
        for (name, value) in table {
            let (span, name) = (name.span(), name.into_inner());
            let section = match self.check_section(&name) {
                Ok(section) => section,
                Err(help) => {
                    let place = self.file(span);
                    self.push(&name, place, NO_SECTION, Some(help));
                    continue;
                }
            };
            match value.into_inner() {
                DeValue::Table(keys) => {
                    self.sections.insert(section, span);
                    for (key, value) in keys {
                        self.key_of(section, key, value);
                    }
                }
                other => {
                    let message = format!("is a section, but stands here as {}", describe(&other));
                    let help = format!("write [{section}] and its keys below");
                    let place = self.file(span);
                    self.push(&name, place, message, Some(help));
                }
            }
        }
    }

    fn key_of(&mut self, section: &str, key: Spanned<Cow<'i, str>>, value: Spanned<DeValue<'i>>) {
        let (span, path) = (key.span(), format!("{section}.{}", key.get_ref()));
        match self.check_key(section, key.get_ref()) {
            _ if self.broken.contains(&self.line(&span)) => {}
            Ok(()) => {
                self.entries.insert(path, Entry { value, key: span, set: None });
            }
            Err(help) => {
                let place = self.file(span);
                self.push(&path, place, NO_KEY, Some(help));
            }
        }
    }

    fn set(&mut self, text: &'i str) {
        const FORM: &str = "write section.key=value, such as train.steps=50";
        let place = Place::Override { text: text.to_owned() };
        let Some((path, raw)) = text.split_once('=') else {
            return self.push("", place, "is not an override", Some(FORM.to_owned()));
        };
        let (path, raw) = (path.trim(), raw.trim());
        let Some((section, key)) = path.split_once('.') else {
            let meant = self.owners(path, |section| format!("`{section}.{path}`"));
            let meant = meant.map(|keys| format!("did you mean {keys}?"));
            return self.push(path, place, NO_KEY, meant.or_else(|| Some(FORM.to_owned())));
        };
        if let Err(help) = self.check_section(section) {
            return self.push(path, place, NO_SECTION, Some(help));
        }
        if let Err(help) = self.check_key(section, key) {
            let table = key.split_once('.').filter(|(key, _)| self.check_key(section, key).is_ok());
            let help = table.map_or(help, |(key, entry)| {
                format!("a table is set whole: {section}.{key}={{\"{entry}\"={raw}}}")
            });
            return self.push(path, place, NO_KEY, Some(help));
        }
        let value = DeValue::parse(raw)
            .unwrap_or_else(|_| Spanned::new(0..raw.len(), DeValue::String(raw.into())));
        let method = value.get_ref().as_str().filter(|_| path == "adapter.method");
        self.entries.retain(|other, _| !rules::drops(path, other, method));
        self.entries.insert(path.to_owned(), Entry { value, key: 0..0, set: Some((text, raw)) });
    }

    fn push(&mut self, key: &str, place: Place, message: impl Into<String>, help: Option<String>) {
        match &place {
            Place::File { line, .. } if self.broken.contains(line) => {}
            _ => {
                let (key, message) = (key.to_owned(), message.into());
                self.problems.push(Problem { key, place, message, help });
            }
        }
    }

    fn file(&self, span: Range<usize>) -> Place {
        let line = self.line(&span);
        Place::File { span, line }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.ends.partition_point(|&end| end < span.start)
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
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Whether somebody gave this key, and not as the 0 that leaves it out.
    pub(crate) fn is_on(&self, path: &str) -> bool {
        let is_zero = |entry: &Entry<'_>| number(0.0..=0.0).read(&entry.value).is_ok();
        self.entries.get(path).is_some_and(|entry| !is_zero(entry))
    }

    /// The keys of a section that somebody gave.
    pub(crate) fn given_in(&self, section: &str) -> Vec<String> {
        let prefix = format!("{section}.");
        self.entries.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
    }

    /// Reports, if it is one, a problem of a key that is right in itself but not beside the others;
    /// unless broken syntax may hide what the others are.
    pub(crate) fn refuse_if(
        &mut self,
        wrong: bool,
        path: &str,
        message: impl Into<String>,
        help: &str,
    ) {
        if wrong && self.broken.is_empty() {
            let place = self.place(path, None);
            self.push(path, place, message, Some(help.to_owned()));
        }
    }

    /// Reports that a key is missing, unless one was taken for a misspelling of it already.
    pub(crate) fn missing(&mut self, path: &str, help: impl AsRef<str>) {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let meant = did_you_mean(name, [name]);
        let misspelt = |problem: &Problem| {
            problem.key.starts_with(&format!("{section}.")) && problem.help == meant
        };
        let missing = !self.problems.iter().any(misspelt);
        self.refuse_if(missing, path, "is missing", help.as_ref());
    }

    /// Reads a key: `None` for a problem, `Some(None)` where it is not given and need not be.
    pub(crate) fn read<T: 'static>(
        &mut self,
        path: &str,
        allowed: &Allowed<T>,
        required: bool,
    ) -> Option<Option<T>> {
        let Some(entry) = self.entries.get(path) else {
            if required {
                let name = path.split_once('.').map_or(path, |(_, name)| name);
                self.missing(path, format!("write `{name} = …` ({})", allowed.words));
            }
            return (!required).then_some(None);
        };
        let read = allowed.read(&entry.value).or_else(|mismatch| {
            match (entry.set, entry.value.get_ref()) {
                (None, _) | (_, DeValue::Array(_) | DeValue::Table(_)) => Err(mismatch),
                // `output.dir=2024` means the text, whatever TOML takes it for.
                (Some((_, raw)), _) => {
                    let text = Spanned::new(0..0, DeValue::String(raw.into()));
                    allowed.read(&text).map_err(|_| mismatch)
                }
            }
        });
        let Mismatch { span, found, hint } = match read {
            Ok(value) => return Some(Some(value)),
            Err(mismatch) => mismatch,
        };
        let place = self.place(path, Some(span));
        let hint = hint.map_or_else(String::new, |hint| format!("{hint} "));
        let help = format!("{hint}allowed: {}", allowed.words);
        self.push(path, place, format!("cannot be {found}"), Some(help));
        None
    }

    /// Checks that there is such a key; else says what may have been meant.
    fn check_key(&self, section: &str, key: &str) -> Result<(), String> {
        let names = || self.keys.iter().filter(|(of, _)| *of == section).map(|(_, name)| *name);
        if names().any(|name| name == key) {
            return Ok(());
        }
        // What PEFT switches a kind of adapter on by.
        let kind = Method::ALL.iter().find(|kind| kind.switch() == Some(key));
        let kind = kind.map(|kind| format!("write method = \"{kind}\" in [adapter]"));
        let near = kind.or_else(|| did_you_mean(key, names())).or_else(|| {
            let (_, ours) = OF_OTHERS.into_iter().find(|(theirs, _)| *theirs == key)?;
            match names().any(|name| name == ours) {
                true => Some(format!("did you mean `{ours}`?")),
                false => self.owners(ours, |section| format!("`{ours}` of [{section}]")),
            }
        });
        Err(near.or_else(|| self.belongs(key)).unwrap_or_else(|| {
            format!("the keys of [{section}] are {}", names().collect::<Vec<_>>().join(", "))
        }))
    }

    /// Checks that there is such a section; else says what may have been meant.
    fn check_section(&self, name: &str) -> Result<&'static str, String> {
        let mut names: Vec<&'static str> = self.keys.iter().map(|(section, _)| *section).collect();
        names.dedup();
        names.iter().copied().find(|section| *section == name).ok_or_else(|| {
            let near = did_you_mean(name, names.iter().copied()).or_else(|| self.belongs(name));
            near.unwrap_or_else(|| format!("the sections are [{}]", names.join("], [")))
        })
    }

    /// The sections that have a key of this name, each put so.
    fn owners(&self, key: &str, put: impl Fn(&str) -> String) -> Option<String> {
        let owners = self.keys.iter().filter(|(_, name)| *name == key);
        let owners: Vec<String> = owners.map(|(section, _)| put(section)).collect();
        (!owners.is_empty()).then(|| owners.join(" or "))
    }

    fn belongs(&self, key: &str) -> Option<String> {
        let sections = self.owners(key, |section| format!("[{section}]"))?;
        Some(format!("`{key}` belongs in {sections}"))
    }
}

fn did_you_mean<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, words).map(|near| format!("did you mean `{near}`?"))
}
