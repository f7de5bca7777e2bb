//! The benchmark's cells have resident what was planned of them, but for a tenth or eight MiB: every kind of adapter, every base,
//! kept and recomputed, and full fine-tuning. A merged model's logits are planned twice: up to three twentieths too much.
//!
//! A peak is of a whole process, so each cell is measured in one of its own, as the benchmark does. A machine that does other work besides
//! changes no peak.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// The text of a model's `config.json`, from the matrix.
fn config(model: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/matrix.toml");
    let matrix: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    serde_json::to_string(&matrix["models"][model]).unwrap()
}

/// What a process that measures the cell says.
fn measured(cell: &Value) -> Value {
    let order = json!({
        "cell": cell, "config": config(cell["model"].as_str().unwrap()), "seed": 0, "warmup": 1, "steps": 1,
        "started": 0.0, "given": null, "alone": false,
    });
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "cell"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{cell}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A cell on Flex, four rows of 64 tokens, with what differs from LoRA of rank 16 on an f32 base.
fn cell(model: &str, more: &Value) -> Value {
    let mut cell = json!({
        "model": model, "backend": "flex", "batch": 4, "length": 64, "method": "lora", "rank": 16,
    });
    for (key, value) in more.as_object().unwrap() {
        cell[key] = value.clone();
    }
    cell
}

/// Bytes that a process with a small model has resident more at one time than at another: its threads' stacks, what its allocator holds.
const PROCESS: f64 = (8 << 20) as f64;
/// How far off a cell that trains may be.
const TRAINED: f64 = 0.1;
/// How far off one that merges may be.
const MERGED: f64 = 0.15;

/// All that are further off, told at once.
fn are_near(cells: &[Value], allowed: f64) {
    let mut off = Vec::new();
    for cell in cells {
        let measured = measured(cell);
        // Systems that do not tell what a process has resident plan nothing.
        let Some(planned) = measured["planned_bytes"].as_f64() else { continue };
        let peak = measured["peak_bytes"].as_f64().unwrap();
        let ratio = planned / peak;
        let line = format!("{ratio:.3} planned over measured: {cell}");
        println!("{line}");
        if (planned - peak).abs() > (allowed * peak).max(PROCESS) {
            off.push(line);
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn every_method_needs_what_was_planned() {
    let of = |method| cell("llama-11m", &json!({"method": method}));
    are_near(&["lora", "composed", "dora", "miss", "lora-fa", "full"].map(of), TRAINED);
    are_near(&["merged"].map(of), MERGED);
}

#[test]
fn every_rank_and_length_needs_what_was_planned() {
    let more =
        [json!({"rank": 1}), json!({"rank": 128}), json!({"length": 16}), json!({"length": 256})];
    are_near(&more.map(|more| cell("llama-11m", &more)), TRAINED);
}

#[test]
fn every_base_needs_what_was_planned_kept_and_recomputed() {
    let more = [
        json!({}),
        json!({"dtype": "bf16"}),
        json!({"dtype": "q8"}),
        json!({"dtype": "q4"}),
        json!({"dtype": "nf4"}),
        json!({"recompute": "block"}),
        json!({"dtype": "q4", "recompute": "block"}),
    ];
    are_near(&more.map(|more| cell("llama-35m", &more)), TRAINED);
}

#[test]
fn every_family_needs_what_was_planned() {
    for method in ["lora", "full"] {
        let of = |model| cell(model, &json!({"method": method}));
        are_near(&["llama-1m", "gpt2-12m", "bloom-12m", "minilm-22m"].map(of), TRAINED);
    }
}
