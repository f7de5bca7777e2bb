//! Runs of the decoder families, from training to a merged directory, and what a published model's
//! configuration alone says.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
#[allow(dead_code, reason = "each test file uses some of it")]
mod tiny;

use std::fs;

use burn_lora_app::merge::{MergeOptions, Tolerance, merge};
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig, SaveDtype};
use burn_lora_patch::{LoraConfig, Targets, plan};
use burn_lora_train::observe::Observer;
use safetensors::SafeTensors;
use serde_json::Value;
use tiny::Tiny;

/// Trains, merges and compares the logits; gives back the merged directory's place.
fn merged(tiny: &Tiny, targets: &str) {
    let summary = tiny.train("run", &[&format!("adapter.targets={targets}")], false);
    let [before, after] = summary.evaluations().unwrap();
    assert!(after.eval_loss < before.eval_loss, "{after:?} after {before:?}");
    let tolerance = Some(Tolerance::Logits(1e-4));
    let options = MergeOptions { out: tiny.path("merged"), dtype: SaveDtype::F32, tolerance };
    merge(&tiny.path("run"), &options, &Observer::silent()).unwrap();
}

fn fan_in_fan_out(tiny: &Tiny) -> Value {
    let text = fs::read(tiny.path("run/adapter/adapter_config.json")).unwrap();
    serde_json::from_slice::<Value>(&text).unwrap()["fan_in_fan_out"].clone()
}

fn shape(tiny: &Tiny, file: &str, key: &str) -> Vec<usize> {
    let bytes = fs::read(tiny.path(file)).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor(key).unwrap().shape().to_vec()
}

#[test]
fn a_gpt2_trains_and_is_merged_into_hugging_faces_layout() {
    let tiny = Tiny::of(
        r#"{"model_type": "gpt2", "vocab_size": 2048, "n_embd": 32, "n_layer": 2, "n_head": 4,
            "n_positions": 64, "initializer_range": 0.2}"#,
    );
    merged(&tiny, r#"["c_attn", "c_fc", "c_proj"]"#);
    assert_eq!(fan_in_fan_out(&tiny), Value::Bool(true));
    let key = "transformer.h.1.mlp.c_fc.weight";
    for file in ["model/model.safetensors", "merged/model.safetensors"] {
        assert_eq!(shape(&tiny, file, key), [32, 128]);
    }
    let key = "base_model.model.transformer.h.1.mlp.c_fc.lora_B.weight";
    assert_eq!(shape(&tiny, "run/adapter/adapter_model.safetensors", key), [128, 4]);
}

#[test]
fn a_bloom_trains_beyond_any_context_and_is_merged() {
    let tiny = Tiny::of(
        r#"{"model_type": "bloom", "vocab_size": 2048, "hidden_size": 32, "n_layer": 2, "n_head": 4,
            "initializer_range": 0.2}"#,
    );
    merged(&tiny, r#"["query_key_value"]"#);
    assert_eq!(fan_in_fan_out(&tiny), Value::Bool(false));
}

/// The figures that are published for this model and these targets.
#[test]
fn bloom_560m_has_the_published_number_of_trainable_parameters() {
    let config = r#"{"model_type": "bloom", "n_embed": 1024, "n_layer": 24, "num_attention_heads": 16,
        "vocab_size": 250880}"#;
    let config = CausalConfig::from_json(config, "config.json".as_ref()).unwrap();
    let device = burn_lora::device::parse("cpu").unwrap();
    let model = CausalLm::outline(&config, &device).unwrap();
    let targets = Targets::names(["query_key_value"]);
    let report = plan(&model, &LoraConfig::new(8).with_alpha(8.0).with_targets(targets)).unwrap();
    assert_eq!((report.trainable(), report.total()), (786_432, 560_001_024));
    assert!(report.trainable_line().contains("786,432 of 560,001,024"));
}
