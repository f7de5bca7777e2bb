//! Whether a text that a user gave names a place on the disk or a model on the hub.

use std::path::{Path, PathBuf};

use burn_lora_files::missing::{self, Missing};

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
    /// [`HubError::NoSuchPath`]: it can be nothing but a path; [`HubError::NoSuchPlace`]: it is neither;
    /// [`HubError::Address`]: it is an address, in which a name may be.
    pub fn of(text: &str) -> Result<Self, HubError> {
        let path = Path::new(text);
        if path.exists() {
            return Ok(Self::Path(path.to_owned()));
        }
        let no_path = |note: String| HubError::NoSuchPath { text: without_secrets(text), note };
        if is_path(text) {
            return Err(no_path(missing::note(path)));
        }
        match HubId::parse(text) {
            Ok(id) => Ok(Self::Hub(id)),
            Err(HubError::BadId { problem, .. }) => match Missing::of(path) {
                Some(meant) if meant.is_beside() => Err(no_path(format!(": {meant}"))),
                _ => Err(HubError::NoSuchPlace { text: without_secrets(text), problem }),
            },
            Err(other) => Err(other),
        }
    }
}

/// Whether a text can be nothing but a path, by how it begins or ends.
fn is_path(text: &str) -> bool {
    let begins = ["/", "./", "../", "~", "$", "%", ".\\", "..\\"];
    let of_windows =
        matches!(text.as_bytes(), [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic());
    let ends = [".gguf", ".safetensors", ".json"];
    of_windows
        || matches!(text, "." | "..")
        || (begins.iter().any(|start| text.starts_with(start)))
        || (ends.iter().any(|end| text.ends_with(end)) && !text.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_is_an_error_that_says_what_was_looked_for() {
        for text in ["./models/base", "../x", "/no/such/model", "~/model", "C:\\model", "a/b.gguf"]
        {
            let error = Location::of(text).unwrap_err();
            assert!(matches!(error, HubError::NoSuchPath { .. }), "{text}: {error}");
            let said = error.to_string();
            // A path is no name that the hub admits not.
            assert!(said.contains(text) && !said.contains("hub"), "{said}");
        }
        for text in ["name", "org/na me", "a/b/c"] {
            let said = Location::of(text).unwrap_err().to_string();
            assert!(said.contains(text) && said.contains("org/name"), "{said}");
        }
        let said = Location::of("models/base/").unwrap_err().to_string();
        assert!(said.contains("write `models/base`"), "{said}");
    }

    #[test]
    fn a_misspelt_path_is_met_by_what_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("model")).unwrap();
        let said = Location::of(dir.path().join("modle").to_str().unwrap()).unwrap_err();
        let meant = dir.path().join("model").display().to_string();
        assert!(said.to_string().ends_with(&format!("did you mean `{meant}`?")), "{said}");
    }

    #[test]
    fn a_file_that_exists_is_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(Location::of(path.to_str().unwrap()).unwrap(), Location::Path(path));
    }
}
