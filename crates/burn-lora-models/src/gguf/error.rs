//! What can go wrong with a GGUF file.

use std::fmt;
use std::path::PathBuf;

use super::GgmlType;

/// Every error of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another kind of file.
    #[error("`{}` is not a GGUF file: {found}", path.display())]
    Magic {
        /// The file.
        path: PathBuf,
        /// What it is, or how it begins.
        found: String,
    },
    /// Another version of the format.
    #[error("`{}` is GGUF version {found}: versions 2 and 3 are read", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u32,
    },
    /// Numbers are stored with the high byte first.
    #[error(
        "`{}` is a big-endian GGUF file: only little-endian ones are read; fetch or convert one",
        path.display()
    )]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// The header goes on where the file ends.
    #[error(
        "`{}` is cut short or damaged: {part} at byte {offset} takes {needed} bytes, {left} are left",
        path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// What was being read.
        part: &'static str,
        /// Where it begins.
        offset: u64,
        /// How long it says it is, at least.
        needed: u64,
        /// How many bytes there are.
        left: u64,
    },
    /// The header is longer than any sound one.
    #[error(
        "`{}`: the header passes {limit} bytes at {part}: such a file is damaged or not a language \
         model",
        path.display()
    )]
    HeaderTooLong {
        /// The file.
        path: PathBuf,
        /// What was being read.
        part: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A text in the header is not UTF-8.
    #[error("`{}` is damaged: {part} at byte {offset} is not UTF-8", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What was being read.
        part: &'static str,
        /// Where it begins.
        offset: u64,
    },
    /// A metadata value is of no known kind.
    #[error("`{}`: the value of `{key}` has kind {found}, which does not exist", path.display())]
    ValueKind {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// The kind's number.
        found: u32,
    },
    /// A truth value is neither 0 nor 1.
    #[error("`{}`: a truth value in `{key}` is {found}: it must be 0 or 1", path.display())]
    Bool {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// The byte.
        found: u8,
    },
    /// Arrays of arrays of arrays…
    #[error("`{}`: arrays in `{key}` are nested deeper than {limit} levels", path.display())]
    Nesting {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// How deep they may be nested.
        limit: usize,
    },
    /// Two metadata values under one key.
    #[error("`{}` has the metadata key `{key}` twice", path.display())]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
    },
    /// Two tensors under one name.
    #[error("`{}` has the tensor `{tensor}` twice", path.display())]
    DuplicateTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// `general.alignment` makes no sense.
    #[error("`{}`: `general.alignment` is {found}: it must be a power of two", path.display())]
    Alignment {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: u64,
    },
    /// A tensor has too many dimensions.
    #[error("`{}`: tensor `{tensor}` has {found} dimensions: at most 4 exist", path.display())]
    Dimensions {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// How many it says.
        found: u32,
    },
    /// A tensor is of no known type.
    #[error(
        "`{}`: tensor `{tensor}` has type number {found}, which is not known: read are {}",
        path.display(), GgmlType::supported_names()
    )]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The type's number.
        found: u32,
    },
    /// A tensor's rows do not consist of whole blocks.
    #[error(
        "`{}`: tensor `{tensor}` has rows of {row} numbers, {ggml_type} stores blocks of {}",
        path.display(), ggml_type.block_len()
    )]
    Blocks {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        ggml_type: GgmlType,
        /// Numbers in a row.
        row: usize,
    },
    /// A tensor's size is beyond counting.
    #[error("`{}`: tensor `{tensor}` has an impossible size: {shape:?}", path.display())]
    TensorSize {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its dimensions, as in the file.
        shape: Vec<u64>,
    },
    /// A tensor does not begin where tensors may begin.
    #[error(
        "`{}`: tensor `{tensor}` begins at {offset}, which is not a multiple of the alignment {alignment}",
        path.display()
    )]
    Misaligned {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Where it begins, in bytes after the header.
        offset: u64,
        /// The file's alignment in bytes.
        alignment: u64,
    },
    /// A tensor goes on where the file ends.
    #[error(
        "`{}` is cut short or damaged: tensor `{tensor}` takes {len} bytes, {offset} after the header's \
         end at {header}; the file has {size}",
        path.display()
    )]
    OutOfBounds {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Where it begins, in bytes after the header.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// Where the data begins in the file.
        header: u64,
        /// The file's length in bytes.
        size: u64,
    },
    /// The file has no such tensor.
    #[error("`{}` has no tensor `{tensor}`", path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The name or key that was asked for.
        tensor: String,
    },
    /// A tensor is quantized in a way that is not read.
    #[error(
        "`{}`: tensor `{tensor}` is {found}, which is not read; read are {}: fetch the file in another \
         quantization",
        path.display(), GgmlType::supported_names()
    )]
    Quantization {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its type.
        found: GgmlType,
    },
    /// Rows that cannot be shared out among the heads.
    #[error(
        "`{}`: tensor `{tensor}` has {rows} rows, not an even number for each of {heads} heads",
        path.display()
    )]
    Heads {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its rows.
        rows: usize,
        /// Heads, from the metadata.
        heads: usize,
    },
    /// The tensors in the file are not those of the model that its metadata describes.
    #[error("the tensors in `{}` are not those of its metadata: {}", path.display(), lines(problems))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Every problem found.
        problems: Vec<GgufTensorProblem>,
    },
    /// A metadata value is needed and not there.
    #[error("`{}` has no metadata value `{key}`", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
    },
    /// A metadata value is of another kind than its key needs, or out of range.
    #[error("`{}`: the metadata value `{key}` is {found}: {expected} is needed", path.display())]
    KeyValue {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The metadata has more blocks than there are tensors for.
    #[error(
        "`{}`: `{key}` is {count}, and the tensors are those of {found} blocks: the file is damaged, or converted \
         in part",
        path.display()
    )]
    BlockCount {
        /// The file.
        path: PathBuf,
        /// The metadata key.
        key: String,
        /// What it says.
        count: usize,
        /// How many there are tensors of.
        found: usize,
    },
    /// One file of a model that was split into several.
    #[error(
        "`{}` is one of the files that a GGUF model was split into: join them with llama.cpp, \
         `llama-gguf-split --merge FIRST-FILE WHOLE.gguf`, and name the whole",
        path.display()
    )]
    Split {
        /// The file.
        path: PathBuf,
    },
    /// A model of an architecture that is not built here.
    #[error(
        "`{}`: `general.architecture` is `{found}`, which is not supported as GGUF: supported are \
         {supported}",
        path.display()
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// The names that exist.
        supported: String,
    },
    /// The model has something that its architecture here lacks.
    #[error("`{}`: {feature}: not supported", path.display())]
    Feature {
        /// The file.
        path: PathBuf,
        /// What it is, and which key or tensor says so.
        feature: String,
    },
    /// The rotary positions are scaled.
    #[error(
        "`{}`: rotary positions are scaled ({found}), which cannot be carried over from a GGUF file: use \
         the model's safetensors directory",
        path.display()
    )]
    RopeScaling {
        /// The file.
        path: PathBuf,
        /// Which key or tensor says so.
        found: String,
    },
    /// The tokenizer is of a kind that cannot be rebuilt.
    #[error(
        "`{}`: its tokenizer is `{found}`; only byte-level BPE (`gpt2`) can be rebuilt from a GGUF \
         file: put the model's `tokenizer.json` beside it",
        path.display()
    )]
    TokenizerModel {
        /// The file.
        path: PathBuf,
        /// `tokenizer.ggml.model`.
        found: String,
    },
    /// The tokenizer cuts texts into words in a way that is not known.
    #[error(
        "`{}`: `tokenizer.ggml.pre` is `{found}`, which is not known; known are {supported}: put the \
         model's `tokenizer.json` beside the file",
        path.display()
    )]
    PreTokenizer {
        /// The file.
        path: PathBuf,
        /// `tokenizer.ggml.pre`.
        found: String,
        /// The names that exist.
        supported: String,
    },
    /// The vocabulary contradicts itself.
    #[error("`{}`: the vocabulary is damaged: {reason}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One tensor that is not as the model needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GgufTensorProblem {
    /// The file lacks it.
    Missing {
        /// The Hugging Face key that the model needs.
        key: String,
    },
    /// The model has no place for it.
    Surplus {
        /// Its name in the file.
        tensor: String,
    },
    /// It has another shape.
    Shape {
        /// Its name in the file.
        tensor: String,
        /// The shape in the file, slowest dimension first.
        found: Vec<usize>,
        /// The shape that the metadata gives.
        expected: Vec<usize>,
    },
    /// It is quantized in a way that is not read.
    Quantization {
        /// Its name in the file.
        tensor: String,
        /// Its type.
        found: GgmlType,
    },
}

impl fmt::Display for GgufTensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "missing: `{key}`"),
            Self::Surplus { tensor } => {
                write!(f, "surplus: `{tensor}` has no place in the model")
            }
            Self::Shape { tensor, found, expected } => {
                write!(f, "shape: `{tensor}` is {found:?}, the metadata needs {expected:?}")
            }
            Self::Quantization { tensor, found } => write!(
                f,
                "type: `{tensor}` is {found}, which is not read; read are {}",
                GgmlType::supported_names()
            ),
        }
    }
}

/// One problem on the same line, several on lines of their own.
fn lines(problems: &[GgufTensorProblem]) -> String {
    match problems {
        [only] => only.to_string(),
        several => {
            format!("{} problems{}", several.len(), burn_lora_text::lines(several, "  "))
        }
    }
}
