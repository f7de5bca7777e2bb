//! What the hub says a file's content hashes to.
//!
//! The hub's entity tag of a file is its identity in git: the SHA-256 of a file in large-file storage, and
//! git's blob hash, a SHA-1 over `blob <size>\0` and the content, of any other. It is also the blob's
//! name in the cache.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The checksum that an entity tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Of a file in large-file storage.
    Sha256(String),
    /// Of a file in git itself.
    GitBlob(String),
}

impl Checksum {
    /// Reads `"<hash>"` or `W/"<hash>"`. `None` where it is no hash of the two kinds, in lower hexadecimal
    /// digits: such a file could neither be checked nor safely be named.
    pub(crate) fn from_etag(etag: &str) -> Option<Self> {
        let hash = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        let hexadecimal = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match hash.len() {
            64 if hexadecimal => Some(Self::Sha256(hash.to_owned())),
            40 if hexadecimal => Some(Self::GitBlob(hash.to_owned())),
            _ => None,
        }
    }

    /// The hash in lower hexadecimal digits.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::GitBlob(hash) => hash,
        }
    }

    /// Computes the hash of this kind for a file of `size` bytes.
    pub(crate) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitBlob(_) => {
                Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {size}\0").as_bytes()))
            }
        }
    }
}

/// A hash under way.
#[derive(Debug, Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::GitBlob(hasher) => hasher.update(bytes),
        }
    }

    /// The hash in lower hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => digits(&hasher.finalize()),
            Self::GitBlob(hasher) => digits(&hasher.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf 'hello\n' | sha256sum`.
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    /// By `printf 'hello\n' | git hash-object --stdin`.
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn check_hello(etag: &str, expected: &str) {
        let checksum = Checksum::from_etag(etag).unwrap();
        assert_eq!(checksum.as_str(), expected);
        let mut hasher = checksum.hasher(6);
        hasher.update(b"hel");
        hasher.update(b"lo\n");
        assert_eq!(hasher.finish(), expected);
    }

    #[test]
    fn a_long_tag_is_sha256_and_a_short_one_a_git_blob() {
        check_hello(&format!("\"{SHA256}\""), SHA256);
        check_hello(&format!("\"{GIT}\""), GIT);
        check_hello(&format!("W/\"{GIT}\""), GIT);
    }

    #[test]
    fn a_tag_that_is_no_hash_is_refused() {
        let upper = GIT.to_uppercase();
        for etag in ["", "\"\"", "\"abc\"", "../../etc/passwd", upper.as_str()] {
            assert_eq!(Checksum::from_etag(etag), None, "{etag}");
        }
    }
}
