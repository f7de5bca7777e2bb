//! A file with Llama 3's factors gives the model that a directory with its setting gives.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor};
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::super::writer::Writer;
use crate::families::llama::{LlamaConfig, LlamaForCausalLM};
use crate::registry::gguf_families;
use crate::{CausalLm, SaveDtype};
use crate::{Decoder, Model, ModelConfig};

/// Four pairs a head, of which one is fast, one slow, and one between.
const HEAD_DIM: usize = 8;
const HEADS: usize = 2;
const SHARED: usize = 1;
const TOKENS: usize = 64;

fn device() -> Device {
    burn_lora::device::parse("cpu").unwrap()
}

fn llama3() -> Value {
    json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    })
}

/// By Llama 3's definition, in f64.
fn factors() -> Vec<f32> {
    let wavelength = |pair| 2.0 * PI * 5e5_f64.powf(2.0 * f64::from(pair) / HEAD_DIM as f64);
    let factor = |wavelength| match wavelength {
        fast if fast < 2048.0 => 1.0,
        slow if slow > 8192.0 => 8.0,
        between => {
            let smooth = (8192.0 / between - 1.0) / 3.0;
            1.0 / ((1.0 - smooth) / 8.0 + smooth)
        }
    };
    let factors: Vec<f64> = (0..HEAD_DIM as u32 / 2).map(wavelength).map(factor).collect();
    assert!(factors[2] > 1.1 && factors[2] < 7.9, "{factors:?}");
    factors.into_iter().map(|factor| factor as f32).collect()
}

/// A random model of a directory. Its weights are large, so that attention is far from even.
fn directory(place: &Path) -> PathBuf {
    let text = json!({
        "model_type": "llama", "vocab_size": 11, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": HEADS, "num_key_value_heads": SHARED,
        "max_position_embeddings": TOKENS, "rms_norm_eps": 1e-5, "initializer_range": 0.5,
        "rope_theta": 500_000.0, "rope_scaling": llama3(),
    });
    let config = LlamaConfig::from_json(&text.to_string(), Path::new("config.json")).unwrap();
    let dir = place.join("model");
    let model = LlamaForCausalLM::random(&config, 3, &device()).unwrap();
    model.save(&dir, SaveDtype::F32).unwrap();
    dir
}

/// The directory's weights as llama.cpp's conversion lays them out.
fn writer(dir: &Path) -> Writer {
    let writer = Writer::new()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 2)
        .u32("llama.context_length", TOKENS as u32)
        .u32("llama.embedding_length", 16)
        .u32("llama.feed_forward_length", 24)
        .u32("llama.attention.head_count", HEADS as u32)
        .u32("llama.attention.head_count_kv", SHARED as u32)
        .u32("llama.rope.dimension_count", HEAD_DIM as u32)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 500_000.0);
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().fold(writer, |writer, (key, view)| {
        let (numbers, _) = view.data().as_chunks();
        let values: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
        let values = match key.contains("q_proj") || key.contains("k_proj") {
            true => side_by_side(&values, view.shape()[1]),
            false => values,
        };
        writer.f32s(&name("llama", key), view.shape(), &values)
    })
}

/// What a file of that architecture calls the tensor with a key.
fn name(architecture: &str, key: &str) -> String {
    let family = gguf_families().find(|family| family.architecture == architecture).unwrap();
    family.names.gguf(key).unwrap()
}

/// Rows `i` and `i + HEAD_DIM / 2` of each head, one after the other.
fn side_by_side(values: &[f32], width: usize) -> Vec<f32> {
    let half = HEAD_DIM / 2;
    let heads = values.chunks(HEAD_DIM * width);
    let rows = heads.flat_map(|head| {
        let row = move |row: usize| &head[row * width..][..width];
        (0..half).flat_map(move |pair| [row(pair), row(pair + half)])
    });
    rows.flatten().copied().collect()
}

fn written(writer: &Writer, path: PathBuf) -> PathBuf {
    std::fs::write(&path, writer.bytes()).unwrap();
    path
}

fn loaded(path: &Path) -> LlamaForCausalLM {
    LlamaForCausalLM::load(path, &device(), &mut |_, _| {}).unwrap().0
}

fn logits(model: &LlamaForCausalLM) -> Vec<f32> {
    let ids: Vec<i32> = (0..TOKENS as i32).map(|at| at * at % 11).collect();
    let ids = Tensor::<1, Int>::from_ints(ids.as_slice(), &device()).reshape([1, TOKENS]);
    model.logits(model.hidden(ids, &[TOKENS], None)).into_data().try_into_vec().unwrap()
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn factors_in_a_file_give_the_logits_of_the_setting_in_a_directory() {
    let place = tempfile::tempdir().unwrap();
    let dir = directory(place.path());
    let plain = writer(&dir);
    let scaled = plain.clone().f32s("rope_freqs.weight", &[HEAD_DIM / 2], &factors());
    let expected = logits(&loaded(&dir));
    assert!(expected.iter().all(|logit| logit.is_finite()));
    assert_eq!(logits(&loaded(&written(&scaled, place.path().join("scaled.gguf")))), expected);
    // The test would see it if the factors were passed over.
    let plain = logits(&loaded(&written(&plain, place.path().join("plain.gguf"))));
    assert!(difference(&plain, &expected) > 1e-2, "{}", difference(&plain, &expected));
}

#[test]
fn a_model_with_factors_is_saved_with_their_setting() {
    let place = tempfile::tempdir().unwrap();
    let writer = writer(&directory(place.path()));
    let writer = writer.f32s("rope_freqs.weight", &[HEAD_DIM / 2], &factors());
    let model = loaded(&written(&writer, place.path().join("model.gguf")));
    let saved = place.path().join("saved");
    model.save(&saved, SaveDtype::F32).unwrap();
    let config = std::fs::read(saved.join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["rope_scaling"], llama3());
    assert_eq!(logits(&loaded(&saved)), logits(&model));
}

/// A golden model as llama.cpp's conversion writes it. `convert` is what it does to a tensor's values beside
/// naming it: it is given the key and the shape, and changes both.
fn golden(
    architecture: &str,
    metadata: Writer,
    convert: impl Fn(&str, &mut Vec<usize>, Vec<f32>) -> Vec<f32>,
) -> (PathBuf, Writer) {
    let dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(architecture);
    let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let writer = tensors.iter().fold(metadata, |writer, (key, view)| {
        let (numbers, _) = view.data().as_chunks();
        let values: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
        let mut shape = view.shape().to_vec();
        let values = convert(key, &mut shape, values);
        writer.f32s(&name(architecture, key), &shape, &values)
    });
    (dir, writer)
}

fn metadata(architecture: &str) -> Writer {
    let key = |name: &str| format!("{architecture}.{name}");
    Writer::new()
        .text("general.architecture", architecture)
        .u32(&key("block_count"), 3)
        .u32(&key("context_length"), 64)
        .u32(&key("embedding_length"), 48)
        .u32(&key("feed_forward_length"), 192)
        .u32(&key("attention.head_count"), 4)
        .f32(&key("attention.layer_norm_epsilon"), 1e-5)
}

/// The file gives the directory's model, bit for bit.
fn check_golden((dir, writer): (PathBuf, Writer)) {
    let place = tempfile::tempdir().unwrap();
    let load = |path: &Path| CausalLm::load(path, &device(), &mut |_, _| {}).unwrap().0;
    let ids: Vec<i32> = (0..TOKENS as i32).map(|at| at * at % 211).collect();
    let ids = Tensor::<1, Int>::from_ints(ids.as_slice(), &device()).reshape([1, TOKENS]);
    let logits = |model: CausalLm| {
        let hidden = model.hidden(ids.clone(), &[TOKENS], None);
        model.logits(hidden).into_data().try_into_vec::<f32>().unwrap()
    };
    let file = written(&writer, place.path().join("model.gguf"));
    assert_eq!(logits(load(&file)), logits(load(&dir)));
}

/// Conversion turns every linear to `[d_out, d_in]`.
#[test]
fn a_gpt2_of_a_file_is_the_one_of_a_directory() {
    check_golden(golden("gpt2", metadata("gpt2"), |key, shape, values| {
        if !key.ends_with(".weight") || !(key.contains(".c_")) {
            return values;
        }
        let [rows, columns] = shape[..] else { panic!("a matrix") };
        shape.reverse();
        (0..rows * columns).map(|at| values[at % rows * columns + at / rows]).collect()
    }));
}

/// Conversion takes `[n_head, 3, head_dim]` rows apart into queries, keys and values.
#[test]
fn a_bloom_of_a_file_is_the_one_of_a_directory() {
    const HEADS: usize = 4;
    check_golden(golden("bloom", metadata("bloom"), |key, shape, values| {
        if !key.contains("query_key_value") {
            return values;
        }
        let part = values.len() / shape[0] * (shape[0] / HEADS / 3);
        let parts: Vec<&[f32]> = values.chunks(part).collect();
        let order = (0..3).flat_map(|of| (0..HEADS).map(move |head| head * 3 + of));
        order.flat_map(|at| parts[at].to_vec()).collect()
    }));
}
