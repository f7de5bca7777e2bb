//! Models whose matrices are held in 16 bits: what they hold, and what they compute.
//!
//! The twin is the f32 model of a file whose matrices were rounded first: both multiply the same numbers
//! in f32, in another order, so that they agree as closely as two f32 models do (`golden.rs`).

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::{
    CausalLm, Classifier, Decoder, Model, ModelError, SaveDtype, SequenceClassifier, Storage,
    WeightDtype,
};
use burn_lora_patch::{merge, peft, unmerge};
use safetensors::Dtype;

use crate::fixture::{Batch, Copy, device, floats, golden, largest_difference, read};

const CAUSAL: [&str; 2] = ["llama", "qwen2"];
const FORMATS: [(WeightDtype, Dtype); 2] =
    [(WeightDtype::F16, Dtype::F16), (WeightDtype::Bf16, Dtype::BF16)];

/// As `golden.rs` argues for two computations in f32.
const ALIKE: f32 = 1e-4;

/// A copy of a golden model whose matrices are rounded; norms and biases are f32.
fn rounded(architecture: &str, dtype: Dtype) -> Copy {
    let mut copy = Copy::of(architecture);
    for tensor in copy.tensors.values_mut().filter(|tensor| tensor.shape.len() > 1) {
        *tensor = tensor.cast(dtype);
    }
    copy.write();
    copy
}

fn causal(dir: &Path, dtype: WeightDtype) -> CausalLm {
    CausalLm::load(dir, Storage { device: &device(), dtype }, &mut |_, _| {}).unwrap().0
}

fn logits(model: &CausalLm, architecture: &str) -> Vec<f32> {
    let batch = Batch::of(architecture);
    floats(model.logits(model.hidden(batch.ids(&device()), &batch.lengths, None)))
}

/// Rows of logits that are inside the mask.
fn inside(architecture: &str) -> impl Fn(usize) -> bool {
    let batch = Batch::of(architecture);
    move |row| row % batch.tokens < batch.lengths[row / batch.tokens]
}

fn check_alike(what: &str, architecture: &str, got: &[f32], expected: &[f32], width: usize) {
    let difference = largest_difference(got, expected, width, inside(architecture));
    assert!(difference < ALIKE, "{architecture} {what}: {difference}");
}

fn width(architecture: &str) -> usize {
    read(&golden(architecture).join("base.safetensors"))["logits"].shape[2]
}

#[test]
fn matrices_are_held_and_written_bit_for_bit() {
    struct Held(DType, usize);
    impl ModuleVisitor for Held {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let expected = if D > 1 { self.0 } else { DType::F32 };
            assert_eq!(param.val().dtype(), expected);
            self.1 += usize::from(D > 1);
        }
    }
    for architecture in CAUSAL {
        for (dtype, file) in FORMATS {
            let original = rounded(architecture, file);
            let model = causal(original.path(), dtype);
            let mut held = Held(dtype.dtype(), 0);
            model.visit(&mut held);
            assert!(held.1 > 20, "{} matrices", held.1);
            // From a file of f32, each number is rounded to the nearest as the twin's was.
            let from_f32 = causal(&golden(architecture), dtype);
            for model in [&model, &from_f32] {
                let out = original.path().join("out");
                let as_held = if file == Dtype::F16 { SaveDtype::F16 } else { SaveDtype::Bf16 };
                model.save(&out, as_held).unwrap();
                let saved = read(&out.join("model.safetensors"));
                let matrices = original.tensors.iter().filter(|(_, tensor)| tensor.shape.len() > 1);
                for (key, tensor) in matrices {
                    assert_eq!(&saved[key], tensor, "{architecture} {key}");
                }
            }
        }
    }
}

#[test]
fn a_number_beyond_f16_is_refused_with_its_tensor() {
    let mut copy = Copy::of("llama");
    let key = "model.layers.1.mlp.up_proj.weight";
    let tensor = copy.tensors.get_mut(key).unwrap();
    tensor.bytes[..4].copy_from_slice(&1e6_f32.to_le_bytes());
    copy.write();
    let load =
        |dtype| CausalLm::load(copy.path(), Storage { device: &device(), dtype }, &mut |_, _| {});
    assert!(load(WeightDtype::Bf16).is_ok());
    match load(WeightDtype::F16).unwrap_err() {
        ModelError::WeightRange { key: found, dtype: "f16" } => assert_eq!(found, key),
        other => panic!("{other}"),
    }
}

#[test]
fn decoders_compute_what_the_rounded_f32_models_compute() {
    for architecture in CAUSAL {
        let width = width(architecture);
        for (dtype, file) in FORMATS {
            let copy = rounded(architecture, file);
            let (half, twin) = (causal(copy.path(), dtype), causal(copy.path(), WeightDtype::F32));
            let expected = logits(&twin, architecture);
            check_alike("logits", architecture, &logits(&half, architecture), &expected, width);

            // The loss takes the head by itself.
            let batch = Batch::of(architecture);
            let targets: Vec<i32> = batch.ids.iter().map(|&id| id as i32).collect();
            let loss = |model: &CausalLm| {
                let hidden = model.hidden(batch.ids(&device()), &batch.lengths, None);
                let [rows, tokens, d] = hidden.dims();
                floats(model.loss(hidden.reshape([rows * tokens, d]), targets.clone()))[0]
            };
            let (got, expected) = (loss(&half), loss(&twin));
            assert!((got / expected - 1.0).abs() < 1e-5, "{architecture}: {got} and {expected}");

            // And so does every product of one row, with a cache.
            let options = GenerateOptions { max_new_tokens: 6, ..GenerateOptions::default() };
            let write = |model: &CausalLm| {
                let outputs = generate(model, &[vec![5, 9, 17]], &options, &mut |_, _| {
                    std::ops::ControlFlow::Continue(())
                });
                outputs.unwrap().remove(0).ids
            };
            assert_eq!(write(&half), write(&twin), "{architecture} {file}");
        }
    }
}

/// Rounding a weight is off by at most `u` of it (2^-12 of f16, 2^-9 of bf16). A logit passes the table
/// twice and, in each of three blocks, at most seven matrices; to first order the errors of the matrices
/// add up, each at most `u` of what it multiplies, which norms hold near the size of the logits'.
#[test]
fn decoders_and_adapted_ones_stay_near_the_golden_logits() {
    for (dtype, u) in [(WeightDtype::F16, 2.0_f32.powi(-12)), (WeightDtype::Bf16, 2.0_f32.powi(-9))]
    {
        let width = width("llama");
        let check = |what: &str, got: Vec<f32>, expected: Vec<f32>| {
            let largest = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            let difference = largest_difference(&got, &expected, width, inside("llama"));
            let allowed = (2 + 3 * 7) as f32 * u * largest;
            assert!(difference < allowed, "{dtype:?} {what}: {difference} of {allowed} allowed");
            // Nothing was rounded if it is as near as f32 comes.
            assert!(difference > 1e-6, "{dtype:?} {what}: {difference}");
        };
        let mut model = causal(&golden("llama"), dtype);
        let expected = read(&golden("llama").join("base.safetensors"));
        check("base", logits(&model, "llama"), expected["logits"].floats());

        let adapter = golden("llama").join("lora");
        peft::load(&mut model, &adapter, &peft::LoadOptions::default()).unwrap();
        let adapted = logits(&model, "llama");
        let expected = read(&adapter.join("expected.safetensors"));
        check("adapted", adapted.clone(), expected["logits"].floats());
        let twin =
            rounded("llama", if dtype == WeightDtype::F16 { Dtype::F16 } else { Dtype::BF16 });
        let mut twin = causal(twin.path(), WeightDtype::F32);
        peft::load(&mut twin, &adapter, &peft::LoadOptions::default()).unwrap();
        check_alike("adapted", "llama", &adapted, &logits(&twin, "llama"), width);

        // Merged in f32, and taken out again without a trace.
        let before = logits(&model, "llama");
        merge(&mut model).unwrap();
        check_alike("merged", "llama", &logits(&model, "llama"), &before, width);
        unmerge(&mut model).unwrap();
        assert_eq!(logits(&model, "llama"), before);
    }
}

#[test]
fn classifiers_compute_what_the_rounded_f32_models_compute() {
    let batch = Batch::of("bert");
    for (dtype, file) in FORMATS {
        let copy = rounded("bert", file);
        let logits = |dtype| {
            let at = Storage { device: &device(), dtype };
            let load = SequenceClassifier::load_with_head(copy.path(), None, 0, at, &mut |_, _| {});
            floats(load.unwrap().0.logits(batch.ids(&device()), &batch.lengths))
        };
        let difference = largest_difference(&logits(dtype), &logits(WeightDtype::F32), 5, |_| true);
        assert!(difference < ALIKE, "{dtype:?}: {difference}");
    }
}
