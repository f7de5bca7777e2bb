//! `cargo xtask quickstart model`: the pre-trained weights in half precision, half as large.

use std::path::Path;

use burn_lora_files::floats;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

use super::{QuickstartError, write};

const FILE: &str = "model.safetensors";

/// Reads `model.safetensors` (f32) of a folder and writes it to the other one in f16.
pub fn run(from: &Path, out: &Path) -> Result<(), QuickstartError> {
    let path = from.join(FILE);
    let bytes = std::fs::read(&path)
        .map_err(|source| QuickstartError::Read { path: path.clone(), source })?;
    let halved = halve(&bytes).map_err(|reason| QuickstartError::Weights { path, reason })?;
    write(&out.join(FILE), &halved)
}

fn halve(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let text = |error: SafeTensorError| error.to_string();
    let mut tensors = Vec::new();
    for (name, tensor) in SafeTensors::deserialize(bytes).map_err(text)?.iter() {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("tensor `{name}` is {:?}; f32 is expected", tensor.dtype()));
        }
        let mut values = Vec::new();
        floats::encode(Dtype::F16, &floats::values(&tensor).unwrap_or_default(), &mut values);
        tensors.push((name.to_owned(), tensor.shape().to_vec(), values));
    }
    let views = tensors
        .iter()
        .map(|(name, shape, values)| {
            Ok((name, TensorView::new(Dtype::F16, shape.clone(), values)?))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(text)?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata)).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dtype: Dtype, values: &[f32]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = TensorView::new(dtype, vec![1, values.len()], &bytes).unwrap();
        safetensors::serialize([("w", view)], None).unwrap()
    }

    #[test]
    fn values_are_rounded_to_half_and_keep_their_shape() {
        // 1 + 2^-11 lies between two halves and goes to the even one; 65504 is the largest half.
        let halved = halve(&file(Dtype::F32, &[0.5, -2.0, 1.0 + 2f32.powi(-11), 65504.0])).unwrap();
        let tensors = SafeTensors::deserialize(&halved).unwrap();
        let tensor = tensors.tensor("w").unwrap();
        let bits: Vec<u16> =
            tensor.data().chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F16, &[1, 4][..]));
        assert_eq!(bits, [0x3800, 0xC000, 0x3C00, 0x7BFF]);
    }

    #[test]
    fn what_is_not_f32_is_named() {
        let error = halve(&file(Dtype::I32, &[1.0])).unwrap_err();
        assert!(error.contains("`w` is I32"), "{error}");
    }

    #[test]
    fn a_missing_run_names_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = run(&folder.path().join("none"), folder.path()).unwrap_err().to_string();
        assert!(error.contains("configs/pretrain-quickstart.toml"), "{error}");
    }
}
