//! Base logits against transformers'.

use burn::module::Module;
use burn::tensor::Device;
use burn_lora_models::{
    Architecture, CausalConfig, CausalLm, Classifier, Decoder, Model, ModelConfig,
    SequenceClassifier,
};

use crate::fixture::{
    Batch, CLASSIFIERS, Copy, DECODERS, device, floats, golden, largest_difference, read,
};

/// f32 products of at most a few hundred terms in another order: logits of size 1 agree to 1e-5 or
/// so, and anything wrong (a transpose, a norm, a position) shows from 1e-2 on.
const TOLERANCE: f32 = 1e-4;

/// The rows of a causal model's logits that are inside the mask.
fn check_causal_logits(model: &CausalLm, architecture: &str, device: &Device) {
    let batch = Batch::of(architecture);
    let logits = model.logits(model.hidden(batch.ids(device), &batch.lengths, None));
    let expected = read(&golden(architecture).join("base.safetensors"));
    let expected = &expected["logits"];
    assert_eq!(logits.dims().to_vec(), expected.shape);
    let inside = |row: usize| row % batch.tokens < batch.lengths[row / batch.tokens];
    let difference =
        largest_difference(&floats(logits), &expected.floats(), expected.shape[2], inside);
    assert!(difference < TOLERANCE, "{architecture}: {difference}");
}

fn check_causal(architecture: &str) {
    let (plain, autodiff) = (device(), device().autodiff());
    let load = |device| CausalLm::load(&golden(architecture), device, &mut |_, _| {});
    let (model, report) = load(&plain).unwrap();
    assert!(report.fresh.is_empty() && report.tolerated.is_empty(), "{report:?}");
    check_causal_logits(&model, architecture, &plain);
    check_causal_logits(&model.train(), architecture, &autodiff);
    let (model, _) = load(&autodiff).unwrap();
    check_causal_logits(&model, architecture, &autodiff);
    check_causal_logits(&model.valid(), architecture, &plain);
}

#[test]
fn decoders_compute_what_transformers_computes() {
    for architecture in DECODERS {
        check_causal(architecture);
    }
}

#[test]
fn classifiers_compute_what_transformers_computes() {
    for architecture in CLASSIFIERS {
        let (batch, dir) = (Batch::of(architecture), golden(architecture));
        let expected = read(&dir.join("base.safetensors"));
        for device in [device(), device().autodiff()] {
            let (model, report) =
                SequenceClassifier::load_with_head(&dir, None, 0, &device, &mut |_, _| {}).unwrap();
            assert!(report.fresh.is_empty() && report.tolerated.is_empty(), "{report:?}");
            let logits = model.logits(batch.ids(&device), &batch.lengths);
            assert_eq!(logits.dims().to_vec(), expected["logits"].shape);
            let difference =
                largest_difference(&floats(logits), &expected["logits"].floats(), 5, |_| true);
            assert!(difference < TOLERANCE, "{architecture}: {difference}");
        }
    }
}

/// A token of padding must change nothing that counts, whatever its id.
#[test]
fn padding_is_not_seen() {
    let device = device();
    let mut other = Batch::of("llama");
    for (index, id) in other.ids.iter_mut().enumerate() {
        if index % other.tokens >= other.lengths[index / other.tokens] {
            *id = 77;
        }
    }
    let batch = Batch::of("llama");
    assert_ne!(batch.ids, other.ids);
    let (model, _) = CausalLm::load(&golden("llama"), &device, &mut |_, _| {}).unwrap();
    let hidden = |batch: &Batch| floats(model.hidden(batch.ids(&device), &batch.lengths, None));
    let inside = |row: usize| row % batch.tokens < batch.lengths[row / batch.tokens];
    assert_eq!(largest_difference(&hidden(&batch), &hidden(&other), 48, inside), 0.0);

    for architecture in CLASSIFIERS {
        let dir = golden(architecture);
        let (model, _) =
            SequenceClassifier::load_with_head(&dir, None, 0, &device, &mut |_, _| {}).unwrap();
        let logits = |batch: &Batch| floats(model.logits(batch.ids(&device), &batch.lengths));
        assert_eq!(logits(&batch), logits(&other), "{architecture}");
    }
}

/// Every parameter gets a gradient on an autodiff device, the tied table too.
#[test]
fn all_parameters_are_trainable() {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::{Gradients, Tensor};

    struct Untouched<'a>(&'a Gradients, usize);
    impl ModuleVisitor for Untouched<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0);
            self.1 += usize::from(gradient.is_none_or(|g| floats(g.abs().max()) == [0.0]));
        }
    }

    let device = device().autodiff();
    for architecture in DECODERS {
        let batch = Batch::of(architecture);
        let (model, _) = CausalLm::load(&golden(architecture), &device, &mut |_, _| {}).unwrap();
        let logits = model.logits(model.hidden(batch.ids(&device), &batch.lengths, None));
        let gradients = logits.powi_scalar(2).mean().backward();
        let mut untouched = Untouched(&gradients, 0);
        model.visit(&mut untouched);
        assert_eq!(untouched.1, 0, "{architecture}");
    }
}

#[test]
fn what_a_directory_holds_is_known_by_its_model_type() {
    let of = |name: &str| Architecture::of_dir(&golden(name));
    assert!(of("qwen3").unwrap().is_causal());
    assert!(CLASSIFIERS.iter().all(|name| !of(name).unwrap().is_causal()));
}

/// Attention that drops runs composed, and what it drops here is as good as nothing: it must be what
/// the fused one gives, with every family's positions.
#[test]
fn a_dropout_that_drops_nothing_changes_nothing() {
    let device = device().autodiff();
    for architecture in DECODERS {
        let mut copy = Copy::of(architecture);
        for key in
            ["attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout"]
        {
            copy.config[key] = 1e-12.into();
        }
        let path = copy.write();
        let config = CausalConfig::from_path(path).unwrap();
        let load = |config: &CausalConfig| {
            CausalLm::load_as(config, path, 0, &device, &mut |_, _| {}).unwrap().0
        };
        let batch = Batch::of(architecture);
        let hidden =
            |model: CausalLm| floats(model.hidden(batch.ids(&device), &batch.lengths, None));
        let (plain, dropping) = (load(&config), load(&config.with_dropout()));
        let [plain, dropping] = [plain, dropping].map(hidden);
        let inside = |row: usize| row % batch.tokens < batch.lengths[row / batch.tokens];
        let difference = largest_difference(&plain, &dropping, 48, inside);
        // Values around 1, the same sums in another order.
        assert!(difference < 1e-5, "{architecture}: {difference}");
        assert_ne!(plain, dropping, "{architecture}: the same path was taken");
    }
}
