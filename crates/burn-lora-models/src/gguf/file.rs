//! A file, opened: its header is read and checked, its tensors are still on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::dequantize::dequantize;
use super::header::{self, Header};
use super::{GgmlType, GgufError, Metadata};

/// How many numbers are converted at a time; a multiple of every block's length.
pub(super) const CHUNK: usize = 1 << 20;

/// One tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name in the file, `blk.0.attn_q.weight`.
    pub name: String,
    /// How its numbers are stored.
    pub ggml_type: GgmlType,
    /// Its shape, slowest dimension first as in Hugging Face's files; the file itself has it the
    /// other way round.
    pub shape: Vec<usize>,
    /// Where it begins in the file.
    pub(super) start: u64,
    /// How many bytes it takes in the file.
    pub(super) len: u64,
}

impl GgufTensor {
    /// How many numbers it has.
    pub fn numbers(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes it takes in the file.
    pub fn bytes(&self) -> u64 {
        self.len
    }
}

/// A GGUF file whose header has been read.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    version: u32,
    metadata: Metadata,
    tensors: BTreeMap<String, GgufTensor>,
}

impl GgufFile {
    /// Opens a file and reads its header; tensors are left alone.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is of another kind or version, is cut short or contradicts
    /// itself: nothing in the header may lead beyond the file's end.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let failed = |source| GgufError::Io { path: path.to_owned(), source };
        let file = burn_lora_files::open(path).map_err(failed)?;
        let split = || GgufError::Split { path: path.to_owned() };
        if is_named_as_part(path) {
            return Err(split());
        }
        let size = file.metadata().map_err(failed)?.len();
        let Header { version, metadata, tensors } = header::read(&file, path, size)?;
        if metadata.index("split.count")?.is_some_and(|files| files > 1) {
            return Err(split());
        }
        Ok(Self { path: path.to_owned(), file, version, metadata, tensors })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The keys and values of the header.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> impl Iterator<Item = &GgufTensor> {
        self.tensors.values()
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.get(name)
    }

    /// The Jinja text in which the model says how a conversation is written, if there is one.
    ///
    /// # Errors
    ///
    /// A `tokenizer.chat_template` that is not a text.
    pub fn chat_template(&self) -> Result<Option<&str>, GgufError> {
        self.metadata.text("tokenizer.chat_template")
    }

    /// The numbers of a tensor, in the order in which the file has them: row by row, the shape as in
    /// [`GgufTensor::shape`].
    ///
    /// # Errors
    ///
    /// A name that the file lacks, a quantization that is not read, a file that cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>, GgufError> {
        let tensor = self.tensors.get(name).cloned().ok_or_else(|| GgufError::NoTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
        })?;
        let mut values = Vec::with_capacity(tensor.numbers());
        self.chunks(&tensor, CHUNK, &mut |_, numbers, _| values.extend_from_slice(numbers))?;
        Ok(values)
    }

    /// Reads a tensor's blocks, all of them, as they lie.
    pub(super) fn read_blocks(
        &mut self,
        tensor: &GgufTensor,
        out: &mut [u8],
    ) -> Result<(), GgufError> {
        let failed = |source| GgufError::Io { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(tensor.start)).map_err(failed)?;
        self.file.read_exact(out).map_err(failed)
    }

    /// Reads a tensor `numbers` at a time, which must be a multiple of its blocks' length. `each` is
    /// given the index of a chunk's first number, the chunk, and the bytes it took in the file.
    pub(super) fn chunks(
        &mut self,
        tensor: &GgufTensor,
        numbers: usize,
        each: &mut dyn FnMut(usize, &[f32], u64),
    ) -> Result<(), GgufError> {
        if !tensor.ggml_type.is_supported() {
            let (path, found) = (self.path.clone(), tensor.ggml_type);
            return Err(GgufError::Quantization { path, tensor: tensor.name.clone(), found });
        }
        let path = &self.path;
        let failed = |source| GgufError::Io { path: path.clone(), source };
        let (block, block_bytes) = (tensor.ggml_type.block_len(), tensor.ggml_type.block_bytes());
        let total = tensor.numbers();
        let numbers = numbers.min(total);
        let mut bytes = vec![0; numbers / block * block_bytes];
        let mut floats = vec![0_f32; numbers];
        self.file.seek(SeekFrom::Start(tensor.start)).map_err(failed)?;
        let mut first = 0;
        while first < total {
            let count = numbers.min(total - first);
            let bytes = &mut bytes[..count / block * block_bytes];
            let floats = &mut floats[..count];
            self.file.read_exact(bytes).map_err(failed)?;
            dequantize(tensor.ggml_type, bytes, floats);
            each(first, floats, bytes.len() as u64);
            first += count;
        }
        Ok(())
    }
}

/// Whether a file is named as llama.cpp names those of a model that it splits: `NAME-00001-of-00003.gguf`.
fn is_named_as_part(path: &Path) -> bool {
    let number = |digits: &str| (digits.len() == 5).then(|| digits.parse::<u32>().ok()).flatten();
    let parts = || -> Option<(u32, u32)> {
        let (rest, of) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
        Some((number(rest.rsplit_once('-')?.1)?, number(of)?))
    };
    parts().is_some_and(|(part, of)| of > 1 && (1..=of).contains(&part))
}

#[cfg(test)]
mod tests;
