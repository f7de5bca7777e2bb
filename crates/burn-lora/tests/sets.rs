//! What hangs on a weight: composed against factored, merging, multipliers, detaching, training.

mod test_device;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, Init, LoraError, LoraForward, Method, attach, attach_sets,
    detach, sets,
};

/// Two ways to the same float32 sums, as a share of the largest result. An output is a sum of 24 + 4
/// products and two more roundings, each of at most 2^-24 of the sum of the terms' magnitudes; inputs
/// and factors here are not negative, so that this sum is the result itself and what the base weight
/// adds to it, less than a quarter. Twice, for two ways: `2 · 30 · 1.25 · 2^-24`.
const TOLERANCE: f32 = 4.5e-6;

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// That two results differ by no more than a share of the largest of them.
fn check_within<const D: usize>(share: f32, left: Tensor<D>, right: Tensor<D>, what: &str) {
    let (left, right) = (values(left), values(right));
    let largest = left.iter().chain(&right).fold(0.0_f32, |m, value| m.max(value.abs()));
    let difference = left.iter().zip(&right).fold(0.0_f32, |m, (l, r)| m.max((l - r).abs()));
    let allowed = share * largest;
    assert!(difference <= allowed, "{what}: differs by {difference}, {allowed} is allowed");
}

/// That the same products were formed: bit for bit on a CPU. On a GPU, Burn's own linear and this crate
/// choose their kernels apart, and sum in two orders.
fn check_repeated<const D: usize>(left: Tensor<D>, right: Tensor<D>, what: &str) {
    let share = if burn_lora::device::is_cpu(&left.device()) { 0.0 } else { TOLERANCE };
    check_within(share, left, right, what);
}

/// Scale 3.5, and a B that is not zero: with alpha = rank or B = 0 a wrong scale goes unseen.
fn adapter(name: &str, device: &Device) -> Adapter {
    let a = Tensor::random([24, 4], Distribution::Default, device);
    let b = Tensor::random([4, 10], Distribution::Default, device);
    Adapter::from_factors(name, a, b, 3.5, 0.0).unwrap()
}

fn adapted(device: &Device) -> Linear {
    attach(LinearConfig::new(24, 10).init(device), "weight", adapter("default", device)).unwrap()
}

fn input(device: &Device) -> Tensor<3> {
    Tensor::random([2, 3, 24], Distribution::Default, device)
}

fn factor(adapter: &Adapter, name: &str) -> Vec<f32> {
    values(adapter.factor::<2>(name).unwrap().val())
}

fn set(linear: &Linear) -> &Adapters {
    linear.weight.reparameterization::<Adapters>().unwrap()
}

fn with_set(linear: &Linear, change: impl FnOnce(Adapters) -> Adapters) -> Linear {
    let changed = change(set(linear).clone());
    attach_sets(detach(linear.clone()), |_| Some(changed.clone()))
}

#[test]
fn composed_path_equals_factored() {
    let device = device();
    let (linear, x) = (adapted(&device), input(&device));
    check_within(TOLERANCE, linear.forward(x.clone()), linear.lora_forward(x), "composed");
}

#[test]
fn merged_equals_unmerged_and_unmerging_is_exact() {
    let device = device();
    let (linear, x) = (adapted(&device), input(&device));
    let before = values(linear.weight.base());
    let unmerged = linear.lora_forward(x.clone());

    let merge = |linear: &Linear| with_set(linear, |set| set.merge(linear.weight.base()));
    let merged = merge(&linear);
    assert!(set(&merged).is_merged());
    assert_eq!(values(merged.weight.base()), before, "the base stays where it is");
    assert_ne!(values(merged.weight.val()), before);
    check_within(TOLERANCE, merged.lora_forward(x.clone()), unmerged.clone(), "merged, factored");
    check_within(TOLERANCE, merged.forward(x.clone()), unmerged.clone(), "merged, composed");

    let again = merge(&merged);
    assert_eq!(values(again.weight.val()), values(merged.weight.val()), "merged twice");

    let back = with_set(&merged, Adapters::unmerge);
    assert_eq!(values(back.weight.base()), before);
    check_repeated(back.lora_forward(x), unmerged, "merged and unmerged");
}

#[test]
fn the_multiplier_dials_the_change_from_the_base_to_beyond() {
    let device = device();
    let (linear, x) = (adapted(&device), input(&device));
    let base = detach(linear.clone()).forward(x.clone());
    let full = linear.lora_forward(x.clone());
    for multiplier in [0.0, 0.5, 1.0, -1.0, 2.0] {
        let dialled = with_set(&linear, |set| set.map(|a| a.with_multiplier(multiplier)));
        let expected = base.clone() + (full.clone() - base.clone()) * multiplier;
        // What is expected carries the roundings of the full change, twice what half of it has.
        let check = |got, way| {
            check_within(2.0 * TOLERANCE, got, expected.clone(), &format!("{way}, {multiplier}"));
        };
        check(dialled.lora_forward(x.clone()), "factored");
        check(dialled.forward(x.clone()), "composed");
    }
    let off = with_set(&linear, |set| set.map(|a| a.with_multiplier(0.0)));
    check_repeated(off.lora_forward(x.clone()), base.clone(), "multiplier 0");
    let inactive = with_set(&linear, |set| set.map(|a| a.with_active(false)));
    check_repeated(inactive.forward(x), base, "inactive");
}

#[test]
fn several_adapters_add_up() {
    let device = device();
    let (one, x) = (adapted(&device), input(&device));
    let both = with_set(&one, |set| set.with(adapter("second", &device)));
    let second = with_set(&both, |set| {
        set.map(|a| {
            let active = a.name() == "second";
            a.with_active(active)
        })
    });
    let base = detach(one.clone()).forward(x.clone());
    let expected = one.lora_forward(x.clone()) + second.lora_forward(x.clone()) - base;
    // What is expected is put together from two outputs, each with its roundings.
    check_within(2.0 * TOLERANCE, both.lora_forward(x.clone()), expected.clone(), "factored");
    check_within(2.0 * TOLERANCE, both.forward(x), expected, "composed");
}

#[test]
fn detaching_gives_the_base_back_bit_for_bit() {
    let device = device();
    let plain = LinearConfig::new(24, 10).init(&device);
    let before = values(plain.weight.val());
    let detached = detach(attach(plain.clone(), "weight", adapter("default", &device)).unwrap());
    assert_eq!(values(detached.weight.val()), before);
    assert_eq!(detached.num_params(), plain.num_params());
    assert_eq!(detached.weight.id, plain.weight.id);
    // After a detach the sets of this thread work again.
    let (linear, x) = (adapted(&device), input(&device));
    assert_ne!(values(linear.forward(x.clone())), values(detach(linear).forward(x)));
}

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    plain: Linear,
    last: Linear,
}

#[test]
fn sets_come_with_the_paths_of_their_weights() {
    let device = device();
    let linear = || LinearConfig::new(24, 10).init(&device);
    let model = Two { first: linear(), plain: linear(), last: linear() };
    let model = attach(model, "last.weight", adapter("l", &device)).unwrap();
    let model = attach(model, "first.weight", adapter("f", &device)).unwrap();
    let found: Vec<(String, String)> = sets(&model)
        .into_iter()
        .map(|(path, set)| (path, set.iter().map(Adapter::name).collect()))
        .collect();
    let expected = [("first.weight", "f"), ("last.weight", "l")];
    assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
    assert!(sets(&detach(model)).is_empty());
}

#[test]
fn materialize_folds_the_adapter_in() {
    let device = device();
    let (linear, x) = (adapted(&device), input(&device));
    let folded = linear.clone().materialize();
    assert!(folded.weight.reparameterization::<Adapters>().is_none());
    check_within(TOLERANCE, folded.forward(x.clone()), linear.lora_forward(x), "folded");
}

#[test]
fn a_fresh_adapter_starts_at_the_base() {
    let device = device();
    let plain = LinearConfig::new(24, 10).init(&device);
    let x = input(&device);
    for (method, init) in
        Method::ALL.iter().flat_map(|method| [(*method, Init::Kaiming), (*method, Init::Gaussian)])
    {
        let config = AdapterConfig::new(4).with_alpha(8.0).with_method(method).with_init(init);
        if config.validate().is_err() {
            continue;
        }
        let fresh = Adapter::init("default", &config, &plain.weight, 5).unwrap();
        let linear = attach(plain.clone(), "weight", fresh).unwrap();
        check_repeated(linear.lora_forward(x.clone()), plain.forward(x.clone()), "fresh");
    }
}

#[test]
fn a_step_changes_both_factors_and_leaves_the_base_bit_for_bit() {
    let device = device().autodiff();
    let mut linear = adapted(&device);
    let weight = values(linear.weight.base());
    let factors = |linear: &Linear| {
        let adapter = set(linear).get("default").unwrap().clone();
        (factor(&adapter, "a"), factor(&adapter, "b"))
    };
    let (a, b) = factors(&linear);
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..2 {
        let loss = linear.lora_forward(input(&device)).powf_scalar(2.0).mean();
        let grads = GradientsParams::from_grads(loss.backward(), &linear);
        linear = optimizer.step(1e-2, linear, grads);
    }
    assert_eq!(values(linear.weight.base()), weight);
    let (new_a, new_b) = factors(&linear);
    // AdamW's first steps move every entry that has a gradient by about the learning rate.
    assert!(a.iter().zip(&new_a).all(|(old, new)| (old - new).abs() > 1e-4));
    assert!(b.iter().zip(&new_b).all(|(old, new)| (old - new).abs() > 1e-4));
}

#[test]
fn dropout_acts_in_training_only_and_keeps_the_mean() {
    let device = device();
    let a = Tensor::random([24, 4], Distribution::Default, &device);
    let b = Tensor::random([4, 10], Distribution::Default, &device);
    let build = |device: &Device, dropout| {
        let (a, b) = (a.clone().to_device(device), b.clone().to_device(device));
        let adapter = Adapter::from_factors("default", a, b, 1.0, dropout).unwrap();
        let mut linear = LinearConfig::new(24, 10).with_bias(false).init(device);
        linear.weight = linear.weight.map(|weight| weight.zeros_like());
        attach(linear, "weight", adapter).unwrap()
    };
    let x = Tensor::<2>::ones([4000, 24], &device);
    let kept = build(&device, 0.0).lora_forward(x.clone());
    let evaluated = build(&device, 0.5).lora_forward(x.clone());
    check_repeated(evaluated, kept.clone(), "dropout outside of training");

    let training = device.clone().autodiff();
    training.seed(1);
    let x = Tensor::<2>::ones([4000, 24], &training);
    let dropped = build(&training, 0.5).lora_forward(x).inner();
    assert!(values(dropped.clone()) != values(kept.clone()), "nothing was dropped");
    // A mean over 4,000 rows of 24 halved-or-doubled inputs: its standard error is about
    // 1/√(4000 · 24) = 0.3 % of the sum it estimates; 2 % is six of them.
    let (dropped, kept) = (values(dropped.mean_dim(0)), values(kept.mean_dim(0)));
    for (dropped, kept) in dropped.iter().zip(kept) {
        assert!((dropped / kept - 1.0).abs() < 0.02, "{dropped} instead of {kept}");
    }
}

#[test]
fn factors_that_do_not_fit_are_refused_with_both_shapes() {
    let device = device();
    let a = Tensor::<2>::zeros([24, 4], &device);
    let b = Tensor::<2>::zeros([5, 10], &device);
    let error = Adapter::from_factors("default", a, b, 1.0, 0.0).unwrap_err();
    assert_eq!(error, LoraError::FactorShapes { a: [24, 4], b: [5, 10] });
}

#[test]
fn an_adapter_of_nothing_is_refused() {
    let device = device();
    let empty = Param::from_tensor(Tensor::<2>::zeros([0, 10], &device));
    for method in Method::ALL {
        let config = AdapterConfig::new(4).with_alpha(8.0).with_method(*method);
        let error = Adapter::init("default", &config, &empty, 0).unwrap_err();
        assert_eq!(error, LoraError::Weight { d_in: 0, d_out: 10 });
    }
}

/// It was once left without a word, and the model trained nothing.
#[test]
fn attaching_to_a_path_that_does_not_exist_is_an_error_with_those_that_do() {
    let device = device();
    let plain = || LinearConfig::new(24, 10).init(&device);
    let model = Two { first: plain(), plain: plain(), last: plain() };
    let error = attach(model.clone(), "frist.weight", adapter("x", &device)).unwrap_err();
    let LoraError::UnknownWeight { path, weights } = &error else { panic!("{error}") };
    assert_eq!((path.as_str(), weights.len()), ("frist.weight", 3));
    assert!(error.to_string().contains("first.weight"), "{error}");

    let wide = Two { first: LinearConfig::new(24, 11).init(&device), ..model };
    let error = attach(wide, "first.weight", adapter("x", &device)).unwrap_err();
    let path = "first.weight".to_owned();
    assert_eq!(error, LoraError::WeightShape { path, made_for: [24, 10], found: [24, 11] });
}
