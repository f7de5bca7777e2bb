//! The text of a file, whatever it was saved as: UTF-8, or UTF-16 with its mark or plainly without. Other encodings are named with the
//! place where they show, and text that is no rows by what it is.

use std::path::Path;

use burn_lora_files::{kind, line_at};

use crate::error::{DataError, UNKNOWN};
use crate::format::Format;
use crate::object::Object;

/// Reads the text of a data file. Lines that end as on old Macintoshes end as anywhere else.
pub(crate) fn decoded(path: &Path) -> Result<String, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let bytes = burn_lora_files::bytes(path).map_err(unreadable)?;
    let text = match bytes.as_slice() {
        // Two zeros more are the mark of UTF-32.
        [0xff, 0xfe, rest @ ..] if !rest.starts_with(&[0, 0]) => {
            utf16(rest, u16::from_le_bytes, path)?
        }
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes, path)?,
        bytes if every_other_is_nothing(bytes, 1) => utf16(bytes, u16::from_le_bytes, path)?,
        bytes if every_other_is_nothing(bytes, 0) => utf16(bytes, u16::from_be_bytes, path)?,
        // What is an archive ends in zeros too, and is told by how it begins.
        bytes if bytes.ends_with(&[0; NOTHING]) && kind::no_text(written(bytes)).is_none() => {
            return Err(never_written(bytes, path));
        }
        _ => match kind::no_text(&bytes) {
            Some(kind) => {
                return Err(DataError::OtherKind { path: path.to_owned(), kind: kind.to_string() });
            }
            None => String::from_utf8(bytes).map_err(|error| not_utf8(path, &error))?,
        },
    };
    if let Some(kind) = no_rows(path, &text) {
        return Err(DataError::OtherKind { path: path.to_owned(), kind: kind.to_owned() });
    }
    Ok(match text.contains('\r') && !text.contains('\n') {
        true => text.replace('\r', "\n"),
        false => text,
    })
}

/// So many bytes of nothing at the end of a text were not written by whoever wrote the text.
const NOTHING: usize = 16;

/// What stands before the zeros at the end.
fn written(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// A file whose end was never written: the machine stopped, or it was made of that length first.
fn never_written(bytes: &[u8], path: &Path) -> DataError {
    let end = written(bytes).len();
    let kind = match end {
        0 => {
            "it holds nothing but NUL bytes, so that its content was never written: bring it again"
                .to_owned()
        }
        _ => format!(
            "from line {} on it holds nothing but NUL bytes, so that its end was never written: cut them off, \
             `tr -d '\\000' < FILE > OTHER`, or bring it again",
            line_at(bytes, end)
        ),
    };
    DataError::OtherKind { path: path.to_owned(), kind }
}

/// Whether a file begins as mostly Latin letters in UTF-16 without its mark: of each two bytes, one is nothing and the other something.
fn every_other_is_nothing(bytes: &[u8], nothing: usize) -> bool {
    let (pairs, _) = bytes.as_chunks::<2>();
    let pairs = &pairs[..pairs.len().min(16)];
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    pairs.len() > 1
        && 4 * zeros(nothing) >= 3 * pairs.len()
        && 4 * zeros(1 - nothing) <= pairs.len()
}

/// What a text is by its file's name, where it does not begin as JSON.
fn no_rows(path: &Path, text: &str) -> Option<&'static str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let extension = extension.to_ascii_lowercase();
    let is_table = matches!(extension.as_str(), "csv" | "tsv");
    if text.is_empty() || text.starts_with(['{', '[']) {
        let is_json = ["{\"", "[{", "[\n"].iter().any(|start| text.starts_with(start));
        return (is_table && is_json)
            .then_some("it is JSON and no table: give its name the ending `.jsonl`");
    }
    if is_table {
        return None;
    }
    if let Some(kind) = table(text) {
        return Some(kind);
    }
    match extension.as_str() {
        "txt" | "text" | "md" | "log" => Some(
            "it is plain text: write each text that is to be learned as a line of JSON, `{\"text\": \"…\"}`; a line each: `jq -cR '{text: .}' FILE > OTHER`",
        ),
        "yaml" | "yml" => Some(
            "it is YAML: write its rows as lines of JSON: `python3 -c 'import json,sys,yaml; [print(json.dumps(row,default=str)) for row in \
             yaml.safe_load(open(sys.argv[1]))]' FILE > OTHER` (with PyYAML)",
        ),
        "xml" => Some("it is XML: write its rows as lines of JSON"),
        _ => None,
    }
}

/// What a text is whose first line names columns that are a format's keys.
fn table(text: &str) -> Option<&'static str> {
    let first = text.lines().next()?;
    let named = |mark: char| {
        let names = first.split(mark).map(|name| name.trim().trim_matches('"').to_owned());
        let row: Object = names.map(|name| (name, serde_json::Value::Null)).collect();
        row.len() > 1 && Format::of(&row).is_some()
    };
    if named('\t') {
        return Some("it is a table with tabs between its values: give its name the ending `.tsv`");
    }
    [',', ';', '|']
        .into_iter()
        .any(named)
        .then_some("it is a table: give its name the ending `.csv`")
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
    // Letters of Western languages stand alone among those of ASCII, those of others in words.
    let pair = bytes.windows(2).any(|pair| !pair[0].is_ascii() && !pair[1].is_ascii());
    let encoding = match pair {
        _ if nothing > 40 => "UTF-16",
        true => UNKNOWN,
        false => "WINDOWS-1252",
    };
    DataError::Encoding { path: path.to_owned(), line, column, byte: bytes[at], encoding }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        for bytes in [text.as_bytes(), &little, &big, &little[2..], &big[2..]] {
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
        // In Japanese, in Chinese, in Russian: which one, nobody can tell from a few bytes.
        for bytes in [&b"{\"text\": \"\x93\xfa\x96\x7b\"}"[..], b"{\"text\": \"\xd0\xd2\xc9\"}"] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains("SHIFT-JIS") && error.contains("iconv -f ENCODING"), "{error}");
        }
        let gzip = read(b"\x1f\x8b\x08\0").unwrap_err().to_string();
        assert!(gzip.contains("gzip -dc"), "{gzip}");
        let pointer =
            read(b"version https://git-lfs.github.com/spec/v1\n").unwrap_err().to_string();
        assert!(pointer.contains("git lfs pull"), "{pointer}");
    }

    /// What a machine leaves that stops while a file is written.
    #[test]
    fn an_end_that_was_never_written_is_told_by_its_line() {
        let nothing = [0; 64];
        let error =
            read(&[&b"{\"text\": \"a\"}\n"[..], &nothing[..]].concat()).unwrap_err().to_string();
        assert!(error.contains("from line 2 on") && error.contains("tr -d"), "{error}");
        let error = read(&nothing).unwrap_err().to_string();
        assert!(error.contains("nothing but NUL bytes"), "{error}");
    }

    #[test]
    fn a_table_and_json_are_told_from_each_other_whatever_their_names_say() {
        let said = |name, text| no_rows(Path::new(name), text).unwrap_or_default();
        assert!(said("a.jsonl", "prompt,completion\na,b\n").contains("`.csv`"));
        assert!(said("a.json", "\"prompt\";\"completion\"\na;b\n").contains("`.csv`"));
        assert!(said("a.txt", "text\tlabel\na\tb\n").contains("`.tsv`"));
        assert!(said("a.csv", "{\"prompt\": \"a\"}\n").contains("`.jsonl`"));
        assert_eq!(said("a.csv", "prompt,completion\na,b\n"), "");
        assert_eq!(said("a.csv", "{a},b\n"), "");
    }

    #[test]
    fn a_text_that_is_no_rows_is_told_by_its_name() {
        let said = |name, text| no_rows(Path::new(name), text);
        assert!(said("a.txt", "hello").unwrap().contains("plain text"));
        assert!(said("a.YML", "\u{feff}- prompt: a").unwrap().contains("YAML"));
        assert_eq!(said("a.txt", "\n{\"text\": \"a\"}"), None);
        assert_eq!(said("a.md", ""), None);
        assert_eq!(said("a.jsonl", "hello"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_data_file() {
        let row_file = crate::RowFile::read("/dev/zero", &crate::Reading::default());
        assert!(matches!(row_file, Err(DataError::NoFile { .. })));
    }
}
