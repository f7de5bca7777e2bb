//! Paths in JSON.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// A path as text, for `#[serde(serialize_with)]`, with a replacement for what is no Unicode: serde refuses such
/// a path.
///
/// # Errors
///
/// What the serializer says.
pub fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// [`lossy`] where there may be none.
///
/// # Errors
///
/// What the serializer says.
pub fn lossy_option<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => lossy(path, serializer),
        None => serializer.serialize_none(),
    }
}
