//! What a file comes to in tokens, before a run starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use burn_lora_text::grouped;

use crate::format::{Format, Holds};
use crate::row::Place;
use crate::row_file::{Portion, RowFile};

/// The most keys that a line names.
const MOST_KEYS: usize = 12;

/// The counts of a data file after tokenising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataReport {
    /// The file.
    pub path: PathBuf,
    /// What its rows hold.
    pub format: Format,
    /// Which of the file's rows these are.
    pub portion: Portion,
    /// How many rows these are, those left out among them.
    pub rows: usize,
    /// Rows left out, because nothing in them is to be predicted: the target is cut away entirely,
    /// or was empty.
    pub without_target: usize,
    /// Rows of which something to be learned is empty, so that they teach to end at once.
    pub empty: usize,
    /// Examples of which the template leaves out a part of an answer.
    pub shortened: usize,
    /// Turns that the template writes nowhere, by their role.
    pub unwritten: BTreeMap<String, usize>,
    /// Messages behind the last answer of their conversation, which are left out.
    pub behind: usize,
    /// Keys of rows and of their messages that had no effect, with how often each was there.
    pub unused: BTreeMap<String, usize>,
    /// Rows cut to `max_length`, those left out among them.
    pub cut: usize,
    /// Rows left out because they are longer than `max_length`.
    pub dropped: usize,
    /// Tokens of the rows that are used.
    pub tokens: usize,
    /// Tokens that carry loss; in a classification, the labels.
    pub target_tokens: usize,
    /// Tokens of the longest row that is used.
    pub longest: usize,
    /// The longest row allowed.
    pub max_length: usize,
    /// Where the rows that are used stand, in the order of their examples.
    pub places: Vec<Place>,
}

impl DataReport {
    /// Before any row was seen.
    pub(crate) fn of(file: &RowFile, max_length: usize) -> Self {
        Self {
            path: file.path.clone(),
            format: file.format,
            portion: file.portion,
            rows: file.rows.len(),
            without_target: 0,
            empty: 0,
            shortened: 0,
            unwritten: BTreeMap::new(),
            behind: 0,
            unused: file.unused.clone(),
            cut: 0,
            dropped: 0,
            tokens: 0,
            target_tokens: 0,
            longest: 0,
            max_length,
            places: Vec::new(),
        }
    }

    /// One more row of so many tokens is used.
    pub(crate) fn count(&mut self, place: &Place, tokens: usize, targets: usize) {
        self.places.push(place.clone());
        self.tokens += tokens;
        self.target_tokens += targets;
        self.longest = self.longest.max(tokens);
    }

    /// A key of a message had no effect.
    pub(crate) fn no_effect(&mut self, key: &str) {
        *self.unused.entry(format!("messages[].{key}")).or_default() += 1;
    }

    /// The rows that are used.
    pub fn used(&self) -> usize {
        self.rows - self.without_target - self.dropped
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, rows, tokens) = (self.path.display(), grouped(self.rows), grouped(self.tokens));
        write!(f, "{path}: {rows} {} rows", self.format)?;
        match self.portion {
            Portion::Whole => {}
            Portion::Kept { held_out } => write!(f, " beside {} held out", grouped(held_out))?,
            Portion::HeldOut { of } => write!(f, " held out of {}", grouped(of))?,
        }
        write!(f, ", {tokens} tokens")?;
        if self.format.spec().holds != Holds::Label {
            let share = 100.0 * self.target_tokens as f64 / self.tokens.max(1) as f64;
            write!(f, ", {} with loss ({share:.1} %)", grouped(self.target_tokens))?;
        }
        write!(f, ", longest {}", self.longest)?;
        if self.empty > 0 {
            write!(
                f,
                "; {} with an empty answer, which teach to end at once",
                grouped(self.empty)
            )?;
        }
        if self.shortened > 0 {
            let shortened = grouped(self.shortened);
            write!(f, "; {shortened} with an answer of which the chat template leaves out a part")?;
        }
        if !self.unwritten.is_empty() {
            let role =
                |(role, times): (&String, &usize)| format!("{} of `{role}`", grouped(*times));
            let roles: Vec<String> = self.unwritten.iter().map(role).collect();
            write!(f, "; turns that the chat template does not write: {}", roles.join(", "))?;
        }
        if self.behind > 0 {
            write!(f, "; {} messages behind the last answer left out", grouped(self.behind))?;
        }
        if self.cut > 0 {
            write!(f, "; {} cut to {} tokens", grouped(self.cut), self.max_length)?;
        }
        if self.dropped > 0 {
            write!(f, "; {} left out, over {} tokens", grouped(self.dropped), self.max_length)?;
        }
        if self.without_target > 0 {
            let left_out = grouped(self.without_target);
            match self.cut {
                0 => write!(f, "; {left_out} left out, with nothing to learn")?,
                _ => {
                    write!(f, "; {left_out} left out, with no target left: raise data.max_length")?
                }
            }
        }
        if !self.unused.is_empty() {
            let key = |(key, times): (&String, &usize)| format!("`{key}` ({})", grouped(*times));
            let mut keys: Vec<_> = self.unused.iter().map(key).take(MOST_KEYS + 1).collect();
            if keys.len() > MOST_KEYS {
                keys[MOST_KEYS] = "…".to_owned();
            }
            write!(f, "; keys that had no effect: {}", keys.join(", "))?;
        }
        Ok(())
    }
}
