//! A model written and read is the model.

mod adapters;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor};
use burn_lora_patch::{merge_and_unload_f32, peft};
use half::{bf16, f16};
use serde_json::{Map, json};

use super::super::GgufFile;
use super::super::tokenizer::words::tokenizer as words;
use super::*;
use crate::weights::merged_tensors;
use crate::{CausalConfig, CausalLm, Decoder, ModelConfig};

const TOKENS: usize = 32;

fn device() -> Device {
    burn_lora::device::parse("cpu").unwrap()
}

/// A tokenizer of sixteen tokens.
fn tokenizer(dir: &Path) -> Tokenizer {
    let file = words("smollm").open().unwrap();
    for (name, json) in [
        ("tokenizer.json", file.tokenizer_json().unwrap()),
        ("tokenizer_config.json", file.tokenizer_config().unwrap()),
    ] {
        std::fs::write(dir.join(name), json.to_string()).unwrap();
    }
    Tokenizer::from_dir(dir).unwrap()
}

fn golden(architecture: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(architecture)
}

fn loaded(path: &Path) -> CausalLm {
    CausalLm::load(path, &device(), &mut |_, _| {}).unwrap().0
}

fn random(config: &Json) -> CausalLm {
    let config = CausalConfig::from_json(&config.to_string(), "config.json".as_ref()).unwrap();
    CausalLm::random(&config, 3, &device()).unwrap()
}

/// Heads and linears of whole blocks, and weights so large that attention is far from even.
fn wide() -> Json {
    json!({
        "model_type": "llama", "vocab_size": 20, "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "initializer_range": 0.1,
    })
}

fn logits(model: &CausalLm) -> Vec<f32> {
    let rows = model.config().vocab_size() as i32;
    let ids: Vec<i32> = (0..TOKENS as i32).map(|at| at * at % rows).collect();
    let ids = Tensor::<1, Int>::from_ints(ids.as_slice(), &device()).reshape([1, TOKENS]);
    model.logits(model.hidden(ids, &[TOKENS], None)).into_data().try_into_vec().unwrap()
}

/// The model's file in a directory of its own, and what it was told to hold.
fn written(model: &CausalLm, file_type: FileType) -> (tempfile::TempDir, PathBuf, Vec<TypeCount>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let writer =
        GgufWriter::new(model.config(), &tokenizer(dir.path()), file_type, "tiny").unwrap();
    let (outlined, size) = writer.outline(model).unwrap();
    let mut told = Vec::new();
    let counts = writer.write(model, &path, &mut |done, all| told.push((done, all))).unwrap();
    assert_eq!(counts, outlined);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    let last = *told.last().unwrap();
    assert!(told.len() > 2 && told[0] == (0, last.1) && last.0 == last.1, "{told:?}");
    (dir, path, counts)
}

/// The settings but for those of training, and what says the same as others.
fn settings(model: &CausalLm) -> Map<String, Json> {
    let mut settings = model.config().settings();
    settings.retain(|key, _| {
        let of_training =
            key == "initializer_range" || ["dropout", "pdrop"].iter().any(|end| key.ends_with(end));
        let of_windows = key.contains("window") || key == "layer_types";
        !(of_training || of_windows || key == "rope_parameters" || key == "rope_scaling")
    });
    settings
}

#[test]
fn a_model_of_every_family_is_bit_for_bit_the_one_that_was_written() {
    for architecture in ["llama", "qwen2", "qwen3", "gpt2", "bloom"] {
        let model = loaded(&golden(architecture));
        let (_dir, path, counts) = written(&model, FileType::F32);
        assert_eq!(counts.len(), 1);
        let again = loaded(&path);
        assert_eq!(logits(&again), logits(&model), "{architecture}");
        assert_eq!(settings(&again), settings(&model), "{architecture}");
        assert_eq!(again.config().context(), model.config().context());
        let file = GgufFile::open(&path).unwrap();
        let text = |key: &str| match file.metadata().get(key) {
            Some(Value::Text(text)) => text.clone(),
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!(text("general.architecture"), architecture);
        assert_eq!(text("general.name"), "tiny");
    }
}

/// llama.cpp's norms scale by what a file has, Gemma's by one more than their weights.
#[test]
fn gemma_3s_norms_windows_and_positions_survive_a_file() {
    let config = json!({
        "model_type": "gemma3_text", "vocab_size": 20, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 7, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": 64, "query_pre_attn_scalar": 16, "sliding_window": 5,
        "final_logit_softcapping": 7.5, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "initializer_range": 0.3,
    });
    let model = random(&config);
    let (_dir, path, _) = written(&model, FileType::F32);
    let mut file = GgufFile::open(&path).unwrap();
    // They start at zero.
    assert_eq!(file.read("blk.6.post_ffw_norm.weight").unwrap(), [1.0; 32]);
    let said = file.config().unwrap();
    for (key, value) in [
        ("model_type", json!("gemma3")),
        ("sliding_window", json!(5)),
        ("sliding_window_pattern", json!(6)),
        ("query_pre_attn_scalar", json!(16)),
        ("rope_local_base_freq", json!(1e4)),
        ("final_logit_softcapping", json!(7.5)),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 8.0})),
    ] {
        assert_eq!(said[key], value, "{key}");
    }
    let again = loaded(&path);
    assert_eq!(logits(&again), logits(&model));
    assert_eq!(settings(&again), settings(&model));
    let saved: Json = serde_json::from_str(&again.config().to_json()).unwrap();
    assert_eq!(saved["model_type"], "gemma3_text");
    for (key, value, part) in [
        ("attention_bias", json!(true), "no biases"),
        ("query_pre_attn_scalar", json!(24), "`query_pre_attn_scalar` is 24"),
        ("sliding_window_pattern", json!(2), "each 6th"),
        ("rope_local_base_freq", json!(5e3), "base 5000"),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
            "cannot say",
        ),
    ] {
        let mut changed = config.clone();
        changed[key] = value;
        let model = random(&changed);
        let dir = tempfile::tempdir().unwrap();
        let refused =
            GgufWriter::new(model.config(), &tokenizer(dir.path()), FileType::F32, "tiny")
                .unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

#[test]
fn what_is_written_of_an_adapted_model_is_what_merging_makes_of_it() {
    for architecture in ["llama", "qwen2", "gpt2", "bloom"] {
        for kind in ["lora", "dora"] {
            let base = loaded(&golden(architecture));
            let mut model = base.clone();
            let adapter = golden(architecture).join(kind);
            peft::load(&mut model, adapter, &peft::LoadOptions::default()).unwrap();
            let (_dir, path, _) = written(&model, FileType::F32);
            let merged = logits(&merge_and_unload_f32(model).unwrap());
            assert_eq!(logits(&loaded(&path)), merged, "{architecture} {kind}");
            assert_ne!(merged, logits(&base), "{architecture} {kind}");
        }
    }
}

#[test]
fn a_mistral_is_written_as_the_llama_that_llama_cpp_makes_of_it() {
    let mut config = wide();
    config["model_type"] = json!("mistral");
    let model = random(&config);
    let (_dir, path, _) = written(&model, FileType::F32);
    assert_eq!(GgufFile::open(&path).unwrap().config().unwrap()["model_type"], "llama");
    assert_eq!(logits(&loaded(&path)), logits(&model));
}

#[test]
fn heads_and_biases_that_are_not_the_usual_ones_are_kept() {
    let mut config = wide();
    for (key, value) in [
        ("head_dim", json!(32)),
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("tie_word_embeddings", json!(true)),
        ("rope_theta", json!(250_000.0)),
    ] {
        config[key] = value;
    }
    let model = random(&config);
    let (_dir, path, _) = written(&model, FileType::F32);
    let again = loaded(&path);
    assert_eq!(settings(&again), settings(&model));
    assert_eq!(logits(&again), logits(&model));
}

#[test]
fn scaled_rotary_positions_of_a_llama_are_kept() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let mut config = wide();
    config["rope_theta"] = json!(500_000.0);
    config["rope_scaling"] = scaling.clone();
    let model = random(&config);
    let (_dir, path, counts) = written(&model, FileType::F16);
    assert_eq!(GgufFile::open(&path).unwrap().config().unwrap()["rope_scaling"], scaling);
    // Nine matrices and norms of each block, the last norm, and the factors.
    let norms = counts.iter().find(|count| count.ggml_type == GgmlType::F32).unwrap();
    assert_eq!(norms.tensors, 2 * 3 + 1 + 1);
}

/// The tensors of a model that was written, with their names and types in the file and what is read of them.
fn tensors(model: &CausalLm, path: &Path) -> Vec<(String, GgmlType, Vec<f32>, Vec<f32>)> {
    let file = GgufFile::open(path).unwrap();
    let family = family_of(model.config()).unwrap();
    let again = loaded(path);
    let pairs = merged_tensors(model, model.config())
        .into_iter()
        .zip(merged_tensors(&again, again.config()));
    pairs
        .map(|(tensor, found)| {
            assert_eq!((&found.key, &found.shape), (&tensor.key, &tensor.shape));
            let name = family.names.gguf(&tensor.key).unwrap();
            let ggml_type = file.tensor(&name).unwrap().ggml_type;
            (name, ggml_type, (tensor.values)().unwrap(), (found.values)().unwrap())
        })
        .collect()
}

#[test]
fn sixteen_bits_are_rounded_and_what_has_one_dimension_is_not() {
    let model = random(&wide());
    for file_type in [FileType::F16, FileType::Bf16] {
        let (_dir, path, _) = written(&model, file_type);
        for (name, ggml_type, values, found) in tensors(&model, &path) {
            let rounded: Vec<f32> = match ggml_type {
                GgmlType::F16 => values.iter().map(|&v| f16::from_f32(v).to_f32()).collect(),
                GgmlType::BF16 => values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect(),
                _ => values,
            };
            assert!(found == rounded, "{name}");
            assert_eq!(ggml_type == GgmlType::F32, name.contains("norm"), "{name}");
        }
    }
}

/// Root of the mean squared error of normal numbers, as a share of theirs: a step over the root of twelve. The
/// largest of 32 is at 2.39 deviations (root of the mean square), of 16 at 2.13, and the ends of 32 are 4.2 apart.
fn expected_error(ggml_type: GgmlType) -> f64 {
    let step = match ggml_type {
        GgmlType::Q8_0 => 2.39 / 127.0,
        GgmlType::Q4_0 => 2.39 / 8.0,
        GgmlType::Q4_K => 4.2 / 15.0,
        GgmlType::Q6_K => 2.13 / 32.0,
        _ => 0.0,
    };
    step / 12.0_f64.sqrt()
}

#[test]
fn blocks_hold_what_their_bits_can_and_their_matrices_are_where_they_belong() {
    let model = random(&wide());
    for (file_type, types) in [
        (FileType::Q8_0, &[GgmlType::Q8_0][..]),
        (FileType::Q4_0, &[GgmlType::Q4_0, GgmlType::Q6_K]),
        (FileType::Q4_K, &[GgmlType::Q4_K, GgmlType::Q6_K]),
    ] {
        let (_dir, path, counts) = written(&model, file_type);
        for ggml_type in types {
            assert!(counts.iter().any(|count| count.ggml_type == *ggml_type), "{counts:?}");
        }
        for (name, ggml_type, values, found) in tensors(&model, &path) {
            let squares = |numbers: &mut dyn Iterator<Item = f32>| -> f64 {
                numbers.map(|x| f64::from(x).powi(2)).sum()
            };
            let error = squares(&mut values.iter().zip(&found).map(|(a, b)| a - b));
            let error = (error / squares(&mut values.iter().copied())).sqrt();
            let expected = expected_error(ggml_type);
            // Searched scales do a tenth better than the ends of a group, and 20 rows scatter. Rows in another
            // order would be off by more than the numbers themselves.
            assert!(error <= 1.1 * expected && error >= 0.8 * expected, "{name}: {error}");
        }
    }
}

#[test]
fn rows_without_whole_blocks_are_stored_in_the_next_larger_type() {
    let mut config = wide();
    config["hidden_size"] = json!(288);
    config["num_attention_heads"] = json!(3);
    config["num_key_value_heads"] = json!(3);
    let model = random(&config);
    let (_dir, path, counts) = written(&model, FileType::Q4_K);
    let mut types: Vec<String> = counts.iter().map(|count| count.ggml_type.to_string()).collect();
    types.sort();
    // 288 is no multiple of 256, 512 is; the values of the last block and the head would be Q6_K.
    assert_eq!(types, ["F32", "Q4_K", "Q5_0", "Q6_K", "Q8_0"]);
    assert!(logits(&loaded(&path)).iter().all(|logit| logit.is_finite()));
}

fn refused(model: &CausalLm, file_type: FileType) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, "what was there").unwrap();
    let error = GgufWriter::new(model.config(), &tokenizer(dir.path()), file_type, "tiny")
        .and_then(|writer| writer.write(model, &path, &mut |_, _| {}))
        .unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "what was there");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing half written is left");
    error.to_string()
}

#[test]
fn what_a_file_cannot_state_is_refused_and_what_was_there_stays() {
    let gpt2 = |activation: &str| {
        random(&json!({
            "model_type": "gpt2", "vocab_size": 20, "n_embd": 32, "n_layer": 1, "n_head": 2,
            "n_positions": 32, "activation_function": activation,
        }))
    };
    let message = refused(&gpt2("relu"), FileType::F32);
    for part in ["`activation_function` is `relu`", "`gpt2`", "`gelu_new` or `gelu_pytorch_tanh`"] {
        assert!(message.contains(part), "{message}");
    }
    written(&gpt2("gelu_pytorch_tanh"), FileType::F32);

    let mut config = wide();
    config["model_type"] = json!("qwen2");
    config["rope_scaling"] = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let message = refused(&random(&config), FileType::F32);
    assert!(message.contains("rotary positions are scaled"), "{message}");

    let large = |largest: f32| {
        let model = random(&wide());
        let CausalLm::Llama(mut llama) = model else { panic!("a llama") };
        let weight = &mut llama.model.norm.gamma;
        *weight = weight.clone().map(|weight| weight.ones_like() * largest);
        let weight = &mut llama.lm_head.as_mut().unwrap().weight;
        *weight = weight.clone().map(|weight| weight.ones_like() * largest);
        CausalLm::Llama(llama)
    };
    for (value, file_type, parts) in [
        (1e5, FileType::F16, ["`lm_head.weight` holds 100000", "F16", "bf16 or f32"]),
        (1e6, FileType::Q4_K, ["`lm_head.weight` holds 1000000", "Q6_K", "bf16 or f32"]),
        (f32::NAN, FileType::F32, ["holds NaN", "F32", "went astray"]),
    ] {
        let message = refused(&large(value), file_type);
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
    written(&large(1e5), FileType::Bf16);
}

#[test]
fn an_encoder_has_no_file() {
    let text = r#"{"model_type": "bert", "vocab_size": 20, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}"#;
    let config = crate::SequenceClassifierConfig::from_json(text, "config.json".as_ref()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = GgufWriter::new(config.about(), &tokenizer(dir.path()), FileType::F32, "bert");
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`bert`") && message.contains("`mistral`, `qwen2`"), "{message}");
}
