//! A file that one process holds at a time.
//!
//! The lock is the system's, so that it goes with its process, however that ends; the file says who holds it, and
//! stays. It is advisory: it keeps apart programs that ask for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::IoError;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// The machine that it runs on.
    pub host: String,
}

impl Owner {
    fn this() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .or_else(|_| std::fs::read_to_string("/etc/hostname"));
        let host = host.map_or_else(|_| "this machine".to_owned(), |name| name.trim().to_owned());
        Self { pid: std::process::id(), host }
    }
}

/// How the text of a lock begins.
const BEGINNING: &str = "{\"pid\":";

fn not_a_lock(reason: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Asked {
    /// It is this process's now.
    Held(Lock),
    /// Another has it; who, where the file tells.
    Taken(Option<Owner>),
}

impl Lock {
    /// Asks for the lock of the file, which is made if it is not there, and does not wait.
    ///
    /// # Errors
    ///
    /// What the system says, also that it has no locks; a link, and a file that holds something else.
    ///
    /// ```
    /// use burn_lora_files::lock::{Asked, Lock};
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("run.lock");
    /// let first = Lock::ask(&path)?;
    /// assert!(matches!(first, Asked::Held(_)));
    /// let Asked::Taken(Some(owner)) = Lock::ask(&path)? else { panic!("it is held") };
    /// assert_eq!(owner.pid, std::process::id());
    /// drop(first);
    /// assert!(matches!(Lock::ask(&path)?, Asked::Held(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ask(path: &Path) -> Result<Asked, IoError> {
        let ask = || {
            if path.is_symlink() {
                return Err(not_a_lock(
                    "it is a link, and what it leads to is not this program's to write",
                ));
            }
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text)?;
                    // What a process that was killed while it wrote left is the beginning of an owner.
                    let is_owner = serde_json::from_str::<Owner>(&text).is_ok()
                        || BEGINNING.starts_with(&text)
                        || text.starts_with(BEGINNING);
                    if !is_owner {
                        return Err(not_a_lock(
                            "it holds something that is no lock's: take it away, or name another directory",
                        ));
                    }
                }
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text)?;
                    return Ok(Asked::Taken(serde_json::from_str(&text).ok()));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            let mut text = serde_json::to_vec(&Owner::this())?;
            text.push(b'\n');
            file.write_all(&text)?;
            Ok(Asked::Held(Self { _file: file }))
        };
        ask().map_err(IoError::at("lock", path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_lock_keeps_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.lock");
        let refused = |holds: &str| {
            fs::write(&path, holds).unwrap();
            let error = Lock::ask(&path).unwrap_err().to_string();
            assert_eq!(fs::read_to_string(&path).unwrap(), holds);
            error
        };
        assert!(refused("precious\n").contains("no lock's"));
        assert!(refused("[1]").contains("no lock's"));
        // One whose owner was killed, while it wrote too.
        for left in ["", "{\"pi", "{\"pid\":12", "{\"pid\":12,\"host\":\"h\"}\n"] {
            fs::write(&path, left).unwrap();
            assert!(matches!(Lock::ask(&path), Ok(Asked::Held(_))), "{left}");
        }
        #[cfg(unix)]
        {
            fs::remove_file(&path).unwrap();
            let other = dir.path().join("other");
            fs::write(&other, "").unwrap();
            std::os::unix::fs::symlink(&other, &path).unwrap();
            assert!(Lock::ask(&path).unwrap_err().to_string().contains("a link"));
        }
    }
}
