//! A run that stops and goes on is the run that never stopped, bit for bit.
//!
//! Alone in its binary: dropout draws from the device's generator, which Burn's CPU backend shares
//! among all threads of a process.

mod tiny;

use std::fs;
use std::sync::Mutex;

use burn_lora::Method;
use burn_lora_train::learner::{CausalLm, TrainableModel};
use burn_lora_train::observe::Observer;
use burn_lora_train::prepare::{Adapt, prepare};
use tiny::Tiny;

/// One run at a time, for the same reason.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn resuming_equals_never_stopping_bit_for_bit_with_dropout_and_accumulation() {
    for method in Method::ALL {
        check(*method, None, &[]);
    }
}

/// What the factors started from is no parameter, and comes back with them.
#[test]
fn resuming_equals_never_stopping_where_training_started_in_a_part_of_the_base() {
    check(Method::Lora, Some("pissa_niter_2"), &[]);
    check(Method::Dora, Some("olora"), &[]);
}

/// What goes into the layers is looked at once: ranks and directions come back with the checkpoint.
#[test]
fn resuming_equals_never_stopping_where_training_started_along_the_inputs() {
    check(Method::Lora, Some("eva"), &[]);
    check(Method::LoraFa, Some("eva"), &[]);
}

/// The base's files are read for it before the first step alone.
#[test]
fn resuming_equals_never_stopping_where_training_started_at_what_blocks_lost() {
    check(Method::Lora, Some("loftq"), &["model.base=nf4"]);
}

/// The model begins nearer to what it was than its blocks alone are.
#[test]
fn what_blocks_lost_of_the_base_is_where_loftq_starts() {
    let _alone = ALONE.lock().unwrap();
    let tiny = Tiny::new();
    let probe = |adapt: Adapt, settings: &[&str]| -> Vec<f32> {
        let config = tiny.config("probed", settings);
        let run = prepare::<CausalLm>(config, adapt, &Observer::silent()).unwrap();
        run.model.probe(&run.device).into_data().iter::<f32>().collect()
    };
    let dense = probe(Adapt::Base, &[]);
    let off = |other: Vec<f32>| -> f64 {
        let pairs = dense.iter().zip(other);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    for base in ["model.base=nf4", "model.base=q4", "model.base=q8"] {
        let blocks = off(probe(Adapt::Base, &[base]));
        let drawn = off(probe(Adapt::Fresh, &[base]));
        let started = off(probe(Adapt::Fresh, &[base, "adapter.init=loftq", "adapter.rank=16"]));
        assert_eq!(blocks, drawn, "{base}");
        // Half of the parts of matrices whose smaller side is 32, the larger ones of noise.
        assert!(started < 0.8 * blocks, "{base}: {started} of {blocks}");
    }
}

fn check(method: Method, init: Option<&str>, more: &[&str]) {
    let _alone = ALONE.lock().unwrap();
    let tiny = Tiny::new();
    let method = format!("adapter.method={:?}", method.as_str());
    let init = init.map(|init| format!("adapter.init={init:?}"));
    let mut settings = vec![
        method.as_str(),
        "adapter.dropout=0.2",
        "model.dropout=true",
        "train.batch_size=2",
        "train.accumulate=2",
        "train.save_every=3",
        "train.keep=5",
    ];
    settings.extend(init.as_deref());
    settings.extend(more);
    tiny.train("whole", &settings, false);

    // What a run that was lost after step 3 leaves: its configuration, its records so far and its
    // checkpoint.
    let (whole, lost) = (tiny.path("whole"), tiny.path("lost"));
    fs::create_dir_all(lost.join("checkpoints/step-000003")).unwrap();
    fs::copy(whole.join("config.toml"), lost.join("config.toml")).unwrap();
    for entry in fs::read_dir(whole.join("checkpoints/step-000003")).unwrap() {
        let entry = entry.unwrap();
        let to = lost.join("checkpoints/step-000003").join(entry.file_name());
        fs::copy(entry.path(), to).unwrap();
    }
    let records = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let kept: Vec<&str> = records.lines().take(5).collect();
    fs::write(lost.join("metrics.jsonl"), kept.join("\n") + "\n").unwrap();

    let summary = tiny.train("lost", &settings, true);
    assert_eq!((summary.steps, summary.planned_steps), (6, 6));
    assert!(tiny.adapter("lost") == tiny.adapter("whole"), "{settings:?}: the adapters differ");

    let losses = |run: &str| -> Vec<(u64, f64)> {
        let text = fs::read_to_string(tiny.path(run).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter_map(|record| Some((record["step"].as_u64()?, record["loss"].as_f64()?)))
            .collect()
    };
    assert_eq!(losses("lost"), losses("whole"));
    assert_eq!(losses("whole").len(), 6);

    // The base's own dropout did act.
    tiny.train("without", &[&settings[..], &["model.dropout=false"]].concat(), false);
    assert_ne!(losses("without"), losses("whole"));
}
