//! What a file is that is not what was expected of it, told by its first bytes, and what to do about it.
//!
//! People bring pointers in the place of large files, archives, web pages that a server sent instead of a file, and text in other
//! encodings. A parser's words on those help nobody.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::open;

/// How much of a file is looked at, in bytes.
const BEGINNING: usize = 256;

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

const ZIP: Kind = Kind { what: "a zip archive", remedy: "unpack it: `unzip FILE`" };
const IMAGE: Kind = Kind { what: "a picture", remedy: "bring text: pictures are not learned from" };

/// Archives that are files of something, by what stands in the names of what they begin with.
const ZIPPED: [(&[u8], Kind); 5] = [
    (
        b"opendocument",
        Kind { what: "a document of LibreOffice", remedy: "save the sheet as CSV in UTF-8" },
    ),
    (b"word/", Kind { what: "a document of Word", remedy: "bring its text as lines of JSON" }),
    (
        b"[Content_Types].xml",
        Kind {
            what: "a spreadsheet of Excel or another document of Office",
            remedy: "save the sheet as CSV in UTF-8",
        },
    ),
    (
        b"data.pkl",
        Kind {
            what: "a checkpoint of PyTorch",
            remedy: "save it again as safetensors: pickles are not read",
        },
    ),
    (b".npy", Kind { what: "arrays of NumPy", remedy: "write their rows as lines of JSON" }),
];

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
        (b"PK\x03\x04", ZIP),
        (b"PK\x05\x06", kind("an empty zip archive", "bring the file itself")),
        (b"Rar!\x1a\x07", kind("a RAR archive", "unpack it: `unrar x FILE`")),
        (b"Obj\x01", kind("an Avro file", "write its rows as lines of JSON")),
        (b"\xff\xd8\xff", IMAGE),
        (b"\x89PNG", IMAGE),
        (b"GIF8", IMAGE),
        (b"\x7fELF", kind("a program", "name the file that was meant")),
        (
            b"{\\rtf",
            kind("a document in RTF", "save it as plain text, or its rows as lines of JSON"),
        ),
        (b"(lp0\n", PICKLE),
        (b"(dp0\n", PICKLE),
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
    let kind = KINDS.iter().find(|(with, _)| begins(with)).map(|(_, kind)| *kind);
    match kind {
        Some(ZIP) => {
            let names = &beginning[..beginning.len().min(BEGINNING)];
            let has = |part: &[u8]| names.windows(part.len()).any(|within| within == part);
            Some(ZIPPED.iter().find(|(part, _)| has(part)).map_or(ZIP, |(_, kind)| *kind))
        }
        None if beginning.get(257..262) == Some(b"ustar") => {
            Some(Kind { what: "a tar archive", remedy: "unpack it: `tar xf FILE`" })
        }
        None if beginning.get(8..12) == Some(b"DUCK") => {
            Some(Kind { what: "a DuckDB data base", remedy: "export the table as CSV" })
        }
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
    // Of a text's bytes none are of these but by accident.
    let beginning = &bytes[..bytes.len().min(512)];
    let is_control = |byte: &&u8| {
        byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x1e)
    };
    let controls = beginning.iter().filter(is_control).count();
    (controls * 20 > beginning.len()).then_some(Kind {
        what: "a binary file",
        remedy: "a text is needed here (rows as lines of JSON)",
    })
}

/// The kind of the file at `path`, where it is one of those and can be read.
pub fn of_file(path: &Path) -> Option<Kind> {
    let mut beginning = Vec::new();
    open(path).ok()?.take(BEGINNING as u64 + 8).read_to_end(&mut beginning).ok()?;
    recognised(&beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_be_text_and_is_none_is_told_by_what_it_is() {
        let utf32 = |order: fn(u32) -> [u8; 4]| -> Vec<u8> {
            "{\"prompt\": \"a\"}".chars().flat_map(|c| order(c.into())).collect()
        };
        let mut tar = vec![b'a'; 257];
        tar.extend(b"ustar\0");
        let safetensors = [&60_u64.to_le_bytes()[..], b"{\"a\":{}}"].concat();
        for (bytes, what) in [
            (utf32(u32::to_le_bytes), "UTF-32LE"),
            (utf32(u32::to_be_bytes), "UTF-32BE"),
            (tar, "tar archive"),
            (safetensors, "safetensors"),
            (b"PK\x03\x04\x14[Content_Types].xml".to_vec(), "Excel"),
            (b"PK\x03\x04\x14archive/data.pkl".to_vec(), "PyTorch"),
            (
                b"PK\x03\x04\x14mimetypeapplication/vnd.oasis.opendocument.spreadsheet".to_vec(),
                "LibreOffice",
            ),
            (b"PK\x03\x04\x14rows.jsonl".to_vec(), "unzip"),
            (vec![5, 0, 1, 2, b'a', 3, 0], "binary"),
            ((0..=255).collect(), "binary"),
        ] {
            let said = no_text(&bytes).map(|kind| kind.to_string()).unwrap_or_default();
            assert!(said.contains(what), "{what}: {said}");
        }
        // One such byte in a text is told by its place, by whoever reads it.
        for text in ["", "a\0bcdefghijklmnopqrstuvwxyz", "\u{1e}{\"a\": 1}\n", "日本語\r\n"] {
            assert_eq!(no_text(text.as_bytes()), None, "{text:?}");
        }
    }

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
