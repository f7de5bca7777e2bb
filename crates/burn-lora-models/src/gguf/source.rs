//! A file's tensors as a model asks for them.

use std::collections::{BTreeMap, BTreeSet};

use burn_lora_files::floats::Number;
use burn_lora_kernels::quantised::{BlockFormat, Quantised};
use bytemuck::Pod;

use super::file::CHUNK;
use super::rows::RowOrder;
use super::{GgufError, GgufFamily, GgufFile, GgufTensor, GgufTensorProblem};
use crate::ModelError;
use crate::weights::{LoadReport, Role, Source, TensorSpec, Values, WeightDtype, rows_at_a_time};

/// Rows that are transposed together: runs of that many numbers are written.
const ROWS: usize = 64;

/// The tensors of a file under their Hugging Face keys, in Burn's layout.
///
/// It is made from the list of what a model needs, which is compared with the file as a whole
/// before anything is read. Beside a tensor that is asked for, only a chunk is held.
pub struct GgufSource<'a> {
    file: GgufFile,
    /// By Hugging Face key.
    tensors: BTreeMap<String, (GgufTensor, RowOrder)>,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl<'a> GgufSource<'a> {
    /// A source for the tensors that `specs` list, all of a model. `progress` is told of the bytes of
    /// the file that were read so far and of all that will be.
    ///
    /// # Errors
    ///
    /// All at once the tensors that are missing, surplus, of another shape or of a type that is not
    /// read; an architecture that is not supported.
    pub fn new(
        file: GgufFile,
        specs: &[TensorSpec],
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Self, GgufError> {
        let family = file.family()?;
        let mut problems = Vec::new();
        let mut tensors = BTreeMap::new();
        for spec in specs {
            let key = spec.key.clone();
            let Some(tensor) = family.names.gguf(&key).and_then(|name| file.tensor(&name)) else {
                problems.push(GgufTensorProblem::Missing { key });
                continue;
            };
            let name = tensor.name.clone();
            let expected = stored(spec);
            if tensor.shape != expected {
                let found = tensor.shape.clone();
                problems.push(GgufTensorProblem::Shape { tensor: name, found, expected });
            } else if !tensor.ggml_type.is_supported() {
                let found = tensor.ggml_type;
                problems.push(GgufTensorProblem::Quantization { tensor: name, found });
            } else {
                let order = order(&file, family, tensor)?;
                tensors.insert(key, (tensor.clone(), order));
            }
        }
        let wanted: BTreeSet<&str> = specs.iter().map(|spec| spec.key.as_str()).collect();
        for tensor in file.tensors() {
            // What it says, the configuration says.
            if family.told.contains(&tensor.name.as_str()) {
                continue;
            }
            let key = family.names.hugging_face(&tensor.name);
            if !key.is_some_and(|key| wanted.contains(key.as_str())) {
                problems.push(GgufTensorProblem::Surplus { tensor: tensor.name.clone() });
            }
        }
        if !problems.is_empty() {
            return Err(GgufError::Tensors { path: file.path().to_owned(), problems });
        }
        let total = tensors.values().map(|(tensor, _)| tensor.bytes()).sum();
        progress(0, total);
        Ok(Self { file, tensors, done: 0, total, progress })
    }

    /// How many tensors and bytes will be read.
    pub fn report(&self) -> LoadReport {
        LoadReport { tensors: self.tensors.len(), bytes: self.total, ..LoadReport::default() }
    }

    fn read<T: Number + Pod>(&mut self, spec: &TensorSpec) -> Result<Vec<T>, GgufError> {
        let Some((tensor, order)) = self.tensors.get(&spec.key) else {
            return Err(self.no_tensor(spec));
        };
        let expected = stored(spec);
        if tensor.shape != expected {
            let problem = GgufTensorProblem::Shape {
                tensor: tensor.name.clone(),
                found: tensor.shape.clone(),
                expected,
            };
            let path = self.file.path().to_owned();
            return Err(GgufError::Tensors { path, problems: vec![problem] });
        }
        let more = self.file.family()?.more_of(&tensor.name);
        let mut values = vec![T::zeroed(); tensor.numbers()];
        if values.is_empty() {
            return Ok(values);
        }
        // A bias is a column: one number a row.
        let width = match tensor.shape.as_slice() {
            [_, rest @ ..] => rest.iter().product(),
            [] => 1,
        };
        let height = values.len() / width;
        let transposed = matches!(spec.role, Role::Linear | Role::Conv1d);
        let numbers = if transposed { ROWS * width } else { CHUNK };
        let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
        self.file.chunks(tensor, numbers, &mut |first, floats, bytes| {
            if transposed {
                for column in 0..width {
                    let out = &mut values[column * height..][..height];
                    for (row, float) in floats[column..].iter().step_by(width).enumerate() {
                        let at = order.hugging_face(first / width + row, height);
                        out[at] = T::from_f32(*float);
                    }
                }
            } else if *order == RowOrder::Same {
                for (value, float) in values[first..].iter_mut().zip(floats) {
                    *value = T::from_f32(*float - more);
                }
            } else {
                for (at, float) in (first..).zip(floats) {
                    let at = order.hugging_face(at / width, height) * width + at % width;
                    values[at] = T::from_f32(*float);
                }
            }
            *done += bytes;
            progress(*done, total);
        })?;
        Ok(values)
    }
}

impl GgufSource<'_> {
    /// A matrix in the blocks that the file has it in, their rows where Hugging Face has them.
    fn blocks(&mut self, spec: &TensorSpec, format: BlockFormat) -> Result<Quantised, GgufError> {
        let Some((tensor, order)) = self.tensors.get(&spec.key) else {
            return Err(self.no_tensor(spec));
        };
        let transposed = spec.role != Role::Embedding;
        let [rows, columns] = [tensor.shape[0], tensor.shape[1]];
        let mut matrix = Quantised::zeroed(format, [rows, columns], transposed);
        let blocks = matrix.bytes_mut();
        self.file.read_blocks(tensor, blocks)?;
        if *order != RowOrder::Same && rows > 0 {
            let (width, as_read) = (blocks.len() / rows, blocks.to_vec());
            for row in 0..rows {
                let at = order.hugging_face(row, rows) * width;
                blocks[at..at + width].copy_from_slice(&as_read[row * width..][..width]);
            }
        }
        self.done += tensor.len;
        (self.progress)(self.done, self.total);
        Ok(matrix)
    }

    /// A matrix in blocks that are made of the numbers which the file has.
    fn quantised(&mut self, spec: &TensorSpec) -> Result<Values, ModelError> {
        let (shape, transposed) = (stored(spec), spec.role != Role::Embedding);
        let [rows, columns] = [shape[0], shape[1]];
        match self.tensors.get(&spec.key) {
            Some((tensor, RowOrder::Same)) if tensor.shape == shape && columns > 0 => {
                let mut quantiser = spec.quantiser([rows, columns], transposed);
                let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
                let numbers = rows_at_a_time(columns) * columns;
                self.file.chunks(tensor, numbers, &mut |_, floats, bytes| {
                    quantiser.take(floats);
                    *done += bytes;
                    progress(*done, total);
                })?;
                Values::finished(quantiser, spec)
            }
            // Rows that a converter moved, the queries' and the keys', are put back first.
            _ => {
                let values: Vec<f32> = self.read(&spec.as_stored(shape))?;
                Values::quantised(&values, [rows, columns], transposed, spec)
            }
        }
    }

    /// The blocks that the file has a matrix of the model's shape in, if it has it in any.
    fn format(&self, spec: &TensorSpec) -> Option<BlockFormat> {
        let (tensor, _) = self.tensors.get(&spec.key)?;
        let fits = tensor.shape.len() == 2 && tensor.shape == stored(spec);
        tensor.ggml_type.blocks().filter(|_| fits)
    }

    fn no_tensor(&self, spec: &TensorSpec) -> GgufError {
        GgufError::NoTensor { path: self.file.path().to_owned(), tensor: spec.key.clone() }
    }
}

impl Source for GgufSource<'_> {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        if spec.dtype.is_quantised() {
            if let Some(format) = self.format(spec) {
                return Ok(Some(Values::Quantised(self.blocks(spec, format)?)));
            }
            return self.quantised(spec).map(Some);
        }
        Ok(Some(match spec.dtype {
            WeightDtype::F16 => Values::F16(self.read(spec)?),
            WeightDtype::Bf16 => Values::Bf16(self.read(spec)?),
            _ => Values::F32(self.read(spec)?),
        }))
    }
}

/// How the rows of a tensor lie in a file.
fn order(file: &GgufFile, family: &GgufFamily, tensor: &GgufTensor) -> Result<RowOrder, GgufError> {
    let Some(rows) = family.rows_of(&tensor.name) else { return Ok(RowOrder::Same) };
    let height = tensor.shape.first().copied().unwrap_or(1);
    rows.order(height, file.heads()?).map_err(|heads| {
        let (path, tensor) = (file.path().to_owned(), tensor.name.clone());
        GgufError::Heads { path, tensor, rows: height, heads }
    })
}

/// The shape of a tensor in a file, where every linear is `[d_out, d_in]`.
fn stored(spec: &TensorSpec) -> Vec<usize> {
    match spec.role {
        Role::Conv1d => spec.shape.iter().rev().copied().collect(),
        _ => spec.shape.clone(),
    }
}

#[cfg(test)]
mod tests;
