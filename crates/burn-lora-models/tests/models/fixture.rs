//! The golden files, and checkpoints made from them for one test.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// The folder of an architecture's golden files.
pub fn golden(architecture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(architecture)
}

/// The golden decoders.
pub const DECODERS: [&str; 12] = [
    "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "olmo2", "phi3", "smollm3", "gpt_neox",
    "gpt2", "bloom",
];

/// The golden classifiers.
pub const CLASSIFIERS: [&str; 3] = ["bert", "distilbert", "modernbert"];

pub fn device() -> Device {
    burn_lora::device::parse("cpu").unwrap()
}

/// One tensor of a file, as bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Stored {
    pub fn floats(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }

    pub fn integers(&self) -> Vec<i64> {
        assert_eq!(self.dtype, Dtype::I64);
        self.bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)).collect()
    }

    pub fn from_floats(shape: Vec<usize>, floats: &[f32]) -> Self {
        let bytes = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape, bytes }
    }

    /// Rounded to another kind of number.
    pub fn cast(&self, dtype: Dtype) -> Self {
        let floats = self.floats();
        let bytes = match dtype {
            Dtype::F16 => {
                floats.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
            }
            Dtype::BF16 => {
                floats.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect()
            }
            other => panic!("no cast to {other}"),
        };
        Self { dtype, shape: self.shape.clone(), bytes }
    }
}

/// All tensors of a file.
pub type Tensors = BTreeMap<String, Stored>;

pub fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |view: &TensorView<'_>| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    file.iter().map(|(name, view)| (name.to_owned(), stored(&view))).collect()
}

pub fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, stored)| {
        (name, TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap())
    });
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(about), path).unwrap();
}

/// A copy of an architecture's model whose tensors and configuration a test may change.
pub struct Copy {
    pub dir: tempfile::TempDir,
    pub tensors: Tensors,
    pub config: serde_json::Value,
}

impl Copy {
    pub fn of(architecture: &str) -> Self {
        let from = golden(architecture);
        let config = std::fs::read_to_string(from.join("config.json")).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            tensors: read(&from.join("model.safetensors")),
            config: serde_json::from_str(&config).unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write_config(&self) {
        std::fs::write(self.path().join("config.json"), self.config.to_string()).unwrap();
    }

    /// Writes configuration and tensors, in one file.
    pub fn write(&self) -> &Path {
        self.write_config();
        write(&self.path().join("model.safetensors"), &self.tensors);
        self.path()
    }

    pub fn rename(&mut self, rename: impl Fn(&str) -> String) {
        let tensors = std::mem::take(&mut self.tensors);
        self.tensors = tensors.into_iter().map(|(key, value)| (rename(&key), value)).collect();
    }
}

/// The golden batch.
pub struct Batch {
    pub ids: Vec<i64>,
    pub rows: usize,
    pub tokens: usize,
    pub lengths: Vec<usize>,
}

impl Batch {
    pub fn of(architecture: &str) -> Self {
        let tensors = read(&golden(architecture).join("batch.safetensors"));
        let [rows, tokens] = tensors["input_ids"].shape[..] else { panic!("ids of rank 2") };
        let mask = tensors["attention_mask"].integers();
        let lengths = mask.chunks(tokens).map(|row| row.iter().sum::<i64>() as usize).collect();
        Self { ids: tensors["input_ids"].integers(), rows, tokens, lengths }
    }

    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i32> = self.ids.iter().map(|&id| id as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.rows, self.tokens]), device)
    }
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest absolute difference, over rows of `width` numbers for which `counts` holds.
pub fn largest_difference(
    a: &[f32],
    b: &[f32],
    width: usize,
    counts: impl Fn(usize) -> bool,
) -> f32 {
    assert_eq!(a.len(), b.len());
    let rows = a.chunks(width).zip(b.chunks(width)).enumerate();
    rows.filter(|(row, _)| counts(*row))
        .flat_map(|(_, (a, b))| a.iter().zip(b).map(|(a, b)| (a - b).abs()))
        .inspect(|difference| assert!(!difference.is_nan()))
        .fold(0.0, f32::max)
}
