//! The header of a file, read with every length checked against the bytes that are left.

use burn_lora_files::kind;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::metadata::{Array, Metadata, Value};
use super::{GgmlType, GgufError, GgufTensor};

/// A longer header is refused. The largest vocabularies take some 20 MB; what is kept of a header in
/// memory is up to eight times as long.
const MAX_HEADER: u64 = 64 << 20;
/// Arrays of arrays may be nested this deep.
const MAX_NESTING: usize = 4;
/// Where a file does not say otherwise, tensors begin at multiples of this.
const DEFAULT_ALIGNMENT: u64 = 32;

/// What a header says.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) tensors: BTreeMap<String, GgufTensor>,
}

/// A tensor as the header has it, before its place in the file is known.
struct Info {
    name: String,
    ggml_type: GgmlType,
    dims: Vec<u64>,
    offset: u64,
}

/// Reads the header of `file`, which has `size` bytes.
pub(super) fn read(file: &File, path: &Path, size: u64) -> Result<Header, GgufError> {
    let mut reader = Reader { path, input: BufReader::new(file), offset: 0, size };
    let magic: [u8; 4] = reader.array("the magic number")?;
    if &magic != b"GGUF" {
        let found = match kind::of_file(path) {
            Some(kind) => kind.to_string(),
            None => {
                format!("it begins with {:?}, not with `GGUF`", String::from_utf8_lossy(&magic))
            }
        };
        return Err(GgufError::Magic { path: path.to_owned(), found });
    }
    let version = reader.u32("the version")?;
    match version {
        2 | 3 => {}
        // The high byte first: a small version shows up in the upper half.
        swapped if swapped & 0xffff == 0 && swapped != 0 => {
            return Err(GgufError::BigEndian { path: path.to_owned() });
        }
        found => return Err(GgufError::Version { path: path.to_owned(), found }),
    }
    let tensor_count = reader.u64("the number of tensors")?;
    let value_count = reader.u64("the number of metadata values")?;
    // What the shortest of each takes: key length, kind, a byte; name length, rank, type, offset.
    reader.has(value_count.saturating_mul(13), "the metadata")?;
    reader.has(tensor_count.saturating_mul(24), "the list of tensors")?;

    let mut metadata = Metadata { path: path.to_owned(), values: BTreeMap::new() };
    for _ in 0..value_count {
        let key = reader.text("a metadata key")?;
        if metadata.values.contains_key(&key) {
            return Err(GgufError::DuplicateKey { path: path.to_owned(), key });
        }
        let value = reader.value(&key)?;
        metadata.values.insert(key, value);
    }
    let infos = (0..tensor_count).map(|_| reader.info()).collect::<Result<Vec<_>, _>>()?;

    let alignment = match metadata.index("general.alignment")? {
        None => DEFAULT_ALIGNMENT,
        Some(found) if found.is_power_of_two() => found as u64,
        Some(found) => {
            return Err(GgufError::Alignment { path: path.to_owned(), found: found as u64 });
        }
    };
    // `offset` is at most the header's limit, so that rounding up cannot overflow but for an
    // alignment that no file reaches.
    let data = reader.offset.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    let mut tensors = BTreeMap::new();
    for info in infos {
        let tensor = info.place(path, data, alignment, size)?;
        if let Some(twice) = tensors.insert(tensor.name.clone(), tensor) {
            return Err(GgufError::DuplicateTensor { path: path.to_owned(), tensor: twice.name });
        }
    }
    Ok(Header { version, metadata, tensors })
}

impl Info {
    fn place(
        self,
        path: &Path,
        data: u64,
        alignment: u64,
        size: u64,
    ) -> Result<GgufTensor, GgufError> {
        let Self { name: tensor, ggml_type, dims, offset } = self;
        let path = || path.to_owned();
        let impossible =
            || GgufError::TensorSize { path: path(), tensor: tensor.clone(), shape: dims.clone() };
        // The file has the fastest dimension first, Hugging Face the slowest.
        let shape: Vec<usize> = dims
            .iter()
            .rev()
            .map(|&dim| usize::try_from(dim).map_err(|_| impossible()))
            .collect::<Result<_, _>>()?;
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(ggml_type.block_len()) {
            return Err(GgufError::Blocks { path: path(), tensor, ggml_type, row });
        }
        let numbers = shape
            .iter()
            .try_fold(1_usize, |product, &dim| product.checked_mul(dim))
            .ok_or_else(impossible)?;
        let len = (numbers / ggml_type.block_len())
            .checked_mul(ggml_type.block_bytes())
            .ok_or_else(impossible)? as u64;
        if !offset.is_multiple_of(alignment) {
            return Err(GgufError::Misaligned { path: path(), tensor, offset, alignment });
        }
        let start = data.checked_add(offset);
        match start.and_then(|start| start.checked_add(len)) {
            Some(end) if end <= size || len == 0 => {}
            _ => {
                let (path, header) = (path(), data);
                return Err(GgufError::OutOfBounds { path, tensor, offset, len, header, size });
            }
        }
        let start = start.unwrap_or(data);
        Ok(GgufTensor { name: tensor, ggml_type, shape, start, len })
    }
}

struct Reader<'a> {
    path: &'a Path,
    input: BufReader<&'a File>,
    offset: u64,
    size: u64,
}

impl Reader<'_> {
    /// Refuses to go on where fewer than `needed` bytes are left.
    fn has(&self, needed: u64, part: &'static str) -> Result<(), GgufError> {
        let (path, offset) = (self.path, self.offset);
        let left = self.size.saturating_sub(offset);
        if needed > left {
            return Err(GgufError::Cut { path: path.to_owned(), part, offset, needed, left });
        }
        if needed > MAX_HEADER.saturating_sub(offset) {
            let path = path.to_owned();
            return Err(GgufError::HeaderTooLong { path, part, limit: MAX_HEADER });
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        self.input
            .read_exact(bytes)
            .map_err(|source| GgufError::Io { path: self.path.to_owned(), source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], GgufError> {
        self.has(N as u64, part)?;
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, GgufError> {
        self.array(part).map(u32::from_le_bytes)
    }

    fn u64(&mut self, part: &'static str) -> Result<u64, GgufError> {
        self.array(part).map(u64::from_le_bytes)
    }

    fn text(&mut self, part: &'static str) -> Result<String, GgufError> {
        let len = self.u64(part)?;
        self.has(len, part)?;
        let offset = self.offset;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| GgufError::Text {
            path: self.path.to_owned(),
            part,
            offset,
        })
    }

    fn value(&mut self, key: &str) -> Result<Value, GgufError> {
        const PART: &str = "a metadata value";
        Ok(match self.u32(PART)? {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(PART)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(PART)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(PART)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(PART)?).into()),
            4 => Value::Unsigned(self.u32(PART)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(PART)?).into()),
            6 => Value::F32(f32::from_le_bytes(self.array(PART)?)),
            7 => Value::Bool(self.flag(key)?),
            8 => Value::Text(self.text(PART)?),
            9 => Value::Array(self.values(key, 1)?),
            10 => Value::Unsigned(self.u64(PART)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(PART)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(PART)?)),
            found => return Err(self.unknown(key, found)),
        })
    }

    fn values(&mut self, key: &str, level: usize) -> Result<Array, GgufError> {
        const PART: &str = "a metadata array";
        if level > MAX_NESTING {
            let (path, key) = (self.path.to_owned(), key.to_owned());
            return Err(GgufError::Nesting { path, key, limit: MAX_NESTING });
        }
        let kind = self.u32(PART)?;
        let count = self.u64(PART)?;
        // The shortest text is its length, the shortest array its kind and its length.
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => 12,
            found => return Err(self.unknown(key, found)),
        };
        self.has(count.saturating_mul(least), PART)?;
        let count = count as usize;
        Ok(match kind {
            0 => Array::Unsigned(self.repeat(count, |r| Ok(r.array::<1>(PART)?[0].into()))?),
            1 => {
                Array::Signed(self.repeat(count, |r| Ok(i8::from_le_bytes(r.array(PART)?).into()))?)
            }
            2 => Array::Unsigned(
                self.repeat(count, |r| Ok(u16::from_le_bytes(r.array(PART)?).into()))?,
            ),
            3 => Array::Signed(
                self.repeat(count, |r| Ok(i16::from_le_bytes(r.array(PART)?).into()))?,
            ),
            4 => Array::Unsigned(self.repeat(count, |r| Ok(r.u32(PART)?.into()))?),
            5 => Array::Signed(
                self.repeat(count, |r| Ok(i32::from_le_bytes(r.array(PART)?).into()))?,
            ),
            6 => Array::F32(self.repeat(count, |r| Ok(f32::from_le_bytes(r.array(PART)?)))?),
            7 => Array::Bool(self.repeat(count, |r| r.flag(key))?),
            8 => Array::Text(self.repeat(count, |r| r.text("a text in a metadata array"))?),
            9 => Array::Array(self.repeat(count, |r| r.values(key, level + 1))?),
            10 => Array::Unsigned(self.repeat(count, |r| r.u64(PART))?),
            11 => Array::Signed(self.repeat(count, |r| Ok(i64::from_le_bytes(r.array(PART)?)))?),
            _ => Array::F64(self.repeat(count, |r| Ok(f64::from_le_bytes(r.array(PART)?)))?),
        })
    }

    /// `count` values; what they take at least has been checked.
    fn repeat<T>(
        &mut self,
        count: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, GgufError>,
    ) -> Result<Vec<T>, GgufError> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(one(self)?);
        }
        Ok(values)
    }

    fn flag(&mut self, key: &str) -> Result<bool, GgufError> {
        match self.array("a truth value")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => {
                Err(GgufError::Bool { path: self.path.to_owned(), key: key.to_owned(), found })
            }
        }
    }

    fn unknown(&self, key: &str, found: u32) -> GgufError {
        GgufError::ValueKind { path: self.path.to_owned(), key: key.to_owned(), found }
    }

    fn info(&mut self) -> Result<Info, GgufError> {
        const PART: &str = "a tensor's description";
        let name = self.text("a tensor's name")?;
        let rank = self.u32(PART)?;
        if rank > 4 {
            let path = self.path.to_owned();
            return Err(GgufError::Dimensions { path, tensor: name, found: rank });
        }
        let dims = self.repeat(rank as usize, |r| r.u64(PART))?;
        let number = self.u32(PART)?;
        let offset = self.u64(PART)?;
        match GgmlType::from_number(number) {
            Some(ggml_type) => Ok(Info { name, ggml_type, dims, offset }),
            None => {
                let path = self.path.to_owned();
                Err(GgufError::TensorType { path, tensor: name, found: number })
            }
        }
    }
}
