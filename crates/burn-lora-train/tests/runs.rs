//! Whole runs of a tiny model: what they compute and what they leave.

mod tiny;

use std::fs;
use std::sync::{Arc, Mutex};

use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::dry_run::dry_run;
use burn_lora_train::evaluate::evaluate;
use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::plan::plan;
use burn_lora_train::run::{RunOptions, train};
use tiny::Tiny;

#[test]
fn accumulating_k_batches_equals_one_batch_of_k_times_the_rows() {
    // Rows differ in their targets, so a mean of means would differ. One step from equal weights: before it the two
    // sums have the same float32 terms in another order. AdamW makes every gradient a step of the learning rate's
    // size, whichever its own, so that the adapters themselves say nothing of how near the gradients were; their norm
    // and the loss do, and after three steps the loss of the models that came of them.
    let tiny = Tiny::new();
    let one = ["train.steps=3", "train.batch_size=4"];
    let four = ["train.steps=3", "train.batch_size=1", "train.accumulate=4"];
    let first = tiny.train("one", &one, false);
    let second = tiny.train("four", &four, false);
    let (whole, parts) = (first_step(&tiny, "one"), first_step(&tiny, "four"));
    assert_eq!((&whole["targets"], &whole["tokens"]), (&parts["targets"], &parts["tokens"]));
    for figure in ["loss", "gradient_norm"] {
        let (one, four) = (whole[figure].as_f64().unwrap(), parts[figure].as_f64().unwrap());
        assert!((one - four).abs() < 1e-5 * one, "{figure}: {one} and {four}");
    }
    let loss = |summary: Summary| summary.evaluations().unwrap()[1].eval_loss;
    let (first, second) = (loss(first), loss(second));
    assert!((first - second).abs() < 1e-3, "{first} and {second}");
}

#[test]
fn a_run_learns_and_leaves_what_it_should() {
    let tiny = Tiny::new();
    let summary = tiny.train("run", &["train.steps=20", "train.exact_match=true"], false);
    let [before, after] = summary.evaluations().unwrap();
    assert!(after.eval_loss < 0.8 * before.eval_loss, "{before:?} to {after:?}");
    assert!(before.exact_match.is_some() && after.exact_match.is_some());
    assert_eq!(summary.samples.len(), 1);
    let files =
        ["config.toml", "metrics.jsonl", "loss.svg", "adapter/adapter_config.json", "checkpoints"]
            .into_iter()
            .chain(["report.html", "events.out.tfevents.burn-lora"]);
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
    let expected = [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
        "optimizer.bpk",
        "state.json",
    ];
    assert_eq!(inside, expected);

    let evaluation = evaluate(&tiny.path("run"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);

    let again = RunOptions::silent();
    let taken = train(tiny.config("run", &[]), again, &Observer::silent());
    assert!(matches!(taken, Err(TrainError::Exists { .. })));
}

#[test]
fn training_every_parameter_leaves_a_model() {
    let tiny = Tiny::new();
    let full = ["adapter.method=full", "train.steps=8", "train.learning_rate=0.005"];
    let summary = tiny.train("full", &full, false);
    let [before, after] = summary.evaluations().unwrap();
    assert!(after.eval_loss < before.eval_loss);
    assert!(tiny.path("full/model/model.safetensors").exists());
    assert!(!tiny.path("full/adapter").exists());
    let evaluation = evaluate(&tiny.path("full"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_at_its_step() {
    let tiny = Tiny::new();
    let options = RunOptions::silent();
    let wild = ["train.learning_rate=1e30", "train.clip=0", "train.warmup=0", "train.steps=9"];
    let error = train(tiny.config("wild", &wild), options, &Observer::silent()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("learning_rate"), "{error}");
}

#[test]
fn misspelt_targets_are_named_with_the_nearest() {
    let tiny = Tiny::new();
    let options = RunOptions::silent();
    let config = tiny.config("typo", &["adapter.targets=[\"q_proj\", \"v_prj\"]"]);
    let error = train(config, options, &Observer::silent()).unwrap_err().to_string();
    assert!(error.contains("v_prj") && error.contains("v_proj"), "{error}");
}

/// The first step's record: it is of the same model whatever becomes of the step.
fn first_step(tiny: &Tiny, run: &str) -> serde_json::Value {
    let text = fs::read_to_string(tiny.path(run).join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    records.into_iter().find(|record: &serde_json::Value| record["step"] == 1).unwrap()
}

#[test]
fn packed_rows_have_the_loss_and_the_gradient_of_rows_that_stand_alone() {
    let tiny = Tiny::new();
    // One step over all twelve rows, which share a few when packed.
    let all = ["train.steps=1", "train.batch_size=12"];
    tiny.train("alone", &all, false);
    tiny.train("packed", &[&all[..], &["data.packing=true"]].concat(), false);
    let (alone, packed) = (first_step(&tiny, "alone"), first_step(&tiny, "packed"));
    assert_eq!(alone["targets"], packed["targets"]);
    assert_eq!(alone["tokens"], packed["tokens"]);
    for figure in ["loss", "gradient_norm"] {
        let (one, other) = (alone[figure].as_f64().unwrap(), packed[figure].as_f64().unwrap());
        // The same float32 terms, summed in another order.
        assert!((one - other).abs() < 1e-5 * one, "{figure}: {one} and {other}");
    }
}

#[test]
fn the_adapter_of_the_best_evaluation_is_kept() {
    let tiny = Tiny::new();
    let settings = [
        "train.steps=4",
        "train.eval_every=1",
        "train.keep_best=true",
        "train.save_every=1",
        "train.keep=9",
        "train.schedule=constant",
        // Far too large: the loss falls and then rises.
        "train.learning_rate=0.5",
    ];
    tiny.train("run", &settings, false);
    let text = fs::read_to_string(tiny.path("run/metrics.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let loss = |record: &&serde_json::Value| record["eval_loss"].as_f64();
    let evaluated = records.iter().filter(|r| loss(r).is_some() && r["step"] != 0);
    let best = evaluated.min_by(|a, b| loss(a).partial_cmp(&loss(b)).unwrap()).unwrap();
    let checkpoint = format!("run/checkpoints/step-{:06}", best["step"].as_u64().unwrap());
    let bytes = |dir: &str| fs::read(tiny.path(dir).join("adapter_model.safetensors")).unwrap();
    assert_eq!(bytes("run/best"), bytes(&checkpoint));
}

#[test]
fn rows_are_held_out_of_a_file_and_files_are_weighted() {
    let tiny = Tiny::new();
    let rows = tiny.path("rows.jsonl").display().to_string();
    let twice = format!("data.train=[{{path={rows:?}, weight=2.0}}, {rows:?}]");
    let summary = tiny.train("twice", &["train.epochs=1", "train.batch_size=4", &twice], false);
    assert_eq!((summary.steps, summary.planned_steps), (9, 9), "24 and 12 rows in batches of 4");
    let summary = tiny.train("held", &["train.epochs=1", "data.held_out=0.25"], false);
    assert_eq!((summary.steps, summary.planned_steps), (3, 3), "9 of 12 rows in batches of 4");
    assert!(summary.evaluations().is_some());
}

#[test]
fn smoothed_labels_cost_more_and_train_all_the_same() {
    let tiny = Tiny::new();
    tiny.train("plain", &["train.steps=1"], false);
    let summary = tiny.train("smooth", &["train.label_smoothing=0.1", "train.steps=20"], false);
    let loss = |run: &str| first_step(&tiny, run)["loss"].as_f64().unwrap();
    // The model is far from knowing: spreading a tenth over unlikely tokens costs something.
    assert_ne!(loss("plain"), loss("smooth"));
    let [before, after] = summary.evaluations().unwrap();
    assert!(after.eval_loss < 0.9 * before.eval_loss, "{before:?} to {after:?}");
}

#[test]
fn a_run_that_does_not_fit_is_refused_before_the_run_that_it_would_replace_is_removed() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=1"], false);
    // Sixteen petabytes of weights: no machine has them, and nothing of it is ever made.
    let model = r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 4194304,
        "intermediate_size": 4194304, "num_hidden_layers": 32, "num_attention_heads": 32768,
        "max_position_embeddings": 64}"#;
    fs::write(tiny.path("huge.json"), model).unwrap();
    let huge = format!("model.config={:?}", tiny.path("huge.json").display().to_string());
    let tokenizer = format!("model.tokenizer={:?}", tiny.path("model").display().to_string());
    let config = || tiny.config("run", &[&huge, &tokenizer, "adapter.method=full"]);

    let plan = plan(config(), &Observer::silent()).unwrap();
    assert!(plan.memory.weights > 1 << 53, "{plan}");
    let options = RunOptions { overwrite: true, ..RunOptions::silent() };
    let dry = dry_run(config(), &options, &Observer::silent());
    if plan.limit.is_some() {
        assert!(!plan.fits && plan.pace.is_none());
        assert!(matches!(dry, Err(TrainError::TooLarge { .. })));
        let error = train(config(), options, &Observer::silent()).unwrap_err();
        assert!(matches!(error, TrainError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("smaller model"), "{error}");
    }
    assert!(tiny.path("run/adapter/adapter_model.safetensors").exists());
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let tiny = Tiny::new();
    let dry = |overwrite, resume| {
        let options = RunOptions { overwrite, resume, ..RunOptions::silent() };
        dry_run(tiny.config("run", &["train.steps=2"]), &options, &Observer::silent())
    };
    let fresh = dry(false, false).unwrap();
    assert_eq!((fresh.overwrites, &fresh.resumes_from), (false, &None));
    assert_eq!(fresh.plan.steps, 2);
    assert!(fresh.plan.pace.is_some_and(|pace| pace.seconds_per_step > 0.0));
    assert!(!tiny.path("run").exists());
    assert!(matches!(dry(false, true), Err(TrainError::NothingToResume { .. })));

    let summary = tiny.train("run", &["train.steps=2"], false);
    assert_eq!((fresh.plan.trainable, fresh.plan.total), (summary.trainable, summary.total));
    let before = fs::read(tiny.path("run/metrics.jsonl")).unwrap();
    assert!(matches!(dry(false, false), Err(TrainError::Exists { .. })));
    assert!(dry(true, false).unwrap().overwrites);
    let newest = tiny.path("run/checkpoints/step-000002");
    assert_eq!(dry(false, true).unwrap().resumes_from, Some(newest));
    assert_eq!(fs::read(tiny.path("run/metrics.jsonl")).unwrap(), before);
}

#[test]
fn a_plot_that_cannot_be_written_costs_no_run_and_no_other_file() {
    let tiny = Tiny::new();
    // Something of somebody's lies where the plot goes.
    fs::create_dir_all(tiny.path("run/loss.svg/mine")).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    let observer = Observer::new(move |event| {
        if let Event::Line(line) = event {
            listener.lock().unwrap().push(line);
        }
    });
    let config = tiny.config("run", &["train.steps=1"]);
    assert_eq!(train(config, RunOptions::silent(), &observer).unwrap().steps, 1);
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|line| line.starts_with("warning: ") && line.contains("loss.svg")));
    for file in ["adapter/adapter_model.safetensors", "report.html", "metrics.jsonl"] {
        assert!(tiny.path("run").join(file).is_file(), "{file}");
    }
}

#[test]
fn a_run_that_ends_early_names_the_metric_that_no_longer_improved() {
    let tiny = Tiny::new();
    for (metric, name) in [("loss", "held-out loss"), ("exact-match", "exact match")] {
        let metric = format!("train.metric={metric}");
        // A rate of almost nothing: no evaluation is better than the first one after training began.
        let settings = [
            metric.as_str(),
            "train.exact_match=true",
            "train.learning_rate=1e-30",
            "train.warmup=0",
            "train.steps=9",
            "train.eval_every=1",
            "train.early_stopping=2",
        ];
        let summary = tiny.train(name, &settings, false);
        assert_eq!((summary.steps, summary.planned_steps), (3, 9), "{name}");
        assert_eq!(summary.stopped, Some(format!("{name} no longer improved")));
    }
}

#[test]
fn a_base_that_is_gone_after_training_is_not_looked_for_again() {
    let tiny = Tiny::new();
    let bytes = fs::metadata(tiny.path("model/model.safetensors")).unwrap().len();
    let model = tiny.path("model");
    // The base goes as the first step is reported, as a cache that is cleaned meanwhile would.
    let observer = Observer::new(move |event| {
        if event == Event::Stage("training".to_owned()) {
            fs::remove_dir_all(&model).unwrap();
        }
    });
    let config = tiny.config("run", &["train.steps=1"]);
    let summary = train(config, RunOptions::silent(), &observer).unwrap();
    let base = summary.model_bytes.unwrap();
    // The header of the file is not among the tensors.
    assert!(base <= bytes && base + 8192 > bytes, "{base} of {bytes}");
}

#[test]
fn a_held_out_loss_that_is_not_finite_stops_the_run_with_its_step() {
    let tiny = Tiny::new();
    let wild = [
        "train.learning_rate=1e30",
        "train.clip=0",
        "train.warmup=0",
        "train.steps=1",
        "train.schedule=constant",
    ];
    let error = train(tiny.config("wild", &wild), RunOptions::silent(), &Observer::silent());
    match error.unwrap_err() {
        TrainError::EvaluationNotFinite { step: Some(1), value, .. } => assert!(!value.is_finite()),
        other => panic!("{other}"),
    }
    let records = fs::read_to_string(tiny.path("wild/metrics.jsonl")).unwrap();
    assert_eq!(records.lines().count(), 2, "the evaluation before and the step: {records}");
}
