//! One file, from the hub to its place among the blobs.
//!
//! What arrives is appended to a file beside the blobs and hashed on the way. A download that stops leaves
//! that file, and the next one asks for the rest. Only a whole file with the right checksum is flushed to
//! the disk and renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use burn_lora_files::{IoError, put_in_place};

use crate::checksum::{Checksum, Hasher};
use crate::client::{Answer, Client, RETRIES};
use crate::id::is_commit;
use crate::url::shown;
use crate::{HubError, HubId, url};

const BUFFER_BYTES: usize = 256 << 10;

/// How far the download of one file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name in the repository.
    pub file: &'a str,
    /// Bytes on the disk, those of an earlier download included. It falls to zero where a server cannot
    /// go on in the middle.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// What the hub says of one file, and how to ask for it.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    id: &'a HubId,
    name: &'a str,
    path: String,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

impl<'a> Remote<'a> {
    /// Asks the hub for size and checksum.
    pub(crate) fn request(
        client: &Client,
        id: &'a HubId,
        commit: &str,
        name: &'a str,
    ) -> Result<Self, HubError> {
        let path = format!("/{}/resolve/{commit}/{}", id.repo(), url::encode(name, true));
        let answer = client.patiently(|| client.check(client.head(&path)?, id, Some(name)))?;
        let odd = |problem: String| HubError::Protocol { url: shown(&answer.url), problem };
        let etag = answer.etag().ok_or_else(|| odd("the file has no ETag".to_owned()))?;
        let checksum = Checksum::from_etag(etag)
            .ok_or_else(|| odd(format!("the file's ETag {etag} is no checksum")))?;
        let length = || answer.header("content-length").filter(|_| !answer.is_redirect());
        let size = answer.header("x-linked-size").or_else(length);
        let size = size
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| odd("the file's size is not told".to_owned()))?;
        // Some mirrors do not tell the commit; one that tells another serves another file.
        if answer.header("x-repo-commit").is_some_and(|told| is_commit(told) && told != commit) {
            return Err(odd(format!("the file is of another commit than {commit}")));
        }
        Ok(Self { id, name, path, size, checksum })
    }

    /// Reads the file without keeping it, if it has no more than `limit` bytes and the right checksum.
    pub(crate) fn read(&self, client: &Client, limit: u64) -> Result<Vec<u8>, HubError> {
        let bytes = client.patiently(|| {
            let answer = client.get(&self.path, None)?;
            client.check(answer, self.id, Some(self.name))?.read_all(limit)
        })?;
        let mut hasher = self.checksum.hasher(self.size);
        hasher.update(&bytes);
        let (got, expected) = (hasher.finish(), self.checksum.as_str().to_owned());
        match got == expected {
            true => Ok(bytes),
            false => Err(HubError::WrongChecksum { file: self.name.to_owned(), expected, got }),
        }
    }

    /// Downloads what `incomplete` lacks, compares the checksum and renames it to `blob`.
    pub(crate) fn download(
        &self,
        client: &Client,
        incomplete: &Path,
        blob: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), HubError> {
        let mut partial = Partial::open(incomplete, self)?;
        let mut report = |done| progress(Progress { file: self.name, done, total: self.size });
        report(partial.length);
        let (mut failures, mut furthest) = (0, partial.length);
        while partial.length < self.size {
            let ended = match self.attempt(client, &mut partial, &mut report) {
                Ok(()) => None,
                Err(Stop::Cut(problem)) => Some(problem),
                Err(Stop::Error(error)) if error.is_transient() => {
                    if failures == RETRIES && partial.length == 0 {
                        return Err(error);
                    }
                    Some(error.to_string())
                }
                Err(Stop::Error(error)) => return Err(error),
            };
            if partial.length == self.size {
                break;
            }
            failures = if partial.length > furthest { 0 } else { failures + 1 };
            furthest = furthest.max(partial.length);
            if failures > RETRIES {
                return Err(HubError::CutOff {
                    file: self.name.to_owned(),
                    got: partial.length,
                    total: self.size,
                    problem: ended.unwrap_or_else(|| "the connection was closed".to_owned()),
                });
            }
            client.wait(failures);
        }
        partial.finish(blob, self)
    }

    /// One request: what it gives is appended.
    fn attempt(
        &self,
        client: &Client,
        partial: &mut Partial,
        report: &mut dyn FnMut(u64),
    ) -> Result<(), Stop> {
        let answer = client.get(&self.path, Some(partial.length))?;
        // Nothing lies beyond what is there: it is not the start of this file.
        if answer.status() == 416 {
            return Ok(partial.restart(self)?);
        }
        let answer = client.check(answer, self.id, Some(self.name))?;
        match answer.status() {
            206 if range_start(&answer) == Some(partial.length) => {}
            206 => return Ok(partial.restart(self)?),
            200 => partial.restart(self)?,
            status => {
                let problem = format!("the status {status} is no answer to a download");
                return Err(HubError::Protocol { url: shown(&answer.url), problem }.into());
            }
        }
        report(partial.length);
        let url = shown(&answer.url);
        let mut body = answer.into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => buffer.get(..count).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Cut(error.to_string())),
            };
            if bytes.len() as u64 > self.size - partial.length {
                partial.restart(self)?;
                let problem = format!("`{}` has more than its {} bytes", self.name, self.size);
                return Err(HubError::Protocol { url, problem }.into());
            }
            partial.append(bytes)?;
            report(partial.length);
        }
    }
}

/// Why an attempt ended early.
enum Stop {
    /// The connection broke in the middle of the body.
    Cut(String),
    /// Anything else.
    Error(HubError),
}

impl From<HubError> for Stop {
    fn from(error: HubError) -> Self {
        Self::Error(error)
    }
}

/// The first byte of `Content-Range: bytes 7-99/100`.
fn range_start(answer: &Answer) -> Option<u64> {
    answer.header("content-range")?.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// The start of a file, and its hash so far.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Hasher,
}

impl Partial {
    /// Takes up what an earlier download left; a file that is longer than it should be is begun anew.
    fn open(path: &Path, remote: &Remote<'_>) -> Result<Self, HubError> {
        let open = || OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = open().map_err(IoError::at("open", path))?;
        let hasher = remote.checksum.hasher(remote.size);
        let mut partial = Self { path: path.to_owned(), file, length: 0, hasher };
        let mut buffer = vec![0; BUFFER_BYTES];
        while partial.length <= remote.size {
            let count = partial.file.read(&mut buffer).map_err(IoError::at("read", path))?;
            if count == 0 {
                return Ok(partial);
            }
            partial.hasher.update(buffer.get(..count).unwrap_or_default());
            partial.length += count as u64;
        }
        partial.restart(remote)?;
        Ok(partial)
    }

    fn restart(&mut self, remote: &Remote<'_>) -> Result<(), HubError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(IoError::at("empty", &self.path))?;
        self.length = 0;
        self.hasher = remote.checksum.hasher(remote.size);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(IoError::at("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, blob: &Path, remote: &Remote<'_>) -> Result<(), HubError> {
        let got = self.hasher.finish();
        if got != remote.checksum.as_str() {
            drop(self.file);
            fs::remove_file(&self.path).map_err(IoError::at("remove", &self.path))?;
            return Err(HubError::WrongChecksum {
                file: remote.name.to_owned(),
                expected: remote.checksum.as_str().to_owned(),
                got,
            });
        }
        self.file.sync_all().map_err(IoError::at("flush", &self.path))?;
        drop(self.file);
        Ok(put_in_place(&self.path, blob)?)
    }
}
