//! Small files for the tests, written by hand.

use std::io::Write;

use super::{GgmlType, GgufError, GgufFile};

/// What a file is to hold.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) version: u32,
    alignment: usize,
    values: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { version: 3, alignment: 32, values: Vec::new(), tensors: Vec::new() }
    }

    /// A value of any kind, by the kind's number and its bytes.
    pub(super) fn raw(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.values.push([&text(key)[..], &kind.to_le_bytes(), bytes].concat());
        self
    }

    pub(super) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(super) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        self.raw(key, 7, &[u8::from(value)])
    }

    pub(super) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &text(value))
    }

    /// An array, by the kind's number and each element's bytes.
    pub(super) fn array(self, key: &str, kind: u32, elements: &[Vec<u8>]) -> Self {
        let count = (elements.len() as u64).to_le_bytes();
        self.raw(key, 9, &[&kind.to_le_bytes()[..], &count, &elements.concat()].concat())
    }

    pub(super) fn texts(self, key: &str, values: &[&str]) -> Self {
        self.array(key, 8, &values.iter().map(|value| text(value)).collect::<Vec<_>>())
    }

    pub(super) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let values: Vec<_> = values.iter().map(|value| value.to_le_bytes().to_vec()).collect();
        self.array(key, 5, &values)
    }

    /// Sets `general.alignment`, which tensors are then laid out by.
    pub(super) fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = alignment as usize;
        self.u32("general.alignment", alignment)
    }

    /// Takes a value out again.
    pub(super) fn without(mut self, key: &str) -> Self {
        let head = text(key);
        self.values.retain(|value| !value.starts_with(&head));
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
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.values.len() as u64).to_le_bytes());
        out.extend(self.values.concat());
        let mut offset = 0;
        for (name, shape, kind, bytes) in &self.tensors {
            out.extend(text(name));
            out.extend((shape.len() as u32).to_le_bytes());
            out.extend(shape.iter().rev().flat_map(|&dim| (dim as u64).to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(self.alignment);
        }
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
