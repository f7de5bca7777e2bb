//! A run configuration as the keys of its file, and what two of them differ in.

use std::fmt::{self, Write};

use crate::keys::{Decides, Part, UnwritableError, Written};
use crate::sections::RunConfig;

/// A key that two configurations have different values of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    section: &'static str,
    name: &'static str,
    then: String,
    now: String,
}

impl Difference {
    /// Whether the key says how many steps there are.
    pub fn is_length(&self) -> bool {
        is_length(self.section, self.name)
    }
}

/// `section.key: then -> now`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {} -> {}", self.section, self.name, self.then, self.now)
    }
}

fn is_length(section: &str, name: &str) -> bool {
    section == "train" && matches!(name, "steps" | "epochs")
}

impl RunConfig {
    /// The configuration as TOML, every key written out; [`parse`](Self::parse) reads it back as the
    /// same configuration.
    ///
    /// # Errors
    ///
    /// A path that is not UTF-8 or a number beyond TOML's range, neither of which comes from a file.
    pub fn to_toml(&self) -> Result<String, UnwritableError> {
        let (mut text, mut section) = (String::new(), "");
        for key in self.written()? {
            if key.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = key.section;
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let _ = writeln!(text, "{} = {}", key.name, key.value);
        }
        Ok(text)
    }

    /// The keys that are not as they were `then`, of those that decide at least so much.
    ///
    /// Classes that were found in the rows then, and are not given now, are no difference.
    ///
    /// # Errors
    ///
    /// A value that TOML cannot hold, which does not come from a file.
    pub fn differences(
        &self,
        then: &Self,
        decides: Decides,
    ) -> Result<Vec<Difference>, UnwritableError> {
        let mut now = self.clone();
        now.data.labels = now.data.labels.or_else(|| then.data.labels.clone());
        let (then, now) = (then.written()?, now.written()?);
        let of = |keys: &[Written], key: &Written| {
            let found = keys.iter().find(|k| (k.section, k.name) == (key.section, key.name));
            found.map_or_else(|| "absent".to_owned(), |key| key.value.to_string())
        };
        let gone = then.iter().filter(|key| of(&now, key) == "absent");
        let mut differences = Vec::new();
        for key in now.iter().chain(gone).filter(|key| key.decides >= decides) {
            let (then, now) = (of(&then, key), of(&now, key));
            if then != now {
                differences.push(Difference { section: key.section, name: key.name, then, now });
            }
        }
        Ok(differences)
    }

    /// What decides a step, as text: all keys that decide what is trained, but for how many steps there are. Two runs of
    /// the same text that read the same files take the same steps.
    ///
    /// # Errors
    ///
    /// A value that TOML cannot hold, which does not come from a file.
    pub fn deciding(&self) -> Result<String, UnwritableError> {
        let mut text = String::new();
        for key in self.written()? {
            if key.decides >= Decides::Training && !is_length(key.section, key.name) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}.{} = {}", key.section, key.name, key.value);
            }
        }
        Ok(text)
    }

    fn written(&self) -> Result<Vec<Written>, UnwritableError> {
        let mut keys = Vec::new();
        self.write(&mut keys)?;
        Ok(keys)
    }
}
