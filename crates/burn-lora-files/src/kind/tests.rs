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
        // Names of what is in an archive stand at its end, too.
        (
            [&b"PK\x03\x04\x14docProps/app.xml"[..], &[7; 4000], b"xl/workbook.xml"].concat(),
            "Excel",
        ),
        (b"PK\x03\x04\x14_rels/.rels word/document.xml".to_vec(), "Word"),
        (b"ORC\x0a\x0b\x0a\x03\0\0".to_vec(), "pandas.read_orc"),
        (b"Obj\x01\x04\x14avro.codec".to_vec(), "fastavro"),
        (b"BM\x36\0\0\0\0\0".to_vec(), "picture"),
        (b"\x12\x34\x56\x78\x9a\xbc\xde\xf0DUCK\x40\0\0\0".to_vec(), "COPY TABLE_NAME"),
        (b"]q\0(}q\x01(".to_vec(), "pickle"),
        // An Arrow stream: the mark of its format, and 392 bytes of description.
        ([&[0xff; 4][..], &392_u32.to_le_bytes(), &[16, 0, 0, 0]].concat(), "from_file"),
        // {"a": "b"}, and a list of it.
        (b"\x81\xa1a\xa1b".to_vec(), "MessagePack"),
        (b"\x91\x81\xa1a\xa1b".to_vec(), "MessagePack"),
        (b"\xdc\0\x20\xde\0\x10\xa6prompt".to_vec(), "MessagePack"),
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
    let cases: [(&[u8], Option<&str>); 19] = [
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
        (b"\0\x05\x16\x07\0\x02", Some("macOS")),
        (b"Entry not found", Some("a server answers")),
        (b"{\"error\": \"Repository not found\"}\n", Some("a server answers")),
        (b"{\"error\": \"a\", \"prompt\": \"b\"}", None),
        (b"{\"message\": \"a\"}", None),
        (b"Not Found here", None),
        (b"versions: 3", None),
        (b"", None),
    ];
    for (bytes, expected) in cases {
        let found = recognised(bytes).map(|kind| kind.what);
        assert_eq!(found.is_some(), expected.is_some(), "{bytes:?}");
        assert!(found.unwrap_or("").contains(expected.unwrap_or("")), "{bytes:?}: {found:?}");
    }
}

/// As GNU tar 1.34 writes it with `--format=v7`, of a file `a` of one byte.
#[test]
fn an_archive_of_the_oldest_tar_is_told_by_its_sum() {
    let mut header = vec![0; 512];
    for (at, field) in [
        (0, &b"a"[..]),
        (100, b"0000644"),
        (108, b"0001750"),
        (116, b"0001750"),
        (124, b"00000000001"),
        (136, b"14000000000"),
        (156, b"0"),
    ] {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(recognised(&header).unwrap().what.contains("tar archive"));
    header[0] = b'b';
    assert_eq!(recognised(&header), None);
}

/// CRC-32C of eight bytes `12 00 00 00 00 00 00 00`, computed by the definition in Python, turned and added to as TensorFlow does.
#[test]
fn records_of_tensorflow_are_told_by_the_checksum_of_their_length() {
    let record = |sum: u32| [&18_u64.to_le_bytes()[..], &sum.to_le_bytes(), b"\x0a\x10"].concat();
    assert!(recognised(&record(0x2564_1f24)).unwrap().what.contains("TFRecord"));
    assert_eq!(recognised(&record(0x2564_1f25)), None);
}

/// Letters are a mark only where what follows is no text.
#[test]
fn a_text_that_begins_with_the_letters_of_a_mark_is_a_text() {
    for text in
        ["BMW,Audi\n", "PARENT,child\n", "ID3,name\n", "ORCA\n", "RIFF\n", "I saw a DUCK swim by\n"]
    {
        assert_eq!(recognised(text.as_bytes()), None, "{text}");
    }
}
