//! Kinds that no first bytes tell: they are told by what must hold of their first record.

use serde_json::{Map, Value};

use super::Kind;

/// The kind whose first record is that.
pub(super) fn of_record(bytes: &[u8]) -> Option<Kind> {
    let at =
        |start: usize, mark: &[u8]| bytes.get(start..).is_some_and(|rest| rest.starts_with(mark));
    if at(257, b"ustar") || is_old_tar(bytes) {
        return Some(Kind::new("a tar archive", "unpack it: `tar xf FILE`"));
    }
    if at(8, b"DUCK") && bytes.get(12..20).is_none_or(|version| version.contains(&0)) {
        let remedy = "write the rows of its table as lines of JSON: `python3 -c 'import duckdb,sys; \
                      duckdb.connect(sys.argv[1]).execute(\"COPY TABLE_NAME TO \\x27OTHER\\x27 (FORMAT json)\")' FILE`";
        return Some(Kind::new("a DuckDB data base", remedy));
    }
    if at(4, b"ftyp") && at(0, b"\0") {
        return Some(Kind::new("a film", "bring text: films are not learned from"));
    }
    if at(60, b"BOOKMOBI") {
        return Some(Kind::new("a book of Kindle", "bring its text as lines of JSON"));
    }
    if is_arrow_stream(bytes) {
        return Some(Kind::new(
            "a stream of Arrow, as `datasets` writes it",
            "write its rows as lines of JSON: `python3 -c 'import datasets,sys; \
             datasets.Dataset.from_file(sys.argv[1]).to_json(sys.argv[2])' FILE OTHER`",
        ));
    }
    if is_tfrecord(bytes) {
        return Some(Kind::new(
            "a TFRecord file of TensorFlow",
            "write its rows as lines of JSON, read with `tf.data.TFRecordDataset` in Python",
        ));
    }
    if is_messagepack(bytes) {
        return Some(Kind::new(
            "a file in MessagePack",
            "write its rows as lines of JSON: `python3 -c 'import json,msgpack,sys; [print(json.dumps(row,default=str)) for row in \
             msgpack.Unpacker(open(sys.argv[1],\"rb\"))]' FILE > OTHER`",
        ));
    }
    if is_refusal(bytes) {
        return Some(Kind::new(
            "what a server answers that does not give a file",
            "download the file itself, with a token where it needs one",
        ));
    }
    None
}

/// The longest answer of a server that is looked at.
const ANSWER: usize = 400;

/// Whether all that is there is what a hub says in the place of a file: a sentence of its own, or an object with nothing but an error.
fn is_refusal(bytes: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= ANSWER) else {
        return false;
    };
    let text = text.trim();
    let sentences = [
        "Entry not found",
        "Repository not found",
        "Revision not found",
        "Invalid username or password.",
        "Not Found",
        "404: Not Found",
        "Unauthorized",
        "Forbidden",
        "Internal Server Error",
        "Too Many Requests",
    ];
    if sentences.contains(&text) || text.starts_with("Access to model ") {
        return true;
    }
    let is_word =
        |key: &String| ["error", "message", "status", "detail", "code"].contains(&key.as_str());
    let object = serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    (object.contains_key("error") || object.contains_key("detail")) && object.keys().all(is_word)
}

/// Whether it begins with a header of tar's without its mark, as the oldest have it: the sum of its bytes stands in it, in octal digits,
/// with blanks in its own place.
fn is_old_tar(bytes: &[u8]) -> bool {
    const SUM: std::ops::Range<usize> = 148..156;
    let Some(header) = bytes.get(..512) else { return false };
    let digits = header[SUM].iter().skip_while(|byte| **byte == b' ');
    let digits: Vec<u8> = digits.take_while(|byte| byte.is_ascii_digit()).copied().collect();
    let said = std::str::from_utf8(&digits).ok().and_then(|sum| u32::from_str_radix(sum, 8).ok());
    let is_own = |at: usize| SUM.contains(&at);
    let sum =
        header.iter().enumerate().map(|(at, byte)| if is_own(at) { 32 } else { u32::from(*byte) });
    header[0] != 0 && said == Some(sum.sum())
}

/// Whether a message of Arrow begins here: the mark of its format, and the length of its description, a multiple of eight.
fn is_arrow_stream(bytes: &[u8]) -> bool {
    let [0xff, 0xff, 0xff, 0xff, rest @ ..] = bytes else { return false };
    let Some(length) = rest.first_chunk::<4>() else { return false };
    let length = u32::from_le_bytes(*length);
    length > 0 && length < 1 << 24 && length.is_multiple_of(8)
}

/// Whether a length stands here with its own checksum, CRC-32C, turned by 15 bits and added to as TensorFlow does.
fn is_tfrecord(bytes: &[u8]) -> bool {
    let (Some(length), Some(sum)) =
        (bytes.first_chunk::<8>(), bytes.get(8..).and_then(<[u8]>::first_chunk::<4>))
    else {
        return false;
    };
    let crc = !length.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    });
    crc.rotate_right(15).wrapping_add(0xa282_ead8) == u32::from_le_bytes(*sum)
}

/// Whether a map stands here whose first name is a text, or a list whose first item is such a map: no text in UTF-8 begins so.
fn is_messagepack(bytes: &[u8]) -> bool {
    // One of up to 15 pairs, or with their number behind it.
    let is_map = |bytes: &[u8]| match bytes {
        [0x81..=0x8f, rest @ ..] | [0xde, _, _, rest @ ..] | [0xdf, _, _, _, _, rest @ ..] => {
            is_name(rest)
        }
        _ => false,
    };
    match bytes {
        [0x91..=0x9f, rest @ ..] | [0xdc, _, _, rest @ ..] | [0xdd, _, _, _, _, rest @ ..] => {
            is_map(rest)
        }
        bytes => is_map(bytes),
    }
}

/// Whether a text of up to 31 or 255 bytes stands here, letters all of them.
fn is_name(bytes: &[u8]) -> bool {
    let (length, rest) = match bytes {
        [length @ 0xa1..=0xbf, rest @ ..] => (usize::from(length & 0x1f), rest),
        [0xd9, length, rest @ ..] => (usize::from(*length), rest),
        _ => return false,
    };
    let name = rest.get(..length).unwrap_or_default();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}
