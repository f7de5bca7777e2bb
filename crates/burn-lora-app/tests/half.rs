//! Runs whose base is held in 16 bits.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;

use burn_lora_app::merge::{MergeOptions, Tolerance, merge};
use burn_lora_models::{CausalLm, Model, SaveDtype};
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::plan;
use tiny::Tiny;

/// A tiny model whose files are in bf16.
fn tiny() -> Tiny {
    let tiny = Tiny::new();
    let device = burn_lora::device::parse("cpu").unwrap();
    let model = tiny.path("model");
    let (base, _) = CausalLm::load(&model, &device, &mut |_, _| {}).unwrap();
    base.save(&model, SaveDtype::Bf16).unwrap();
    tiny
}

/// The losses of every step.
fn losses(tiny: &Tiny, run: &str) -> Vec<f64> {
    let text = fs::read_to_string(tiny.path(run).join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = text
        .lines()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64()
        })
        .collect();
    assert!(losses.len() >= 6, "{text}");
    losses
}

/// Both multiply the same numbers in f32 with sums in another order: 1e-6 of the loss, which AdamW's
/// first steps keep (they move by the gradient's sign, which rounding does not change where it matters).
#[test]
fn training_on_a_half_base_is_training_on_its_values_in_f32() {
    let tiny = tiny();
    tiny.train("f32", &["train.learning_rate=0.001"], false);
    tiny.train("bf16", &["train.learning_rate=0.001", "model.dtype=bf16"], false);
    let (f32s, bf16s) = (losses(&tiny, "f32"), losses(&tiny, "bf16"));
    for (f32, bf16) in f32s.iter().zip(&bf16s) {
        assert!((f32 / bf16 - 1.0).abs() < 2e-6, "{f32s:?}\n{bf16s:?}");
    }
    let bytes = |run| tiny.adapter(run).len();
    assert_eq!(bytes("bf16"), bytes("f32"), "factors are f32");
}

#[test]
fn a_run_on_a_half_base_merges_with_one_rounding() {
    let tiny = tiny();
    tiny.train("run", &["model.dtype=bf16"], false);
    for dtype in [SaveDtype::F32, SaveDtype::Bf16] {
        let out = tiny.path(&format!("{dtype:?}"));
        let options = MergeOptions { out, dtype, tolerance: Some(Tolerance::Rounding) };
        let merged = merge(&tiny.path("run"), &options, &Observer::silent()).unwrap();
        let difference = merged.difference.unwrap();
        // f32 loses nothing; bf16 must have rounded.
        assert_eq!(difference > 1e-4, dtype == SaveDtype::Bf16, "{dtype:?}: {difference}");
    }
}

#[test]
fn a_plan_counts_two_bytes_a_number_of_a_matrix() {
    let tiny = tiny();
    let weights = |dtype: &str| {
        let config = tiny.config("run", &[&format!("model.dtype={dtype}")]);
        plan(config, &Observer::silent()).unwrap().memory.weights
    };
    // 2048 x 32 of the table; q, k, v, o and the gated unit of both layers. Five norms stay f32.
    let matrices = 2048 * 32 + 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64);
    assert_eq!(weights("f32"), 4 * (matrices + 5 * 32));
    assert_eq!(weights("bf16"), 2 * matrices + 4 * 5 * 32);
    assert_eq!(weights("f16"), weights("bf16"));
}
