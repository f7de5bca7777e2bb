//! The safetensors files of a directory, opened: headers parsed and checked, data still on disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn_lora_files::floats::{Dtype, Number, decode};
use burn_lora_files::header::{Header, NoHeader};
use bytemuck::Pod;
use serde::Deserialize;

use super::{Role, TensorSpec, instead};
use crate::{ModelError, TensorProblem};

/// How much is read at a time, where it is converted or transposed.
const CHUNK: usize = 4 << 20;
/// Rows that are transposed together: runs of that many numbers are written.
const ROWS: usize = 64;

/// One tensor in a file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) shard: usize,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    start: u64,
    /// Bytes in the file.
    pub(crate) len: u64,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
}

/// The files of a directory and what is in them.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    shards: Vec<Shard>,
    pub(crate) tensors: BTreeMap<String, Entry>,
    /// Where rows are read: kept from one matrix to the next, since between the tensors that stay there is no room for as many again.
    rows: Rows,
}

/// Some rows of a matrix, as the file has them and in f32.
#[derive(Debug, Default)]
struct Rows {
    bytes: Vec<u8>,
    numbers: Vec<f32>,
}

impl Rows {
    /// Room for so many numbers of so many bytes each.
    fn of(&mut self, count: usize, size: usize) -> (&mut [u8], &mut [f32]) {
        self.bytes.resize(self.bytes.len().max(count * size), 0);
        self.numbers.resize(self.numbers.len().max(count), 0.0);
        (&mut self.bytes[..count * size], &mut self.numbers[..count])
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards of `model.safetensors.index.json`, or a whole set of shards that has
    /// no index.
    pub(crate) fn open(dir: &Path) -> Result<Self, ModelError> {
        let mut checkpoint =
            Self { shards: Vec::new(), tensors: BTreeMap::new(), rows: Rows::default() };
        let single = dir.join("model.safetensors");
        // What stands there and is no file is told by what it is.
        if single.exists() {
            checkpoint.add(single)?;
            return Ok(checkpoint);
        }
        if let Some(target) = instead::dangling(&single) {
            return Err(ModelError::DanglingLink { path: single, target });
        }
        let path = dir.join("model.safetensors.index.json");
        let text = match burn_lora_files::read_text(&path) {
            Err(error) if error.source.kind() == ErrorKind::NotFound => {
                let Some(shards) = instead::shards(dir) else {
                    let note = instead::note(dir, "model.safetensors");
                    return Err(ModelError::NoWeights { dir: dir.to_owned(), note });
                };
                all_there(dir, shards.iter())?;
                for name in shards {
                    checkpoint.add(dir.join(name))?;
                }
                return Ok(checkpoint);
            }
            text => text.map_err(|error| ModelError::io("read", &path)(error.source))?,
        };
        let index: Index = serde_json::from_str(&text)
            .map_err(|source| ModelError::Json { path: path.clone(), source })?;
        let mut shards = HashMap::new();
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        for &name in &names {
            // A name with folders in it could lead anywhere on this machine.
            if Path::new(name).file_name().and_then(|plain| plain.to_str()) != Some(name) {
                return Err(ModelError::Safetensors {
                    path,
                    reason: format!("shard `{name}` is not the name of a file beside it"),
                });
            }
        }
        all_there(dir, names.iter().copied())?;
        for name in names {
            shards.insert(name.clone(), checkpoint.shards.len());
            checkpoint.add(dir.join(name))?;
        }
        let problems: Vec<_> = index
            .weight_map
            .iter()
            .filter(|(key, name)| {
                checkpoint.tensors.get(*key).map(|entry| entry.shard) != shards.get(*name).copied()
            })
            .map(|(key, name)| TensorProblem::NotInShard { key: key.clone(), file: dir.join(name) })
            .collect();
        match problems.is_empty() {
            true => Ok(checkpoint),
            false => Err(ModelError::Tensors { dir: dir.to_owned(), problems }),
        }
    }

    /// The file that a tensor is in.
    pub(crate) fn file(&self, entry: &Entry) -> &Path {
        &self.shards[entry.shard].path
    }

    fn add(&mut self, path: PathBuf) -> Result<(), ModelError> {
        let unsound = |reason: String| {
            let kind = burn_lora_files::kind::of_file(&path);
            let reason = kind.map_or(reason, |kind| kind.to_string());
            ModelError::Safetensors { path: path.clone(), reason }
        };
        let mut file = burn_lora_files::open(&path).map_err(ModelError::io("read", &path))?;
        let header = Header::read(&mut file).map_err(|error| match error {
            NoHeader::Io(error) => ModelError::io("read", &path)(error),
            NoHeader::Damaged(reason) => unsound(reason),
        })?;
        let shard = self.shards.len();
        for (key, info) in header.tensors.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                shard,
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: header.start + start as u64,
                len: (end - start) as u64,
            };
            if let Some(other) = self.tensors.insert(key.clone(), entry) {
                return Err(unsound(format!(
                    "`{key}` is also in `{}`",
                    self.file(&other).display()
                )));
            }
        }
        self.shards.push(Shard { path, file });
        Ok(())
    }

    /// Reads one tensor into Burn's layout, as numbers of `T`. `entry` must have the spec's shape and a float dtype.
    /// `read` is told of every chunk, in bytes of the file.
    ///
    /// Beside the result only one chunk is held, so that loading peaks at the size of the weights.
    pub(crate) fn read<T: Number + Pod>(
        &mut self,
        entry: &Entry,
        spec: &TensorSpec,
        read: &mut dyn FnMut(u64),
    ) -> Result<Vec<T>, ModelError> {
        let Shard { path, file } = &mut self.shards[entry.shard];
        let failed = |path: &Path| ModelError::io("read", path);
        file.seek(SeekFrom::Start(entry.start)).map_err(failed(path))?;
        let mut values = vec![T::zeroed(); spec.len()];
        let width = match spec.role {
            Role::Linear => spec.shape.get(1).copied().unwrap_or(1),
            _ => 1,
        };
        if width == 0 || values.is_empty() {
            return Ok(values);
        }
        let as_it_is = entry.dtype == T::DTYPE && cfg!(target_endian = "little");
        if spec.role != Role::Linear && as_it_is {
            for chunk in bytemuck::cast_slice_mut::<T, u8>(&mut values).chunks_mut(CHUNK) {
                file.read_exact(chunk).map_err(failed(path))?;
                read(chunk.len() as u64);
            }
            return Ok(values);
        }
        let size = entry.dtype.bitsize() / 8;
        let height = values.len() / width;
        let rows = match spec.role {
            Role::Linear => ROWS,
            _ => CHUNK / size,
        };
        let mut bytes = vec![0; rows.min(height) * width * size];
        let mut numbers = vec![T::zeroed(); rows.min(height) * width];
        for first in (0..height).step_by(rows) {
            let count = rows.min(height - first);
            let bytes = &mut bytes[..count * width * size];
            let numbers = &mut numbers[..count * width];
            file.read_exact(bytes).map_err(failed(path))?;
            decode(entry.dtype, bytes, numbers);
            if spec.role == Role::Linear {
                for column in 0..width {
                    let run = &mut values[column * height + first..][..count];
                    for (row, value) in run.iter_mut().enumerate() {
                        *value = numbers[row * width + column];
                    }
                }
            } else {
                values[first..first + count].copy_from_slice(numbers);
            }
            read(bytes.len() as u64);
        }
        Ok(values)
    }

    /// Hands over one matrix in f32 as files have it, some whole rows at a time. `read` is told of every chunk, in bytes of the file.
    pub(crate) fn rows(
        &mut self,
        entry: &Entry,
        read: &mut dyn FnMut(u64),
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<(), ModelError> {
        let Self { shards, rows, .. } = self;
        let Shard { path, file } = &mut shards[entry.shard];
        let failed = |path: &Path| ModelError::io("read", path);
        file.seek(SeekFrom::Start(entry.start)).map_err(failed(path))?;
        let width = entry.shape.last().copied().unwrap_or(1);
        let count: usize = entry.shape.iter().product();
        let (size, at_once) = (entry.dtype.bitsize() / 8, rows_at_a_time(width) * width);
        for first in (0..count).step_by(at_once.max(1)) {
            let count = at_once.min(count - first);
            let (bytes, numbers) = rows.of(count, size);
            file.read_exact(bytes).map_err(failed(path))?;
            decode(entry.dtype, bytes, numbers);
            take(numbers);
            read(bytes.len() as u64);
        }
        Ok(())
    }
}

/// How many rows of that many numbers are read at a time: one, at least.
pub(crate) fn rows_at_a_time(width: usize) -> usize {
    (CHUNK / 4 / width.max(1)).max(1)
}

/// Sees to it that all of these shards are there.
fn all_there<'a>(dir: &Path, names: impl Iterator<Item = &'a String>) -> Result<(), ModelError> {
    let (there, missing): (Vec<&String>, Vec<&String>) =
        names.partition(|name| dir.join(name).exists());
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().cloned().collect();
    Err(ModelError::MissingShards { dir: dir.to_owned(), there: there.len(), missing })
}
