//! A run that recomputes its blocks is the run that keeps them, bit for bit, and tells what that saves and costs.
//!
//! Alone in its binary: dropout draws from the device's generator, which Burn's CPU backend shares
//! among all threads of a process.

mod tiny;

use std::fs;

use burn_lora_train::observe::Observer;
use burn_lora_train::plan::{Plan, plan};
use serde_json::Value;
use tiny::Tiny;

/// The records of a run, without what the clock says.
fn records(tiny: &Tiny, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(tiny.path(run).join("metrics.jsonl")).unwrap();
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let seconds = record.as_object_mut().unwrap().remove("seconds");
        assert_eq!(seconds.is_some(), record["loss"].is_f64(), "{line}");
        record
    };
    text.lines().map(record).collect()
}

#[test]
fn a_run_that_recomputes_is_the_run_that_does_not_and_says_what_that_costs() {
    let tiny = Tiny::new();
    check_runs(&tiny);
    check_plans(&tiny);
}

fn check_runs(tiny: &Tiny) {
    let adapters = ["adapter.dropout=0.2", "model.dropout=true"];
    let dora = [&["adapter.method=dora"], &adapters[..]].concat();
    let smooth = [&["train.label_smoothing=0.1", "data.packing=true"], &adapters[..]].concat();
    let whole = vec!["adapter.method=full", "model.dropout=true", "train.learning_rate=1e-3"];
    for (name, settings) in
        [("lora", adapters.to_vec()), ("dora", dora), ("smooth", smooth), ("full", whole)]
    {
        let settings =
            [&["train.steps=5", "train.batch_size=2", "train.accumulate=2"], &settings[..]];
        let settings = settings.concat();
        let (kept, again) = (format!("{name}-kept"), format!("{name}-again"));
        let plain = tiny.train(&kept, &settings, false);
        let settings = [&settings[..], &["train.recompute=block"]].concat();
        let summary = tiny.train(&again, &settings, false);

        assert_eq!(records(tiny, &again), records(tiny, &kept), "{name}");
        let weights = match name {
            "full" => "model/model.safetensors",
            _ => "adapter/adapter_model.safetensors",
        };
        let bytes = |run: &str| fs::read(tiny.path(run).join(weights)).unwrap();
        assert!(bytes(&again) == bytes(&kept), "{name}: the weights differ");

        // The plan's figures are the run's, on its page too.
        assert_eq!(plain.recomputed, None);
        let planned = plan(tiny.config("planned", &settings), &Observer::silent()).unwrap();
        assert_eq!(summary.recomputed, planned.recomputed, "{name}");
        let told = planned.recomputed.unwrap().to_string();
        assert!(planned.to_string().contains(&format!("recomputing blocks: {told}\n")));
        let page = fs::read_to_string(tiny.path(&again).join("report.html")).unwrap();
        assert!(page.contains(&told), "{told}");
    }
}

/// One forward pass of the blocks more: a larger share of a step where weights have no gradients of their own.
fn check_plans(tiny: &Tiny) {
    let planned = |settings: &[&str]| {
        let of = |recompute: &str| {
            let settings = [&["train.batch_size=12", recompute], settings].concat();
            plan(tiny.config("planned", &settings), &Observer::silent()).unwrap()
        };
        let (kept, again) = (of("train.recompute=none"), of("train.recompute=block"));
        assert_eq!(kept.recomputed, None);
        assert!(again.memory.activations < kept.memory.activations);
        let recomputed = again.recomputed.unwrap();
        // The process itself grows from one plan to the next.
        let beside = |plan: &Plan| plan.memory.peak - plan.memory.process;
        assert_eq!(recomputed.saved, beside(&kept) - beside(&again));
        recomputed.operations
    };
    let (lora, full) = (planned(&[]), planned(&["adapter.method=full"]));
    // A third of a step's products, were there no head, whose table is larger than all layers here.
    assert!(full > 0.05 && full < 1.0 / 3.0, "{full}");
    assert!(lora > full && lora < 0.5, "{lora}");
}
