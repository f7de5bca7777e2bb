//! The header of a file: metadata and the list of tensors, as bytes.

use std::collections::BTreeMap;

use super::super::{Array, Value};

/// Tensors begin at multiples of this, and a file need not say so.
pub(in crate::gguf) const ALIGNMENT: usize = 32;

/// A tensor as the header lists it.
pub(in crate::gguf) struct Listed<'a> {
    pub(in crate::gguf) name: &'a str,
    /// Slowest dimension first.
    pub(in crate::gguf) shape: &'a [usize],
    /// The number of its type.
    pub(in crate::gguf) ggml_type: u32,
    /// Bytes in the file.
    pub(in crate::gguf) bytes: usize,
}

/// The metadata, a field after the other.
pub(super) fn fields(metadata: &BTreeMap<String, Value>) -> Vec<Vec<u8>> {
    let one = |(key, value): (&String, &Value)| {
        let (kind, bytes) = encoded(value);
        field(key, kind, &bytes)
    };
    metadata.iter().map(one).collect()
}

/// A field of the metadata, of its kind's number and its bytes.
pub(in crate::gguf) fn field(key: &str, kind: u32, bytes: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), bytes].concat()
}

/// The whole header, up to where the first tensor begins. Tensors follow in the order of the list, each
/// at the next multiple of `alignment`.
pub(in crate::gguf) fn header(
    version: u32,
    fields: &[Vec<u8>],
    tensors: &[Listed<'_>],
    alignment: usize,
) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((fields.len() as u64).to_le_bytes());
    out.extend(fields.concat());
    let mut offset = 0;
    for Listed { name, shape, ggml_type, bytes } in tensors {
        out.extend(text(name));
        out.extend((shape.len() as u32).to_le_bytes());
        out.extend(shape.iter().rev().flat_map(|&dim| (dim as u64).to_le_bytes()));
        out.extend(ggml_type.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset += bytes.next_multiple_of(alignment);
    }
    out.resize(out.len().next_multiple_of(alignment), 0);
    out
}

/// A text with its length before it.
pub(in crate::gguf) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The number of a value's kind, and its bytes. Integers take four bytes where they fit, as every
/// reader expects of counts and ids.
pub(in crate::gguf) fn encoded(value: &Value) -> (u32, Vec<u8>) {
    match value {
        Value::Unsigned(value) => match u32::try_from(*value) {
            Ok(value) => (4, value.to_le_bytes().into()),
            Err(_) => (10, value.to_le_bytes().into()),
        },
        Value::Signed(value) => match i32::try_from(*value) {
            Ok(value) => (5, value.to_le_bytes().into()),
            Err(_) => (11, value.to_le_bytes().into()),
        },
        Value::F32(value) => (6, value.to_le_bytes().into()),
        Value::Bool(value) => (7, vec![u8::from(*value)]),
        Value::Text(value) => (8, text(value)),
        Value::Array(array) => (9, elements(array)),
        Value::F64(value) => (12, value.to_le_bytes().into()),
    }
}

/// An array: its elements' kind, their number, and they themselves.
fn elements(array: &Array) -> Vec<u8> {
    let (kind, bytes) = match array {
        Array::Unsigned(values) => match values.iter().map(|&v| u32::try_from(v)).collect() {
            Ok(values) => (4, joined::<u32, 4>(values, u32::to_le_bytes)),
            Err(_) => (10, joined(values.clone(), u64::to_le_bytes)),
        },
        Array::Signed(values) => match values.iter().map(|&v| i32::try_from(v)).collect() {
            Ok(values) => (5, joined::<i32, 4>(values, i32::to_le_bytes)),
            Err(_) => (11, joined(values.clone(), i64::to_le_bytes)),
        },
        Array::F32(values) => (6, joined(values.clone(), f32::to_le_bytes)),
        Array::Bool(values) => (7, values.iter().map(|&value| u8::from(value)).collect()),
        Array::Text(values) => (8, values.iter().flat_map(|value| text(value)).collect()),
        Array::Array(values) => (9, values.iter().flat_map(elements).collect()),
        Array::F64(values) => (12, joined(values.clone(), f64::to_le_bytes)),
    };
    [&u32::to_le_bytes(kind)[..], &(array.len() as u64).to_le_bytes(), &bytes].concat()
}

fn joined<T, const N: usize>(values: Vec<T>, bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::super::super::GgufFile;
    use super::*;

    fn numbers() -> impl Strategy<Value = f32> {
        any::<f32>().prop_filter("NaN is not equal to itself", |value| !value.is_nan())
    }

    fn arrays() -> impl Strategy<Value = Array> {
        let flat = prop_oneof![
            prop::collection::vec(any::<u64>(), 0..4).prop_map(Array::Unsigned),
            prop::collection::vec(0..=u64::from(u32::MAX), 0..4).prop_map(Array::Unsigned),
            prop::collection::vec(any::<i64>(), 0..4).prop_map(Array::Signed),
            prop::collection::vec(-9_i64..9, 0..4).prop_map(Array::Signed),
            prop::collection::vec(numbers(), 0..4).prop_map(Array::F32),
            prop::collection::vec(numbers().prop_map(f64::from), 0..4).prop_map(Array::F64),
            prop::collection::vec(any::<bool>(), 0..4).prop_map(Array::Bool),
            prop::collection::vec(any::<String>(), 0..4).prop_map(Array::Text),
        ];
        flat.prop_recursive(2, 8, 3, |inner| {
            prop::collection::vec(inner, 0..3).prop_map(Array::Array)
        })
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u64>().prop_map(Value::Unsigned),
            any::<u32>().prop_map(|value| Value::Unsigned(value.into())),
            any::<i64>().prop_map(Value::Signed),
            any::<i32>().prop_map(|value| Value::Signed(value.into())),
            numbers().prop_map(Value::F32),
            numbers().prop_map(|value| Value::F64(value.into())),
            any::<bool>().prop_map(Value::Bool),
            any::<String>().prop_map(Value::Text),
            arrays().prop_map(Value::Array),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_into_a_header_is_read_from_it(
            metadata in prop::collection::btree_map("[a-z.]{1,8}", values(), 0..6),
        ) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&header(3, &fields(&metadata), &[], ALIGNMENT)).unwrap();
            let read = GgufFile::open(file.path()).unwrap();
            let read: BTreeMap<String, Value> = read
                .metadata()
                .iter()
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect();
            prop_assert_eq!(read, metadata);
        }
    }
}
