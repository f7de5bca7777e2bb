//! What lies in a directory that has no weights where they are looked for: shards that no index lists, and what else
//! people have there, with the way on.

use std::fs;
use std::path::Path;

use burn_lora_files::instead::{self, ARCHIVES, Known};

use crate::ModelError;

/// What directories hold in the place of a model of transformers.
const OTHERS: [Known; 25] = [
    (
        "model_index",
        ".json",
        "this is a pipeline of diffusers, which draws: name the directory of a model that writes or sorts texts",
    ),
    ("", ".gguf", "name that file itself as the model"),
    (
        "adapter_config",
        ".json",
        "this is an adapter: name its base as the model, and this directory as the adapter",
    ),
    (
        "pytorch_model",
        ".bin",
        "a pickle is not read: load it with transformers and `save_pretrained(DIR)`, which writes `model.safetensors`",
    ),
    ("consolidated", ".pth", "convert it to the layout of transformers first"),
    ("", ".pt", PICKLE),
    ("", ".pth", PICKLE),
    ("", ".ckpt", PICKLE),
    ("", ".mar", PICKLE),
    (
        "pytorch_model.bin.index",
        ".json",
        "the files that it lists are pickles, and not read: save the model as safetensors",
    ),
    ("ggml-", ".bin", "it is older than GGUF: convert the model that it was made from to GGUF"),
    ("", ".ggml", "it is older than GGUF: convert the model that it was made from to GGUF"),
    ("model", ".bin", PICKLE),
    ("", ".h5", "weights of TensorFlow are not read: save the model as safetensors"),
    ("", ".ckpt.index", "weights of TensorFlow are not read: save the model as safetensors"),
    ("", ".tflite", "a model of TensorFlow Lite is not read: use the model that it was made from"),
    ("", ".ot", "weights of rust-bert are not read: use the model that they were made from"),
    ("", ".pdparams", "weights of Paddle are not read: save the model as safetensors"),
    ("", ".nemo", "a model of NeMo is not read: convert it to the layout of transformers first"),
    ("openvino_model", "", "a model of OpenVINO is not read: use the model that it was made from"),
    ("", ".msgpack", "weights of Flax are not read: save the model as safetensors"),
    ("", ".onnx", "a graph of ONNX is not read: use the model that it was made from"),
    ("", ".npz", "weights of MLX are not read: use the model that they were made from"),
    (
        "adapter_model",
        ".safetensors",
        "these are an adapter's factors: name its base as the model, and this directory as the adapter",
    ),
    ("", ".safetensors", "if it is the whole model, name it `model.safetensors`"),
];

const PICKLE: &str = "a pickle is not read: save the model as safetensors";

/// How the names of files end that a download has not finished.
const UNFINISHED: [&str; 6] = [".tmp", ".part", ".partial", ".crdownload", ".aria2", ".incomplete"];

/// The whole set of the shards in a directory, `NAME-00001-of-00003.safetensors` and so on; those that
/// are missing of it are listed as well. Nothing where there is none, or more than one.
pub(crate) fn shards(dir: &Path) -> Option<Vec<String>> {
    let mut sets: Vec<(String, usize)> = names(dir).iter().filter_map(|name| shard(name)).collect();
    sets.sort();
    sets.dedup();
    match sets.as_slice() {
        [(base, of)] => {
            Some((1..=*of).map(|part| format!("{base}-{part:05}-of-{of:05}.safetensors")).collect())
        }
        _ => None,
    }
}

/// What is there where that file of a model is not, and what to do with it.
pub(crate) fn note(dir: &Path, wanted: &str) -> String {
    let names = names(dir);
    let unfinished = names.iter().find(|name| UNFINISHED.iter().any(|end| name.ends_with(end)));
    if let Some(name) = unfinished {
        return format!("; `{name}` is there: a download that has not come to its end");
    }
    if let Some(below) = model_below(dir) {
        return format!("; `{below}` in it is a model: name that");
    }
    // What has its name already is not what should be called so.
    let names: Vec<String> = names.into_iter().filter(|name| name != "model.safetensors").collect();
    // An archive of the file itself tells more than what else is there.
    let own = |name: &&String| name.starts_with(wanted);
    let own: Vec<String> = names.iter().filter(own).cloned().collect();
    instead::note(&own, &ARCHIVES)
        .or_else(|| instead::note(&names, &OTHERS))
        .or_else(|| instead::note(&names, &ARCHIVES))
        .unwrap_or_default()
}

/// What is said of an archive in the directory, in which that file may be; nothing, where there is none.
pub(crate) fn archive(dir: &Path, wanted: &str) -> Option<String> {
    instead::archive(&names(dir), wanted)
}

/// A model in the directory, as one lies below what the hub's cache calls it; the last by name.
pub(crate) fn model_below(dir: &Path) -> Option<String> {
    let is_model = |below: &String| dir.join(below).join("config.json").is_file();
    let snapshots = names(&dir.join("snapshots")).into_iter().map(|it| format!("snapshots/{it}"));
    names(dir).into_iter().chain(snapshots).rfind(is_model)
}

/// Where a link leads that leads nowhere.
pub(crate) fn dangling(path: &Path) -> Option<String> {
    match fs::read_link(path) {
        Ok(target) if !path.exists() => Some(target.display().to_string()),
        _ => None,
    }
}

/// Of which set a file is a part.
fn shard(name: &str) -> Option<(String, usize)> {
    let (rest, of) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (base, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| (digits.len() == 5).then(|| digits.parse::<usize>().ok())?;
    let of = number(of)?;
    number(part).filter(|part| (1..=of).contains(part)).map(|_| (base.to_owned(), of))
}

/// What is wrong with naming a file, where the directory of a model was meant.
pub(crate) fn file(path: &Path) -> ModelError {
    let path = path.to_owned();
    if is_of_weights(&path) {
        return ModelError::FileOfWeights { path };
    }
    let kind = burn_lora_files::kind::of_file(&path);
    let what = kind.map_or_else(
        || "it is a file: name the directory that it is in".to_owned(),
        |kind| kind.to_string(),
    );
    ModelError::NoDirectory { path, what }
}

/// Whether a file holds weights, by its name.
pub(crate) fn is_of_weights(path: &Path) -> bool {
    let ends = ["safetensors", "bin", "pt", "pth", "ckpt", "onnx", "npz"];
    let end = path.extension().and_then(|end| end.to_str());
    path.is_file() && end.is_some_and(|end| ends.contains(&end))
}

/// The names of what is in the directory, sorted; none where there is none.
fn names(dir: &Path) -> Vec<String> {
    burn_lora_files::names(dir).unwrap_or_default()
}
