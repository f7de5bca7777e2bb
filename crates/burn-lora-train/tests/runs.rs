//! Whole runs of a tiny model: what they compute and what they leave.

mod tiny;

use std::fs;
use std::ops::ControlFlow;

use burn_lora_data::{Reading, RowFile, Tokenization, token_examples};
use burn_lora_models::SaveDtype;
use burn_lora_models::conversation::Message;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_train::TrainError;
use burn_lora_train::bleu::{Case, corpus_bleu};
use burn_lora_train::dry_run::dry_run;
use burn_lora_train::evaluate::evaluate;
use burn_lora_train::generator::{Generator, Writing};
use burn_lora_train::merge::{MergeOptions, merge};
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::plan;
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
    let expected =
        ["adapter_config.json", "adapter_model.safetensors", "optimizer.bpk", "state.json"];
    assert_eq!(inside, expected);

    let evaluation = evaluate(&tiny.path("run"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);

    let again = tiny::silent();
    let taken = train(tiny.config("run", &[]), again, &Observer::silent());
    assert!(matches!(taken, Err(TrainError::Exists { .. })));
}

#[test]
fn the_bleu_of_a_run_is_that_of_what_its_model_writes_against_all_references() {
    let tiny = Tiny::new();
    let prompts = ["say 1 the red door the red door ", "say 2 the red door "];
    let references = [
        ["a red door it is", "The red door the red door the red door 1"],
        ["the red door the red door 2", "two doors, both of them red"],
    ];
    // The same texts, once as a row a prompt and once as a row a text, those of a prompt apart.
    let mut lists = String::new();
    for (prompt, references) in prompts.iter().zip(&references) {
        let row = serde_json::json!({"prompt": prompt, "references": references});
        lists += &format!("{row}\n");
    }
    let mut pairs = String::new();
    for index in 0..2 {
        for (prompt, references) in prompts.iter().zip(&references) {
            let row = serde_json::json!({"prompt": prompt, "completion": references[index]});
            pairs += &format!("{row}\n");
        }
    }
    fs::write(tiny.path("lists.jsonl"), lists).unwrap();
    fs::write(tiny.path("pairs.jsonl"), pairs).unwrap();
    let eval = |name: &str| format!("data.eval={:?}", tiny.path(name).display().to_string());
    let (lists, pairs) = (eval("lists.jsonl"), eval("pairs.jsonl"));
    let settings = ["train.steps=20", "train.bleu=true", "data.generate_max_tokens=12", &lists];
    let after = tiny.train("run", &settings, false).evaluations.unwrap().1;

    let generator = Generator::open(&tiny.path("run"), &[], "cpu", &Observer::silent()).unwrap();
    let ids = prompts.map(|prompt| generator.prompt(prompt).unwrap());
    let how = Writing { max_tokens: 12, sampling: Default::default() };
    let outputs = generator.write_all(&ids, &how).unwrap();
    let expected = corpus_bleu(&outputs, &references, Case::Ignored).unwrap();
    assert!(expected.score > 0.0, "{outputs:?}");
    assert_eq!((after.bleu, after.exact_match), (Some(expected.score), None));
    for (rows, samples) in [(lists, 2), (pairs, 4)] {
        let set = [rows, "train.exact_match=true".to_owned()];
        let evaluation = evaluate(&tiny.path("run"), &set, &Observer::silent()).unwrap();
        assert_eq!(evaluation.samples.len(), samples);
        assert_eq!(evaluation.scores.bleu, Some(expected));
        let lines = evaluation.to_string();
        assert!(lines.contains("\nexact match: "), "{lines}");
        assert!(lines.ends_with(&format!("\n{expected}")), "{lines}");
    }
}

#[test]
fn a_base_without_a_template_is_asked_in_the_chat_ml_that_it_was_trained_in() {
    let tiny = Tiny::new();
    let model = tiny.path("model");
    let config = model.join("tokenizer_config.json");
    let mut named: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    named.as_object_mut().unwrap().remove("chat_template").unwrap();
    fs::write(&config, named.to_string()).unwrap();
    let row = r#"{"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]}"#;
    let file = RowFile::parse(row, "rows.jsonl".as_ref(), &Reading::default()).unwrap();
    let tokenizer = Tokenizer::from_dir(&model).unwrap();
    let how = Tokenization { limit: 64.into(), separator: String::new(), eos: true };
    let (trained, _) = token_examples(&file, &tokenizer, &how).unwrap();
    let generator = Generator::open(&model, &[], "cpu", &Observer::silent()).unwrap();
    let asked = generator.conversation(&[Message::new("user", "a b")]).unwrap();
    let text = tokenizer.decode(&asked, false).unwrap();
    assert_eq!(text, "<|im_start|>user\na b<|im_end|>\n<|im_start|>assistant\n");
    assert!(trained[0].ids.starts_with(&asked));
    assert!(trained[0].targets[asked.len() - 1].is_some());
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
        let mut generator = Generator::open(&path, &[], "cpu", &Observer::silent()).unwrap();
        generator.set_scale(scale).unwrap();
        let prompt = generator.prompt("say 1 the red door the red door ").unwrap();
        let how = Writing { max_tokens: 8, sampling: Default::default() };
        let text = generator.write(prompt.clone(), &how, &mut |_| ControlFlow::Continue(()));
        let text = text.unwrap();
        assert_eq!(generator.write_all(&[prompt], &how).unwrap(), std::slice::from_ref(&text));
        text
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
    let options =
        MergeOptions { out: tiny.path("whole"), dtype: SaveDtype::F32, tolerance: Some(1e-6) };
    let merged = merge(&tiny.path("full"), &options, &Observer::silent()).unwrap();
    assert_eq!(merged.difference, Some(0.0), "there is nothing to merge, and the model is written");
    let evaluation = evaluate(&tiny.path("full"), &[], &Observer::silent()).unwrap();
    assert!((evaluation.tally.mean_loss() - after.eval_loss).abs() < 1e-5);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_at_its_step() {
    let tiny = Tiny::new();
    let options = tiny::silent();
    let wild = ["train.learning_rate=1e30", "train.clip=0", "train.warmup=0", "train.steps=9"];
    let error = train(tiny.config("wild", &wild), options, &Observer::silent()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("learning_rate"), "{error}");
}

#[test]
fn misspelt_targets_are_named_with_the_nearest() {
    let tiny = Tiny::new();
    let options = tiny::silent();
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
    assert_eq!(summary.steps, (9, 9), "24 and 12 rows in batches of 4");
    let summary = tiny.train("held", &["train.epochs=1", "data.held_out=0.25"], false);
    assert_eq!(summary.steps, (3, 3), "9 of 12 rows in batches of 4");
    assert!(summary.evaluations.is_some());
}

#[test]
fn smoothed_labels_cost_more_and_train_all_the_same() {
    let tiny = Tiny::new();
    tiny.train("plain", &["train.steps=1"], false);
    let summary = tiny.train("smooth", &["train.label_smoothing=0.1", "train.steps=20"], false);
    let loss = |run: &str| first_step(&tiny, run)["loss"].as_f64().unwrap();
    // The model is far from knowing: spreading a tenth over unlikely tokens costs something.
    assert_ne!(loss("plain"), loss("smooth"));
    let (before, after) = summary.evaluations.unwrap();
    assert!(after.eval_loss < 0.9 * before.eval_loss, "{before:?} to {after:?}");
}

#[test]
fn a_run_that_does_not_fit_is_refused_before_the_run_that_it_would_replace_is_removed() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=1"], false);
    // A quarter of an exabyte of weights: no machine has it, and nothing of it is ever made.
    let model = r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 16777216,
        "intermediate_size": 16777216, "num_hidden_layers": 32, "num_attention_heads": 131072,
        "max_position_embeddings": 64}"#;
    fs::write(tiny.path("huge.json"), model).unwrap();
    let huge = format!("model.config={:?}", tiny.path("huge.json").display().to_string());
    let tokenizer = format!("model.tokenizer={:?}", tiny.path("model").display().to_string());
    let config = || tiny.config("run", &[&huge, &tokenizer, "adapter.method=full"]);

    let plan = plan(config(), &Observer::silent()).unwrap();
    assert!(plan.memory.weights > 1 << 57, "{plan}");
    let options = RunOptions { overwrite: true, ..tiny::silent() };
    let dry = dry_run(config(), &options, &Observer::silent());
    if plan.limit.is_some() {
        assert!(!plan.fits && plan.pace.is_none());
        assert!(matches!(dry, Err(TrainError::TooLarge { .. })));
        let error = train(config(), options, &Observer::silent()).unwrap_err();
        assert!(matches!(error, TrainError::TooLarge { .. }), "{error}");
        for part in ["--no-memory-check", "smaller model"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    assert!(tiny.path("run/adapter/adapter_model.safetensors").exists());
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let tiny = Tiny::new();
    let dry = |overwrite, resume| {
        let options = RunOptions { overwrite, resume, ..tiny::silent() };
        dry_run(tiny.config("run", &["train.steps=2"]), &options, &Observer::silent())
    };
    let fresh = dry(false, false).unwrap();
    assert_eq!((fresh.overwrites, &fresh.resumes_from), (false, &None));
    assert_eq!(fresh.plan.steps, 2);
    assert!(fresh.plan.pace.is_some_and(|pace| pace.seconds_per_step > 0.0));
    assert!(!tiny.path("run").exists());
    assert!(matches!(dry(false, true), Err(TrainError::NothingToResume { .. })));

    let summary = tiny.train("run", &["train.steps=2"], false);
    assert_eq!((fresh.plan.trainable, fresh.plan.total), (summary.trained, summary.total));
    let before = fs::read(tiny.path("run/metrics.jsonl")).unwrap();
    assert!(matches!(dry(false, false), Err(TrainError::Exists { .. })));
    assert!(dry(true, false).unwrap().overwrites);
    let newest = tiny.path("run/checkpoints/step-000002");
    assert_eq!(dry(false, true).unwrap().resumes_from, Some(newest));
    assert_eq!(fs::read(tiny.path("run/metrics.jsonl")).unwrap(), before);
}
