//! The text of a file, whatever it was saved as: UTF-8, or UTF-16 with its mark. Other encodings are named with the place where they show.

use std::fs;
use std::path::Path;

use burn_lora_files::{kind, line_at};

use crate::error::DataError;

/// Reads the text of a data file. Lines that end as on old Macintoshes end as anywhere else.
pub(crate) fn decoded(path: &Path) -> Result<String, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let about = fs::metadata(path).map_err(unreadable)?;
    // A device may have no end, and a pipe is read by whoever comes first.
    if !about.is_file() && !about.is_dir() {
        return Err(DataError::NoFile { path: path.to_owned() });
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let text = match bytes.as_slice() {
        // Two zeros more are the mark of UTF-32.
        [0xff, 0xfe, rest @ ..] if !rest.starts_with(&[0, 0]) => {
            utf16(rest, u16::from_le_bytes, path)?
        }
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes, path)?,
        _ => match kind::recognised(&bytes) {
            Some(kind) => {
                return Err(DataError::OtherKind { path: path.to_owned(), kind: kind.to_string() });
            }
            None => String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?,
        },
    };
    Ok(match text.contains('\r') && !text.contains('\n') {
        true => text.replace('\r', "\n"),
        false => text,
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16, path: &Path) -> Result<String, DataError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    match text {
        Ok(text) if rest.is_empty() => Ok(text),
        _ => Err(DataError::OtherKind {
            path: path.to_owned(),
            kind: "it begins as UTF-16 and goes on as something else: it is cut or damaged"
                .to_owned(),
        }),
    }
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> DataError {
    let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
    let before = &bytes[..at];
    let line = line_at(bytes, at);
    let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let column = 1 + String::from_utf8_lossy(&before[start..]).chars().count();
    // Text without a mark whose every other byte is nothing.
    let nothing = bytes.iter().take(200).filter(|&&byte| byte == 0).count();
    let encoding = if nothing > 40 { "UTF-16" } else { "WINDOWS-1252" };
    DataError::Encoding { path: path.to_owned(), line, column, byte: bytes[at], encoding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<String, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        fs::write(&path, bytes).unwrap();
        decoded(&path)
    }

    #[test]
    fn texts_of_both_orders_of_utf16_are_read_as_utf8_is() {
        let text = "{\"text\": \"aé😀\"}\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little = units.iter().flat_map(|unit| unit.to_le_bytes());
        let big = units.iter().flat_map(|unit| unit.to_be_bytes());
        let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(little).collect();
        let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(big).collect();
        for bytes in [text.as_bytes(), &little, &big] {
            assert_eq!(read(bytes).unwrap(), text);
        }
        assert!(matches!(read(&little[..little.len() - 1]), Err(DataError::OtherKind { .. })));
        assert_eq!(read(b"a\rb\r").unwrap(), "a\nb\n");
        assert_eq!(read(b"a\r\nb").unwrap(), "a\r\nb");
    }

    #[test]
    fn another_encoding_is_named_with_its_place_and_the_command_that_converts_it() {
        let error = read(b"{\"text\": \"a\"}\n{\"text\": \"caf\xe9\"}\n").unwrap_err().to_string();
        for part in [":2: ", "column 14", "0xe9", "iconv -f WINDOWS-1252 -t UTF-8"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        let gzip = read(b"\x1f\x8b\x08\0").unwrap_err().to_string();
        assert!(gzip.contains("gzip -dk"), "{gzip}");
        let pointer =
            read(b"version https://git-lfs.github.com/spec/v1\n").unwrap_err().to_string();
        assert!(pointer.contains("git lfs pull"), "{pointer}");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_data_file() {
        assert!(matches!(decoded(Path::new("/dev/zero")), Err(DataError::NoFile { .. })));
    }
}
