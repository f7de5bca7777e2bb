//! The two files of an adapter directory.

use std::io::{ErrorKind, Write};
use std::path::{Component, Path};

use burn_lora_files::atomic;
use burn_lora_files::floats::values_f64;
use burn_lora_files::instead::{Known, archive, note};
use burn_lora_files::missing::Missing;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::error::PatchError;

/// The configuration of an adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The tensors of an adapter.
pub const TENSORS_FILE: &str = "adapter_model.safetensors";
/// What the keys of a layer's two factors differ in, of a linear layer and of an embedding.
const PAIRS: [(&str, &str); 2] =
    [(".lora_A.", ".lora_B."), (".lora_embedding_A", ".lora_embedding_B")];

/// Writes the file, whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PatchError> {
    atomic::write(path, |file| file.write_all(bytes)).map_err(|source| PatchError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// The bytes of a file of an adapter directory.
///
/// # Errors
///
/// A file that is not there, with what is there instead; what the system says.
pub fn read(dir: &Path, name: &'static str) -> Result<Vec<u8>, PatchError> {
    let path = dir.join(name);
    match burn_lora_files::bytes(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let note = instead(dir, name);
            Err(PatchError::NoAdapterFile { dir: dir.to_owned(), missing: name, note })
        }
        Err(source) => Err(PatchError::Io { action: "read", path, source }),
    }
}

/// What is there in the place of the file of that name, if it helps to know.
fn instead(dir: &Path, name: &str) -> String {
    let has = |file: &str| dir.join(file).exists();
    let told = if dir.is_file() && dir.extension().is_some_and(|end| end == "gguf") {
        " (it is a GGUF file, and adapters are not read from those: bring the adapter that it was made from)"
    } else if let Some(kind) = burn_lora_files::kind::of_file(dir) {
        return format!(" ({kind})");
    } else if dir.is_file() {
        " (it is a file: name the directory that it is in)"
    } else if !dir.is_dir() {
        let (note, of_hub) = (burn_lora_files::missing::note(dir), of_hub(dir));
        return format!(" (there is no such directory{note}{of_hub})");
    } else if name == TENSORS_FILE && has("adapter_model.bin") {
        "; `adapter_model.bin` is a pickle, which is not read: save it again with PEFT's safe_serialization=True"
    } else if has("pytorch_lora_weights.safetensors") {
        "; `pytorch_lora_weights.safetensors` is what diffusers writes for models that draw, and there are none here"
    } else if let Some(below) = adapter_below(dir) {
        return format!("; `{below}` in it is one: name that");
    } else {
        let names = burn_lora_files::names(dir).unwrap_or_default();
        let archived = || archive(&names, name);
        return note(&names, &OTHER_TOOLS).or_else(archived).unwrap_or_default();
    };
    told.to_owned()
}

/// What to say of a path that is not there and has the form of a name on the hub, `org/name`.
fn of_hub(path: &Path) -> String {
    let parts: Vec<_> = path.components().collect();
    let is_name = matches!(parts[..], [Component::Normal(_), Component::Normal(_)]);
    let is_beside = Missing::of(path).is_some_and(|missing| missing.is_beside());
    match is_name && !is_beside && !path.parent().is_some_and(Path::exists) {
        true => format!(
            "; adapters are not fetched from the hub: `hf download {} --local-dir DIR` brings one",
            path.display()
        ),
        false => String::new(),
    }
}

/// What other tools write in the place of PEFT's files.
const OTHER_TOOLS: [Known; 12] = [
    (
        "adapter_model-",
        ".safetensors",
        "it is one of several parts: load the adapter with PEFT and `save_pretrained(DIR)`, which writes one file",
    ),
    (
        "lit_model",
        ".lora",
        "it is LitGPT's: merge it with `litgpt merge_lora`, and take the merged model as the base",
    ),
    (
        "adapter_",
        ".pt",
        "it is torchtune's, a pickle, which is not read: save it with `save_adapter_weights_only` in PEFT's format",
    ),
    ("", ".nemo", "it is NeMo's: convert it to PEFT's format with NeMo's scripts"),
    ("ggml-adapter", ".bin", "it is llama.cpp's: bring the adapter that it was made from"),
    ("", ".gguf", "it is llama.cpp's: bring the adapter that it was made from"),
    (
        "pytorch_adapter",
        ".bin",
        "it is AdapterHub's, which PEFT does not read: merge it with its own tool",
    ),
    (
        "zero_to_fp32",
        ".py",
        "it is a checkpoint of DeepSpeed: run `python zero_to_fp32.py . DIR`, and save the adapter with PEFT",
    ),
    (
        "global_step",
        "",
        "it is a checkpoint of DeepSpeed: run its `zero_to_fp32.py`, and save the adapter with PEFT",
    ),
    (
        "pytorch_model_fsdp",
        "",
        "it is a checkpoint in parts: `accelerate merge-weights` puts them together, then save the adapter with PEFT",
    ),
    (
        "",
        ".npz",
        "it is mlx-lm's: merge it with `mlx_lm.fuse`, and take the fused model as the base",
    ),
    (
        "adapters",
        ".safetensors",
        "it is mlx-lm's: merge it with `mlx_lm.fuse`, and take the fused model as the base",
    ),
];

/// A directory in `dir` that is an adapter's, such as the checkpoints in what a trainer wrote; the last by name.
fn adapter_below(dir: &Path) -> Option<String> {
    let names = burn_lora_files::names(dir).ok()?;
    names.into_iter().rfind(|name| dir.join(name).join(CONFIG_FILE).is_file())
}

/// The largest number whose square f32 holds. The norm behind a layer squares what the layer gives, so nothing can be computed with a
/// larger one.
const MOST: f64 = 1.844_674_3e19;

/// The tensors that hold values which are not finite, or too large to compute with, with the first such value of each, by key.
pub fn broken(tensors: &SafeTensors<'_>) -> Vec<(String, f64)> {
    let mut broken: Vec<(String, f64)> = tensors
        .iter()
        .filter_map(|(key, view)| {
            let values = values_f64(&view)?;
            Some((key.to_owned(), values.into_iter().find(|value| !holds(*value))?))
        })
        .collect();
    broken.sort_by(|(one, _), (other, _)| one.cmp(other));
    broken
}

/// Whether f32 can compute with a number.
fn holds(value: f64) -> bool {
    value.abs() <= MOST
}

/// Sees to it that nobody is given an adapter whose values are broken: not finite, too large to compute with, or so large that what
/// they change of a weight is. `scale` is what the product of the factors is multiplied by.
///
/// # Errors
///
/// [`PatchError::Values`], [`PatchError::Change`].
pub fn usable(tensors: &SafeTensors<'_>, path: &Path, scale: f64) -> Result<(), PatchError> {
    let broken = broken(tensors);
    let others = broken.len().saturating_sub(1);
    if let Some((key, value)) = broken.into_iter().next() {
        return Err(PatchError::Values { path: path.to_owned(), key, value, others });
    }
    let mut keys: Vec<&str> = tensors.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    for key in keys {
        let mut pairs = PAIRS.iter().filter(|(first, _)| key.contains(first));
        let Some((first, second)) = pairs.next() else { continue };
        let (Ok(a), Ok(b)) = (tensors.tensor(key), tensors.tensor(&key.replace(first, second)))
        else {
            continue;
        };
        let most = scale * largest_change(&a, &b).unwrap_or(0.0);
        if !holds(most) {
            return Err(PatchError::Change { path: path.to_owned(), key: key.to_owned(), most });
        }
    }
    Ok(())
}

/// How much a change `B A` has in one place at most: no less than it has, and found without the product.
fn largest_change(a: &TensorView<'_>, b: &TensorView<'_>) -> Option<f64> {
    let (&[rank, ref inputs @ ..], &[d_out, part, ref window @ ..]) = (a.shape(), b.shape()) else {
        return None;
    };
    let d_in: usize = inputs.iter().product();
    // Of a convolution with groups an output sees a part of the rank.
    let is_pair = part > 0 && rank.is_multiple_of(part) && (rank == part || !window.is_empty());
    if rank == 0 || d_in == 0 || d_out == 0 || !is_pair {
        return None;
    }
    let of_group = d_out / (rank / part) * part;
    let (a, b) = (values_f64(a)?, values_f64(b)?);
    let products = a.chunks_exact(d_in).enumerate().map(|(at, row)| {
        let outputs = b.iter().skip(at / part * of_group).take(of_group);
        largest(row.iter()) * largest(outputs.skip(at % part).step_by(part))
    });
    Some(products.sum())
}

/// The largest magnitude.
fn largest<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.fold(0.0, |most, value| most.max(value.abs()))
}
