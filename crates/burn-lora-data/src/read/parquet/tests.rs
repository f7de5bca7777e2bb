//! The files in `fixtures` were written by pyarrow 26 with `store_schema=False, write_statistics=False`.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn_lora_models::conversation::Message;

use crate::{DataError, Format, Label, Place, Reading, Row, RowFile};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures").join(name)
}

fn read(name: &str, limit: Option<usize>) -> RowFile {
    RowFile::read(fixture(name), &Reading { limit, ..Reading::default() }).unwrap()
}

fn message(role: &str, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn strings_and_numbers_of_two_snappy_row_groups_are_rows() {
    let file = read("labels.parquet", None);
    assert_eq!(file.format, Format::Classification);
    let rows: Vec<_> = file.rows.into_iter().map(|placed| (placed.place, placed.row)).collect();
    let row =
        |text: &str, label| Row::Classification { text: text.into(), label: Label::Number(label) };
    assert_eq!(
        rows,
        [
            (Place::Line(1), row("card lost", 2)),
            (Place::Line(2), row("no rate", 0)),
            (Place::Line(3), row("wo ist sie?", 1))
        ]
    );
    for limit in 1..=3 {
        assert_eq!(read("labels.parquet", Some(limit)).rows.len(), limit);
    }
}

#[test]
fn lists_of_structs_in_zstd_are_conversations() {
    let file = read("messages.parquet", None);
    assert_eq!(file.format, Format::Messages);
    let rows: Vec<_> = file.rows.into_iter().map(|placed| placed.row).collect();
    assert_eq!(
        rows,
        [
            Row::Messages(vec![message("user", "2 + 2?"), message("assistant", "4")].into()),
            Row::Messages(
                vec![
                    message("system", "short"),
                    message("user", "hi"),
                    message("assistant", "hello")
                ]
                .into()
            ),
        ]
    );
}

#[test]
fn an_input_that_is_null_is_none() {
    let file = read("instruction.parquet", None);
    assert_eq!(file.format, Format::Instruction);
    let rows: Vec<_> = file.rows.into_iter().map(|placed| placed.row).collect();
    assert_eq!(
        rows,
        [
            Row::Messages(vec![message("user", "add\n\n1 2"), message("assistant", "3")].into()),
            Row::Messages(vec![message("user", "name one"), message("assistant", "two")].into()),
        ]
    );
}

#[test]
fn a_null_is_reported_with_its_row() {
    let path = fixture("null_label.parquet");
    assert_eq!(
        RowFile::read(&path, &Reading::default()).unwrap_err().to_string(),
        format!("{}:2: `label` must be a string or a whole number, but is null", path.display())
    );
}

#[test]
fn the_keys_of_a_file_that_fits_no_format_are_listed() {
    let error =
        RowFile::read(fixture("other.parquet"), &Reading::default()).unwrap_err().to_string();
    assert!(error.contains(":1: the keys `id`, `promt` fit no format: "), "{error}");
    assert!(error.contains("rename `promt` to `prompt`"), "{error}");
    let date = RowFile::read(fixture("date.parquet"), &Reading::default()).unwrap_err().to_string();
    assert!(date.contains("the column `text` holds neither strings nor numbers"), "{date}");
}

#[test]
fn damaged_files_are_errors_or_rows_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.parquet");
    let write = |bytes: &[u8]| std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    for name in ["labels.parquet", "messages.parquet"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in 0..whole.len() {
            write(&whole[..length]);
            let cut = RowFile::read(&path, &Reading::default());
            assert!(matches!(cut, Err(DataError::Parquet { .. })), "{name} cut to {length}");
        }
        for at in 0..whole.len() {
            for flip in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                write(&bytes);
                // Any answer will do, but an answer it must be.
                let _ = RowFile::read(&path, &Reading::default());
            }
        }
    }
}
