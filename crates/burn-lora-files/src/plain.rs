//! Whole files and directories, with errors that name them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::TempDir;

use crate::{IoError, atomic, kind};

/// Writes the file, whole or not at all, and the directories above it.
///
/// # Errors
///
/// What the system says; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    create_dir(atomic::parent(path))?;
    atomic::write(path, |file| file.write_all(bytes)).map_err(IoError::at("write", path))
}

/// A scratch directory inside `parent`, which is made, to be filled and renamed into its place.
///
/// # Errors
///
/// What the system says.
pub fn scratch_dir(parent: &Path) -> Result<TempDir, IoError> {
    create_dir(parent)?;
    atomic::scratch_dir(parent).map_err(IoError::at("write", parent))
}

/// Makes the directory and those above it.
///
/// # Errors
///
/// What the system says.
pub fn create_dir(dir: &Path) -> Result<(), IoError> {
    fs::create_dir_all(dir).map_err(IoError::at("create", dir))
}

/// Renames what was written whole in a scratch directory into its place beside it, for good.
///
/// # Errors
///
/// What the system says.
pub fn put_in_place(whole: &Path, place: &Path) -> Result<(), IoError> {
    fs::rename(whole, place).map_err(IoError::at("write", place))?;
    sync_dir(atomic::parent(place))
}

/// Flushes the directory's own entries to the disk.
///
/// # Errors
///
/// What the system says.
pub fn sync_dir(dir: &Path) -> Result<(), IoError> {
    atomic::sync_dir(dir).map_err(IoError::at("write", dir))
}

/// The names of what lies in a directory, sorted.
///
/// # Errors
///
/// What the system says.
pub fn names(dir: &Path) -> Result<Vec<String>, IoError> {
    let entries = fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    let mut names: Vec<String> = entries.map_err(IoError::at("read", dir))?;
    names.sort();
    Ok(names)
}

/// Reads a whole file.
///
/// # Errors
///
/// What the system says.
pub fn read(path: &Path) -> Result<Vec<u8>, IoError> {
    bytes(path).map_err(IoError::at("read", path))
}

/// The bytes of a file, as [`std::fs::read`] gives them; what is no file is refused as by [`open`].
///
/// # Errors
///
/// What the system says; a device, a pipe or a socket.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file to read it. A device is refused, which may have no end, and a pipe, at which one waits until somebody writes.
///
/// # Errors
///
/// What the system says; a directory, a device, a pipe or a socket, by what it is.
pub fn open(path: &Path) -> io::Result<File> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        let reason = "it is a directory: name a file, or bring the one that should stand there";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, reason));
    }
    match special(&about) {
        Some(reason) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason)),
        None => File::open(path),
    }
}

/// What stands there in the place of a file, and what to do.
#[cfg(unix)]
fn special(about: &fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    let kind = about.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Some("it is a device, which may have no end: name a file");
    }
    if kind.is_socket() {
        return Some("it is a socket, which is no file: name a file");
    }
    if kind.is_fifo() {
        return Some(
            "it is a pipe, which may have no end: write what comes out of it into a file, and name that",
        );
    }
    None
}

#[cfg(not(unix))]
fn special(_: &fs::Metadata) -> Option<&'static str> {
    None
}

/// Reads a whole text file.
///
/// # Errors
///
/// What the system says; a file that is something else than UTF-8 text, named for what it is, or by the line that is not.
pub fn read_text(path: &Path) -> Result<String, IoError> {
    as_text(path, read(path)?)
}

/// The text that bytes are, which were read from `path`.
pub(crate) fn as_text(path: &Path, bytes: Vec<u8>) -> Result<String, IoError> {
    let refused = |reason: String| {
        IoError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    };
    if let Some(kind) = kind::no_text(&bytes) {
        return Err(refused(kind.to_string()));
    }
    let bytes = match without_mark(&bytes).len() == bytes.len() {
        true => bytes,
        false => without_mark(&bytes).to_vec(),
    };
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = line_at(bytes, at);
        refused(format!("line {line} is not UTF-8 (a byte there is 0x{:02x})", bytes[at]))
    })
}

/// The bytes of a text without the mark that an editor puts before it, which is no part of the text.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The line, from 1, that the byte at `at` stands in.
pub fn line_at(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_without_an_editors_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, b"\xef\xbb\xbf{}").unwrap();
        assert_eq!(read_text(&path).unwrap(), "{}");
        fs::write(&path, b"<html>gone").unwrap();
        assert!(read_text(&path).unwrap_err().to_string().contains("a web page"));
    }

    /// Reading one once took all memory that there was.
    #[cfg(unix)]
    #[test]
    fn a_device_is_not_read_to_its_end() {
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("it is a device"), "{error}");
    }

    /// Opening one once waited for ever.
    #[cfg(unix)]
    #[test]
    fn nobody_waits_at_a_pipe_that_nobody_writes_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let told = |error: String| assert!(error.contains("it is a pipe"), "{error}");
        told(open(&path).unwrap_err().to_string());
        // A directory is told by what it is, too, and as whoever asks for its kind knows it.
        let directory = open(dir.path()).unwrap_err();
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
        assert!(directory.to_string().contains("it is a directory"), "{directory}");
        let socket = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = open(&socket).unwrap_err().to_string();
        assert!(error.contains("it is a socket"), "{error}");
        told(read_text(&path).unwrap_err().to_string());
        told(crate::digest::Digest::of_file(&path).unwrap_err().to_string());
        assert_eq!(kind::of_file(&path), None);
    }
}
