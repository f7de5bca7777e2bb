//! How large the weights of some layers are, in a checkpoint of a model of any kind.

use std::collections::BTreeMap;
use std::path::Path;

use burn_lora_files::floats::is_float;

use super::checkpoint::Checkpoint;
use super::{Role, TensorSpec, WeightDtype};
use crate::ModelError;

/// The Frobenius norm of each of these layers' weights, with its shape as the files have it, one weight in memory at a
/// time. What the files do not have, or not in floats, is left out; they may lack the first part of a path.
///
/// # Errors
///
/// Files that are not there or are damaged.
pub fn norms<'a>(
    dir: &Path,
    layers: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, (Vec<usize>, f64)>, ModelError> {
    let mut checkpoint = Checkpoint::open(dir)?;
    let mut norms = BTreeMap::new();
    for layer in layers {
        let key = format!("{layer}.weight");
        let bare = key.split_once('.').map_or("", |(_, rest)| rest);
        let entry = [key.as_str(), bare].into_iter().find_map(|key| checkpoint.tensors.get(key));
        let Some(entry) = entry.filter(|entry| is_float(entry.dtype)).cloned() else { continue };
        let (shape, role) = (entry.shape.clone(), Role::Embedding);
        let spec = TensorSpec { key, shape: shape.clone(), role, dtype: WeightDtype::F32 };
        let values: Vec<f32> = checkpoint.read(&entry, &spec, &mut |_| {})?;
        let squared: f64 = values.into_iter().map(|value| f64::from(value).powi(2)).sum();
        norms.insert(layer.to_owned(), (shape, squared.sqrt()));
    }
    Ok(norms)
}
