//! Base models: `config.json`, weights, an index of shards, a GGUF file.

use std::path::Path;

use burn::tensor::Device;
use burn_lora_models::gguf::GgufFile;
use burn_lora_models::{
    Architecture, CausalConfig, CausalLm, Model, ModelConfig, SequenceClassifier,
    SequenceClassifierConfig, Storage, WeightDtype,
};

use super::{text, told};
use crate::scratch::directory;

/// The `config.json` of a Llama with a single layer of width 8, and its weights.
pub(super) const CONFIG: &[u8] = include_bytes!("../../../../fuzz/seeds/model_config/llama.json");
pub(super) const WEIGHTS: &[u8] =
    include_bytes!("../../../../fuzz/seeds/base_safetensors/f32.safetensors");

/// Where models are.
pub(super) fn device() -> Device {
    burn_lora::device::parse("cpu").expect("there is a CPU")
}

/// Reads the model there.
fn loaded(dir: &Path) {
    let device = device();
    told(CausalLm::load(dir, &device, &mut |_, _| {}));
}

/// A `config.json`: its shapes, without and with the weights of a tiny model beside it.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("config.json");
    let device = device();
    let Some(architecture) = told(Architecture::of_json(&text, path)) else { return };
    let at = Storage { device: &device, dtype: WeightDtype::F32 };
    match architecture.is_causal() {
        true => {
            let Some(config) = told(CausalConfig::from_json(&text, path)) else { return };
            if told(CausalLm::outline(&config, at)).is_some() {
                let weights = ("model.safetensors", WEIGHTS);
                loaded(&directory("config", &[weights], &[("config.json", bytes)]));
            }
        }
        false => {
            let config = told(SequenceClassifierConfig::from_json(&text, path));
            told(
                config
                    .map_or(Ok(None), |config| SequenceClassifier::outline(&config, at).map(Some)),
            );
        }
    }
}

/// A `model.safetensors`.
pub fn tensors(bytes: &[u8]) {
    let config = ("config.json", CONFIG);
    loaded(&directory("tensors", &[config], &[("model.safetensors", bytes)]));
}

/// A `model.safetensors.index.json`, beside two files that it may name.
pub fn index(bytes: &[u8]) {
    let beside =
        [("config.json", CONFIG), ("one.safetensors", WEIGHTS), ("two.safetensors", WEIGHTS)];
    loaded(&directory("index", &beside, &[("model.safetensors.index.json", bytes)]));
}

/// A GGUF file: its header, what it says in the place of Hugging Face's files, its weights, in f32 and in blocks.
pub fn gguf(bytes: &[u8]) {
    let path = directory("gguf", &[], &[("model.gguf", bytes)]).join("model.gguf");
    let Some(mut file) = told(GgufFile::open(&path)) else { return };
    told(file.config());
    told(file.tokenizer_config());
    told(file.chat_template());
    let tensors: Vec<String> = file.tensors().map(|tensor| tensor.name.clone()).collect();
    for name in tensors {
        told(file.read(&name));
    }
    text::through(&path);
    loaded(&path);
    let (device, dtype) = (device(), WeightDtype::Nf4);
    told(CausalLm::load(&path, Storage { device: &device, dtype }, &mut |_, _| {}));
}
