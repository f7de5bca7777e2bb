//! Whether a text that a user gave names a place on the disk or a model on the hub.

use std::path::{Path, PathBuf};

use crate::url::without_secrets;
use crate::{HubError, HubId};

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A path that exists.
    Path(PathBuf),
    /// A model on the hub.
    Hub(HubId),
}

impl Location {
    /// Decides: a path that exists wins, then whatever has the form `org/name` is a model on the hub.
    ///
    /// ```
    /// use burn_lora_hub::Location;
    ///
    /// let directory = tempfile::tempdir()?;
    /// let text = directory.path().to_str().ok_or("not UTF-8")?;
    /// assert!(matches!(Location::of(text)?, Location::Path(_)));
    /// assert!(matches!(Location::of("HuggingFaceTB/SmolLM2-135M")?, Location::Hub(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`HubError::NoSuchPlace`]: it is neither.
    pub fn of(text: &str) -> Result<Self, HubError> {
        let path = Path::new(text);
        if path.exists() {
            return Ok(Self::Path(path.to_owned()));
        }
        match HubId::parse(text) {
            Ok(id) => Ok(Self::Hub(id)),
            Err(HubError::BadId { problem, .. }) => {
                Err(HubError::NoSuchPlace { text: without_secrets(text), problem })
            }
            Err(other) => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_is_an_error_that_says_what_was_looked_for() {
        for text in ["./models/base", "models/base/", "/no/such/model", "~/model", "C:\\model"] {
            let error = Location::of(text).unwrap_err();
            assert!(matches!(error, HubError::NoSuchPlace { .. }), "{text}");
            let said = error.to_string();
            assert!(said.contains(text) && said.contains("org/name"), "{said}");
        }
    }

    #[test]
    fn a_file_that_exists_is_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(Location::of(path.to_str().unwrap()).unwrap(), Location::Path(path));
    }
}
