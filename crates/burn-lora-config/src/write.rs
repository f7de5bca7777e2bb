//! A run configuration as the keys of its file, and what two of them differ in.

use std::fmt::Write;

use crate::keys::{Decides, Part, UnwritableError, Written};
use crate::sections::RunConfig;

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

    /// The keys that are not as they were `then`, of those that decide at least so much, as
    /// `section.key: then -> now`.
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
    ) -> Result<Vec<String>, UnwritableError> {
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
                differences.push(format!("{}.{}: {then} -> {now}", key.section, key.name));
            }
        }
        Ok(differences)
    }

    fn written(&self) -> Result<Vec<Written>, UnwritableError> {
        let mut keys = Vec::new();
        self.write(&mut keys)?;
        Ok(keys)
    }
}
