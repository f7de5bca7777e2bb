//! Adapters made of adapters and of models, put back on their base.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::path::Path;

use burn::tensor::Tensor;
use burn_lora_app::AppError;
use burn_lora_app::combine::{Combination, CombineOptions, Keep, combine, compress};
use burn_lora_app::extract::{ExtractError, extract};
use burn_lora_app::inspect::inspect;
use burn_lora_app::merge::{MergeOptions, merge};
use burn_lora_models::{CausalLm, Model, SaveDtype};
use burn_lora_patch::peft::{self, LoadOptions};
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::observe::Observer;
use tiny::Tiny;

/// Logits of the model in `dir`, with these adapters on it, each with a multiplier.
fn logits(dir: &Path, adapters: &[(&Path, f64)]) -> Tensor<2> {
    let device = burn_lora::device::parse("cpu").unwrap();
    let (mut model, _) = CausalLm::load(dir, &device, &mut |_, _| {}).unwrap();
    for (at, (adapter, multiplier)) in adapters.iter().enumerate() {
        let name = at.to_string();
        peft::load(&mut model, adapter, &LoadOptions::new().with_name(&name)).unwrap();
        burn_lora_patch::set_multiplier(&mut model, &name, *multiplier).unwrap();
    }
    model.probe(&device)
}

/// Logits of size 1 that differ by sums in another order and by factors rounded to f32: under 1e-4.
fn check_close(one: Tensor<2>, other: Tensor<2>) {
    let largest = (one - other).abs().max().into_scalar::<f32>();
    assert!(largest < 1e-4, "{largest}");
}

fn merged(tiny: &Tiny, run: &str, out: &str) {
    let options = MergeOptions { out: tiny.path(out), dtype: SaveDtype::F32, tolerance: None };
    merge(&tiny.path(run), &options, &Observer::silent()).unwrap();
}

#[test]
fn two_runs_are_combined_and_the_result_compressed() {
    let tiny = Tiny::new();
    tiny.train("one", &["train.steps=4"], false);
    tiny.train("two", &["train.steps=4", "train.seed=9", "adapter.rank=2"], false);
    let runs = [tiny.path("one"), tiny.path("two")];
    let options = CombineOptions::new(Combination::Cat, [0.7, -0.4]);
    let both = combine(&runs, &options, &tiny.path("both")).unwrap();
    assert_eq!((both.rank, both.notes.len()), (6, 0), "{:?}", both.notes);
    let adapters = runs.each_ref().map(|run| run.join("adapter"));
    let expected = logits(&tiny.path("model"), &[(&adapters[0], 0.7), (&adapters[1], -0.4)]);
    check_close(logits(&tiny.path("model"), &[(&both.out, 1.0)]), expected);

    // The sum of ranks 4 and 2 keeps nearly all at 5 of 6; what is told of it is what the file has.
    let small = compress(&both.out, Keep::Rank(5), &tiny.path("small")).unwrap();
    assert_eq!((small.rank_before, small.rank, small.layers.len()), (6, 5, both.layers));
    let (before, after) = (inspect(&both.out).unwrap(), inspect(&small.out).unwrap());
    assert_eq!(after.rank, 5);
    for ((kept, before), after) in small.layers.iter().zip(&before.layers).zip(&after.layers) {
        // Layers of the file are in the order of numbers, as two of them are anyway.
        assert_eq!((&kept.layer, &before.path), (&after.path, &after.path));
        let share = (after.norm_change / before.norm_change).powi(2);
        assert!((share - kept.energy).abs() < 1e-5, "{share} {}", kept.energy);
    }

    let refused = combine(&runs, &options, &tiny.path("both"));
    assert!(matches!(refused, Err(AppError::Exists { .. })));
    assert!(matches!(compress(&both.out, Keep::Rank(1), &both.out), Err(AppError::Exists { .. })));
    let linear = CombineOptions::new(Combination::Linear, [0.7, -0.4]);
    let error = combine(&runs, &linear, &tiny.path("none")).unwrap_err().to_string();
    assert!(error.contains("cat") && error.contains("svd"), "{error}");
    assert!(!tiny.path("none").exists());
}

#[test]
fn an_adapter_is_extracted_from_the_model_that_it_was_merged_into() {
    for config in [None, Some(GPT2)] {
        let tiny = config.map_or_else(Tiny::new, Tiny::of);
        tiny.train("run", &["train.steps=4"], false);
        merged(&tiny, "run", "tuned");
        let (base, tuned) = (tiny.path("model"), tiny.path("tuned"));
        let observer = Observer::silent();
        let found = extract(&base, &tuned, Keep::Rank(4), &tiny.path("out"), &observer).unwrap();
        assert_eq!((found.rank, found.left_out.len(), found.whole.len()), (4, 0, 0));
        // Of rank 4 they were; what merging rounded is the rest.
        for layer in &found.layers {
            assert!(layer.energy > 1.0 - 1e-6, "{layer:?}");
        }
        check_close(logits(&base, &[(&found.out, 1.0)]), logits(&tuned, &[]));
        let error = extract(&base, &base, Keep::Rank(4), &tiny.path("none"), &observer);
        assert!(matches!(error, Err(AppError::Extract(ExtractError::Same { .. }))));
        assert!(!tiny.path("none").exists());
        let exists = extract(&base, &tuned, Keep::Rank(4), &tuned, &observer);
        assert!(matches!(exists, Err(AppError::Exists { .. })));
    }
}

/// Its files store the weights of linears the other way round.
const GPT2: &str = r#"{"model_type": "gpt2", "vocab_size": 2048, "n_embd": 32, "n_layer": 2, "n_head": 4,
    "n_positions": 64, "initializer_range": 0.2}"#;

#[test]
fn what_full_training_changed_beside_linears_is_named() {
    let tiny = Tiny::new();
    tiny.train(
        "run",
        &["train.steps=3", "adapter.method=full", "train.learning_rate=0.002"],
        false,
    );
    let (base, tuned) = (tiny.path("model"), tiny.path("run/model"));
    let observer = Observer::silent();
    let found = extract(&base, &tuned, Keep::Energy(0.9), &tiny.path("out"), &observer).unwrap();
    assert!(found.left_out.contains(&"model.embed_tokens.weight".to_owned()), "{found:?}");
    assert!(found.left_out.contains(&"model.norm.weight".to_owned()));
    assert!(found.to_string().contains("model.embed_tokens.weight"));
    assert!(
        found.layers.iter().all(|layer| layer.energy >= 0.9 - 1e-9 && layer.rank <= found.rank)
    );
    assert_eq!(inspect(&found.out).unwrap().layers.len(), found.layers.len());
    logits(&base, &[(&found.out, 1.0)]);
}
