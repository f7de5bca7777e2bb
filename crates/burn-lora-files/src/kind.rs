//! What a file is that is not what was expected of it, told by its first bytes, and what to do about it.
//!
//! People bring pointers in the place of large files, archives, web pages that a server sent instead of a file, and text in other
//! encodings. A parser's words on those help nobody.

mod begins;
mod records;
mod zipped;

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use begins::{KINDS, LETTERS};
use records::of_record;
use zipped::{SEARCHED, ZIP, zipped};

use crate::open;

/// How much of a file is looked at, in bytes: a whole header of tar's.
const BEGINNING: usize = 512;

/// A kind of file that nothing here reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is, with its article.
    pub what: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Kind {
    const fn new(what: &'static str, remedy: &'static str) -> Self {
        Self { what, remedy }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}: {}", self.what, self.remedy)
    }
}

/// A file in which Parquet keeps a table.
pub const PARQUET: Kind = begins::PARQUET;

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
    let of = |kinds: &[(&[u8], Kind)]| {
        kinds.iter().find(|(with, _)| begins(with)).map(|(_, kind)| *kind)
    };
    let first = &beginning[..beginning.len().min(64)];
    match of(KINDS) {
        Some(ZIP) => Some(zipped(beginning)),
        None if first.iter().any(is_control) => of(LETTERS).or_else(|| of_record(beginning)),
        None => of_record(beginning),
        kind => kind,
    }
}

/// The kind of what should be a text and is none: one of those that are known, safetensors, text in UTF-32 without its mark, or
/// something binary.
///
/// ```
/// use burn_lora_files::kind::no_text;
/// assert!(no_text(b"\x01\0\0\0\x02\0\x03").unwrap().to_string().contains("binary"));
/// assert_eq!(no_text("{\"a\": \"é\"}".as_bytes()), None);
/// ```
pub fn no_text(bytes: &[u8]) -> Option<Kind> {
    if let Some(kind) = recognised(bytes) {
        return Some(kind);
    }
    if let [_, _, _, _, 0, 0, 0, 0, b'{', ..] = bytes {
        return Some(Kind {
            what: "a safetensors file",
            remedy: "a text is needed here: name another file",
        });
    }
    // Letters in UTF-32 have three bytes of nothing, before or behind the one of theirs.
    let (quads, _) = bytes.as_chunks::<4>();
    let quads = &quads[..quads.len().min(16)];
    let most = |is: fn(&[u8; 4]) -> bool| {
        quads.len() > 1 && 4 * quads.iter().filter(|quad| is(quad)).count() >= 3 * quads.len()
    };
    if most(|quad| quad[0] != 0 && quad[1..] == [0; 3]) {
        return Some(Kind {
            what: "text in UTF-32",
            remedy: "convert it: `iconv -f UTF-32LE -t UTF-8 FILE > OTHER`",
        });
    }
    if most(|quad| quad[3] != 0 && quad[..3] == [0; 3]) {
        return Some(Kind {
            what: "text in UTF-32",
            remedy: "convert it: `iconv -f UTF-32BE -t UTF-8 FILE > OTHER`",
        });
    }
    let beginning = &bytes[..bytes.len().min(512)];
    let controls = beginning.iter().filter(|byte| is_control(byte)).count();
    (controls * 20 > beginning.len()).then_some(Kind {
        what: "a binary file",
        remedy: "a text is needed here (rows as lines of JSON)",
    })
}

/// Whether a byte is one that stands in no text but by accident.
fn is_control(byte: &u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x1e)
}

/// The kind of the file at `path`, where it is one of those and can be read.
pub fn of_file(path: &Path) -> Option<Kind> {
    let (mut file, mut bytes) = (open(path).ok()?, Vec::new());
    file.by_ref().take(BEGINNING as u64).read_to_end(&mut bytes).ok()?;
    if recognised(&bytes) == Some(ZIP) {
        // The names of all that is in it stand at its end.
        let length = file.seek(SeekFrom::End(0)).ok()?;
        file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED as u64))).ok()?;
        file.take(SEARCHED as u64).read_to_end(&mut bytes).ok()?;
    }
    recognised(&bytes)
}

#[cfg(test)]
mod tests;
