//! Model code that knows no adapters: `Linear::forward`, in every kind of adapter, in training, in half
//! precision, and on weights that lie the other way round.

#![cfg(feature = "flex")]

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};
use burn_lora::{Adapter, AdapterConfig, Adapters, LoraForward, Method, attach, attach_sets, sets};

const D_IN: usize = 12;
const D_OUT: usize = 7;

fn device() -> Device {
    burn_lora::device::parse("flex").unwrap()
}

/// A frozen linear, without a bias.
fn plain(device: &Device) -> Linear {
    LinearConfig::new(D_IN, D_OUT).with_bias(false).init(device).no_grad()
}

/// An adapter that changes something: fixed factors of size about 0.4, whatever the kind.
fn adapter(method: Method, dropout: f64, weight: &Param<Tensor<2>>) -> Adapter {
    let config = AdapterConfig::new(3).with_method(method).with_dropout(dropout);
    let [d_in, d_out] = weight.dims();
    Adapter::from_values("default", &config, weight, |factor| {
        let sizes = burn_lora::Sizes { d_in, d_out, rank: 3, groups: 1 };
        let count = factor.shape(sizes).iter().product();
        (0..count).map(|i| 0.4 * (0.7 * i as f32 + factor.name.len() as f32).sin() + 0.2).collect()
    })
    .unwrap()
}

/// Those of which all is in the weight.
fn composed_kinds() -> impl Iterator<Item = &'static Method> {
    Method::ALL.iter().filter(|method| !method.shifts())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(FloatDType::F32).into_data().try_to_vec().unwrap()
}

/// The largest difference as a share of the largest value.
fn difference<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> f32 {
    let (left, right) = (values(left), values(right));
    let largest = right.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let pairs = left.into_iter().zip(right);
    pairs.map(|(l, r)| (l - r).abs()).fold(0.0, f32::max) / largest
}

/// Dropout was once passed over in silence wherever a model calls `Linear::forward`.
///
/// With the identity as input the output's rows are those of the composed weight: the change of each is
/// dropped or divided by what is kept.
#[test]
fn dropout_acts_on_model_code_that_knows_no_adapters() {
    let device = device().autodiff();
    let keep = 0.75f32;
    for &method in composed_kinds() {
        let linear = plain(&device);
        let base = values(linear.weight.base());
        let whole = attach(linear.clone(), "weight", adapter(method, 0.0, &linear.weight)).unwrap();
        let whole = values(whole.weight.val());
        let adapted = adapter(method, 0.25, &linear.weight);
        let adapted = attach(linear, "weight", adapted).unwrap();
        let eye = Tensor::<2>::eye(D_IN, &device);
        let (mut kept, mut dropped) = (0, 0);
        for _ in 0..8 {
            let rows = values(adapted.forward(eye.clone()));
            for row in 0..D_IN {
                let at = row * D_OUT..(row + 1) * D_OUT;
                let is = |share: f32| {
                    at.clone()
                        .all(|i| (rows[i] - (base[i] + share * (whole[i] - base[i]))).abs() < 1e-5)
                };
                kept += usize::from(is(1.0 / keep));
                dropped += usize::from(is(0.0));
            }
        }
        // 96 draws: none of either has a probability under 1e-11.
        assert_eq!(kept + dropped, 8 * D_IN, "{method}");
        assert!(kept > 0 && dropped > 0, "{method}: {kept} kept, {dropped} dropped");

        let evaluated = adapted.valid();
        let eye = Tensor::<2>::eye(D_IN, &device.clone().inner());
        let rows = values(evaluated.forward(eye)).into_iter().zip(&whole);
        let apart = rows.fold(0.0f32, |most, (is, whole)| most.max((is - whole).abs()));
        assert!(apart < 1e-5, "{method}: nothing is dropped outside of training");
    }
}

/// A model held in 16 bits has activations of 16 bits: an f32 weight there was a panic of the backend.
#[test]
fn a_model_in_half_precision_runs_trains_and_merges_by_either_path() {
    for format in [FloatDType::F16, FloatDType::BF16] {
        let device = device().autodiff();
        let mut linear = LinearConfig::new(D_IN, D_OUT).init(&device).no_grad();
        linear.weight = linear.weight.map(|weight| weight.cast(format));
        linear.bias = linear.bias.map(|bias| bias.map(|bias| bias.cast(format)));
        let x = Tensor::<3>::random([2, 3, D_IN], Distribution::Default, &device).cast(format);
        for &method in composed_kinds() {
            let trained = method.factors().iter().find(|factor| factor.trained).unwrap();
            let made = adapter(method, 0.0, &linear.weight);
            let adapted = attach(linear.clone(), "weight", made).unwrap();
            let (composed, factored) =
                (adapted.forward(x.clone()), adapted.lora_forward(x.clone()));
            assert_eq!((composed.dtype(), factored.dtype()), (x.dtype(), x.dtype()));
            // bf16 rounds weights and outputs to 8 bits, by at most 0.4 % of each.
            let apart = difference(composed.clone(), factored.clone());
            assert!(apart < 0.03, "{method}, {format:?}: {apart}");
            assert!(difference(linear.forward(x.clone()), factored.clone()) > 0.1);
            for output in [composed, factored] {
                let gradients = output.cast(FloatDType::F32).sum().backward();
                let (_, set) = sets(&adapted).remove(0);
                let factor = set.get("default").unwrap().factor::<2>(trained.name).unwrap();
                let gradient = factor.grad(&gradients).expect("a gradient reaches the factors");
                assert_eq!(gradient.dtype(), DType::F32);
            }
            let set = sets(&adapted).remove(0).1.merge(adapted.weight.base());
            let merged = attach_sets(linear.clone(), |_| Some(set.clone()));
            for output in [merged.forward(x.clone()), merged.lora_forward(x.clone())] {
                assert_eq!(output.dtype(), x.dtype());
                assert!(difference(output, adapted.lora_forward(x.clone())) < 0.03);
            }
        }
    }
}

/// The weight `[d_out, d_in]` with a set for it is the transposed weight `[d_in, d_out]` with that set.
#[test]
fn a_weight_that_lies_the_other_way_round_is_composed_the_other_way_round() {
    let device = device();
    for &method in composed_kinds() {
        let linear = plain(&device);
        let made = adapter(method, 0.0, &linear.weight);
        let composed = attach(linear.clone(), "weight", made.clone()).unwrap().weight.val();
        let mut stored = linear.clone();
        stored.weight = stored.weight.map(|weight| weight.transpose());
        let set = Adapters::single(made).with_turned(true);
        let merged = set.clone().merge(stored.weight.base());
        for set in [set, merged] {
            let turned = attach_sets(stored.clone(), |_| Some(set.clone())).weight.val();
            assert_eq!(turned.dims(), [D_OUT, D_IN]);
            assert!(difference(turned.transpose(), composed.clone()) < 1e-6, "{method}");
        }
    }
}

/// Training moved them, unseen, until `backward` panicked.
#[test]
fn merged_factors_are_not_trained_until_they_are_unmerged() {
    let device = device().autodiff();
    let trained = |linear: &Linear| {
        let (_, set) = sets(linear).remove(0);
        let factor = set.get("default").unwrap().factor::<2>("a").unwrap();
        (factor.base().is_require_grad(), factor.id)
    };
    let linear = plain(&device);
    let made = adapter(Method::Lora, 0.0, &linear.weight);
    let adapted = attach(linear.clone(), "weight", made).unwrap();
    let (is, id) = trained(&adapted);
    assert!(is);
    // Also where the model is merged in validation mode and trained on afterwards.
    for adapted in [adapted.clone(), adapted.valid()] {
        let set = sets(&adapted).remove(0).1.merge(adapted.weight.base());
        let merged = attach_sets(linear.clone(), |_| Some(set.clone()));
        assert!(!trained(&merged.train()).0);
        let back = attach_sets(linear.clone(), |_| Some(set.clone().unmerge()));
        assert_eq!(trained(&back.train()), (true, id));
    }
}

/// What is added to the output was lost, unseen.
#[test]
#[should_panic(expected = "call `LoraForward::lora_forward` in the place of `Linear::forward`")]
fn what_a_weight_cannot_hold_stops_model_code_that_knows_no_adapters() {
    let linear = plain(&device());
    let made = adapter(Method::LoraBias, 0.0, &linear.weight);
    let adapted = attach(linear, "weight", made).unwrap();
    adapted.forward(Tensor::<2>::ones([1, D_IN], &device()));
}
