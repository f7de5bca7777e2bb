use std::io::ErrorKind;

use super::super::writer::{Writer, open, text, tiny_llama, zeros};
use super::*;
use crate::gguf::{Array, Value};

/// Opens what must be refused, and gives the message.
fn refusal(bytes: &[u8]) -> String {
    open(bytes).expect_err("a damaged file").to_string()
}

fn check_refused(bytes: &[u8], parts: &[&str]) {
    let message = refusal(bytes);
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

/// A header with counts of one's choice, and what follows.
fn header(tensors: u64, values: u64, rest: &[&[u8]]) -> Vec<u8> {
    let counts = [tensors.to_le_bytes(), values.to_le_bytes()].concat();
    [&b"GGUF\x03\0\0\0"[..], &counts, &rest.concat()].concat()
}

/// A tensor's description.
fn info(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let rank = (dims.len() as u32 / 8).to_le_bytes();
    [&text(name)[..], &rank, &dims, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

#[test]
fn every_kind_of_value_is_read() {
    let file = Writer::new()
        .raw("u8", 0, &[200])
        .raw("i8", 1, &(-3_i8).to_le_bytes())
        .raw("u16", 2, &60_000_u16.to_le_bytes())
        .raw("i16", 3, &(-300_i16).to_le_bytes())
        .u32("u32", 4_000_000_000)
        .raw("i32", 5, &(-70_000_i32).to_le_bytes())
        .f32("f32", 0.25)
        .flag("yes", true)
        .text("text", "né\u{1f600}")
        .raw("u64", 10, &u64::MAX.to_le_bytes())
        .raw("i64", 11, &i64::MIN.to_le_bytes())
        .raw("f64", 12, &0.1_f64.to_le_bytes())
        .array("u8s", 0, &[vec![7], vec![255]])
        .array("i8s", 1, &[vec![255]])
        .array("u16s", 2, &[vec![1, 1]])
        .array("i16s", 3, &[vec![254, 255]])
        .array("u32s", 4, &[vec![1, 0, 0, 0]])
        .i32s("i32s", &[-1, 5])
        .array("f32s", 6, &[1.5_f32.to_le_bytes().to_vec()])
        .array("flags", 7, &[vec![0], vec![1]])
        .texts("texts", &["a", ""])
        .array("u64s", 10, &[3_u64.to_le_bytes().to_vec()])
        .array("i64s", 11, &[(-3_i64).to_le_bytes().to_vec()])
        .array("f64s", 12, &[2.5_f64.to_le_bytes().to_vec()])
        .array("none", 12, &[])
        .array("arrays", 9, &[vec![0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]])
        .open()
        .unwrap();
    for (key, value) in [
        ("u8", Value::Unsigned(200)),
        ("i8", Value::Signed(-3)),
        ("u16", Value::Unsigned(60_000)),
        ("i16", Value::Signed(-300)),
        ("u32", Value::Unsigned(4_000_000_000)),
        ("i32", Value::Signed(-70_000)),
        ("f32", Value::F32(0.25)),
        ("yes", Value::Bool(true)),
        ("text", Value::Text("né\u{1f600}".into())),
        ("u64", Value::Unsigned(u64::MAX)),
        ("i64", Value::Signed(i64::MIN)),
        ("f64", Value::F64(0.1)),
        ("u8s", Value::Array(Array::Unsigned(vec![7, 255]))),
        ("i8s", Value::Array(Array::Signed(vec![-1]))),
        ("u16s", Value::Array(Array::Unsigned(vec![257]))),
        ("i16s", Value::Array(Array::Signed(vec![-2]))),
        ("u32s", Value::Array(Array::Unsigned(vec![1]))),
        ("i32s", Value::Array(Array::Signed(vec![-1, 5]))),
        ("f32s", Value::Array(Array::F32(vec![1.5]))),
        ("flags", Value::Array(Array::Bool(vec![false, true]))),
        ("texts", Value::Array(Array::Text(vec!["a".into(), String::new()]))),
        ("u64s", Value::Array(Array::Unsigned(vec![3]))),
        ("i64s", Value::Array(Array::Signed(vec![-3]))),
        ("f64s", Value::Array(Array::F64(vec![2.5]))),
        ("none", Value::Array(Array::F64(Vec::new()))),
        ("arrays", Value::Array(Array::Array(vec![Array::Unsigned(vec![9])]))),
    ] {
        assert_eq!(file.metadata().get(key), Some(&value), "{key}");
    }
    assert_eq!(file.metadata().iter().count(), 26);
}

#[test]
fn tensors_are_listed_and_read_in_both_versions() {
    for version in [2, 3] {
        let mut writer = tiny_llama();
        writer.version = version;
        let mut file = writer.open().unwrap();
        assert_eq!(file.version(), version);
        assert_eq!(file.tensors().count(), 11);
        let down = file.tensor("blk.0.ffn_down.weight").unwrap();
        assert_eq!((down.shape.as_slice(), down.ggml_type), (&[4, 6][..], GgmlType::F32));
        let expected: Vec<f32> = (0..24).map(|i| i as f32).collect();
        assert_eq!(file.read("blk.0.ffn_down.weight").unwrap(), expected);
        let missing = file.read("blk.1.ffn_down.weight").unwrap_err();
        assert!(matches!(missing, GgufError::NoTensor { tensor, .. } if tensor.contains("blk.1")));
    }
}

#[test]
fn chunks_of_a_tensor_follow_one_another() {
    let values: Vec<f32> = (0..1000).map(|i| i as f32 / 8.0).collect();
    let mut file = Writer::new().f32s("t", &[10, 100], &values).open().unwrap();
    let tensor = file.tensor("t").unwrap().clone();
    for size in [1, 7, 100, 999, 1000, 5000] {
        let mut found = Vec::new();
        let mut bytes = 0;
        file.chunks(&tensor, size, &mut |first, numbers, read| {
            assert_eq!(first, found.len());
            assert!(numbers.len() <= size);
            found.extend_from_slice(numbers);
            bytes += read;
        })
        .unwrap();
        assert_eq!((&found, bytes), (&values, 4000), "{size}");
    }
}

#[test]
fn the_alignment_of_the_file_counts() {
    for alignment in [1, 8, 4096] {
        let mut file = Writer::new()
            .alignment(alignment)
            .f32s("a", &[3], &[1.0, 2.0, 3.0])
            .f32s("b", &[1], &[4.0])
            .open()
            .unwrap();
        assert_eq!(file.read("a").unwrap(), [1.0, 2.0, 3.0], "{alignment}");
        assert_eq!(file.read("b").unwrap(), [4.0], "{alignment}");
    }
    for alignment in [0_u32, 24] {
        let bytes = Writer::new().u32("general.alignment", alignment).bytes();
        check_refused(&bytes, &["general.alignment", &alignment.to_string()]);
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = tiny_llama().texts("t", &["a", "bc"]).bytes();
    assert!(open(&bytes).is_ok());
    for len in 0..bytes.len() {
        let error = open(&bytes[..len]).expect_err("a cut file");
        assert!(
            matches!(error, GgufError::Cut { .. } | GgufError::OutOfBounds { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn other_files_and_versions_are_named() {
    check_refused(b"PK\x03\x04more and more", &["not a GGUF file", "it is a zip archive"]);
    check_refused(b"GGUF\x01\0\0\0\0\0\0\0", &["version 1"]);
    check_refused(b"GGUF\0\0\0\x03\0\0\0\0", &["big-endian"]);
    let missing = GgufFile::open(Path::new("no such file.gguf")).unwrap_err();
    assert!(
        matches!(missing, GgufError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    );
}

#[test]
fn counts_beyond_the_file_are_refused_before_anything_is_allocated() {
    check_refused(&header(u64::MAX, 0, &[]), &["list of tensors"]);
    check_refused(&header(0, u64::MAX, &[]), &["the metadata"]);
    check_refused(&header(1 << 40, 0, &[&[0; 64]]), &["list of tensors"]);
    let long_key = u64::MAX.to_le_bytes();
    check_refused(&header(0, 1, &[&long_key, &[0; 8]]), &["a metadata key"]);
    for (kind, count) in [(8_u32, u64::MAX), (0, 1 << 50), (12, u64::MAX / 8 + 2), (9, 1 << 62)] {
        let value = [&text("k")[..], &9_u32.to_le_bytes(), &kind.to_le_bytes()].concat();
        check_refused(&header(0, 1, &[&value, &count.to_le_bytes()]), &["a metadata array"]);
    }
}

#[test]
fn a_header_longer_than_any_sound_one_is_refused() {
    // A sparse file of 1 GiB whose first text says that it is almost as long.
    let head = header(0, 1, &[&(1_u64 << 29).to_le_bytes()]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), head).unwrap();
    file.as_file().set_len(1 << 30).unwrap();
    let error = GgufFile::open(file.path()).unwrap_err();
    assert!(matches!(error, GgufError::HeaderTooLong { .. }), "{error}");
}

#[test]
fn damaged_values_are_named() {
    check_refused(&Writer::new().raw("k", 13, &[0; 8]).bytes(), &["`k`", "kind 13"]);
    check_refused(&Writer::new().array("k", 99, &[]).bytes(), &["`k`", "kind 99"]);
    check_refused(&Writer::new().raw("k", 7, &[2]).bytes(), &["`k`", "is 2"]);
    check_refused(&Writer::new().u32("k", 1).u32("k", 2).bytes(), &["`k` twice"]);
    let crooked = [&1_u64.to_le_bytes()[..], &[0xff]].concat();
    check_refused(&Writer::new().raw("k", 8, &crooked).bytes(), &["not UTF-8"]);
    let nested: Vec<u8> = [9_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    check_refused(&Writer::new().raw("k", 9, &nested.repeat(1000)).bytes(), &["`k`", "nested"]);
}

#[test]
fn damaged_tensors_are_named() {
    let file = |infos: &[Vec<u8>]| {
        let count = infos.len() as u64;
        let mut bytes = header(count, 0, &[&infos.concat()]);
        bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
        bytes
    };
    // 64 bytes of data: 16 numbers.
    assert!(open(&file(&[info("t", &[16], 0, 0)])).is_ok());
    check_refused(&file(&[info("t", &[17], 0, 0)]), &["`t`", "68 bytes"]);
    check_refused(&file(&[info("t", &[16], 0, 32)]), &["`t`", "cut short"]);
    check_refused(&file(&[info("t", &[1], 0, u64::MAX - 31)]), &["`t`", "cut short"]);
    check_refused(&file(&[info("t", &[1], 0, 8)]), &["`t`", "multiple of the alignment 32"]);
    check_refused(&file(&[info("t", &[1 << 33, 1 << 33], 0, 0)]), &["`t`", "impossible size"]);
    check_refused(&file(&[info("t", &[1 << 61, 4], 0, 0)]), &["`t`", "impossible size"]);
    check_refused(&file(&[info("t", &[1, 1, 1, 1, 1], 0, 0)]), &["`t`", "5 dimensions"]);
    check_refused(&file(&[info("t", &[16], 4, 0)]), &["`t`", "type number 4", "Q4_K"]);
    check_refused(&file(&[info("t", &[48], 2, 0)]), &["`t`", "48", "Q4_0", "blocks of 32"]);
    check_refused(&file(&[info("t", &[1], 0, 0), info("t", &[1], 0, 32)]), &["`t` twice"]);
}

#[test]
fn tensors_may_overlap() {
    let infos = [info("a", &[2], 0, 0), info("b", &[1], 0, 0), info("none", &[0], 0, 0)];
    let mut bytes = header(3, 0, &[&infos.concat()]);
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend([1.0_f32, 2.0].into_iter().flat_map(f32::to_le_bytes));
    let mut file = open(&bytes).unwrap();
    assert_eq!(file.read("a").unwrap(), [1.0, 2.0]);
    assert_eq!(file.read("b").unwrap(), [1.0]);
    assert!(file.read("none").unwrap().is_empty());
}

#[test]
fn a_quantization_that_is_not_read_is_named_when_it_is_asked_for() {
    let mut file = Writer::new()
        .tensor("t", &[2, 256], 10, &zeros(GgmlType::Q2_K, 512))
        .tensor("u", &[2, 256], 14, &zeros(GgmlType::Q6_K, 512))
        .open()
        .unwrap();
    assert_eq!(file.read("u").unwrap(), [0.0; 512]);
    let message = file.read("t").unwrap_err().to_string();
    assert!(message.contains("`t` is Q2_K") && message.contains("Q6_K"), "{message}");
}

#[test]
fn the_chat_template_is_given_as_it_is() {
    let template = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
    let file = Writer::new().text("tokenizer.chat_template", template).open().unwrap();
    assert_eq!(file.chat_template().unwrap(), Some(template));
    assert_eq!(Writer::new().open().unwrap().chat_template().unwrap(), None);
}

#[test]
fn one_of_several_files_is_told_by_its_name_and_by_what_it_says() {
    let said = |count: u32| tiny_llama().u32("split.count", count).open().map(|_| ());
    assert!(matches!(said(3), Err(GgufError::Split { .. })));
    said(0).unwrap();
    said(1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, tiny_llama().bytes()).unwrap();
        GgufFile::open(&path).map(|_| ())
    };
    let error = open("m-Q4-00002-of-00003.gguf").unwrap_err().to_string();
    assert!(error.contains("00002-of-00003.gguf") && error.contains("--merge"), "{error}");
    for whole in ["m-00001-of-00001.gguf", "m-1-of-3.gguf", "m-00004-of-00003.gguf", "m.gguf"] {
        open(whole).unwrap();
    }
}
