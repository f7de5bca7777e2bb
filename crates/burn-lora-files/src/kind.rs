//! What a file is that is not what was expected of it, told by its first bytes, and what to do about it.
//!
//! People bring pointers in the place of large files, archives, web pages that a server sent instead of a file, and text in other
//! encodings. A parser's words on those help nobody.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::open;

/// A kind of file that nothing here reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is, with its article.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}: {}", self.what, self.remedy)
    }
}

/// How each kind begins, after white space where it is text.
const KINDS: &[(&[u8], Kind)] = {
    const fn kind(what: &'static str, remedy: &'static str) -> Kind {
        Kind { what, remedy }
    }
    const PAGE: Kind = kind(
        "a web page, as servers send one where a file needs a login or is gone",
        "download the file itself",
    );
    const POINTER: Kind = kind(
        "a Git LFS pointer, not the file itself",
        "run `git lfs pull` where it was cloned, or download the file",
    );
    const UTF16: Kind =
        kind("text in UTF-16", "convert it: `iconv -f UTF-16 -t UTF-8 FILE > OTHER`");
    const PICKLE: Kind =
        kind("a pickle of Python", "save it again as safetensors: pickles are not read");
    const ARROW: Kind = kind("an Arrow or Feather file", "save it as Parquet or as lines of JSON");
    &[
        (b"version https://git-lfs.github.com/spec/", POINTER),
        (b"version https://hawser.github.com/spec/", POINTER),
        (b"<!doctype html", PAGE),
        (b"<html", PAGE),
        (
            b"\xff\xfe\0\0",
            kind("text in UTF-32", "convert it: `iconv -f UTF-32 -t UTF-8 FILE > OTHER`"),
        ),
        (b"\xff\xfe", UTF16),
        (b"\xfe\xff", UTF16),
        (b"\x1f\x8b", kind("a gzip archive", "unpack it: `gzip -dk FILE`")),
        (b"\xfd7zXZ\0", kind("an xz archive", "unpack it: `xz -dk FILE`")),
        (b"\x28\xb5\x2f\xfd", kind("a zstd archive", "unpack it: `zstd -dk FILE`")),
        (b"BZh", kind("a bzip2 archive", "unpack it: `bzip2 -dk FILE`")),
        (b"7z\xbc\xaf\x27\x1c", kind("a 7z archive", "unpack it: `7z x FILE`")),
        (
            b"PK\x03\x04",
            kind(
                "a zip archive, as spreadsheets of Excel and checkpoints of PyTorch are",
                "unpack it, save the sheet as CSV, or save the checkpoint as safetensors",
            ),
        ),
        (
            b"\xd0\xcf\x11\xe0",
            kind("a document of an old Office program", "save the sheet as CSV in UTF-8"),
        ),
        (b"%PDF-", kind("a PDF", "bring its text as lines of JSON")),
        (b"SQLite format 3\0", kind("an SQLite data base", "export the table as CSV")),
        (b"GGUF", kind("a GGUF model", "name it as the model, with the ending `.gguf`")),
        (b"PAR1", kind("a Parquet file", "name it with the ending `.parquet`")),
        (b"ARROW1", ARROW),
        (b"FEA1", ARROW),
        (b"\x93NUMPY", kind("an array of NumPy", "write its rows as lines of JSON")),
        (
            b"\x89HDF\r\n",
            kind("an HDF5 file", "save it as safetensors, or its rows as lines of JSON"),
        ),
        (b"\x04\x22\x4d\x18", kind("an lz4 archive", "unpack it: `lz4 -dk FILE`")),
        (b"\x80\x02", PICKLE),
        (b"\x80\x03", PICKLE),
        (b"\x80\x04", PICKLE),
        (b"\x80\x05", PICKLE),
    ]
};

/// The kind that begins so, if it is one of those that are known.
///
/// ```
/// use burn_lora_files::kind::recognised;
/// let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a";
/// assert!(recognised(pointer).unwrap().to_string().contains("git lfs pull"));
/// assert_eq!(recognised(b"{\"a\": 1}"), None);
/// ```
pub fn recognised(beginning: &[u8]) -> Option<Kind> {
    let text = beginning.trim_ascii_start();
    let begins = |with: &[u8]| {
        let like =
            |bytes: &[u8]| bytes.get(..with.len()).is_some_and(|b| b.eq_ignore_ascii_case(with));
        match with.first() {
            // A page or a pointer may have an empty line before it, and any case.
            Some(b'<' | b'v') => like(text),
            _ => beginning.starts_with(with),
        }
    };
    KINDS.iter().find(|(with, _)| begins(with)).map(|(_, kind)| *kind)
}

/// The kind of the file at `path`, where it is one of those and can be read.
pub fn of_file(path: &Path) -> Option<Kind> {
    let mut beginning = Vec::new();
    open(path).ok()?.take(256).read_to_end(&mut beginning).ok()?;
    recognised(&beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_how_it_begins() {
        let cases: [(&[u8], Option<&str>); 13] = [
            (b"\n version https://git-lfs.github.com/spec/v1\n", Some("Git LFS pointer")),
            (b"<!DOCTYPE HTML><html>", Some("web page")),
            (b"\xff\xfe{\0", Some("UTF-16")),
            (b"\xff\xfe\0\0{\0\0\0", Some("UTF-32")),
            (b"PK\x03\x04xl", Some("zip")),
            (b"\x1f\x8b\x08", Some("gzip")),
            (b"\x80\x02}q", Some("pickle")),
            (b"\x80\x05\x95", Some("pickle")),
            (b"ARROW1\0\0", Some("Arrow")),
            (b"\x93NUMPY\x01", Some("NumPy")),
            (b"\x04\x22\x4d\x18d", Some("lz4")),
            (b"versions: 3", None),
            (b"", None),
        ];
        for (bytes, expected) in cases {
            let found = recognised(bytes).map(|kind| kind.what);
            assert_eq!(found.is_some(), expected.is_some(), "{bytes:?}");
            assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{bytes:?}: {found:?}");
        }
    }
}
