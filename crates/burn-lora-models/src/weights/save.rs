//! A model written as a Hugging Face directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DataError, Tensor};
use burn_lora::{Adapters, FrozenWeight, sets};
use burn_lora_files::{atomic, floats};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Description, ModelError};

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";

/// The kind of number that weights are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaveDtype {
    /// 32 bits: nothing is lost.
    #[default]
    F32,
    /// 16 bits, IEEE: 11 bits of precision, largest 65504.
    F16,
    /// 16 bits, bfloat: 8 bits of precision, f32's range.
    Bf16,
}

impl SaveDtype {
    /// The name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// What `config.json` calls it.
    fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// Whether a number that is finite stays so.
    fn holds(self, value: f32) -> bool {
        let written = match self {
            Self::F32 => value,
            Self::F16 => half::f16::from_f32(value).to_f32(),
            Self::Bf16 => half::bf16::from_f32(value).to_f32(),
        };
        written.is_finite() || !value.is_finite()
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// Writes `model.safetensors` and `config.json` into `dir`, each atomically. What hangs on a
/// weight (adapters) is not written: the base is, as it is stored.
pub(crate) fn save(
    model: &impl Module,
    dir: &Path,
    dtype: SaveDtype,
    about: &dyn Description,
) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io("create", dir))?;
    let mut collector = Collector::of(about);
    model.visit(&mut collector);
    let path = dir.join(WEIGHTS);
    atomic::write(&path, |file| write(file, collector.tensors, dtype))
        .map_err(ModelError::io("write", &path))?;
    let path = dir.join(CONFIG);
    atomic::write(&path, |file| file.write_all(config(about, dtype).as_bytes()))
        .map_err(ModelError::io("write", &path))
}

/// The names of the files that [`save`] writes, with their sizes in bytes.
pub(crate) fn file_sizes(
    model: &impl Module,
    dtype: SaveDtype,
    about: &dyn Description,
) -> Result<Vec<(&'static str, u64)>, ModelError> {
    let mut collector = Collector::of(about);
    model.visit(&mut collector);
    let header =
        header(&collector.tensors, dtype).map_err(ModelError::io("write", WEIGHTS.as_ref()))?;
    let values: usize = collector.tensors.iter().map(|tensor| tensor.bytes(dtype)).sum();
    let weights = size_of::<u64>() + header.len() + values;
    Ok(vec![(WEIGHTS, weights as u64), (CONFIG, config(about, dtype).len() as u64)])
}

/// The text of `config.json`, with the kind of number that is written where it names one.
fn config<'a>(about: &'a dyn Description, dtype: SaveDtype) -> Cow<'a, str> {
    let text = about.to_json();
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(&text) else { return text };
    let name = dtype.torch_name();
    let mut written = text.into_owned();
    for key in ["torch_dtype", "dtype"] {
        let Some(Value::String(said)) = fields.get(key) else { continue };
        // The rest stays as it is, to the last space.
        let named = written.find(&format!("\"{key}\""));
        let value = format!("\"{said}\"");
        if let Some(at) = named.and_then(|at| Some(at + written[at..].find(&value)?)) {
            written.replace_range(at..at + value.len(), &format!("\"{name}\""));
        }
    }
    Cow::Owned(written)
}

/// The header of the file, without the length that stands before it.
fn header(tensors: &[Collected], dtype: SaveDtype) -> std::io::Result<Vec<u8>> {
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let len = tensor.bytes(dtype);
        let info = TensorInfo {
            dtype: dtype.dtype(),
            shape: tensor.shape.clone(),
            data_offsets: (offset, offset + len),
        };
        offset += len;
        infos.push((tensor.key.clone(), info));
    }
    // transformers refuses a file that does not say which framework's layout it has.
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(about), infos).map_err(std::io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn write(
    file: &mut BufWriter<&mut File>,
    tensors: Vec<Collected>,
    dtype: SaveDtype,
) -> std::io::Result<()> {
    let header = header(&tensors, dtype)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    let mut bytes = Vec::new();
    for tensor in tensors {
        let values = (tensor.values)().map_err(std::io::Error::other)?;
        if let Some(value) = values.iter().find(|&&value| !dtype.holds(value)) {
            return Err(std::io::Error::other(format!(
                "`{}` holds {value}, which {} cannot hold: write the model as bf16 or f32",
                tensor.key,
                dtype.name()
            )));
        }
        bytes.clear();
        floats::encode(dtype.dtype(), &values, &mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// A model's tensors for a format in which every linear's weight is `[d_out, d_in]`, with what its adapters change
/// of a weight, and add to a bias, merged into it. A layer without a bias is to have no adapter that adds to one. Nothing is computed or copied before a tensor's turn comes.
pub(crate) fn merged_tensors(model: &impl Module, about: &dyn Description) -> Vec<Collected> {
    let mut collector = Collector::of(about);
    collector.conv1d = false;
    for (weight, set) in sets(model) {
        let segments: Vec<&str> = weight.split('.').map(segment).collect();
        let weight = segments.join(".");
        if let (Some(shift), Some(layer)) = (set.shift(), weight.strip_suffix("weight")) {
            collector.shifts.insert(format!("{layer}bias"), shift);
        }
        collector.sets.insert(weight, set);
    }
    model.visit(&mut collector);
    collector.tensors
}

type Values = Box<dyn FnOnce() -> Result<Vec<f32>, DataError>>;

/// A tensor to be written.
pub(crate) struct Collected {
    /// Hugging Face's key.
    pub(crate) key: String,
    /// As files have it.
    pub(crate) shape: Vec<usize>,
    /// Copied to the host when its turn comes.
    pub(crate) values: Values,
}

impl Collected {
    /// How many bytes it takes.
    fn bytes(&self, dtype: SaveDtype) -> usize {
        self.shape.iter().product::<usize>() * dtype.dtype().bitsize() / 8
    }
}

/// Collects a model's tensors under their Hugging Face keys.
struct Collector<'a> {
    about: &'a dyn Description,
    path: Vec<String>,
    containers: Vec<String>,
    tensors: Vec<Collected>,
    /// Whether linears that Hugging Face's files store `[d_in, d_out]` are left so.
    conv1d: bool,
    /// The adapters that are merged into a weight, by its path.
    sets: BTreeMap<String, Adapters>,
    /// What is added to a bias, by its path.
    shifts: BTreeMap<String, Tensor<1>>,
}

impl<'a> Collector<'a> {
    fn of(about: &'a dyn Description) -> Self {
        Self {
            about,
            path: Vec::new(),
            containers: Vec::new(),
            tensors: Vec::new(),
            conv1d: true,
            sets: BTreeMap::new(),
            shifts: BTreeMap::new(),
        }
    }
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(segment(name).to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.containers.iter().any(|container| container == "Reparameterization") {
            return;
        }
        let at = self.path.join(".");
        let (set, shift) = (self.sets.remove(&at), self.shifts.remove(&at));
        let Some((name, path)) = self.path.split_last() else { return };
        let name = match name.as_str() {
            "gamma" => "weight",
            "beta" => "bias",
            name => name,
        };
        let path = path.join(".");
        let key = match path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let key = self.about.checkpoint_keys().in_files(&key).to_owned();
        let linear = self.containers.last().is_some_and(|container| container == "Struct:Linear");
        let as_burn = self.conv1d && self.about.is_conv1d(&path);
        let turned = linear && D == 2 && !as_burn;
        let tensor = param.base();
        let mut shape = tensor.dims().to_vec();
        if turned {
            shape.reverse();
        }
        let values = move || {
            let weight = FrozenWeight::flattened(tensor);
            let matrix = match set {
                Some(set) => merged(set, weight),
                None => weight.dense(),
            };
            let matrix = match shift {
                Some(shift) => {
                    let shape = matrix.dims();
                    matrix + shift.reshape(shape)
                }
                None => matrix,
            };
            let matrix = if turned { matrix.transpose() } else { matrix };
            matrix.into_data().convert::<f32>().try_into_vec::<f32>()
        };
        self.tensors.push(Collected { key, shape, values: Box::new(values) });
    }
}

/// A weight with the change of its adapters, in f32.
fn merged(set: Adapters, weight: FrozenWeight) -> Tensor<2> {
    let set = set.merge(weight.clone().into_tensor());
    set.merged().cloned().unwrap_or_else(|| weight.dense())
}

/// A segment of a path as Hugging Face spells it: a field's trailing underscore is Rust's.
fn segment(name: &str) -> &str {
    name.trim_end_matches('_')
}
