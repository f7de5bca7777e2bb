//! What is asked of every model here: adapted, trained, saved, loaded, merged, taken off, without a change to its code.
//!
//! A model's own forward pass calls `Linear::forward`, so that what runs is the composed path.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use burn_lora_patch::prelude::*;
use burn_lora_patch::{LayerStatus, device};

/// Tokens that language models here know.
pub const VOCABULARY: usize = 48;
/// Rank of every adapter.
const RANK: usize = 4;
/// The most that logits of a few units may change where a product is only computed in another order: some tens of
/// roundings of float32, whose spacing at 4 is 4.8e-7.
const ROUNDING: f32 = 2e-5;

/// What is asked of a model, and what is right.
pub struct Case<'a> {
    /// Names that select the linears.
    pub names: &'a [&'a str],
    /// A pattern that selects the same.
    pub regex: &'a str,
    /// The paths of those linears, in the model's order.
    pub adapted: Vec<String>,
    /// How many linears the model has.
    pub linears: usize,
    /// Words of the one thing that the report warns of where names select.
    pub warning: Option<&'a str>,
    /// The class that each row of the logits is to learn.
    pub goal: Vec<i64>,
}

/// The CPU with gradients and seeded, for as long as the guard lives: Flex has one generator in a process.
pub fn device() -> (Device, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let device = device::parse("cpu").unwrap().autodiff();
    device.seed(7);
    (device, alone)
}

/// Two rows of eight tokens.
pub fn tokens(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = (0..16).map(|i| i * 7 % VOCABULARY as i64).collect();
    Tensor::<1, Int>::from_data(ids.as_slice(), device).reshape([2, 8])
}

/// For each token, the one that the model is to learn to write.
pub fn next_tokens() -> Vec<i64> {
    (0..16).map(|i| (i * 7 + 3) % VOCABULARY as i64).collect()
}

/// Puts `base` through everything, once with each form of targets. `forward` gives logits `[rows, classes]` on the device
/// that it is told.
pub fn round_trip<M: Module>(
    base: M,
    device: &Device,
    case: &Case<'_>,
    forward: impl Fn(&M, &Device) -> Tensor<2>,
) {
    // Reading the weights also draws those that are still to be drawn, so that clones share them.
    let start = floats(&base);
    let plain = device.clone().inner();
    let logits = |model: &M| forward(&model.valid(), &plain);
    let before = logits(&base);
    let by_name = Targets::names(case.names.iter().copied());
    for targets in [by_name.clone(), Targets::regex(case.regex)] {
        let config = LoraConfig::new(RANK).with_targets(targets);
        let planned = base.plan_lora(&config).unwrap();
        let (model, report) = base.clone().with_lora(&config).unwrap();
        assert_eq!(report, planned);
        check(&report, case, &start);
        if config.targets == by_name {
            assert_eq!(report.warnings().len(), usize::from(case.warning.is_some()), "{report}");
        }
        println!("{report}");
        // B starts at zero: the model is still the base.
        assert_near(&logits(&model), &before, 0.0);

        let cross_entropy = CrossEntropyLossConfig::new().init(device);
        let goal = Tensor::<1, Int>::from_data(case.goal.as_slice(), device);
        let model =
            five_steps(model, |model| cross_entropy.forward(forward(model, device), goal.clone()));
        let cross_entropy = CrossEntropyLossConfig::new().init(&plain);
        let goal = Tensor::<1, Int>::from_data(case.goal.as_slice(), &plain);
        let loss = |logits: &Tensor<2>| -> f32 {
            cross_entropy.forward(logits.clone(), goal.clone()).into_scalar()
        };
        let trained = logits(&model);
        let [first, last] = [loss(&before), loss(&trained)];
        println!("loss: {first} -> {last}");
        assert!(last < first, "five steps lower the loss: {first} -> {last}");
        let moved = distances(&trained, &before).into_iter().fold(0.0, f32::max);
        assert!(moved > 1e-3, "training changed the outputs");

        // Saved, and loaded into a fresh model.
        let dir = tempfile::tempdir().unwrap();
        model.save_adapter(dir.path()).unwrap();
        let (loaded, report) = base.clone().load_adapter(dir.path()).unwrap();
        assert_eq!(report.adapted(), case.adapted.len());
        assert_near(&logits(&loaded), &trained, 0.0);

        // Merged for a while, for good, and not at all.
        let merged = loaded.clone().merge_lora().unwrap();
        assert_near(&logits(&merged), &trained, ROUNDING);
        assert_near(&logits(&merged.unmerge_lora().unwrap()), &trained, 0.0);
        let merged = loaded.clone().merge_and_unload_lora().unwrap();
        assert_eq!(merged.num_params(), base.num_params());
        assert_near(&logits(&merged), &trained, ROUNDING);
        let silenced = loaded.lora_scale("default", 0.0).unwrap();
        assert_near(&logits(&silenced), &before, 0.0);

        // Taken off: the base, bit for bit, with what is no parameter (running statistics).
        let bare = model.unload_lora();
        assert_near(&logits(&bare), &before, 0.0);
        for after in [floats(&bare), floats(&base)] {
            assert!(after.keys().eq(start.keys()));
            for (path, values) in &start {
                assert!(after[path] == *values, "{path} moved");
            }
        }
    }
}

/// That the report says what was picked and what it costs.
fn check(report: &PatchReport, case: &Case<'_>, weights: &BTreeMap<String, Vec<u32>>) {
    let adapted = || report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
    let paths: Vec<&str> = adapted().map(|layer| layer.path.as_str()).collect();
    assert_eq!(paths, case.adapted);
    assert_eq!(report.adapted(), case.adapted.len());
    assert_eq!(report.linears(), case.linears);
    let factors: usize = adapted().map(|layer| RANK * (layer.d_in + layer.d_out)).sum();
    assert_eq!(report.trainable(), factors);
    let parameters = weights.iter().filter(|(path, _)| !path.contains("running_"));
    let base: usize = parameters.map(|(_, values)| values.len()).sum();
    assert_eq!(report.total(), base + factors);
    let picked: usize = report.matched().iter().map(|entry| entry.count).sum();
    assert_eq!(picked, case.adapted.len(), "no entry picks what another one picks");
    if let Some(words) = case.warning {
        assert!(report.warnings().iter().any(|warning| warning.contains(words)), "{report}");
    }
}

fn five_steps<M: Module>(mut model: M, loss: impl Fn(&M) -> Tensor<1>) -> M {
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..5 {
        let gradients = GradientsParams::from_grads(loss(&model).backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    model
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn distances(a: &Tensor<2>, b: &Tensor<2>) -> Vec<f32> {
    values((a.clone() - b.clone()).abs())
}

#[track_caller]
fn assert_near(a: &Tensor<2>, b: &Tensor<2>, tolerance: f32) {
    // What is not a number is not near.
    let far = distances(a, b).into_iter().find(|far| far.is_nan() || *far > tolerance);
    assert_eq!(far, None, "logits apart by more than {tolerance}");
}

/// The bits of every float parameter, and of every running statistic, by path.
fn floats<M: Module>(model: &M) -> BTreeMap<String, Vec<u32>> {
    #[derive(Default)]
    struct Collect {
        path: Vec<String>,
        found: BTreeMap<String, Vec<u32>>,
    }
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let bits = values(param.val()).into_iter().map(f32::to_bits).collect();
            self.found.insert(self.path.join("."), bits);
        }

        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    }
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.found
}
