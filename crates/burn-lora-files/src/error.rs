//! What the system refuses.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::missing;

/// A file or directory cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}{}", path.display(), meant(source, path))]
pub struct IoError {
    /// `read`, `write`, `create` and the like.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: std::io::Error,
}

impl IoError {
    /// For `map_err`: what was tried, and where.
    ///
    /// ```
    /// use burn_lora_files::IoError;
    /// let read: Result<String, IoError> =
    ///     std::fs::read_to_string("no/such/file").map_err(IoError::at("read", "no/such/file"));
    /// assert!(read.unwrap_err().to_string().starts_with("cannot read `no/such/file`: "));
    /// ```
    pub fn at(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self { action, path, source }
    }
}

/// What may have been meant, where nothing is there.
fn meant(source: &std::io::Error, path: &Path) -> String {
    match source.kind() {
        ErrorKind::NotFound => missing::note(path),
        _ => String::new(),
    }
}
