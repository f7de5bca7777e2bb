//! What can go wrong with a model, its files and its tokenizer.

use std::fmt;
use std::path::{Path, PathBuf};

use burn_lora_text::listed;

use crate::gguf::{GgufError, GgufWriteError};
use crate::template::TemplateError;
use crate::weights::TensorCause;

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
    #[error("`{}` is not valid: {source}: correct it there, or bring it again", path.display())]
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
        "no weights in `{}`: expected `model.safetensors` or `model.safetensors.index.json`{note}",
        dir.display()
    )]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// What is there instead, if that helps.
        note: String,
    },
    /// A file of the model is a link that leads nowhere.
    #[error(
        "`{}` is a link to `{target}`, which is not there: fetch the model again",
        path.display()
    )]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: String,
    },
    /// Some of the files that hold the weights are not there.
    #[error(
        "`{}` has {there} of the {} files of its weights, and lacks {}: fetch these too",
        dir.display(), there + missing.len(), listed(missing)
    )]
    MissingShards {
        /// The directory.
        dir: PathBuf,
        /// How many are there.
        there: usize,
        /// The names of those that are not.
        missing: Vec<String>,
    },
    /// The directory holds no configuration.
    #[error("`{}` has no `config.json`, so that it is no model of transformers{note}", dir.display())]
    NoConfig {
        /// The directory.
        dir: PathBuf,
        /// What is there instead, if that helps.
        note: String,
    },
    /// A file where the directory of a model was expected.
    #[error(
        "`{}` is a file of weights: name the directory that it is in, which holds `config.json` and \
         `tokenizer.json` too",
        path.display()
    )]
    FileOfWeights {
        /// The file.
        path: PathBuf,
    },
    /// A file that is none of a model's, where a model's directory was expected.
    #[error("`{}` is no directory of a model: {what}", path.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// What it is, and what to do.
        what: String,
    },
    /// The configuration says that the weights are quantised.
    #[error(
        "`{}`: the weights are quantised ({how}), and only f32, f16 and bf16 are read: {way}",
        path.display()
    )]
    Quantised {
        /// The `config.json`.
        path: PathBuf,
        /// The key that says so, and the method.
        how: String,
        /// What to do.
        way: &'static str,
    },
    /// The configuration has more blocks than there are tensors for.
    #[error(
        "`{}`: `{key}` of `config.json` is {count}, and the tensors are those of {found} blocks: bring the \
         `config.json` that belongs to them",
        dir.display()
    )]
    Blocks {
        /// The directory.
        dir: PathBuf,
        /// The key that counts blocks.
        key: &'static str,
        /// What it says.
        count: usize,
        /// How many there are tensors of.
        found: usize,
    },
    /// `model_type` is none that is built here.
    #[error(
        "`{}`: `model_type` is {found}, {}: supported are {supported}",
        path.display(),
        match of_other_task {
            Some(true) => "and such a model writes text, where one that sorts texts into classes is needed",
            Some(false) => "and such a model sorts texts into classes, where one that writes is needed",
            None => "which is not supported",
        }
    )]
    UnknownArchitecture {
        /// The `config.json`.
        path: PathBuf,
        /// What it says.
        found: String,
        /// The names that exist.
        supported: String,
        /// Of one that is built here for another task: whether it writes text.
        of_other_task: Option<bool>,
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
    /// The head in the files is of another number of classes.
    #[error(
        "the head in `{}` has {found} outputs, and {wanted} are wanted: ask for as many as it has, or take its tensors \
         (`{group}…`) out of the files, so that a head starts afresh",
        dir.display()
    )]
    Head {
        /// The directory.
        dir: PathBuf,
        /// Its outputs.
        found: usize,
        /// Those that were asked for.
        wanted: usize,
        /// What the keys of its tensors begin with.
        group: &'static str,
    },
    /// The tensors in the files are not those of the model, and all for one cause.
    #[error("the tensors in `{}` are not those of `config.json`: {cause}", dir.display())]
    OtherTensors {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        cause: TensorCause,
    },
    /// There is no tokenizer that is read.
    #[error("`{}` has no `tokenizer.json`{note}", dir.display())]
    NoTokenizer {
        /// The directory.
        dir: PathBuf,
        /// What is there instead, and what to do.
        note: String,
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
            // Whether there is one hangs on a key that nobody thinks of.
            Self::Missing { key } if key == "lm_head.weight" => write!(
                f,
                "missing: `{key}`; where the head is the token table, `tie_word_embeddings` is true in `config.json`"
            ),
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
                "dtype: `{key}` in `{}` is {found}, only F32, F16 and BF16 are read: save the model in one of them, \
                 `model.float().save_pretrained(DIR)` in Python",
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
                write!(f, "{} problems{}", several.len(), burn_lora_text::lines(several, "  "))
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
