//! Training that goes wrong stops, and says why and where.

mod tiny;

use std::fs;

use burn_lora_config::RunConfig;
use burn_lora_data::DataError;
use burn_lora_train::TrainError;
use burn_lora_train::evaluate::evaluate;
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use burn_lora_train::scene::Scene;
use tiny::Tiny;

fn refused(config: RunConfig) -> TrainError {
    train(config, RunOptions::silent(), &Observer::silent()).unwrap_err()
}

/// Whether a place is a line of the rows' file.
fn is_a_row(tiny: &Tiny, place: &str) -> bool {
    let path = format!("{}:", tiny.path("rows.jsonl").display());
    let line = place.strip_prefix(&path).and_then(|line| line.parse::<usize>().ok());
    line.is_some_and(|line| (1..=12).contains(&line))
}

#[test]
fn a_loss_that_is_not_finite_names_its_rows_and_the_newest_checkpoint() {
    let tiny = Tiny::new();
    let wild = [
        "train.learning_rate=1e30",
        "train.clip=0",
        "train.warmup=0",
        "train.steps=9",
        "train.save_every=1",
        "train.schedule=constant",
        "train.accumulate=2",
    ];
    for packing in ["data.packing=false", "data.packing=true"] {
        let run = packing.replace(['.', '='], "-");
        let error = refused(tiny.config(&run, &[&wild[..], &[packing]].concat()));
        let TrainError::NotFinite { step, scene, .. } = &error else { panic!("{error}") };
        let Scene { batch, rows, checkpoint } = scene;
        assert_eq!((*step, *batch), (2, Some(0)), "{error}");
        // Of the step's two batches the first, whose loss is not finite already.
        assert!(
            if packing.ends_with("true") { rows.len() >= 4 } else { rows.len() == 4 },
            "{error}"
        );
        assert!(rows.iter().all(|place| is_a_row(&tiny, place)), "{error}");
        let newest = tiny.path(&run).join("checkpoints/step-000001");
        assert_eq!(checkpoint.as_ref(), Some(&newest));
        let said = error.to_string();
        for part in [&rows[0], "learning_rate", "step-000001", "step 2: the loss is "] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}

/// Weights of a base that are no numbers: nothing of the run is to blame.
#[test]
fn a_base_that_is_broken_is_not_blamed_on_the_learning_rate() {
    let tiny = Tiny::new();
    let weights = tiny.path("model/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // Every f32 a NaN.
    bytes[header..].fill(0xff);
    fs::write(&weights, bytes).unwrap();
    let error = refused(tiny.config("run", &[]));
    let TrainError::EvaluationNotFinite { step: Some(0), scene, .. } = &error else {
        panic!("{error}")
    };
    assert!(!scene.rows.is_empty() && scene.rows.iter().all(|place| is_a_row(&tiny, place)));
    let said = error.to_string();
    assert!(said.contains("the base model's weights are broken"), "{said}");
    let mut config = tiny.config("other", &[]);
    config.data.eval = None;
    let error = refused(config);
    let said = error.to_string();
    assert!(matches!(error, TrainError::NotFinite { step: 1, .. }), "{said}");
    assert!(said.contains("the base model's weights are broken"), "{said}");
    assert!(!said.contains("learning_rate") && !said.contains("checkpoint"), "{said}");
}

#[test]
fn a_run_that_no_gradient_reaches_stops_at_its_first_step() {
    let tiny = Tiny::new();
    let error = refused(tiny.config("run", &["adapter.alpha=0"]));
    assert!(matches!(error, TrainError::NoGradient { loss } if loss > 1.0), "{error}");
    assert!(error.to_string().contains("`alpha` is 0"), "{error}");
}

#[test]
fn rows_of_one_class_are_refused_and_rows_of_two_are_learned() {
    let tiny = Tiny::new();
    let model = r#"{"model_type": "bert", "vocab_size": 2048, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64,
        "type_vocab_size": 2}"#;
    fs::write(tiny.path("bert.json"), model).unwrap();
    let path = |name: &str| format!("{:?}", tiny.path(name).display().to_string());
    let config = |rows: &str, more: &str| {
        fs::write(tiny.path("labels.jsonl"), rows).unwrap();
        let text = format!(
            "[model]\nconfig = {}\nrandom = true\ntokenizer = {}\n[data]\ntrain = {}\nmax_length = 32\n{more}\n\
             [train]\ndevice = \"cpu\"\nsteps = 1\nbatch_size = 2\n[output]\ndir = {}\n",
            path("bert.json"),
            path("model"),
            path("labels.jsonl"),
            path("run"),
        );
        RunConfig::parse(&text, "run.toml", &[]).unwrap()
    };
    let row = |label: &str| format!("{{\"text\": \"the red door\", \"label\": \"{label}\"}}\n");
    let one = row("red").repeat(3);
    for more in ["", "labels = [\"blue\", \"red\"]"] {
        let error = refused(config(&one, more));
        match &error {
            TrainError::Data(DataError::OneClass { class, .. }) => assert_eq!(class, "red"),
            other => panic!("{other}"),
        }
        assert!(error.to_string().contains("labels.jsonl"), "{error}");
    }
    let two = one + &row("blue");
    assert_eq!(
        train(config(&two, ""), RunOptions::silent(), &Observer::silent()).unwrap().steps,
        1
    );
}

#[test]
fn a_run_is_measured_on_rows_that_were_held_out_or_not_at_all() {
    let tiny = Tiny::new();
    let mut config = tiny.config("none", &["train.steps=1"]);
    config.data.eval = None;
    train(config, RunOptions::silent(), &Observer::silent()).unwrap();
    let measured =
        |run: &str, overrides: &[String]| evaluate(&tiny.path(run), overrides, &Observer::silent());
    let refused = measured("none", &[]).unwrap_err();
    assert!(matches!(refused, TrainError::NothingHeldOut { .. }), "{refused}");
    // The advice of the error, followed.
    let rows = fs::read_to_string(tiny.path("rows.jsonl")).unwrap();
    let held = rows.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(tiny.path("held.jsonl"), held).unwrap();
    let eval = format!("data.eval={:?}", tiny.path("held.jsonl").display().to_string());
    let targets = measured("none", std::slice::from_ref(&eval)).unwrap().tally.targets;
    assert!(targets > 0);

    tiny.train("shared", &["train.steps=1", "data.held_out=0.25"], false);
    let of_share = measured("shared", &[]).unwrap().tally;
    tiny.train("file", &["train.steps=1", &eval], false);
    let before = measured("file", &[]).unwrap().tally;
    fs::remove_file(tiny.path("rows.jsonl")).unwrap();
    let after = measured("file", &[]).unwrap().tally;
    assert_eq!((after.loss, after.targets), (before.loss, targets), "needs no file to train on");
    // Rows held out of a file are found in that file.
    assert!(of_share.targets > 0);
    assert!(matches!(measured("shared", &[]), Err(TrainError::Data(_))));
}
