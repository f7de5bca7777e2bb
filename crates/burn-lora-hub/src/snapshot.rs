//! The files of a model at one commit, and what the cache has of each.

use std::path::PathBuf;

use serde::Serialize;

/// A model at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit that the revision stands for.
    pub commit: String,
    /// Its directory in the cache, which need not be there yet.
    pub directory: PathBuf,
    /// The model's files, in the order in which they are fetched.
    pub files: Vec<SnapshotFile>,
}

/// A file of a model, and what the cache has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotFile {
    /// Its name in the repository.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Whether the cache has all of it, for this commit or for another.
    pub cached: bool,
    /// The bytes that a fetch would download: all, none, or what an earlier download left out.
    pub to_download: u64,
}

impl Snapshot {
    /// The bytes that a fetch would download.
    pub fn to_download(&self) -> u64 {
        self.files.iter().map(|file| file.to_download).sum()
    }
}
