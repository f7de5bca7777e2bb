//! The cache's layout, which Python's `huggingface_hub` shares.
//!
//! ```text
//! models--org--name/blobs/<checksum>                 the content
//! models--org--name/blobs/<checksum>.incomplete      the part that has been downloaded
//! models--org--name/snapshots/<commit>/config.json   a link to ../../blobs/<checksum>
//! models--org--name/refs/main                        the commit
//! .locks/models--org--name/<checksum>.lock           held while a blob is downloaded
//! ```
//!
//! Links are copies where the file system has none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use burn_lora_files::{IoError, atomic, create_dir};

use crate::checksum::Checksum;
use crate::id::is_commit;
use crate::snapshot::SnapshotFile;
use crate::{HubError, HubId};

/// A repository's part of the cache.
#[derive(Debug)]
pub(crate) struct Repository {
    root: PathBuf,
    locks: PathBuf,
}

/// Held while one blob is downloaded; other processes, Python's too, wait. Closing the file releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Repository {
    /// Names the directories; makes none.
    pub(crate) fn new(cache: &Path, id: &HubId) -> Self {
        let folder = format!("models--{}", id.repo().replace('/', "--"));
        Self { locks: cache.join(".locks").join(&folder), root: cache.join(folder) }
    }

    pub(crate) fn blob(&self, checksum: &Checksum) -> PathBuf {
        self.root.join("blobs").join(checksum.as_str())
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Where a file of a snapshot is seen.
    pub(crate) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        name.split('/').fold(self.snapshot(commit), |path, part| path.join(part))
    }

    /// A file that a snapshot has.
    pub(crate) fn cached(&self, commit: &str, name: &str) -> Result<SnapshotFile, HubError> {
        let path = self.pointer(commit, name);
        let bytes = fs::metadata(&path).map_err(IoError::at("read", path))?.len();
        Ok(SnapshotFile { name: name.to_owned(), bytes, cached: true, to_download: 0 })
    }

    /// How many bytes an earlier download left of a blob.
    pub(crate) fn partial(&self, checksum: &Checksum) -> u64 {
        fs::metadata(self.incomplete_path(checksum)).map_or(0, |metadata| metadata.len())
    }

    /// Waits until no other process downloads this blob.
    pub(crate) fn lock(&self, checksum: &Checksum) -> Result<Lock, HubError> {
        let path = self.locks.join(format!("{}.lock", checksum.as_str()));
        create_dir(&self.locks)?;
        let lock = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            file.lock()?;
            Ok(file)
        };
        Ok(Lock { _file: lock(&path).map_err(IoError::at("lock", path))? })
    }

    /// The file of a download under way, and its directory made.
    pub(crate) fn incomplete(&self, checksum: &Checksum) -> Result<PathBuf, HubError> {
        create_dir(&self.root.join("blobs"))?;
        Ok(self.incomplete_path(checksum))
    }

    fn incomplete_path(&self, checksum: &Checksum) -> PathBuf {
        self.root.join("blobs").join(format!("{}.incomplete", checksum.as_str()))
    }

    /// Makes a blob visible in a snapshot, in one step, whatever was there.
    pub(crate) fn link(
        &self,
        checksum: &Checksum,
        commit: &str,
        name: &str,
    ) -> Result<(), HubError> {
        let (blob, pointer) = (self.blob(checksum), self.pointer(commit, name));
        create_dir(atomic::parent(&pointer))?;
        let up = "../".repeat(name.split('/').count() + 1);
        let target = format!("{up}blobs/{}", checksum.as_str());
        Ok(link(&target, &blob, &pointer).map_err(IoError::at("link", pointer))?)
    }

    /// Records which commit a branch or tag stands for.
    pub(crate) fn write_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || self.read_ref(revision)?.as_deref() == Some(commit) {
            return Ok(());
        }
        Ok(burn_lora_files::write(&self.ref_path(revision), commit.as_bytes())?)
    }

    /// The commit that a revision stood for when it was last fetched.
    pub(crate) fn read_ref(&self, revision: &str) -> Result<Option<String>, HubError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.ref_path(revision);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|commit| is_commit(commit))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(IoError::at("read", path)(error).into()),
        }
    }

    fn ref_path(&self, revision: &str) -> PathBuf {
        revision.split('/').fold(self.root.join("refs"), |path, part| path.join(part))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

/// A link, or a copy: file systems of other systems have no links.
fn link(target: &str, blob: &Path, pointer: &Path) -> io::Result<()> {
    atomic::link(target, pointer).or_else(|_| copy(blob, pointer))
}

fn copy(blob: &Path, pointer: &Path) -> io::Result<()> {
    let mut blob = File::open(blob)?;
    atomic::write(pointer, |file| io::copy(&mut blob, file).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository(cache: &Path) -> (Repository, Checksum) {
        let id = HubId::parse("org/name").unwrap();
        let checksum = Checksum::from_etag("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        (Repository::new(cache, &id), checksum)
    }

    #[test]
    fn a_link_leads_to_the_blob_and_replaces_one_that_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, checksum) = repository(dir.path());
        for name in ["config.json", "a/b/c.gguf"] {
            let pointer = dir.path().join("models--org--name/snapshots").join(COMMIT).join(name);
            repository.link(&checksum, COMMIT, name).unwrap();
            assert!(!pointer.exists());
            repository.incomplete(&checksum).unwrap();
            fs::write(repository.blob(&checksum), "hello\n").unwrap();
            repository.link(&checksum, COMMIT, name).unwrap();
            assert_eq!(fs::read(&pointer).unwrap(), b"hello\n");
            assert_eq!(fs::read_dir(pointer.parent().unwrap()).unwrap().count(), 1, "no leftovers");
            fs::remove_dir_all(dir.path().join("models--org--name")).unwrap();
        }
    }

    #[test]
    fn a_copy_serves_where_there_are_no_links() {
        let dir = tempfile::tempdir().unwrap();
        let (blob, pointer) = (dir.path().join("blob"), dir.path().join("pointer"));
        fs::write(&blob, "hello\n").unwrap();
        copy(&blob, &pointer).unwrap();
        assert_eq!(fs::read(&pointer).unwrap(), b"hello\n");
    }

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, _) = repository(dir.path());
        assert_eq!(repository.read_ref("refs/pr/1").unwrap(), None);
        repository.write_ref("refs/pr/1", COMMIT).unwrap();
        assert_eq!(repository.read_ref("refs/pr/1").unwrap().as_deref(), Some(COMMIT));
        let path = dir.path().join("models--org--name/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(&path).unwrap(), COMMIT);
        fs::write(&path, "../../elsewhere").unwrap();
        assert_eq!(repository.read_ref("refs/pr/1").unwrap(), None);
    }

    #[test]
    fn a_commit_stands_for_itself_and_gets_no_reference() {
        let dir = tempfile::tempdir().unwrap();
        let (repository, _) = repository(dir.path());
        repository.write_ref(COMMIT, COMMIT).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(repository.read_ref(COMMIT).unwrap().as_deref(), Some(COMMIT));
    }
}
