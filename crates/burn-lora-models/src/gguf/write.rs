//! A model written as a GGUF file: the way back of everything that is read here, by the same tables.
//!
//! [`GgufWriter::new`] takes a configuration and a tokenizer and finds out whether a file can state them, before
//! there is a model. [`GgufWriter::write`] then takes the model a tensor at a time: what hangs on a weight is
//! merged into it, rows are put where llama.cpp expects them, numbers are converted ([`FileType`]) and
//! written, so that beside the model there is one tensor in memory.
//!
//! ```
//! use burn_lora_models::gguf::{FileType, GgufWriter};
//! use burn_lora_models::tokenizer::Tokenizer;
//! use burn_lora_models::{CausalLm, Model};
//!
//! # fn export(dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("cpu")?;
//! let tokenizer = Tokenizer::from_dir(dir)?;
//! let (model, _) = CausalLm::load(dir, &device, &mut |_, _| {})?;
//! let writer = GgufWriter::new(model.config(), &tokenizer, FileType::Q8_0, "my model")?;
//! writer.write(&model, "my-model.gguf".as_ref(), &mut |_, _| {})?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`GgufAdapter`] is an adapter's file beside its base's.
//!
//! Left out: tokenizers other than byte-level BPE, with a way of cutting words that has a name; added tokens that take
//! the spaces beside them; importance matrices; files in several parts.

mod adapter;
mod error;
mod file_type;
pub(super) mod header;
pub(crate) mod quantize;
mod tokenizer;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::DataError;
use burn_lora_files::atomic;
use serde_json::Value as Json;

use self::header::{ALIGNMENT, Listed};
use super::family::GgufFamily;
use super::rows::RowOrder;
use super::{GgmlType, Value};
use crate::registry::gguf_families;
use crate::tokenizer::Tokenizer;
use crate::weights::{Collected, merged_tensors};
use crate::{Description, Model};

pub use adapter::{GgufAdapter, LowRank};
pub use error::GgufWriteError;
pub use file_type::FileType;

/// The version of the format.
const VERSION: u32 = 3;
/// The version of the layout of blocks.
const QUANTIZATION: u64 = 2;

/// How many tensors of a file are stored in a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeCount {
    /// The type.
    pub ggml_type: GgmlType,
    /// Tensors.
    pub tensors: usize,
    /// Bytes that they take together.
    pub bytes: u64,
}

/// All of a file but its tensors.
#[derive(Debug)]
pub struct GgufWriter {
    family: &'static GgufFamily,
    file_type: FileType,
    metadata: BTreeMap<String, Value>,
    /// Tensors that say what the configuration says.
    told: Vec<(&'static str, Vec<f32>)>,
}

impl GgufWriter {
    /// For models of a configuration with their tokenizer, called `name` in the file.
    ///
    /// # Errors
    ///
    /// A family without GGUF files, a configuration or a tokenizer that such a file cannot state.
    pub fn new(
        about: &dyn Description,
        tokenizer: &Tokenizer,
        file_type: FileType,
        name: &str,
    ) -> Result<Self, GgufWriteError> {
        let family = family_of(about)?;
        let (settings, architecture) = (about.settings(), family.architecture);
        for &(key, means) in family.implied {
            match settings.get(key).and_then(Json::as_str) {
                Some(found) if !means.contains(&found) => {
                    let found = found.to_owned();
                    return Err(GgufWriteError::Implied { key, found, architecture, means });
                }
                _ => {}
            }
        }
        let beside = (family.write)(&settings)
            .map_err(|reason| GgufWriteError::Configuration { architecture, reason })?;

        let mut metadata = tokenizer::fields(tokenizer, about.vocab_size())?;
        let mut set = |key: &str, value| metadata.insert(key.to_owned(), value);
        set("general.architecture", Value::Text(architecture.into()));
        set("general.type", Value::Text("model".into()));
        set("general.name", Value::Text(name.into()));
        set("general.file_type", Value::Unsigned(file_type.number()));
        set("general.quantization_version", Value::Unsigned(QUANTIZATION));
        let mut own = |name: &str, value| set(&format!("{architecture}.{name}"), value);
        own("vocab_size", Value::Unsigned(about.vocab_size() as u64));
        for (names, value) in family.settings.iter().filter_map(|known| known.write(&settings)) {
            for name in names {
                own(name, value.clone());
            }
        }
        for (name, value) in beside.fields {
            own(name, value);
        }
        // What a model is good for may be less than there are positions.
        if let Some(context) = about.context() {
            own("context_length", Value::Unsigned(context as u64));
        }
        Ok(Self { family, file_type, metadata, told: beside.tensors })
    }

    /// How the tensors of a model are stored, by type, and the size of the whole file in bytes.
    ///
    /// # Errors
    ///
    /// A tensor that files of the architecture have no name for.
    pub fn outline(&self, model: &impl Model) -> Result<(Vec<TypeCount>, u64), GgufWriteError> {
        let placed = self.placed(model)?;
        let size = self.header(&placed).len() as u64 + total(&placed);
        Ok((counts(&placed), size))
    }

    /// Writes the file, atomically: the model's weights with what its active adapters change. What was at
    /// `path` is replaced. `progress` is told of the bytes of tensors written so far and of all.
    ///
    /// # Errors
    ///
    /// As [`Self::outline`]; a number that its type cannot hold; what the file system says. What was at
    /// `path` is then as it was.
    pub fn write(
        &self,
        model: &impl Model,
        path: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<TypeCount>, GgufWriteError> {
        let placed = self.placed(model)?;
        let (header, counts, total) = (self.header(&placed), counts(&placed), total(&placed));
        let mut refused = None;
        let mut done = 0;
        progress(done, total);
        let written = atomic::write(path, |file| {
            file.write_all(&header)?;
            for tensor in placed {
                let mut bytes = tensor.encoded().map_err(|error| {
                    refused = Some(error);
                    io::Error::other("a tensor cannot be written")
                })?;
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                file.write_all(&bytes)?;
                done += bytes.len() as u64;
                progress(done, total);
            }
            Ok(())
        });
        match (written, refused) {
            (Ok(()), _) => Ok(counts),
            (Err(_), Some(error)) => Err(error),
            (Err(source), None) => Err(GgufWriteError::Io { path: path.to_owned(), source }),
        }
    }

    fn header(&self, placed: &[Placed]) -> Vec<u8> {
        let listed: Vec<Listed<'_>> = placed
            .iter()
            .map(|tensor| Listed {
                name: &tensor.name,
                shape: &tensor.collected.shape,
                ggml_type: tensor.ggml_type.number(),
                bytes: tensor.bytes(),
            })
            .collect();
        header::header(VERSION, &header::fields(&self.metadata), &listed, ALIGNMENT)
    }

    /// The tensors as the file has them.
    fn placed(&self, model: &impl Model) -> Result<Vec<Placed>, GgufWriteError> {
        let (architecture, names) = (self.family.architecture, &self.family.names);
        let named = merged_tensors(model, model.config()).into_iter().map(|collected| {
            let name = names.gguf(&collected.key).ok_or_else(|| GgufWriteError::NoName {
                architecture,
                key: collected.key.clone(),
            })?;
            Ok((name, collected))
        });
        let mut all = named.collect::<Result<Vec<_>, GgufWriteError>>()?;
        all.extend(self.told.iter().map(|(name, values)| {
            let (key, shape, values) = ((*name).to_owned(), vec![values.len()], values.clone());
            let values = Box::new(move || -> Result<Vec<f32>, DataError> { Ok(values) });
            (key.clone(), Collected { key, shape, values })
        }));
        let untied = all.iter().any(|(name, _)| name == "output.weight");
        let blocks = self.count("block_count");
        all.into_iter()
            .map(|(name, collected)| {
                let head = match untied {
                    true => name == "output.weight",
                    false => name == "token_embd.weight",
                };
                let ggml_type = self.file_type.of(&name, &collected.shape, head, blocks);
                let order = self.order(&name, &collected)?;
                let more = self.family.more_of(&name);
                Ok(Placed { name, ggml_type, order, more, collected })
            })
            .collect()
    }

    fn order(&self, name: &str, collected: &Collected) -> Result<RowOrder, GgufWriteError> {
        let Some(rows) = self.family.rows_of(name) else { return Ok(RowOrder::Same) };
        let height = collected.shape.first().copied().unwrap_or(1);
        let heads = self.count("attention.head_count");
        let kv_heads = self.count("attention.head_count_kv");
        rows.order(height, (heads, kv_heads)).map_err(|heads| GgufWriteError::Heads {
            key: collected.key.clone(),
            rows: height,
            heads,
        })
    }

    /// A whole number among the architecture's own metadata.
    fn count(&self, name: &str) -> usize {
        match self.metadata.get(&format!("{}.{name}", self.family.architecture)) {
            Some(Value::Unsigned(count)) => usize::try_from(*count).unwrap_or(0),
            _ => 0,
        }
    }
}

/// A tensor with its place in a file.
struct Placed {
    name: String,
    ggml_type: GgmlType,
    order: RowOrder,
    /// How much more the file has than the model.
    more: f32,
    collected: Collected,
}

impl Placed {
    /// Bytes in the file.
    fn bytes(&self) -> usize {
        let numbers: usize = self.collected.shape.iter().product();
        numbers / self.ggml_type.block_len() * self.ggml_type.block_bytes()
    }

    /// Its numbers as the file has them.
    fn encoded(self) -> Result<Vec<u8>, GgufWriteError> {
        let Self { ggml_type, order, more, collected: Collected { key, shape, values }, .. } = self;
        let values = match values() {
            Ok(values) if more == 0.0 => values,
            Ok(values) => values.into_iter().map(|value| value + more).collect(),
            Err(source) => return Err(GgufWriteError::Unreadable { key, source: source.into() }),
        };
        if let Some(&value) = values.iter().find(|&&value| !quantize::holds(ggml_type, value)) {
            return Err(GgufWriteError::Range { key, value, ggml_type });
        }
        let rows = shape.first().copied().unwrap_or(1);
        let width = values.len() / rows.max(1);
        let values = match order {
            RowOrder::Same => values,
            order => (0..rows)
                .flat_map(|row| &values[order.hugging_face(row, rows) * width..][..width])
                .copied()
                .collect(),
        };
        Ok(quantize::quantize(ggml_type, &values))
    }
}

/// The family whose files models of that configuration are written as.
fn family_of(about: &dyn Description) -> Result<&'static GgufFamily, GgufWriteError> {
    let config: Json = serde_json::from_str(&about.to_json()).unwrap_or_default();
    let found = config["model_type"].as_str().unwrap_or_default();
    gguf_families().find(|family| family.writes(found)).ok_or_else(|| {
        let types = gguf_families().flat_map(|family| {
            [family.architecture].into_iter().chain(family.also.iter().copied())
        });
        GgufWriteError::Architecture {
            found: found.to_owned(),
            supported: types.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Bytes of all tensors, with what lies between them.
fn total(placed: &[Placed]) -> u64 {
    placed.iter().map(|tensor| tensor.bytes().next_multiple_of(ALIGNMENT) as u64).sum()
}

/// The types in the order in which they first appear.
fn counts(placed: &[Placed]) -> Vec<TypeCount> {
    let mut counts: Vec<TypeCount> = Vec::new();
    for tensor in placed {
        let (ggml_type, bytes) = (tensor.ggml_type, tensor.bytes() as u64);
        match counts.iter_mut().find(|count| count.ggml_type == ggml_type) {
            Some(count) => {
                count.tensors += 1;
                count.bytes += bytes;
            }
            None => counts.push(TypeCount { ggml_type, tensors: 1, bytes }),
        }
    }
    counts
}

#[cfg(test)]
mod tests;
