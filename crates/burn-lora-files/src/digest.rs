//! What a file held, told so briefly that it can be compared later: its size and its SHA-256, as `sha256sum` prints it.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{IoError, open};

/// Size and hash of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

impl Digest {
    /// Of the file as it is now, read a piece at a time.
    ///
    /// # Errors
    ///
    /// What the system says; what is no file.
    ///
    /// ```
    /// use burn_lora_files::digest::Digest;
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("a");
    /// std::fs::write(&path, b"abc")?;
    /// assert_eq!(Digest::of_file(&path)?, Digest::of(b"abc"));
    /// assert!(Digest::of(b"abc").sha256.starts_with("ba7816bf8f01cfea"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_file(path: &Path) -> Result<Self, IoError> {
        let read = || {
            let (mut file, mut running) = (open(path)?, Running::default());
            let mut piece = vec![0; 1 << 18];
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(running.so_far()),
                    count => running.add(&piece[..count]),
                }
            }
        };
        read().map_err(IoError::at("read", path))
    }

    /// Of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut running = Running::default();
        running.add(bytes);
        running.so_far()
    }
}

/// A digest of something that still grows.
#[derive(Debug, Clone, Default)]
pub struct Running {
    bytes: u64,
    hash: Sha256,
}

impl Running {
    /// More of it.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// Of all so far.
    pub fn so_far(&self) -> Digest {
        let hash = self.hash.clone().finalize();
        let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { bytes: self.bytes, sha256 }
    }
}
