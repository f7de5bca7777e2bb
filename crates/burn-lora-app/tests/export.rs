//! What an export writes, from a run of a tiny model.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use burn_lora_app::AppError;
use burn_lora_app::export::{
    ExportOptions, Exported, GgufExported, GgufOptions, export, export_gguf, export_gguf_dry_run,
};
use burn_lora_app::generator::{Generator, Writing};
use burn_lora_app::inspect::inspect;
use burn_lora_app::merge::{MergeOptions, merge};
use burn_lora_models::conversation::Message;
use burn_lora_models::gguf::FileType;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model, SaveDtype};
use burn_lora_patch::peft;
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::observe::Observer;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
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
    // The run's base is at hand, that of the card is not: its weights stand beside the run's changes alone.
    let layers = |dir: &Path| {
        let mut layers = inspect(dir).unwrap().layers;
        layers.iter_mut().for_each(|layer| layer.norm_weight = None);
        layers
    };
    assert_eq!(layers(&out), layers(&tiny.path("run")));
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

/// The run's adapter with other keys and values.
fn rewritten(tiny: &Tiny, key: impl Fn(&str) -> String, value: impl Fn(f32) -> f32) {
    let path = tiny.path("run/adapter").join(peft::TENSORS_FILE);
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let changed: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            let floats = view.data().as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes);
            let bytes = floats.flat_map(|float| value(float).to_le_bytes()).collect();
            (key(name), view.shape().to_vec(), bytes)
        })
        .collect();
    let views = changed.iter().map(|(key, shape, bytes)| {
        (key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// They were once copied as they are, to be read by nobody.
#[test]
fn keys_of_a_wrapped_model_are_exported_as_peft_has_them() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=2"], false);
    rewritten(&tiny, str::to_owned, |value| value);
    exported(&tiny, "run", "plain", None).unwrap();
    let expected = fs::read(tiny.path("plain").join(peft::TENSORS_FILE)).unwrap();
    let wrappers: [fn(&str) -> String; 3] = [
        |key| format!("_orig_mod.{key}"),
        |key| key.replacen("base_model.model.", "base_model.model.module.", 1),
        |key| key.replacen(".weight", ".default.weight", 1),
    ];
    for (at, wrapped) in wrappers.into_iter().enumerate() {
        rewritten(&tiny, |key| wrapped(&peft::plain_key(key)), |value| value);
        let out = format!("out-{at}");
        exported(&tiny, "run", &out, None).unwrap();
        assert!(fs::read(tiny.path(&out).join(peft::TENSORS_FILE)).unwrap() == expected, "{at}");
    }
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

fn options(tiny: &Tiny, out: &str, file_type: FileType, adapter: Option<&str>) -> GgufOptions {
    let adapter = adapter.map(|dir| tiny.path(dir));
    GgufOptions { out: tiny.path(out), file_type, adapter, device: "cpu".into() }
}

fn gguf(tiny: &Tiny, from: &str, options: &GgufOptions) -> Result<GgufExported, AppError> {
    export_gguf(&tiny.path(from), options, &Observer::silent())
}

#[test]
fn a_run_as_gguf_writes_what_its_merged_model_writes() {
    let tiny = Tiny::new();
    tiny.cut_words_as_gpt2();
    tiny.train("run", &["train.steps=8"], false);
    tiny.train("full", &["train.steps=2", "adapter.method=full"], false);
    let merged = MergeOptions { out: tiny.path("merged"), dtype: SaveDtype::F32, tolerance: None };
    merge(&tiny.path("run"), &merged, &Observer::silent()).unwrap();

    let device = burn_lora::device::parse("cpu").unwrap();
    let logits = |path: &str| {
        let (model, _) = CausalLm::load(&tiny.path(path), &device, &mut |_, _| {}).unwrap();
        model.probe(&device).into_data().try_into_vec::<f32>().unwrap()
    };
    for (from, out, adapter, expected) in [
        ("run", "of-run", None, "merged"),
        ("merged", "of-merged", None, "merged"),
        ("model", "of-both", Some("run/adapter"), "merged"),
        ("model", "of-base", None, "model"),
        ("full", "of-full", None, "full/model"),
        ("of-run/model-f32.gguf", "of-file", None, "merged"),
    ] {
        let options = options(&tiny, out, FileType::F32, adapter);
        let dry = export_gguf_dry_run(&tiny.path(from), &options, &Observer::silent()).unwrap();
        assert!(!options.out.exists(), "a dry run writes nothing");
        let exported = gguf(&tiny, from, &options).unwrap();
        assert_eq!(exported.files, ["Modelfile", "model-f32.gguf"]);
        for file in &dry.files {
            let written = fs::metadata(options.out.join(&file.name)).unwrap().len();
            assert_eq!(file.bytes, written, "{from} {}", file.name);
        }
        assert_eq!(logits(&format!("{out}/model-f32.gguf")), logits(expected), "{from}");
    }
    assert_ne!(logits("merged"), logits("model"));

    let write = |path: &str| {
        let path = tiny.path(path);
        let generator = Generator::open(&path, &[], "cpu", &Observer::silent()).unwrap();
        let prompt = generator.conversation(&[Message::new("user", "say 1 the red door")]).unwrap();
        let how = Writing { max_tokens: 8, sampling: Default::default(), rows: 16 };
        (prompt.clone(), generator.write_all(&[prompt], &how).unwrap())
    };
    assert_eq!(write("of-run/model-f32.gguf"), write("merged"));
    let modelfile = fs::read_to_string(tiny.path("of-run/Modelfile")).unwrap();
    let expected = "FROM ./model-f32.gguf\nPARAMETER stop \"<|endoftext|>\"\nPARAMETER stop \
                    \"<|im_end|>\"\n";
    assert_eq!(modelfile, expected);
}

#[test]
fn a_file_of_quantized_numbers_is_smaller_and_never_written_over_another() {
    let tiny = Tiny::new();
    tiny.cut_words_as_gpt2();
    let size = |file_type: FileType| {
        let out = file_type.name();
        let options = options(&tiny, out, file_type, None);
        let exported = gguf(&tiny, "model", &options).unwrap();
        let tensors: usize = exported.tensors.iter().map(|count| count.tensors).sum();
        assert_eq!(tensors, 2 * 9 + 2, "{exported:?}");
        assert!(matches!(gguf(&tiny, "model", &options), Err(AppError::Exists { .. })));
        fs::metadata(tiny.path(out).join(format!("model-{out}.gguf"))).unwrap().len()
    };
    let sizes =
        [FileType::F32, FileType::F16, FileType::Q8_0, FileType::Q4_K, FileType::Q4_0].map(size);
    // Rows of 32 and 64 numbers have no blocks of 256: Q4_K falls back to 5.5 bits a number.
    assert!(sizes.is_sorted_by(|one, next| one > next), "{sizes:?}");
}

/// Infinities in a file are found out by nobody before somebody generates with it.
#[test]
fn factors_that_overflow_the_numbers_of_the_file_are_refused_by_their_weight() {
    let tiny = Tiny::new();
    tiny.cut_words_as_gpt2();
    tiny.train("run", &["train.steps=2"], false);
    // Rank 4, alpha 8: each weight grows by 2 · 4 · 150² = 180,000.
    rewritten(&tiny, str::to_owned, |_| 150.0);
    let error = gguf(&tiny, "run", &options(&tiny, "half", FileType::F16, None)).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("which F16 cannot hold: write the model as bf16 or f32"), "{told}");
    assert!(!tiny.path("half").exists());
    for file_type in [FileType::F32, FileType::Bf16] {
        gguf(&tiny, "run", &options(&tiny, file_type.name(), file_type, None)).unwrap();
    }
}

#[test]
fn what_cannot_be_said_in_gguf_is_refused_before_anything_is_written() {
    let tiny = Tiny::new();
    let refused = |from: &str, adapter| {
        let error = gguf(&tiny, from, &options(&tiny, "out", FileType::Q8_0, adapter)).unwrap_err();
        assert!(!tiny.path("out").exists());
        error.to_string()
    };
    let message = refused("model", None);
    assert!(message.contains("tokenizer.json") && message.contains("no name in GGUF"), "{message}");
    tiny.cut_words_as_gpt2();
    let message = refused("model", Some("none"));
    assert!(message.contains("none"), "{message}");
    assert!(refused("none", None).contains("none"));
}
