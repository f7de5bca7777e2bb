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
    /// What the system says, also that it has no locks.
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
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(path)?;
            match file.try_lock() {
                Ok(()) => {}
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
