//! Kinds that their first bytes tell.

use super::Kind;
use super::zipped::ZIP;

/// What to do with a compressed file, in which a tar archive may be. Through a pipe: programs that unpack a file by its name refuse those
/// whose ending they do not know.
macro_rules! unpack {
    ($program:literal) => {
        concat!("unpack it: `", $program, " < FILE > OTHER` (a `.tar.…` or `.tgz`: `tar xf FILE`)")
    };
}

const IMAGE: Kind = Kind::new("a picture", "bring text: pictures are not learned from");

const PAGE: Kind = Kind::new(
    "a web page, as servers send one where a file needs a login or is gone",
    "download the file itself",
);
const POINTER: Kind = Kind::new(
    "a Git LFS pointer, not the file itself",
    "run `git lfs pull` where it was cloned, or download the file",
);
const UTF16: Kind =
    Kind::new("text in UTF-16", "convert it: `iconv -f UTF-16 -t UTF-8 FILE > OTHER`");
const PICKLE: Kind = Kind::new(
    "a pickle of Python",
    "pickles run code and are not read: save a model again as safetensors, rows as lines of JSON",
);
const ARROW: Kind = Kind::new(
    "an Arrow or Feather file",
    "write its rows as lines of JSON: `python3 -c 'import pandas,sys; \
     pandas.read_feather(sys.argv[1]).to_json(sys.argv[2],orient=\"records\",lines=True)' FILE OTHER`",
);
const SOUND: Kind = Kind::new("sound", "bring text: sound is not learned from");
const STATISTICS: Kind = Kind::new(
    "a file of a statistics program",
    "write its rows as lines of JSON, or as CSV in UTF-8, with that program",
);
pub(super) const PARQUET: Kind = Kind::new("a Parquet file", "name it with the ending `.parquet`");
const KEY: Kind = Kind::new("a key or an encrypted message", "name the file that was meant");
const OLD: Kind = Kind::new(
    "a model in a format older than GGUF",
    "convert the model that it was made from to GGUF",
);
const PROGRAM: Kind = Kind::new("a program", "name the file that was meant");

/// How each kind begins, after white space where it is text.
pub(super) const KINDS: &[(&[u8], Kind)] = &[
    (b"version https://git-lfs.github.com/spec/", POINTER),
    (b"version https://hawser.github.com/spec/", POINTER),
    (b"<!doctype html", PAGE),
    (b"<html", PAGE),
    (
        b"\xff\xfe\0\0",
        Kind::new("text in UTF-32", "convert it: `iconv -f UTF-32 -t UTF-8 FILE > OTHER`"),
    ),
    (b"\xff\xfe", UTF16),
    (b"\xfe\xff", UTF16),
    (b"\x1f\x8b", Kind::new("a gzip archive", unpack!("gzip -dc"))),
    (b"\xfd7zXZ\0", Kind::new("an xz archive", unpack!("xz -dc"))),
    (b"\x28\xb5\x2f\xfd", Kind::new("a zstd archive", unpack!("zstd -dc"))),
    (b"BZh", Kind::new("a bzip2 archive", unpack!("bzip2 -dc"))),
    (b"7z\xbc\xaf\x27\x1c", Kind::new("a 7z archive", "unpack it: `7z x FILE`")),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", Kind::new("an empty zip archive", "bring the file itself")),
    (b"Rar!\x1a\x07", Kind::new("a RAR archive", "unpack it: `unrar x FILE`")),
    (
        b"Obj\x01",
        Kind::new(
            "an Avro file",
            "write its rows as lines of JSON: `python3 -c 'import fastavro,json,sys; [print(json.dumps(row,default=str)) for row in \
                 fastavro.reader(open(sys.argv[1],\"rb\"))]' FILE > OTHER`",
        ),
    ),
    (b"\xff\xd8\xff", IMAGE),
    (b"\x89PNG", IMAGE),
    (b"GIF8", IMAGE),
    (b"II*\0", IMAGE),
    (b"MM\0*", IMAGE),
    (b"\0\0\x01\0", IMAGE),
    (b"\x1aE\xdf\xa3", Kind::new("a film", "bring text: films are not learned from")),
    (b"\x7fELF", PROGRAM),
    (b"MZ\x90", PROGRAM),
    (b"\xcf\xfa\xed\xfe", PROGRAM),
    (b"\xca\xfe\xba\xbe", PROGRAM),
    (b"\0asm", PROGRAM),
    (
        b"\0\x05\x16\x07",
        Kind::new("what macOS keeps beside a file", "name the file itself, without `._`"),
    ),
    (b"!<arch>\n", Kind::new("a package or a library", "name the file that was meant")),
    (b"-----BEGIN ", KEY),
    (b"\x5d\0\0\x80\0", Kind::new("an lzma archive", "unpack it: `xz -dc < FILE > OTHER`")),
    (b"\x1f\x9d", Kind::new("an archive of compress", "unpack it: `gzip -dc < FILE > OTHER`")),
    (
        b"\xff\x06\0\0sNaPpY",
        Kind::new(
            "a snappy archive",
            "unpack it: `python3 -c 'import snappy,sys; \
             snappy.stream_decompress(open(sys.argv[1],\"rb\"),open(sys.argv[2],\"wb\"))' FILE OTHER` (with python-snappy)",
        ),
    ),
    (b"\xd9\xd9\xf7", Kind::new("a file in CBOR", "write its rows as lines of JSON")),
    (b"<stata_dta>", STATISTICS),
    (b"$FL2", STATISTICS),
    (b"$FL3", STATISTICS),
    (b"RDX2\n", STATISTICS),
    (b"RDX3\n", STATISTICS),
    (b"MATLAB 5.0", STATISTICS),
    (
        b"\n\x0e\n\x05<unk>",
        Kind::new(
            "a vocabulary of SentencePiece",
            "a tokenizer stands in `tokenizer.json`: load it with transformers and `save_pretrained(DIR)`",
        ),
    ),
    (
        b"{\\rtf",
        Kind::new("a document in RTF", "save it as plain text, or its rows as lines of JSON"),
    ),
    (b"(lp0\n", PICKLE),
    (b"]q\0(", PICKLE),
    (b"}q\0(", PICKLE),
    (b"}q\0X", PICKLE),
    (b"(dp0\n", PICKLE),
    (
        b"\xd0\xcf\x11\xe0",
        Kind::new(
            "a document of an old Office program",
            "save the sheet as CSV in UTF-8 (`libreoffice --headless --convert-to csv FILE`)",
        ),
    ),
    (b"%PDF-", Kind::new("a PDF", "bring its text as lines of JSON")),
    (
        b"SQLite format 3\0",
        Kind::new(
            "an SQLite data base",
            "write the rows of its table as lines of JSON: `python3 -c 'import json,sqlite3,sys; c=sqlite3.connect(sys.argv[1]); \
             c.row_factory=sqlite3.Row; [print(json.dumps(dict(row),default=str)) for row in c.execute(\"SELECT * FROM TABLE_NAME\")]' FILE > OTHER`",
        ),
    ),
    (b"GGUF", Kind::new("a GGUF model", "name it as the model, with the ending `.gguf`")),
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW),
    (b"FEA1", ARROW),
    (
        b"\x93NUMPY",
        Kind::new(
            "an array of NumPy",
            "write its rows as lines of JSON, and a model as safetensors",
        ),
    ),
    (
        b"\x89HDF\r\n",
        Kind::new("an HDF5 file", "save a model again as safetensors, rows as lines of JSON"),
    ),
    (b"\x04\x22\x4d\x18", Kind::new("an lz4 archive", "unpack it: `lz4 -dc < FILE > OTHER`")),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
];

/// Kinds whose marks are letters alone. A text may begin with them, too, and holds no control characters.
pub(super) const LETTERS: &[(&[u8], Kind)] = &[
    (b"BM", IMAGE),
    (b"RIFF", Kind::new("sound or a picture", "bring text: it alone is learned from")),
    (b"OggS", SOUND),
    (b"fLaC", SOUND),
    (b"ID3", SOUND),
    (b"LZIP", Kind::new("an lzip archive", "unpack it: `lzip -dc < FILE > OTHER`")),
    (b"PARE", Kind::new("an encrypted Parquet file", "write it without encryption")),
    (b"lmgg", OLD),
    (b"tjgg", OLD),
    (b"fmgg", OLD),
    (
        b"ORC",
        Kind::new(
            "an ORC file",
            "write its rows as lines of JSON: `python3 -c 'import pandas,sys; \
                 pandas.read_orc(sys.argv[1]).to_json(sys.argv[2],orient=\"records\",lines=True)' FILE OTHER`",
        ),
    ),
];
