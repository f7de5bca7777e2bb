//! What is wrong with a run configuration, every problem with its place.

use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use burn_lora_files::missing;
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// Where a configuration problem stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the configuration file.
    File {
        /// Byte range in the file's text.
        span: Range<usize>,
        /// Line, from 1.
        line: usize,
    },
    /// In an override given beside the file.
    Override {
        /// The override as given, such as `train.steps=50`.
        text: String,
    },
}

/// Problems that are shown one by one.
const SHOWN: usize = 20;

/// What stands before an override in messages, unless somebody says how he takes them.
const OVERRIDE: &str = "override";

/// One problem of a run configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `train.batch_size`; empty where the text is not TOML at all.
    pub key: String,
    /// Where it stands.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// A run configuration that cannot be used: all its problems, or the reason why it was not read.
///
/// `Display` lists one problem a line, as `file:line: key.path: what is wrong; what is allowed`.
/// As a [`Diagnostic`] it shows each problem of the file under the line that it stands on.
#[derive(Debug)]
pub struct ConfigErrors {
    source: NamedSource<String>,
    problems: Vec<Problem>,
    unreadable: Option<std::io::Error>,
    overrides: &'static str,
}

impl ConfigErrors {
    pub(crate) fn new(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match &problem.place {
            Place::File { span, .. } => span.start,
            Place::Override { .. } => usize::MAX,
        });
        let source = NamedSource::new(name, text.to_owned()).with_language("TOML");
        Self { source, problems, unreadable: None, overrides: OVERRIDE }
    }

    /// A configuration that cannot be read; `name` stands for its file in messages.
    pub fn unreadable(name: &str, error: std::io::Error) -> Self {
        let source = NamedSource::new(name, String::new());
        Self { source, problems: Vec::new(), unreadable: Some(error), overrides: OVERRIDE }
    }

    /// What stands before an override in messages: how the user gives one, such as a flag.
    #[must_use]
    pub fn naming_overrides(self, word: &'static str) -> Self {
        Self { overrides: word, ..self }
    }

    /// The problems: those of the file in its order, then those of the overrides.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source.name();
        if let Some(error) = &self.unreadable {
            return match error.kind() {
                ErrorKind::NotFound => {
                    let note = missing::note(Path::new(name));
                    let note = match note.as_str() {
                        "" => ": name the TOML file of a run configuration",
                        note => note,
                    };
                    write!(f, "{name}: there is no such file{note}")
                }
                ErrorKind::IsADirectory => {
                    write!(f, "{name}: is a directory: name the TOML file of a run configuration")
                }
                _ => write!(f, "{name}: the run configuration cannot be read: {error}"),
            };
        }
        for (index, problem) in self.problems.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match &problem.place {
                Place::File { line, .. } => write!(f, "{name}:{line}: {problem}")?,
                Place::Override { text } => write!(f, "{} {text}: {problem}", self.overrides)?,
            }
        }
        match self.problems.len() {
            count if count > SHOWN => write!(f, "\n{name}: and {} more problems", count - SHOWN),
            _ => Ok(()),
        }
    }
}

// What the system says is in the text already.
impl std::error::Error for ConfigErrors {}

impl Diagnostic for ConfigErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.unreadable.is_none().then_some(&self.source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.problems.iter().take(SHOWN).filter_map(
            |problem| match &problem.place {
                Place::File { span, .. } => {
                    let label = problem.help.as_ref().unwrap_or(&problem.message);
                    Some(LabeledSpan::new(Some(label.clone()), span.start, span.len()))
                }
                Place::Override { .. } => None,
            },
        )))
    }
}
