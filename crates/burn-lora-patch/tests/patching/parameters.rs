//! Parameters that are no layer's weight: composed, trained, saved, loaded and merged.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::{Init, LoraForward, Method};
use burn_lora_patch::peft::{LoadOptions, PeftConfig, read_config};
use burn_lora_patch::{
    LayerStatus, Layout, LoraConfig, LoraModule, Targets, merge, unload, unmerge,
};
use safetensors::SafeTensors;

use crate::mlp::{ToVec, bits, cpu, tracked, with_trained_factors};

const EXPERTS: usize = 3;
const D: usize = 4;
const HIDDEN: usize = 5;

/// `[experts, d_in, d_out]`, and a gate of two dimensions.
#[derive(Module, Debug)]
struct Experts {
    up: Param<Tensor<3>>,
    down: Param<Tensor<3>>,
    scales: Param<Tensor<1>>,
}

/// `[experts, d_out, d_in]`, as PyTorch's.
#[derive(Module, Debug)]
struct Turned {
    up: Param<Tensor<3>>,
}

#[derive(Module, Debug)]
struct Net {
    proj: Linear,
    experts: Experts,
    turned: Turned,
    gate: Param<Tensor<2>>,
}

fn filled<const R: usize>(shape: [usize; R], seed: f32, device: &Device) -> Param<Tensor<R>> {
    let count = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..count).map(|at| 0.5 * (seed + 0.7 * at as f32).sin()).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            proj: Linear { weight: filled([D, D], 0.1, device), bias: None },
            experts: Experts {
                up: filled([EXPERTS, D, HIDDEN], 0.2, device),
                down: filled([EXPERTS, HIDDEN, D], 0.3, device),
                scales: filled([EXPERTS], 0.4, device),
            },
            turned: Turned { up: filled([EXPERTS, HIDDEN, D], 0.5, device) },
            gate: filled([D, 2], 0.6, device),
        }
    }

    /// `x: [rows, d]`, through every expert.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.proj.lora_forward(x);
        let each = x.clone().unsqueeze::<3>().repeat_dim(0, EXPERTS);
        let wide = each.clone().matmul(self.experts.up.val()).tanh();
        let turned = each.matmul(self.turned.up.val().swap_dims(1, 2));
        let y = (wide + turned).matmul(self.experts.down.val()).sum_dim(0).squeeze_dim::<2>(0);
        Tensor::cat(vec![y, x.matmul(self.gate.val())], 1)
    }
}

fn x(device: &Device) -> Tensor<2> {
    filled([6, D], 0.9, device).val()
}

fn out(net: &Net) -> Vec<f32> {
    net.forward(x(&net.gate.device())).into_data().to_vec_f32()
}

const ALL: [&str; 4] = ["experts.up", "experts.down", "turned.up", "gate"];

fn config() -> LoraConfig {
    LoraConfig::new(2)
        .with_alpha(3.0)
        .with_targets(Targets::none())
        .with_target_parameters(ALL)
        .with_linear_type("Turned", Layout::OutIn)
}

fn options() -> LoadOptions {
    LoadOptions::new().with_linear_type("Turned", Layout::OutIn)
}

/// The tensors of a directory, by key.
fn tensors(dir: &std::path::Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |(key, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().chunks_exact(4);
        let values = values.map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        (key, (view.shape().to_vec(), values.collect()))
    };
    file.tensors().into_iter().map(read).collect()
}

/// PEFT's `ParamWrapper.get_delta_weight`: `einsum("o r e, e r i -> e i o")` of A as `[e, r, i]` and B as `[o, r, e]`, by
/// expert, input and output.
fn delta(a: &[f64], b: &[f64], [experts, d_in, d_out]: [usize; 3], scale: f64) -> Vec<f64> {
    let rank = a.len() / (experts * d_in);
    let mut values = Vec::new();
    for e in 0..experts {
        for i in 0..d_in {
            for o in 0..d_out {
                let of = |k: usize| b[(o * rank + k) * experts + e] * a[(e * rank + k) * d_in + i];
                values.push(scale * (0..rank).map(of).sum::<f64>());
            }
        }
    }
    values
}

#[test]
fn a_fresh_adapter_is_the_base_and_its_change_is_pefts_of_its_files() {
    let base = Net::new(&cpu().autodiff());
    let (fresh, report) = base.clone().with_lora(&config()).unwrap();
    assert_eq!(out(&fresh), out(&base), "B is zero");
    assert!(report.to_string().contains("adapted: 0 of 1 linears, 4 parameters"), "{report}");
    let per = |d_in: usize, d_out: usize, experts: usize| 2 * experts * (d_in + d_out);
    let count = 3 * per(D, HIDDEN, EXPERTS) + per(D, 2, 1);
    assert_eq!(report.trainable(), count);
    let paths = tracked(&fresh);
    assert_eq!(paths.len(), 8);
    assert!(paths.iter().all(|path| path.contains(".lora.adapters.0.factors.Lora.")), "{paths:?}");

    let trained = with_trained_factors(fresh);
    let dir = tempfile::tempdir().unwrap();
    trained.save_adapter(dir.path()).unwrap();
    let file = read_config(dir.path()).unwrap();
    assert_eq!(file.target_parameters.as_deref().unwrap(), ALL);
    let found = tensors(dir.path());
    let key = |module: &str, factor: &str| format!("base_model.model.{module}lora_{factor}.weight");
    // `down` comes after `up`, so that PEFT wraps it outermost; the root's own parameter has no module.
    let places = [
        ("experts.base_layer.", [EXPERTS, D, HIDDEN]),
        ("experts.", [EXPERTS, HIDDEN, D]),
        ("turned.", [EXPERTS, D, HIDDEN]),
        ("", [1, D, 2]),
    ];
    assert_eq!(found.len(), 8, "{:?}", found.keys());
    let merged = trained.clone().merge_and_unload_lora().unwrap();
    let weights = |net: &Net| {
        let flat = |data: TensorData| -> Vec<f64> {
            data.as_slice::<f32>().unwrap().iter().map(|value| f64::from(*value)).collect()
        };
        [
            flat(net.experts.up.val().into_data()),
            flat(net.experts.down.val().into_data()),
            flat(net.turned.up.val().swap_dims(1, 2).into_data()),
            flat(net.gate.val().into_data()),
        ]
    };
    let (before, composed, after) = (weights(&base), weights(&trained), weights(&merged));
    for (at, (module, sizes)) in places.into_iter().enumerate() {
        let [(shape_a, a), (shape_b, b)] = ["A", "B"].map(|it| found[&key(module, it)].clone());
        let [experts, d_in, d_out] = sizes;
        assert_eq!((shape_a, shape_b), (vec![2 * experts, d_in], vec![d_out, 2 * experts]));
        let delta = delta(&a, &b, sizes, 1.5);
        assert!(delta.iter().any(|value| value.abs() > 0.05));
        for (index, change) in delta.iter().enumerate() {
            let expected = before[at][index] + change;
            // Sums of three numbers of size one in f32.
            for (what, ours) in [("composed", composed[at][index]), ("merged", after[at][index])] {
                assert!((ours - expected).abs() < 1e-6, "{module} {what} {index}");
            }
        }
    }

    let (loaded, report) = base.clone().load_adapter_with(dir.path(), &options()).unwrap();
    assert!(report.warnings().is_empty(), "{report}");
    assert_eq!(out(&loaded), out(&trained));
    assert_eq!(bits(&unload(loaded)), bits(&base));
    let again = tempfile::tempdir().unwrap();
    let (resaved, _) = base.load_adapter_with(dir.path(), &options()).unwrap();
    resaved.save_adapter(again.path()).unwrap();
    assert_eq!(tensors(again.path()), found);
    assert_eq!(read_config(again.path()).unwrap(), read_config(dir.path()).unwrap());
}

#[test]
fn merging_is_undone_and_training_moves_every_factor_and_no_base() {
    let base = Net::new(&cpu().autodiff());
    let config = config().with_targets(["proj"]);
    let (mut net, report) = base.clone().with_lora(&config).unwrap();
    assert!(report.to_string().contains("adapted: 1 of 1 linears, 4 parameters"), "{report}");
    let start = bits(&net);
    let mut sgd = SgdConfig::new().init();
    for _ in 0..3 {
        let loss = net.forward(x(&net.gate.device())).powi_scalar(2).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = sgd.step(1e-3, net, gradients);
    }
    for (path, after) in bits(&net) {
        assert_eq!(after == start[&path], !path.contains(".lora."), "{path}");
    }
    let trained = out(&net);
    merge(&mut net).unwrap();
    let merged = out(&net);
    let off = merged.iter().zip(&trained).fold(0.0_f32, |most, (m, t)| most.max((m - t).abs()));
    assert!(off < 1e-5, "{off}");
    unmerge(&mut net).unwrap();
    assert_eq!(out(&net), trained);
    assert_eq!(net.clone().with_adapters_disabled(out), out(&base));
    let half = net.lora_scale("default", 0.0).unwrap();
    assert_eq!(out(&half), out(&base));
}

/// PEFT goes by the parameters that an adapter has, not by those of others.
#[test]
fn a_second_adapter_of_other_parameters_has_keys_of_its_own() {
    let base = Net::new(&cpu());
    let (net, _) = base.clone().with_lora(&config().with_name("all")).unwrap();
    let one = config().with_target_parameters(["experts.up"]).with_name("one");
    let (net, report) = net.with_lora(&one).unwrap();
    let adapted = report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
    assert_eq!(adapted.map(|layer| layer.path.as_str()).collect::<Vec<_>>(), ["experts.up"]);
    let net = with_trained_factors(net).with_active_adapters(["one"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    net.save_named_adapter("one", dir.path()).unwrap();
    let keys: Vec<String> = tensors(dir.path()).into_keys().collect();
    let expected = ["A", "B"].map(|it| format!("base_model.model.experts.lora_{it}.weight"));
    assert_eq!(keys, expected);
    let (loaded, _) = base.load_adapter_with(dir.path(), &options()).unwrap();
    assert_eq!(out(&loaded), out(&net));
    let all = tempfile::tempdir().unwrap();
    net.save_named_adapter("all", all.path()).unwrap();
    assert!(tensors(all.path()).contains_key(&expected[0].replace("lora_A", "base_layer.lora_A")));
}

#[test]
fn names_and_settings_that_mean_nothing_are_refused() {
    let net = Net::new(&cpu());
    let told = |config: LoraConfig| net.plan_lora(&config).unwrap_err().to_string();
    let names = |name: &str| config().with_target_parameters([name]);
    let typo = told(names("experts.upp"));
    assert!(typo.contains("target_parameters `experts.upp` matches nothing"), "{typo}");
    assert!(typo.contains("`experts.up`"), "{typo}");
    let layer = told(names("proj.weight"));
    assert!(layer.contains("it is the weight of a layer: name `proj` in the targets"), "{layer}");
    let vector = told(names("scales"));
    assert!(vector.contains("`experts.scales`, but it has 1 dimensions"), "{vector}");
    let none = told(LoraConfig::new(2).with_targets(Targets::none()));
    assert!(none.contains("no target is given"), "{none}");
    let whole = told(names("experts.up").with_modules_to_save(["experts"]));
    assert!(whole.contains("modules_to_save trains it whole"), "{whole}");
    for (config, what) in [
        (config().with_dropout(0.1), "dropout is 0.1"),
        (config().with_method(Method::Dora), "DoRA adapts layers and no parameters"),
        (config().with_init(Init::Pissa), "initialisation pissa is for linear layers"),
    ] {
        let refused = told(config);
        assert!(refused.contains(what), "{refused}");
    }
    // What is not named is no layer and counts as none.
    let report = net.plan_lora(&LoraConfig::new(2)).unwrap();
    assert_eq!((report.adapted(), report.linears(), report.layers().len()), (1, 1, 1));
    let described = PeftConfig::new(&config());
    assert_eq!(described.to_config().unwrap().config.targets, Targets::none());
}
