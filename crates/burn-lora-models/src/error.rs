//! What can go wrong with a model, its files and its tokenizer.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::gguf::{GgufError, GgufWriteError};
use crate::template::TemplateError;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file or directory cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("`{}` is not valid: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: serde_json::Error,
    },
    /// A GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A GGUF file to be written.
    #[error(transparent)]
    GgufWrite(#[from] GgufWriteError),
    /// A chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The directory holds no weights.
    #[error(
        "no weights in `{}`: expected `model.safetensors` or `model.safetensors.index.json` \
         (a `pytorch_model.bin` must be converted first)",
        dir.display()
    )]
    NoWeights {
        /// The directory.
        dir: PathBuf,
    },
    /// `model_type` is none that is built here.
    #[error(
        "`{}`: `model_type` is {found}, which is not supported: supported are {supported}",
        path.display()
    )]
    UnknownArchitecture {
        /// The `config.json`.
        path: PathBuf,
        /// What it says.
        found: String,
        /// The names that exist.
        supported: String,
    },
    /// The configuration asks for what is not built here, or contradicts itself.
    #[error("`{}`: {}", path.display(), Lines(problems))]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// Every problem found: key, value, what is allowed.
        problems: Vec<String>,
    },
    /// A device that cannot hold weights in the format that was asked for.
    #[error(
        "weights cannot be held as {dtype} on {device}, which lacks that format; f32 works everywhere"
    )]
    WeightDtype {
        /// The format.
        dtype: &'static str,
        /// The device.
        device: String,
    },
    /// A weight that 16 bits cannot hold.
    #[error(
        "`{key}` has a number that {dtype} cannot hold (or none that is finite); bf16 has the range of f32"
    )]
    WeightRange {
        /// The tensor's key.
        key: String,
        /// The format.
        dtype: &'static str,
    },
    /// A safetensors file is damaged.
    #[error("`{}` is not a sound safetensors file: {reason}", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors in the files are not those of the model.
    #[error("the tensors in `{}` are not those of `config.json`: {}", dir.display(), Lines(problems))]
    Tensors {
        /// The directory.
        dir: PathBuf,
        /// Every problem found.
        problems: Vec<TensorProblem>,
    },
    /// A tokenizer file is damaged, or a text cannot be encoded or decoded.
    #[error("tokenizer `{}`: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer said.
        reason: String,
    },
    /// A generation that cannot be done.
    #[error("cannot generate: {reason}")]
    Generation {
        /// Why not, and what to do.
        reason: String,
    },
}

/// One tensor that is not as the model needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorProblem {
    /// No file has it.
    Missing {
        /// The key that the model needs.
        key: String,
    },
    /// The model has no place for it.
    Surplus {
        /// The key in the file.
        key: String,
        /// The file.
        file: PathBuf,
    },
    /// It has another shape.
    Shape {
        /// The key in the file.
        key: String,
        /// The file.
        file: PathBuf,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration gives.
        expected: Vec<usize>,
    },
    /// Its numbers are of a kind that cannot be read.
    Dtype {
        /// The key in the file.
        key: String,
        /// The file.
        file: PathBuf,
        /// The kind in the file.
        found: String,
    },
    /// The index names a file for it that does not hold it.
    NotInShard {
        /// The key in the index.
        key: String,
        /// The file that the index names.
        file: PathBuf,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "missing: `{key}`"),
            Self::Surplus { key, file } => {
                write!(f, "surplus: `{key}` in `{}` has no place in the model", file.display())
            }
            Self::Shape { key, file, found, expected } => write!(
                f,
                "shape: `{key}` in `{}` is {found:?}, the configuration needs {expected:?}",
                file.display()
            ),
            Self::Dtype { key, file, found } => write!(
                f,
                "dtype: `{key}` in `{}` is {found}, only F32, F16 and BF16 are read",
                file.display()
            ),
            Self::NotInShard { key, file } => {
                write!(f, "index: `{key}` should be in `{}` and is not", file.display())
            }
        }
    }
}

/// One problem on the same line, several on lines of their own.
struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "{} problems", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl ModelError {
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
