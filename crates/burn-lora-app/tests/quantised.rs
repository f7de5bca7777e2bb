//! Runs whose base is held in blocks.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;

use burn_lora_app::export::{GgufOptions, export_gguf};
use burn_lora_app::merge::{MergeOptions, Tolerance, merge};
use burn_lora_models::gguf::{FileType, GgufFile, GgufWriter};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model, SaveDtype, Storage, WeightDtype};
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::plan;
use burn_lora_train::run::RunOptions;
use tiny::Tiny;

/// A tiny model, and its file in these blocks; gives the override that names the file.
fn tiny(file_type: FileType) -> (Tiny, String) {
    let tiny = Tiny::new();
    tiny.cut_words_as_gpt2();
    let device = burn_lora::device::parse("cpu").unwrap();
    let (base, _) = CausalLm::load(&tiny.path("model"), &device, &mut |_, _| {}).unwrap();
    let tokenizer = Tokenizer::from_dir(&tiny.path("model")).unwrap();
    let path = tiny.path("base.gguf");
    let writer = GgufWriter::new(base.config(), &tokenizer, file_type, "tiny").unwrap();
    writer.write(&base, &path, &mut |_, _| {}).unwrap();
    let named = format!("model.path={:?}", path.display().to_string());
    (tiny, named)
}

/// The losses of every step.
fn losses(tiny: &Tiny, run: &str) -> Vec<f64> {
    let text = fs::read_to_string(tiny.path(run).join("metrics.jsonl")).unwrap();
    let loss = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64();
    let losses: Vec<f64> = text.lines().filter_map(loss).collect();
    assert!(losses.len() >= 6, "{text}");
    losses
}

/// Both multiply the same numbers in f32 with sums in another order: see `half.rs`.
fn check_alike(tiny: &Tiny, runs: [&str; 2]) {
    let [blocks, numbers] = runs.map(|run| losses(tiny, run));
    for (of_blocks, of_numbers) in blocks.iter().zip(&numbers) {
        assert!((of_blocks / of_numbers - 1.0).abs() < 2e-6, "{blocks:?}\n{numbers:?}");
    }
}

#[test]
fn training_on_a_files_blocks_is_training_on_their_numbers_in_f32() {
    let rate = "train.learning_rate=0.001";
    for method in ["lora", "dora"] {
        let (tiny, file) = tiny(FileType::Q4_0);
        let method = format!("adapter.method={method}");
        tiny.train("numbers", &[rate, &file, &method], false);
        tiny.train("blocks", &[rate, &file, &method, "model.base=q4"], false);
        check_alike(&tiny, ["blocks", "numbers"]);
        assert_eq!(tiny.adapter("blocks").len(), tiny.adapter("numbers").len(), "factors are f32");
    }
}

#[test]
fn training_on_what_is_quantised_while_it_is_loaded_is_training_on_its_numbers() {
    for dtype in WeightDtype::QUANTISED {
        let tiny = Tiny::new();
        let device = burn_lora::device::parse("cpu").unwrap();
        let at = Storage { device: &device, dtype };
        let (base, _) = CausalLm::load(&tiny.path("model"), at, &mut |_, _| {}).unwrap();
        let held = format!("model.base={}", dtype.name());
        let rate = "train.learning_rate=0.001";
        tiny.train("blocks", &[rate, &held], false);
        // In the place of what it was quantised from.
        base.save(&tiny.path("model"), SaveDtype::F32).unwrap();
        tiny.train("numbers", &[rate], false);
        check_alike(&tiny, ["blocks", "numbers"]);
    }
}

#[test]
fn a_run_on_blocks_goes_on_and_merges_and_exports_their_numbers() {
    let (tiny, file) = tiny(FileType::Q8_0);
    let base = [file.as_str(), "model.base=q8", "train.save_every=3"];
    tiny.train("whole", &base, false);
    tiny.train("run", &[&base[..], &["train.steps=3"]].concat(), false);
    let options = RunOptions { resume: true, extend: true, ..RunOptions::silent() };
    let config = tiny.config("run", &base);
    burn_lora_train::run::train(config, options, &Observer::silent()).unwrap();
    let out = tiny.path("merged");
    // Compared with the adapted model in blocks, and written in f32.
    let options = MergeOptions { out, dtype: SaveDtype::F32, tolerance: Some(Tolerance::Rounding) };
    merge(&tiny.path("run"), &options, &Observer::silent()).unwrap();
    let options = GgufOptions {
        out: tiny.path("exported"),
        adapter: None,
        file_type: FileType::F32,
        device: "cpu".into(),
    };
    export_gguf(&tiny.path("run"), &options, &Observer::silent()).unwrap();
    let device = burn_lora::device::parse("cpu").unwrap();
    let exported = tiny.path("exported").join("model-f32.gguf");
    for path in [tiny.path("merged"), exported] {
        let (merged, _) = CausalLm::load(&path, &device, &mut |_, _| {}).unwrap();
        merged.save(&tiny.path("again"), SaveDtype::F32).unwrap();
        let bytes = |dir: &str| fs::read(tiny.path(dir).join("model.safetensors")).unwrap();
        assert!(bytes("again") == bytes("merged"), "{}", path.display());
    }
}

#[test]
fn a_table_that_is_trained_whole_leaves_its_blocks() {
    let (tiny, file) = tiny(FileType::Q4_0);
    let whole = "adapter.modules_to_save=[\"embed_tokens\"]";
    let rate = "train.learning_rate=0.001";
    tiny.train("numbers", &[rate, &file, whole], false);
    tiny.train("blocks", &[rate, &file, whole, "model.base=q4"], false);
    check_alike(&tiny, ["blocks", "numbers"]);
}

#[test]
fn a_plan_counts_the_bytes_of_the_blocks() {
    let (tiny, file) = tiny(FileType::Q4_0);
    let weights = |overrides: &[&str]| {
        plan(tiny.config("run", overrides), &Observer::silent()).unwrap().memory.weights
    };
    // 2048 x 32 of the table; q, k, v, o and the gated unit of both layers. Five norms stay f32.
    let (table, norms) = (2048 * 32, 4 * 5 * 32);
    let linears = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64);
    assert_eq!(weights(&["model.base=q8"]), (table + linears) / 32 * 34 + norms);
    assert_eq!(weights(&["model.base=q4"]), table / 32 * 34 + linears / 32 * 18 + norms);
    // A file's tensors are held as they lie there, norms among them.
    let in_file: u64 =
        GgufFile::open(&tiny.path("base.gguf")).unwrap().tensors().map(|t| t.bytes()).sum();
    for held in ["model.base=q8", "model.base=nf4"] {
        assert_eq!(weights(&[&file, held]), in_file);
    }
}
