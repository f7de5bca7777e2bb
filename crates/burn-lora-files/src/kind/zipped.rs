//! What a zip archive is that is a file of something, by the names of what is in it.

use super::Kind;

pub(super) const ZIP: Kind = Kind::new("a zip archive", "unpack it: `unzip FILE`");

/// By what stands in a name; the first that is there counts.
const ZIPPED: [(&[u8], Kind); 9] = [
    (
        b"opendocument",
        Kind::new(
            "a document of LibreOffice",
            "save the sheet as CSV in UTF-8 (`libreoffice --headless --convert-to csv FILE`)",
        ),
    ),
    (b"epub+zip", Kind::new("a book in EPUB", "bring its text as lines of JSON")),
    (b"word/", Kind::new("a document of Word", "bring its text as lines of JSON")),
    (b"ppt/", Kind::new("a presentation", "bring its text as lines of JSON")),
    (b"xl/", SHEET),
    (b"[Content_Types].xml", SHEET),
    (
        b"data.pkl",
        Kind::new("a checkpoint of PyTorch", "save it again as safetensors: pickles are not read"),
    ),
    (
        b"model.weights.h5",
        Kind::new(
            "a model of Keras",
            "weights of TensorFlow are not read: save the model as safetensors",
        ),
    ),
    (
        b".npy",
        Kind::new(
            "arrays of NumPy",
            "write their rows as lines of JSON, and a model as safetensors",
        ),
    ),
];

const SHEET: Kind = Kind::new(
    "a spreadsheet of Excel or another document of Office",
    "save the sheet as CSV in UTF-8 (`libreoffice --headless --convert-to csv FILE`)",
);

/// How much is searched for names: they stand before each file within, and all together at the end.
pub(super) const SEARCHED: usize = 64 << 10;

/// What the archive is that begins and ends so.
pub(super) fn zipped(bytes: &[u8]) -> Kind {
    let beginning = &bytes[..bytes.len().min(SEARCHED)];
    let end = &bytes[bytes.len().saturating_sub(SEARCHED)..];
    let has = |part: &[u8]| {
        [beginning, end].iter().any(|names| names.windows(part.len()).any(|within| within == part))
    };
    ZIPPED.iter().find(|(part, _)| has(part)).map_or(ZIP, |(_, kind)| *kind)
}
