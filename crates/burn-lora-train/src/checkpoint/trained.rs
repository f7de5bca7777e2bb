//! Trained tensors that are no adapter, as one safetensors file.

use std::path::Path;

use burn_lora_files::floats;
use burn_lora_patch::NamedTensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::TrainError;

/// Writes the tensors without another copy of them.
pub(super) fn write(path: &Path, tensors: &[NamedTensor]) -> Result<(), TrainError> {
    let invalid = |error: safetensors::SafeTensorError| {
        TrainError::io("write", path)(std::io::Error::other(error))
    };
    let views = tensors
        .iter()
        .map(|tensor| {
            let bytes = bytemuck::cast_slice(&tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(invalid)?;
            Ok((tensor.key.as_str(), view))
        })
        .collect::<Result<Vec<_>, TrainError>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(invalid)
}

/// Reads the tensors of such a file, or of an adapter's.
pub(super) fn read(path: &Path) -> Result<Vec<NamedTensor>, TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: path.to_owned(), reason };
    let bytes = burn_lora_files::bytes(path).map_err(TrainError::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    file.tensors()
        .into_iter()
        .map(|(key, view)| {
            let values = floats::values(&view).ok_or_else(|| {
                damaged(format!("`{key}` is {:?}, which is no float", view.dtype()))
            })?;
            Ok(NamedTensor { key, shape: view.shape().to_vec(), values })
        })
        .collect()
}
