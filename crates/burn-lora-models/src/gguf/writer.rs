//! Small files for the tests, written by hand.

use std::io::Write;

use super::write::header::{self, ALIGNMENT, Listed, encoded, field};
use super::{Array, GgmlType, GgufError, GgufFile, Value};

pub(super) use super::write::header::text;

/// What a file is to hold, sound or not.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) version: u32,
    alignment: usize,
    fields: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { version: 3, alignment: ALIGNMENT, fields: Vec::new(), tensors: Vec::new() }
    }

    /// A value of any kind, by the kind's number and its bytes.
    pub(super) fn raw(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.fields.push(field(key, kind, bytes));
        self
    }

    fn value(self, key: &str, value: &Value) -> Self {
        let (kind, bytes) = encoded(value);
        self.raw(key, kind, &bytes)
    }

    pub(super) fn u32(self, key: &str, value: u32) -> Self {
        self.value(key, &Value::Unsigned(value.into()))
    }

    pub(super) fn f32(self, key: &str, value: f32) -> Self {
        self.value(key, &Value::F32(value))
    }

    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        self.value(key, &Value::Bool(value))
    }

    pub(super) fn text(self, key: &str, value: &str) -> Self {
        self.value(key, &Value::Text(value.into()))
    }

    /// An array, by the kind's number and each element's bytes.
    pub(super) fn array(self, key: &str, kind: u32, elements: &[Vec<u8>]) -> Self {
        let count = (elements.len() as u64).to_le_bytes();
        self.raw(key, 9, &[&kind.to_le_bytes()[..], &count, &elements.concat()].concat())
    }

    pub(super) fn texts(self, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        self.value(key, &Value::Array(Array::Text(values)))
    }

    pub(super) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let values = values.iter().map(|&value| value.into()).collect();
        self.value(key, &Value::Array(Array::Signed(values)))
    }

    /// Sets `general.alignment`, which tensors are then laid out by.
    pub(super) fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.u32("general.alignment", alignment)
    }

    /// Takes a value out again.
    pub(super) fn without(mut self, key: &str) -> Self {
        let head = text(key);
        self.fields.retain(|field| !field.starts_with(&head));
        self
    }

    /// Takes a tensor out again.
    pub(super) fn without_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|(known, ..)| known != name);
        self
    }

    /// A tensor; the shape has the slowest dimension first.
    pub(super) fn tensor(mut self, name: &str, shape: &[usize], kind: u32, bytes: &[u8]) -> Self {
        self.tensors.push((name.into(), shape.to_vec(), kind, bytes.to_vec()));
        self
    }

    pub(super) fn f32s(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, shape, 0, &bytes)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let listed: Vec<Listed<'_>> = self
            .tensors
            .iter()
            .map(|(name, shape, ggml_type, bytes)| Listed {
                name,
                shape,
                ggml_type: *ggml_type,
                bytes: bytes.len(),
            })
            .collect();
        let mut out = header::header(self.version, &self.fields, &listed, self.alignment);
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
            out.extend(bytes);
        }
        out
    }

    pub(super) fn open(&self) -> Result<GgufFile, GgufError> {
        open(&self.bytes())
    }
}

/// The file that some bytes make.
pub(super) fn open(bytes: &[u8]) -> Result<GgufFile, GgufError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    GgufFile::open(file.path())
}

/// Bytes of `numbers` zeros of a type.
pub(super) fn zeros(ggml_type: GgmlType, numbers: usize) -> Vec<u8> {
    vec![0; numbers / ggml_type.block_len() * ggml_type.block_bytes()]
}

/// A llama of one layer: 4 wide, 2 heads that share one of keys and values, 6 wide inside, 5 tokens.
/// The numbers of a tensor are 0, 1, 2, … in the file's order.
pub(super) fn tiny_llama() -> Writer {
    tiny("llama")
}

/// The same as qwen2, with its biases.
pub(super) fn tiny_qwen2() -> Writer {
    counted(
        tiny("qwen2"),
        &[("blk.0.attn_q.bias", &[4]), ("blk.0.attn_k.bias", &[2]), ("blk.0.attn_v.bias", &[2])],
    )
}

fn tiny(architecture: &str) -> Writer {
    let key = |name: &str| format!("{architecture}.{name}");
    let writer = Writer::new()
        .text("general.architecture", architecture)
        .u32(&key("block_count"), 1)
        .u32(&key("context_length"), 16)
        .u32(&key("embedding_length"), 4)
        .u32(&key("feed_forward_length"), 6)
        .u32(&key("attention.head_count"), 2)
        .u32(&key("attention.head_count_kv"), 1)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .f32(&key("rope.freq_base"), 100_000.0);
    counted(
        writer,
        &[
            ("token_embd.weight", &[5, 4]),
            ("blk.0.attn_norm.weight", &[4]),
            ("blk.0.attn_q.weight", &[4, 4]),
            ("blk.0.attn_k.weight", &[2, 4]),
            ("blk.0.attn_v.weight", &[2, 4]),
            ("blk.0.attn_output.weight", &[4, 4]),
            ("blk.0.ffn_norm.weight", &[4]),
            ("blk.0.ffn_gate.weight", &[6, 4]),
            ("blk.0.ffn_up.weight", &[6, 4]),
            ("blk.0.ffn_down.weight", &[4, 6]),
            ("output_norm.weight", &[4]),
        ],
    )
}

fn counted(writer: Writer, tensors: &[(&str, &[usize])]) -> Writer {
    tensors.iter().fold(writer, |writer, (name, shape)| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
        writer.f32s(name, shape, &values)
    })
}
