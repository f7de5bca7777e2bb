//! Adapters that start along what goes into their layers.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::{Init, LoraForward, Method};
use burn_lora_patch::peft::read_config;
use burn_lora_patch::{
    Eva, EvaConfig, LayerStatus, LoraConfig, LoraModule, PatchError, PatchReport, patch,
};

use crate::mlp::{ToVec, cpu};

/// Layers whose inputs are given each by itself.
#[derive(Module, Debug)]
struct Apart {
    spread: Linear,
    two: Linear,
    one: Linear,
}

impl Apart {
    fn new(device: &Device) -> Self {
        Self {
            spread: LinearConfig::new(8, 4).init(device),
            two: LinearConfig::new(3, 4).init(device),
            one: LinearConfig::new(3, 4).init(device),
        }
    }

    fn forward(&self, [spread, two, one]: [Tensor<2>; 3]) -> Tensor<2> {
        self.spread.lora_forward(spread) + self.two.lora_forward(two) + self.one.lora_forward(one)
    }
}

/// Rows along axes, each with its opposite, so that their mean is zero; of as many rows as `count`.
fn along(axes: &[f32], count: usize, device: &Device) -> Tensor<2> {
    let width = axes.len();
    let row = |i: usize| {
        let (axis, sign) = ((i / 2) % width, if i.is_multiple_of(2) { 1.0 } else { -1.0 });
        (0..width).map(move |j| if j == axis { sign * axes[j] } else { 0.0 })
    };
    let values: Vec<f32> = (0..count).flat_map(row).collect();
    Tensor::from_data(TensorData::new(values, [count, width]), device)
}

/// 48 rows: of `spread` in each of eight directions an eighth of what there is; of `two` 1.21 and 1 of 2.21 in two, and of
/// `one` 4 and 1 of 5.
fn inputs(device: &Device) -> [Tensor<2>; 3] {
    let spread = along(&[1.0; 8], 48, device);
    [spread, along(&[0.0, 1.1, 1.0], 48, device), along(&[2.0, 0.0, 1.0], 48, device)]
}

fn config() -> LoraConfig {
    LoraConfig::new(1).with_alpha(3.0).with_init(Init::Eva)
}

fn looked(net: &Apart, config: &LoraConfig, device: &Device) -> Eva {
    let mut eva = Eva::new(net, config).unwrap();
    for pass in 0..2 {
        assert!(!eva.has_converged(), "after {pass}");
        eva.pass(None, || net.forward(inputs(device))).unwrap();
    }
    eva
}

fn ranks(report: &PatchReport) -> Vec<(&str, usize, f64)> {
    let adapted = report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
    adapted.map(|layer| (layer.path.as_str(), layer.rank, layer.scale)).collect()
}

/// Of three ranks the shares 0.8 of `one` and 0.55 and 0.45 of `two` are the largest: by hand.
#[test]
fn ranks_go_to_the_directions_that_say_most_and_a_layer_without_any_is_left_out() {
    let device = cpu();
    let net = Apart::new(&device);
    let eva = looked(&net, &config(), &device);
    assert!(eva.has_converged());
    assert_eq!(eva.passes(), 2);
    let (patched, report) = eva.patch(net.clone()).unwrap();
    assert_eq!(ranks(&report), [("two", 2, 3.0), ("one", 1, 3.0)]);

    let a = |name: &str| {
        let sets = burn_lora::sets(&patched);
        let (_, set) = sets.iter().find(|(path, _)| path == &format!("{name}.weight")).unwrap();
        let adapter = set.get("default").unwrap();
        let [a, b] = ["a", "b"].map(|name| adapter.factor::<2>(name).unwrap().val());
        assert!(b.into_data().to_vec_f32().iter().all(|value| *value == 0.0));
        a.into_data().to_vec_f32()
    };
    // `[d_in, rank]`: the axes themselves, the longest first.
    let close = |ours: Vec<f32>, axes: &[f32]| {
        assert_eq!(ours.len(), axes.len());
        assert!(ours.iter().zip(axes).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?}");
    };
    close(a("two"), &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    close(a("one"), &[1.0, 0.0, 0.0]);

    let x = inputs(&device);
    let (base, start) = (net.forward(x.clone()), patched.forward(x));
    assert_eq!(start.into_data(), base.into_data(), "B is zero");

    let kept = config().with_eva(EvaConfig::default().with_adjust_scaling_factors(false));
    let (_, report) = looked(&net, &kept, &device).patch(net.clone()).unwrap();
    assert_eq!(ranks(&report), [("two", 2, 1.5), ("one", 1, 3.0)]);
    let same = config().with_eva(EvaConfig::default().with_rho(1.0));
    let (_, report) = looked(&net, &same, &device).patch(net.clone()).unwrap();
    assert_eq!(ranks(&report), [("spread", 1, 3.0), ("two", 1, 3.0), ("one", 1, 3.0)]);

    // 16 rows a pass lie along the first axis of `one`, 2 long: the singular value of two passes is √(2 · 16 · 4).
    let white = config().with_eva(EvaConfig::default().with_whiten(true));
    let (whitened, _) = looked(&net, &white, &device).patch(net).unwrap();
    let sets = burn_lora::sets(&whitened);
    let one = sets.iter().find(|(path, _)| path == "one.weight").unwrap();
    let a = one.1.get("default").unwrap().factor::<2>("a").unwrap().val().into_data().to_vec_f32();
    let expected = 1.0 / (2.0_f32 * 16.0 * 4.0).sqrt().sqrt();
    assert!((a[0] / expected - 1.0).abs() < 1e-5, "{a:?} {expected}");
}

/// What was found is said in PEFT's words, and comes back.
#[test]
fn what_was_found_is_saved_and_loads_on_the_base() {
    let device = cpu();
    let net = Apart::new(&device);
    for method in [Method::Lora, Method::Dora, Method::LoraFa] {
        let config = config().with_method(method);
        let (patched, _) = looked(&net, &config, &device).patch(net.clone()).unwrap();
        let trained = crate::mlp::with_trained_factors(patched);
        let dir = tempfile::tempdir().unwrap();
        trained.save_adapter(dir.path()).unwrap();
        let file = read_config(dir.path()).unwrap();
        assert_eq!(file.init_lora_weights, "eva");
        assert_eq!(file.eva_config["rho"], 2.0);
        assert_eq!((file.rank_pattern["two"].as_u64(), file.rank_pattern.len()), (Some(2), 1));
        assert_eq!((file.alpha_pattern["two"].as_f64(), file.alpha_pattern.len()), (Some(6.0), 1));
        let (loaded, report) = net.clone().load_adapter(dir.path()).unwrap();
        assert!(report.warnings().is_empty(), "{report}");
        let x = inputs(&device);
        assert_eq!(loaded.forward(x.clone()).into_data(), trained.forward(x).into_data());
    }
}

/// Two layers that read the same are looked at once, and get the same directions.
#[test]
fn layers_with_one_input_start_along_the_same_directions() {
    let device = cpu();
    let net = Apart::new(&device);
    let config = config().with_targets(["two", "one"]);
    let mut eva = Eva::new(&net, &config).unwrap();
    for _ in 0..2 {
        let [spread, two, _] = inputs(&device);
        eva.pass(None, || net.forward([spread, two.clone(), two])).unwrap();
    }
    assert!(eva.has_converged());
    let (patched, report) = eva.patch(net).unwrap();
    assert_eq!(ranks(&report), [("two", 1, 3.0), ("one", 1, 3.0)]);
    let factors: Vec<Vec<f32>> = burn_lora::sets(&patched)
        .iter()
        .map(|(_, set)| set.get("default").unwrap().factor::<2>("a").unwrap().val())
        .map(|a| a.into_data().to_vec_f32())
        .collect();
    assert_eq!(factors[0], factors[1]);
}

/// PEFT deals their ranks out together. Each says 0.55 and 0.45 of what there is, so that of three ranks the first layer gets two.
#[test]
fn layers_with_one_input_can_each_get_as_many_as_the_one_with_the_largest_rank() {
    let device = cpu();
    let net = Apart::new(&device);
    let config = config().with_targets(["two", "one"]).with_rank_pattern([("one", 2)]);
    let config = config.with_eva(EvaConfig::default().with_rho(1.0));
    let mut eva = Eva::new(&net, &config).unwrap();
    let [spread, two, _] = inputs(&device);
    eva.pass(None, || net.forward([spread, two.clone(), two])).unwrap();
    let (_, report) = eva.patch(net).unwrap();
    // Alpha goes with the rank: 3 · 2 / 1 over 2, and 3 · 1 / 2 over 1.
    assert_eq!(ranks(&report), [("two", 2, 3.0), ("one", 1, 1.5)]);
}

/// Python rounds 2.5 to 2. What goes into `one` lies along three axes, each of which says more than one of eight.
#[test]
fn half_a_rank_more_is_rounded_to_the_even_side() {
    let device = cpu();
    let net = Apart::new(&device);
    let config = LoraConfig::new(2).with_init(Init::Eva).with_targets(["spread", "one"]);
    for (rho, expected) in [(1.25, [2, 2]), (1.5, [1, 3])] {
        let config = config.clone().with_eva(EvaConfig::default().with_rho(rho));
        let mut eva = Eva::new(&net, &config).unwrap();
        let [spread, two, _] = inputs(&device);
        let one = along(&[1.0, 0.9, 0.8], 48, &device);
        eva.pass(None, || net.forward([spread, two, one])).unwrap();
        let found = eva.patch(net.clone()).unwrap().1;
        let found: Vec<usize> = ranks(&found).iter().map(|(_, rank, _)| *rank).collect();
        assert_eq!(found, expected, "rho {rho}");
    }
}

#[test]
fn rows_that_do_not_count_are_not_looked_at() {
    let device = cpu();
    let net = Apart::new(&device);
    let config = config().with_targets(["one"]);
    let with_padding = |value: f32| {
        let [spread, two, one] = inputs(&device);
        let padding = Tensor::<2>::full([2, 3], value, &device);
        let wider = |x: Tensor<2>| Tensor::cat(vec![x.clone(), x.narrow(0, 0, 2)], 0);
        [wider(spread), wider(two), Tensor::cat(vec![one, padding], 0)]
    };
    let rows: Vec<bool> = (0..50).map(|row| row < 48).collect();
    let mut eva = Eva::new(&net, &config).unwrap();
    eva.pass(Some(&rows), || net.forward(with_padding(f32::NAN))).unwrap();
    let told = eva.pass(None, || net.forward(with_padding(f32::NAN))).unwrap_err();
    assert!(matches!(&told, PatchError::InputNotFinite { layer } if layer == "one"), "{told}");
    // It is as it was before that pass.
    eva.pass(Some(&rows), || net.forward(with_padding(9.0))).unwrap();
    let (_, report) = eva.patch(net).unwrap();
    assert_eq!(ranks(&report), [("one", 1, 3.0)]);
}

#[test]
fn what_cannot_start_along_inputs_is_told_what_to_do() {
    let device = cpu();
    let net = Apart::new(&device);
    let told = patch(&mut net.clone(), &config()).unwrap_err();
    assert!(told.to_string().contains("`Eva::pass`"), "{told}");
    let told = Eva::new(&net, &LoraConfig::new(1)).err().unwrap().to_string();
    assert!(told.contains("`with_init(Init::Eva)`"), "{told}");
    for (key, eva) in [
        ("rho", EvaConfig::default().with_rho(0.5)),
        ("tau", EvaConfig::default().with_tau(f64::NAN)),
    ] {
        let told = Eva::new(&net, &config().with_eva(eva)).err().unwrap().to_string();
        assert!(told.contains(&format!("eva.{key} is")), "{told}");
    }
    // A model that calls `Linear::forward` shows nobody what goes in.
    let mut eva = Eva::new(&net, &config()).unwrap();
    eva.pass(None, || net.one.forward(inputs(&device)[2].clone())).unwrap();
    assert!(!eva.has_converged());
    let told = eva.patch(net).unwrap_err().to_string();
    assert!(told.contains("`spread`, `two`, `one` saw no input"), "{told}");
    assert!(told.contains("`lora_forward`"), "{told}");
}
