//! A finished run, merged and written from: what comes out is what the adapted model says.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use burn_lora_app::AppError;
use burn_lora_app::generator::{Generator, Writing};
use burn_lora_app::merge::{MergeOptions, Tolerance, merge, merge_with, rounding};
use burn_lora_data::{Reading, RowFile, Tokenization, token_examples};
use burn_lora_files::floats::values_f64;
use burn_lora_models::conversation::Message;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model, SaveDtype};
use burn_lora_patch::combine::StoredAdapter;
use burn_lora_patch::peft;
use burn_lora_report::bleu::{Case, corpus_bleu};
use burn_lora_train::evaluate::evaluate;
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::observe::Observer;
use safetensors::SafeTensors;
use tiny::Tiny;

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
    let after = tiny.train("run", &settings, false).evaluations().unwrap()[1];

    let generator = Generator::open(&tiny.path("run"), &[], "cpu", &Observer::silent()).unwrap();
    let ids = prompts.map(|prompt| generator.prompt(prompt).unwrap());
    let how = Writing { max_tokens: 12, sampling: Default::default(), rows: 16 };
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
fn merged_models_answer_as_the_adapted_one_and_are_refused_where_they_do_not() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=10"], false);
    let options = |out: &str, dtype, tolerance| MergeOptions {
        out: tiny.path(out),
        dtype,
        tolerance: Some(tolerance),
    };
    let strict = options("strict", SaveDtype::F32, Tolerance::Logits(-1.0));
    let refused = merge(&tiny.path("run"), &strict, &Observer::silent());
    assert!(matches!(refused, Err(AppError::MergeDiffers { .. })));
    assert!(!tiny.path("strict").exists());

    // What merging says of the logits is what they are, compared here without it.
    let device = burn_lora::device::parse("cpu").unwrap();
    let load = |dir: &str| CausalLm::load(&tiny.path(dir), &device, &mut |_, _| {});
    let mut adapted = load("model").unwrap().0;
    peft::load(&mut adapted, tiny.path("run/adapter"), &peft::LoadOptions::default()).unwrap();
    let logits = adapted.probe(&device);
    let size = |tensor: Tensor<2>| f64::from(tensor.abs().max().into_scalar::<f32>());
    let mut differences = Vec::new();
    for (out, dtype) in [("merged", SaveDtype::F32), ("halves", SaveDtype::Bf16)] {
        let options = options(out, dtype, Tolerance::Rounding);
        let merged = merge(&tiny.path("run"), &options, &Observer::silent()).unwrap();
        let apart = size(logits.clone() - load(out).unwrap().0.probe(&device));
        let told = merged.difference.unwrap();
        assert!((told - apart).abs() <= 1e-6 * apart, "{out}: {told} and {apart}");
        assert!(
            apart > 0.0 && apart <= rounding(dtype, 1) * size(logits.clone()),
            "{out}: {apart}"
        );
        differences.push(apart);
    }
    assert!(
        differences[1] > 10.0 * differences[0],
        "bf16 rounds more than f32 sums: {differences:?}"
    );
    let write = |path: &str, scale: f64| {
        let path = tiny.path(path);
        let mut generator = Generator::open(&path, &[], "cpu", &Observer::silent()).unwrap();
        generator.set_scale(scale).unwrap();
        let prompt = generator.prompt("say 1 the red door the red door ").unwrap();
        let how = Writing { max_tokens: 8, sampling: Default::default(), rows: 16 };
        let text = generator.write(prompt.clone(), &how, &mut |_| ControlFlow::Continue(()));
        let text = text.unwrap();
        assert_eq!(generator.write_all(&[prompt], &how).unwrap(), std::slice::from_ref(&text));
        text
    };
    assert_eq!(write("merged", 1.0), write("run", 1.0));
    assert_eq!(write("model", 1.0), write("run", 0.0), "a scale of 0 is the base");
}

/// The weight of a linear in a model's file, `[d_out, d_in]`.
fn weight(tiny: &Tiny, model: &str, layer: &str) -> Vec<f64> {
    let bytes = fs::read(tiny.path(model).join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    values_f64(&file.tensor(&format!("{layer}.weight")).unwrap()).unwrap()
}

#[test]
fn several_adapters_are_added_up_and_answer_as_they_do_beside_the_base() {
    let tiny = Tiny::new();
    tiny.train("one", &["train.steps=6"], false);
    tiny.train("two", &["train.steps=6", "adapter.rank=2", "train.seed=5"], false);
    tiny.train("three", &["train.steps=6", "adapter.method=dora", "train.seed=6"], false);
    // A run, and PEFT's directory of one.
    let further = [tiny.path("two"), tiny.path("three/adapter")];
    for (out, dtype) in
        [("f32", SaveDtype::F32), ("f16", SaveDtype::F16), ("bf16", SaveDtype::Bf16)]
    {
        let tolerance = Some(Tolerance::Rounding);
        let options = MergeOptions { out: tiny.path(out), dtype, tolerance };
        let merged =
            merge_with(&tiny.path("one"), &further, &options, &Observer::silent()).unwrap();
        assert_eq!(merged.adapters, 3);
        let (found, allowed) = (merged.difference.unwrap(), merged.tolerance.unwrap());
        assert!(found > 0.0 && found <= allowed, "{out}: {found} of {allowed}");
    }

    // Of two that are LoRA, by hand: the base and both changes.
    let options = MergeOptions { out: tiny.path("sum"), dtype: SaveDtype::F32, tolerance: None };
    merge_with(&tiny.path("one"), &further[..1], &options, &Observer::silent()).unwrap();
    let [one, two] =
        ["one", "two"].map(|run| StoredAdapter::read(tiny.path(run).join("adapter")).unwrap());
    for (layer, factors) in &one.layers {
        let changes = [&factors.factors, &two.layers[layer].factors].map(|it| it.change());
        let (before, after) = (weight(&tiny, "model", layer), weight(&tiny, "sum", layer));
        let sums = changes[0].iter().zip(&changes[1]).map(|(one, two)| one + two);
        for ((before, after), sum) in before.iter().zip(&after).zip(sums) {
            // Weights of size one, rounded a few times by 2^-24.
            assert!((after - (before + sum)).abs() < 1e-6, "{layer}: {before} {sum} {after}");
        }
    }
    let strict = MergeOptions {
        out: tiny.path("strict"),
        dtype: SaveDtype::F32,
        tolerance: Some(Tolerance::Logits(-1.0)),
    };
    let refused = merge_with(&tiny.path("one"), &further, &strict, &Observer::silent());
    assert!(matches!(refused, Err(AppError::MergeDiffers { .. })));
    assert!(!tiny.path("strict").exists());
    let options = MergeOptions { out: tiny.path("nothing"), ..strict };
    let missing =
        merge_with(&tiny.path("one"), &[tiny.path("none")], &options, &Observer::silent());
    assert!(missing.unwrap_err().to_string().contains("none is not an adapter directory"));
}

#[test]
fn a_model_that_was_trained_whole_is_written_as_it_is() {
    let tiny = Tiny::new();
    tiny.train("full", &["adapter.method=full", "train.steps=2"], false);
    let (out, tolerance) = (tiny.path("whole"), Some(Tolerance::Logits(0.0)));
    let options = MergeOptions { out, dtype: SaveDtype::F32, tolerance };
    let merged = merge(&tiny.path("full"), &options, &Observer::silent()).unwrap();
    assert_eq!(merged.difference, Some(0.0));
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
    let how = Tokenization {
        limit: 64.into(),
        separator: String::new(),
        eos: true,
        answers: Default::default(),
    };
    let (trained, _) = token_examples(&file, &tokenizer, &how).unwrap();
    let generator = Generator::open(&model, &[], "cpu", &Observer::silent()).unwrap();
    let asked = generator.conversation(&[Message::new("user", "a b")]).unwrap();
    let text = tokenizer.decode(&asked, false).unwrap();
    assert_eq!(text, "<|im_start|>user\na b<|im_end|>\n<|im_start|>assistant\n");
    assert!(trained[0].ids.starts_with(&asked));
    assert!(trained[0].targets[asked.len() - 1].is_some());
}
