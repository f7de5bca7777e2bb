//! Laws of every kind of adapter in the table, and of several on one weight.

mod test_device;

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, FactorPath, LoraForward, Method, Sizes, attach, attach_sets,
    detach,
};

const SIZES: Sizes = Sizes { d_in: 24, d_out: 10, rank: 4, groups: 1 };

/// As in `tests/sets.rs`, for sums of 24 + 4 products; DoRA's gain adds a norm of 24 squares and a
/// quotient to what is compared, and a difference of two outputs is compared with a change.
const TOLERANCE: f32 = 2e-5;

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

fn plain(device: &Device) -> Linear {
    // Random, not as a layer starts: its outputs are then of one sign and size.
    let weight = Tensor::random([SIZES.d_in, SIZES.d_out], Distribution::Default, device);
    Linear { weight: Param::from_tensor(weight), ..LinearConfig::new(1, SIZES.d_out).init(device) }
}

/// An adapter whose factors are all other than at the start of training.
fn moved(name: &str, method: Method, linear: &Linear) -> Adapter {
    let config = AdapterConfig::new(SIZES.rank).with_alpha(6.0).with_method(method);
    let mut value = 0.1;
    Adapter::from_values(name, &config, &linear.weight, |factor| {
        let count = factor.shape(SIZES).iter().product();
        let next = |_| {
            value = (value * 7.3_f32 + 0.31) % 1.0;
            value
        };
        (0..count).map(next).collect()
    })
    .unwrap()
}

fn check_close<const D: usize>(what: &str, left: Tensor<D>, right: Tensor<D>) {
    check_within(what, TOLERANCE, left, right);
}

fn check_within<const D: usize>(what: &str, share: f32, left: Tensor<D>, right: Tensor<D>) {
    let largest: f32 = right.clone().abs().max().into_scalar();
    let off: f32 = (left - right).abs().max().into_scalar();
    assert!(off <= share * largest, "{what}: off by {off} of {largest}");
}

/// The table, the files' names and the count speak of exactly the parameters that there are.
#[test]
fn the_table_lists_every_parameter_of_its_kind_with_its_shape() {
    struct Seen {
        path: Vec<String>,
        factors: Vec<(String, Vec<usize>)>,
    }
    impl ModuleVisitor for Seen {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.path.len() > 1 {
                self.factors.push((self.path.join("."), param.dims().to_vec()));
            }
        }
    }
    let linear = plain(&device());
    for &method in Method::ALL {
        let adapted = attach(linear.clone(), "weight", moved("x", method, &linear)).unwrap();
        let mut seen = Seen { path: Vec::new(), factors: Vec::new() };
        adapted.visit(&mut seen);
        let table = method.factors();
        assert_eq!(seen.factors.len(), table.len(), "{method}");
        for ((path, shape), factor) in seen.factors.iter().zip(table) {
            let place = FactorPath::parse(path).unwrap_or_else(|| panic!("{path} is not found"));
            assert_eq!((place.weight, place.index, place.method), ("weight", 0, method));
            assert_eq!(place.factor.name, factor.name);
            assert_eq!(*shape, factor.shape(SIZES), "{path}");
        }
        let keys: BTreeSet<&str> = table.iter().map(|factor| factor.key).collect();
        assert_eq!(keys.len(), table.len(), "{method}: two factors have one key");
        let more = adapted.num_params() - linear.num_params();
        assert_eq!(method.count(SIZES), more, "{method}");
        assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
    }
}

#[test]
fn a_path_that_is_no_factors_is_not_taken_for_one() {
    let parse = |below: &str| FactorPath::parse(&format!("l.0.q.weight.lora.{below}")).is_some();
    assert!(parse("adapters.12.factors.Dora.magnitude"));
    for below in [
        "adapters.0.factors.Lora.magnitude",
        "adapters.0.factors.Lora.c",
        "adapters.0.factors.Nora.a",
        "adapters.x.factors.Lora.a",
        "adapters.0.factors.Lora.a.b",
        "adapters.0.a",
    ] {
        assert!(!parse(below), "{below}");
    }
}

#[test]
fn every_kind_composes_merges_and_multiplies_alike() {
    let device = device();
    let linear = plain(&device);
    let x = Tensor::<3>::random([2, 3, SIZES.d_in], Distribution::Default, &device);
    let base = linear.forward(x.clone());
    for &method in Method::ALL {
        let adapter = moved("x", method, &linear);
        let adapted = attach(linear.clone(), "weight", adapter.clone()).unwrap();
        let full = adapted.lora_forward(x.clone());
        assert!((full.clone() - base.clone()).abs().max().into_scalar::<f32>() > 0.1, "{method}");
        // What a kind adds beside the weight, no weight can be composed of.
        let composes = !method.shifts();
        if composes {
            check_close("composed", adapted.forward(x.clone()), full.clone());
        }

        let set = Adapters::single(adapter.clone()).merge(linear.weight.base());
        let mut folded = linear.clone();
        folded.weight = folded.weight.map(|_| set.merged().unwrap().clone());
        if let Some(shift) = set.shift() {
            folded.bias = folded.bias.map(|bias| bias.map(|bias| bias + shift));
        }
        let merged = attach_sets(linear.clone(), |_| Some(set.clone()));
        check_close("merged beside", merged.lora_forward(x.clone()), full.clone());
        check_close("merged", folded.forward(x.clone()), full.clone());

        for multiplier in [0.0, 0.5, 2.0] {
            let set = Adapters::single(adapter.clone().with_multiplier(multiplier));
            let dialled = attach_sets(linear.clone(), |_| Some(set.clone()));
            let dialled = dialled.no_grad();
            let expected = base.clone() + (full.clone() - base.clone()) * multiplier;
            check_close("multiplier, factored", dialled.lora_forward(x.clone()), expected.clone());
            if composes {
                check_close("multiplier, composed", dialled.forward(x.clone()), expected);
            }
        }
    }
}

/// What several make of a weight does not depend on their order: each changes the frozen weight.
#[test]
fn several_adapters_of_any_kinds_add_their_changes_in_any_order() {
    let device = device();
    let linear = plain(&device).no_grad();
    let x = Tensor::<2>::random([5, SIZES.d_in], Distribution::Default, &device);
    let base = linear.forward(x.clone());
    let with = |set: Adapters| attach_sets(linear.clone(), |_| Some(set.clone()));
    for &first in Method::ALL {
        for &second in Method::ALL {
            let one = moved("one", first, &linear).with_multiplier(0.5);
            let two = moved("two", second, &linear);
            let alone = |a: &Adapter| with(Adapters::single(a.clone())).lora_forward(x.clone());
            let expected = alone(&one) + alone(&two) - base.clone();
            let orders = [
                Adapters::single(one.clone()).with(two.clone()),
                Adapters::single(two.clone()).with(one.clone()),
            ];
            for set in orders {
                check_close(
                    "factored",
                    with(set.clone()).lora_forward(x.clone()),
                    expected.clone(),
                );
                if !first.shifts() && !second.shifts() {
                    check_close("composed", with(set).forward(x.clone()), expected.clone());
                }
            }
        }
    }
}

/// A weight of half precision is the f32 weight of the same values, whatever hangs on it. On a GPU, which
/// multiplies in the format, up to the format's roundoff of x and, in DoRA's gain, of A.
#[test]
fn every_kind_runs_on_a_weight_of_half_precision() {
    let device = device();
    let formats = [(FloatDType::BF16, 2_f32.powi(-8)), (FloatDType::F16, 2_f32.powi(-11))];
    let mut had = formats.into_iter().filter(|(format, _)| device.supports_dtype(*format));
    let Some((format, roundoff)) = had.next() else {
        return eprintln!("{} reports no format of 16 bits", test_device::name());
    };
    let share = if burn_lora::device::is_cpu(&device) { 0.0 } else { 2.0 * roundoff };
    let mut dense = plain(&device).no_grad();
    let half = dense.weight.val().cast(format);
    dense.weight = dense.weight.map(|_| half.clone().cast(FloatDType::F32));
    let mut stored = dense.clone();
    stored.weight = stored.weight.map(|_| half);
    let x = Tensor::<2>::random([5, SIZES.d_in], Distribution::Default, &device);
    for &method in Method::ALL {
        let outputs = [&dense, &stored].map(|linear| {
            let adapter = moved("x", method, linear);
            let set = Adapters::single(adapter.clone()).merge(linear.weight.base());
            let merged = set.merged().unwrap().clone();
            let adapted = attach(linear.clone(), "weight", adapter).unwrap();
            (adapted.lora_forward(x.clone()), merged)
        });
        let [(dense, merged_dense), (half, merged_half)] = outputs;
        check_within("factored", TOLERANCE + share, half, dense);
        check_close("merged", merged_half, merged_dense);
    }
}

/// LoRA-FA is LoRA, forward and back, but for the gradient that it does not take.
#[test]
fn a_frozen_a_changes_nothing_but_its_own_gradient() {
    let device = device().autodiff();
    let linear = plain(&device);
    let x = Tensor::<2>::random([5, SIZES.d_in], Distribution::Default, &device).require_grad();
    let pass = |method| {
        let adapter = moved("x", method, &linear);
        let adapted = attach(linear.clone(), "weight", adapter).unwrap();
        let y = adapted.lora_forward(x.clone());
        let grads = y.clone().powi_scalar(2).sum().backward();
        let set = adapted.weight.reparameterization::<Adapters>().unwrap();
        let factor = |name| set.get("x").unwrap().factor::<2>(name).unwrap();
        (y.inner(), [factor("a").grad(&grads), factor("b").grad(&grads), x.grad(&grads)])
    };
    let (y, [da, db, dx]) = pass(Method::Lora);
    let (frozen_y, [frozen_da, frozen_db, frozen_dx]) = pass(Method::LoraFa);
    check_within("y", 0.0, frozen_y, y);
    check_within("dB", 0.0, frozen_db.unwrap(), db.unwrap());
    check_within("dx", 0.0, frozen_dx.unwrap(), dx.unwrap());
    assert!(da.is_some() && frozen_da.is_none());
}

#[test]
fn what_is_trained_is_counted_apart_and_a_file_knows_the_kinds_of_peft() {
    for &method in Method::ALL {
        let a = if method == Method::LoraFa { SIZES.d_in * SIZES.rank } else { 0 };
        assert_eq!(method.count(SIZES) - method.trained(SIZES), a, "{method}");
        let saved = method.saved_as();
        assert_eq!(saved.saved_as(), saved);
        assert_eq!(saved == method, method != Method::LoraFa, "{method}");
    }
    assert_eq!(Method::LoraFa.saved_as(), Method::Lora);
}

#[test]
fn a_set_without_its_last_adapter_is_none() {
    let linear = plain(&device());
    let set = Adapters::single(moved("one", Method::Lora, &linear));
    let both = set.clone().with(moved("two", Method::Dora, &linear));
    let names: Vec<String> =
        both.without("one").unwrap().iter().map(|adapter| adapter.name().to_owned()).collect();
    assert_eq!(names, ["two"]);
    assert!(set.without("one").is_none());
    assert_eq!(detach(linear.clone()).num_params(), linear.num_params());
}
