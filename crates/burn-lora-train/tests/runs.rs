//! Whole runs of a tiny model: what they compute and what they leave.

mod tiny;

use std::fs;

use burn_lora_models::SaveDtype;
use burn_lora_train::TrainError;
use burn_lora_train::evaluate::evaluate;
use burn_lora_train::generator::Generator;
use burn_lora_train::merge::{MergeOptions, merge};
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use safetensors::SafeTensors;
use tiny::Tiny;

fn values(bytes: &[u8]) -> Vec<f32> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut names = file.names();
    names.sort();
    let data = names.into_iter().map(|name| file.tensor(name).unwrap().data().to_vec());
    data.flat_map(|bytes| {
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn accumulating_k_batches_equals_one_batch_of_k_times_the_rows() {
    // Rows differ in their targets, so a mean of means would differ. The two sum in another order:
    // float32 rounding, which AdamW can turn into a different step only where a gradient is all
    // rounding; three steps keep that small against the learning rate of 0.02.
    let tiny = Tiny::new();
    let one = ["train.steps=3", "train.batch_size=4"];
    let four = ["train.steps=3", "train.batch_size=1", "train.accumulate=4"];
    let first = tiny.train("one", &one, false);
    let second = tiny.train("four", &four, false);
    let (one, four) = (values(&tiny.adapter("one")), values(&tiny.adapter("four")));
    let apart = one.iter().zip(&four).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
    assert!(apart * 200 < one.len(), "{apart} of {} values differ", one.len());
    let loss =
        |summary: burn_lora_train::summary::Summary| summary.evaluations.unwrap().1.eval_loss;
    let (first, second) = (loss(first), loss(second));
    assert!((first - second).abs() < 1e-3, "{first} and {second}");
}

#[test]
fn a_run_learns_and_leaves_what_it_should() {
    let tiny = Tiny::new();
    let summary = tiny.train("run", &["train.steps=20", "train.exact_match=true"], false);
    let (before, after) = summary.evaluations.unwrap();
    assert!(after.eval_loss < 0.8 * before.eval_loss, "{before:?} to {after:?}");
    assert!(before.exact_match.is_some() && after.exact_match.is_some());
    assert_eq!(summary.samples.len(), 1);
    let files =
        ["config.toml", "metrics.jsonl", "loss.svg", "adapter/adapter_config.json", "checkpoints"];
    for file in files {
        assert!(tiny.path("run").join(file).exists(), "{file}");
    }
    // A checkpoint holds the adapter, never the base.
    let checkpoint = tiny.path("run/checkpoints/step-000020");
    let mut inside: Vec<String> = fs::read_dir(checkpoint)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    inside.sort();
    let expected =
        ["adapter_config.json", "adapter_model.safetensors", "optimizer.bpk", "state.json"];
    assert_eq!(inside, expected);

    let evaluation = evaluate(&tiny.path("run"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);

    let again = RunOptions { renderer: Some(Box::new(tiny::Quiet)), ..Default::default() };
    let taken = train(tiny.config("run", &[]), again, &Observer::silent());
    assert!(matches!(taken, Err(TrainError::Exists { .. })));
}

#[test]
fn merged_models_answer_as_the_adapted_one_and_are_refused_where_they_do_not() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=10"], false);
    let options = |out: &str, tolerance| MergeOptions {
        out: tiny.path(out),
        dtype: SaveDtype::F32,
        tolerance: Some(tolerance),
    };
    let refused = merge(&tiny.path("run"), &options("strict", -1.0), &Observer::silent());
    assert!(matches!(refused, Err(TrainError::MergeDiffers { .. })));
    assert!(!tiny.path("strict").exists());

    let merged = merge(&tiny.path("run"), &options("merged", 1e-3), &Observer::silent()).unwrap();
    assert!(merged.difference.unwrap() < 1e-3);
    let write = |path: &str, scale: f64| {
        let path = tiny.path(path);
        let generator = Generator::open(&path, None, scale, "cpu", &Observer::silent()).unwrap();
        let prompt = "say 1 the red door the red door ";
        generator.generate(prompt, 8, &Default::default(), &mut |_| {}).unwrap()
    };
    assert_eq!(write("merged", 1.0), write("run", 1.0));
    assert_eq!(write("model", 1.0), write("run", 0.0), "a scale of 0 is the base");
}

#[test]
fn training_every_parameter_leaves_a_model() {
    let tiny = Tiny::new();
    let full = ["adapter.method=full", "train.steps=8", "train.learning_rate=0.005"];
    let summary = tiny.train("full", &full, false);
    let (before, after) = summary.evaluations.unwrap();
    assert!(after.eval_loss < before.eval_loss);
    assert!(tiny.path("full/model/model.safetensors").exists());
    assert!(!tiny.path("full/adapter").exists());
    let evaluation = evaluate(&tiny.path("full"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_at_its_step() {
    let tiny = Tiny::new();
    let options = RunOptions { renderer: Some(Box::new(tiny::Quiet)), ..Default::default() };
    let wild = ["train.learning_rate=1e30", "train.clip=0", "train.warmup=0", "train.steps=9"];
    let error = train(tiny.config("wild", &wild), options, &Observer::silent()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("learning_rate"), "{error}");
}

#[test]
fn misspelt_targets_are_named_with_the_nearest() {
    let tiny = Tiny::new();
    let options = RunOptions { renderer: Some(Box::new(tiny::Quiet)), ..Default::default() };
    let config = tiny.config("typo", &["adapter.targets=[\"q_proj\", \"v_prj\"]"]);
    let error = train(config, options, &Observer::silent()).unwrap_err().to_string();
    assert!(error.contains("v_prj") && error.contains("v_proj"), "{error}");
}
