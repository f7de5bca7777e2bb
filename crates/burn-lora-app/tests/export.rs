//! What an export writes, from a run of a tiny model.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use burn_lora_app::AppError;
use burn_lora_app::export::{ExportOptions, Exported, export};
use burn_lora_app::inspect::inspect;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model, SaveDtype};
use burn_lora_patch::peft;
use burn_lora_train::observe::Observer;
use tiny::Tiny;

fn exported(
    tiny: &Tiny,
    run: &str,
    out: &str,
    merged: Option<SaveDtype>,
) -> Result<Exported, AppError> {
    let base_model = Some("org/tiny".to_owned());
    let options = ExportOptions { out: tiny.path(out), merged, base_model, command: None };
    export(&tiny.path(run), &options, &Observer::silent())
}

fn card(dir: &Path) -> String {
    fs::read_to_string(dir.join("README.md")).unwrap()
}

#[test]
fn an_exported_adapter_is_the_runs_with_tokenizer_and_card() {
    let tiny = Tiny::new();
    let summary = tiny.train("run", &["train.steps=4"], false);
    let written = exported(&tiny, "run", "out", None).unwrap();
    let expected = [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(written.files, expected);

    let out = tiny.path("out");
    assert!(fs::read(out.join(peft::TENSORS_FILE)).unwrap() == tiny.adapter("run"));
    let config = peft::read_config(&out).unwrap();
    assert_eq!(config.base_model_name_or_path.as_deref(), Some("org/tiny"));
    assert_eq!(inspect(&out).unwrap().layers, inspect(&tiny.path("run")).unwrap().layers);
    Tokenizer::from_dir(&out).unwrap();

    let card = card(&out);
    let [before, after] = summary.evaluations().unwrap();
    let loss = format!("| held-out loss | {:.4} | {:.4} |", before.eval_loss, after.eval_loss);
    for line in [&*loss, "base_model: org/tiny", "- method: LoRA, rank 4, alpha 8", "- steps: 4"] {
        assert!(card.contains(line), "no {line:?} in:\n{card}");
    }
    assert!(card.contains("- training rows: 12 (`rows.jsonl`)"), "{card}");
    // Nothing of the machine is told.
    let here = tiny.path("").display().to_string();
    let text = fs::read_to_string(out.join(peft::CONFIG_FILE)).unwrap();
    assert!(
        !card.contains(here.trim_end_matches('/')) && !text.contains(here.trim_end_matches('/'))
    );

    let again = exported(&tiny, "run", "out", None);
    assert!(matches!(again, Err(AppError::Exists { .. })));
}

#[test]
fn merged_and_full_models_are_whole_ones() {
    let tiny = Tiny::new();
    let device = burn_lora::device::parse("cpu").unwrap();
    tiny.train("run", &["train.steps=2"], false);
    tiny.train("full", &["train.steps=2", "adapter.method=full"], false);
    for (run, out, merged, says) in [
        ("run", "merged", Some(SaveDtype::F32), "- method: LoRA"),
        ("full", "whole", None, "- method: every parameter trained"),
    ] {
        let written = exported(&tiny, run, out, merged).unwrap();
        assert!(!written.files.iter().any(|name| name.starts_with("adapter")), "{written:?}");
        CausalLm::load(&tiny.path(out), &device, &mut |_, _| {}).unwrap();
        assert!(card(&tiny.path(out)).contains(says), "{run}");
    }
}

#[test]
fn what_is_no_finished_run_leaves_nothing() {
    let tiny = Tiny::new();
    assert!(exported(&tiny, "none", "out", None).is_err());
    assert!(!tiny.path("out").exists());
}
