//! GGUF: a model in one file, its weights usually quantized.
//!
//! A [`GgufFile`] holds everything that a Hugging Face directory holds: the configuration
//! ([`GgufFile::config`]), the tokenizer ([`GgufFile::tokenizer_json`],
//! [`GgufFile::tokenizer_config`]), the chat template ([`GgufFile::chat_template`]) and the weights
//! ([`GgufSource`]). Here each is turned into what its Hugging Face counterpart says, so that the
//! rest of the crate knows one kind of model only. Weights become f32, one tensor at a time, or stay in their blocks
//! where the model is to hold them so. A [`GgufWriter`] makes a file of a model and its tokenizer.
//!
//! ```no_run
//! use burn_lora_models::gguf::GgufFile;
//!
//! let mut file = GgufFile::open("smollm2-135m.gguf".as_ref())?;
//! println!("{}", file.config()?["hidden_size"]);
//! let norm = file.read("output_norm.weight")?;
//! println!("{} numbers", norm.len());
//! # Ok::<(), burn_lora_models::gguf::GgufError>(())
//! ```
//!
//! A file may come from anywhere. Every count, length and offset in it is compared with the file's size
//! before anything is allocated or read by it.
//!
//! Left out: files in several parts (named for what they are), big-endian files, version 1; architectures other than those of
//! [`crate::registry`]; the quantizations that [`GgmlType::SUPPORTED`] lacks; SentencePiece and
//! WordPiece tokenizers.

mod config;
mod dequantize;
mod error;
mod family;
mod file;
mod ggml_type;
mod header;
mod load;
mod metadata;
mod rows;
mod source;
mod tokenizer;
mod write;

#[cfg(test)]
mod writer;

pub use error::{GgufError, GgufTensorProblem};
pub use family::{GgufFamily, Names};
pub use file::{GgufFile, GgufTensor};
pub use ggml_type::GgmlType;
pub use metadata::{Array, Metadata, Value};
pub use source::GgufSource;
pub use write::{FileType, GgufAdapter, GgufWriteError, GgufWriter, LowRank, TypeCount};

pub(crate) use family::{Beside, Setting};
pub use load::block_bytes;

pub(crate) use load::{config_text, is_gguf, load, outline};
pub(crate) use rows::Rows;
pub(crate) use write::quantize;
