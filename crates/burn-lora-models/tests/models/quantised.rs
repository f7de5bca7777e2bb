//! Models whose matrices are held in blocks: what they hold, and what they compute.
//!
//! The twin is the f32 model of the same numbers: that of the same GGUF file, or of a directory that the model in blocks was saved
//! to. Both multiply the same numbers in f32, in another order, so that they agree as closely as two f32 models do (`golden.rs`).

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_lora::FrozenWeight;
use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::gguf::{FileType, GgufFile, GgufWriter, block_bytes};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::weights::Role;
use burn_lora_models::{
    CausalConfig, CausalLm, Classifier, Decoder, Model, ModelConfig, ModelError, SaveDtype,
    SequenceClassifier, Storage, WeightDtype,
};
use burn_lora_patch::{merge_and_unload_f32, peft};
use serde_json::{Value, json};

use crate::fixture::{Batch, Copy, DECODERS, device, floats, golden, largest_difference, read};

/// As `golden.rs` argues for two computations in f32.
const ALIKE: f32 = 1e-4;

fn causal(path: &Path, dtype: WeightDtype) -> CausalLm {
    CausalLm::load(path, Storage { device: &device(), dtype }, &mut |_, _| {}).unwrap().0
}

/// How many matrices are in blocks, and the bytes that they take; all must be.
fn held(model: &CausalLm) -> (usize, u64) {
    struct Held(usize, u64);
    impl ModuleVisitor for Held {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 2 {
                let weight = FrozenWeight::flattened(param.val());
                assert!(matches!(weight, FrozenWeight::Quantised(..)), "{weight:?}");
                self.0 += 1;
                self.1 += weight.bytes();
            }
        }
    }
    let mut held = Held(0, 0);
    model.visit(&mut held);
    (held.0, held.1)
}

/// A file of a random Llama with grouped heads, whose rows of queries and keys a converter moves.
fn file(dir: &Path, file_type: FileType) -> PathBuf {
    let config = r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 256,
        "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "initializer_range": 0.1}"#;
    let config = CausalConfig::from_json(config, "config.json".as_ref()).unwrap();
    let model = CausalLm::random(&config, 3, &device()).unwrap();
    let tokenizer = tokenizer(dir);
    let path = dir.join("model.gguf");
    let writer = GgufWriter::new(model.config(), &tokenizer, file_type, "tiny").unwrap();
    writer.write(&model, &path, &mut |_, _| {}).unwrap();
    path
}

/// The quickstart's tokenizer, which cuts words as GPT-2 does here: its own way has no name in GGUF files.
fn tokenizer(dir: &Path) -> Tokenizer {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    let json = std::fs::read(from.join("tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    (json["normalizer"], json["pre_tokenizer"], json["decoder"]) =
        (Value::Null, bytes.clone(), bytes);
    std::fs::write(dir.join("tokenizer.json"), json.to_string()).unwrap();
    let config = "tokenizer_config.json";
    std::fs::copy(from.join(config), dir.join(config)).unwrap();
    Tokenizer::from_dir(dir).unwrap()
}

fn batch() -> Batch {
    Batch::of("llama")
}

fn logits(model: &CausalLm, batch: &Batch) -> Vec<f32> {
    floats(model.logits(model.hidden(batch.ids(&device()), &batch.lengths, None)))
}

fn loss(model: &CausalLm, batch: &Batch) -> f32 {
    let hidden = model.hidden(batch.ids(&device()), &batch.lengths, None);
    let [rows, tokens, d] = hidden.dims();
    let targets = batch.ids.iter().map(|&id| id as i32).collect();
    floats(model.loss(hidden.reshape([rows * tokens, d]), targets))[0]
}

/// Rows of logits that are inside the mask.
fn inside(batch: &Batch) -> impl Fn(usize) -> bool + '_ {
    |row| row % batch.tokens < batch.lengths[row / batch.tokens]
}

fn check_alike(what: &str, got: &[f32], expected: &[f32], batch: &Batch) {
    let width = got.len() / (batch.lengths.len() * batch.tokens);
    let largest = expected.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
    let difference = largest_difference(got, expected, width, inside(batch));
    assert!(difference < ALIKE * largest, "{what}: {difference} of {largest}");
}

#[test]
fn a_files_own_blocks_are_kept_and_compute_what_their_numbers_do() {
    let dir = tempfile::tempdir().unwrap();
    for file_type in [FileType::Q8_0, FileType::Q4_0, FileType::Q4_K] {
        let path = file(dir.path(), file_type);
        // Whichever word is given.
        let dtype = if file_type == FileType::Q8_0 { WeightDtype::Q4 } else { WeightDtype::Q8 };
        let (model, twin) = (causal(&path, dtype), causal(&path, WeightDtype::F32));
        let bytes = block_bytes(&path).unwrap();
        assert_eq!(held(&model), (bytes.len(), bytes.values().sum()), "{file_type:?}");
        let in_file = GgufFile::open(&path).unwrap();
        let bytes_of = |matrices: bool| -> u64 {
            in_file.tensors().filter(|t| (t.shape.len() > 1) == matrices).map(|t| t.bytes()).sum()
        };
        assert_eq!(held(&model).1, bytes_of(true), "{file_type:?}: norms alone are no blocks");
        assert_eq!(bytes_of(false), 5 * 256 * 4, "{file_type:?}");

        let batch = batch();
        check_alike("logits", &logits(&model, &batch), &logits(&twin, &batch), &batch);
        let (got, expected) = (loss(&model, &batch), loss(&twin, &batch));
        assert!((got / expected - 1.0).abs() < 1e-5, "{file_type:?}: {got} and {expected}");
        let options = GenerateOptions { max_new_tokens: 6, ..GenerateOptions::default() };
        let write = |model: &CausalLm| {
            let outputs = generate(model, &[vec![5, 9, 17]], &options, &mut |_, _| {
                std::ops::ControlFlow::Continue(())
            });
            outputs.unwrap().remove(0).ids
        };
        assert_eq!(write(&model), write(&twin), "{file_type:?}");

        // Written, they are the numbers that the file stands for, bit for bit.
        for (model, name) in [(&model, "blocks"), (&twin, "numbers")] {
            model.save(&dir.path().join(name), SaveDtype::F32).unwrap();
        }
        let tensors = |name: &str| read(&dir.path().join(name).join("model.safetensors"));
        assert!(tensors("blocks") == tensors("numbers"), "{file_type:?}");
    }
}

#[test]
fn numbers_of_a_file_are_quantised_where_it_has_no_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), FileType::F16);
    assert!(block_bytes(&path).unwrap().is_empty());
    let model = causal(&path, WeightDtype::Nf4);
    let expected: u64 = [
        WeightDtype::Nf4.of_role(Role::Embedding).bytes_of(&[2048, 256]),
        2 * 2 * WeightDtype::Nf4.bytes_of(&[256, 256]),
        2 * 2 * WeightDtype::Nf4.bytes_of(&[128, 256]),
        2 * 3 * WeightDtype::Nf4.bytes_of(&[512, 256]),
    ]
    .iter()
    .sum();
    assert_eq!(held(&model), (15, expected));
}

#[test]
fn decoders_of_a_directory_compute_what_the_f32_models_of_their_numbers_compute() {
    for architecture in DECODERS {
        for dtype in WeightDtype::QUANTISED {
            let what = format!("{architecture} {}", dtype.name());
            let model = causal(&golden(architecture), dtype);
            assert!(held(&model).0 > 10, "{what}");
            let copy = Copy::of(architecture);
            model.save(copy.path(), SaveDtype::F32).unwrap();
            let twin = causal(copy.path(), WeightDtype::F32);
            let batch = Batch::of(architecture);
            let (got, expected) = (logits(&model, &batch), logits(&twin, &batch));
            check_alike(&what, &got, &expected, &batch);
            // Quantised they are.
            let original = causal(&golden(architecture), WeightDtype::F32);
            assert!(got != logits(&original, &batch), "{what}");
        }
    }
}

#[test]
fn adapters_multiply_beside_blocks_and_merge_into_their_numbers() {
    let batch = batch();
    for dtype in WeightDtype::QUANTISED {
        let copy = Copy::of("llama");
        causal(&golden("llama"), dtype).save(copy.path(), SaveDtype::F32).unwrap();
        let adapted = |path: &Path, dtype| {
            let mut model = causal(path, dtype);
            let adapter = golden("llama").join("lora");
            peft::load(&mut model, &adapter, &peft::LoadOptions::default()).unwrap();
            model
        };
        let model = adapted(&golden("llama"), dtype);
        let expected = logits(&adapted(copy.path(), WeightDtype::F32), &batch);
        check_alike("adapted", &logits(&model, &batch), &expected, &batch);
        let merged = merge_and_unload_f32(model).unwrap();
        check_alike("merged", &logits(&merged, &batch), &expected, &batch);
        merged.save(copy.path(), SaveDtype::F32).unwrap();
        let written = causal(copy.path(), WeightDtype::F32);
        check_alike("written", &logits(&written, &batch), &expected, &batch);
    }
}

#[test]
fn classifiers_compute_what_the_f32_models_of_their_numbers_compute() {
    let batch = Batch::of("bert");
    for dtype in WeightDtype::QUANTISED {
        let load = |path: &Path, dtype| {
            let at = Storage { device: &device(), dtype };
            SequenceClassifier::load_with_head(path, None, 0, at, &mut |_, _| {}).unwrap().0
        };
        let model = load(&golden("bert"), dtype);
        let copy = Copy::of("bert");
        model.save(copy.path(), SaveDtype::F32).unwrap();
        let twin = load(copy.path(), WeightDtype::F32);
        let logits =
            |model: &SequenceClassifier| floats(model.logits(batch.ids(&device()), &batch.lengths));
        let difference = largest_difference(&logits(&model), &logits(&twin), 5, |_| true);
        assert!(difference < ALIKE, "{dtype:?}: {difference}");
    }
}

#[test]
fn a_number_that_no_block_holds_is_refused_with_its_tensor() {
    let mut copy = Copy::of("llama");
    let key = "model.layers.1.mlp.up_proj.weight";
    let tensor = copy.tensors.get_mut(key).unwrap();
    tensor.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    copy.write();
    for dtype in WeightDtype::QUANTISED {
        let at = Storage { device: &device(), dtype };
        match CausalLm::load(copy.path(), at, &mut |_, _| {}).unwrap_err() {
            ModelError::WeightRange { key: found, dtype: name } => {
                assert_eq!((found.as_str(), name), (key, dtype.name()));
            }
            other => panic!("{other}"),
        }
    }
}
