//! What is trained after a patch, and how factors start.

use burn::optim::{GradientsParams, SgdConfig};
use burn_lora_patch::{Targets, TaskType, patch, unload};

use crate::mlp::{Mlp, bits, config, cpu, ids, params, tracked, with_trained_factors};

#[test]
fn exactly_the_factors_and_the_saved_modules_require_gradients() {
    let mut model = Mlp::new(&cpu().autodiff());
    patch(&mut model, &config(Targets::names(["0.fc1"])).with_task_type(TaskType::SeqCls)).unwrap();
    assert_eq!(
        tracked(&model),
        [
            "classifier.bias",
            "classifier.weight",
            "model.layers.0.fc1.weight.lora.adapters.0.factors.Lora.a",
            "model.layers.0.fc1.weight.lora.adapters.0.factors.Lora.b",
        ]
    );
}

#[test]
fn a_step_moves_all_that_is_trained_and_leaves_the_base_bit_for_bit() {
    let device = cpu().autodiff();
    let mut model = Mlp::new(&device);
    let config = config(Targets::AllLinear).with_task_type(TaskType::SeqCls);
    patch(&mut model, &config).unwrap();
    // B must not be zero, or A has no gradient.
    let model = with_trained_factors(model);
    let (before, trained) = (bits(&model), tracked(&model));

    let loss = model.forward(ids(&device)).powi_scalar(2).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let mut optimizer = SgdConfig::new().init();
    let stepped = optimizer.step(0.1, model, gradients);

    let after = bits(&stepped);
    assert_eq!(tracked(&stepped), trained);
    assert_eq!(trained.len(), 2 * 6 + 2);
    for (path, values) in &before {
        let moved = after[path] != *values;
        assert_eq!(moved, trained.contains(path), "{path}");
    }
}

#[test]
fn a_factor_s_start_depends_on_the_seed_and_its_layer_only() {
    let start = |targets: Targets, seed: u64, layer: usize| {
        let mut model = Mlp::new(&cpu());
        patch(&mut model, &config(targets).with_seed(seed)).unwrap();
        params(&model)[&format!("model.layers.{layer}.fc1.weight.lora.adapters.0.factors.Lora.a")]
            .0
            .clone()
    };
    let alone = start(Targets::names(["1.fc1"]), 7, 1);
    assert_eq!(alone, start(Targets::AllLinear, 7, 1));
    assert_ne!(alone, start(Targets::AllLinear, 8, 1));
    assert_ne!(alone, start(Targets::AllLinear, 7, 0));
}

#[test]
fn unloading_leaves_the_base_frozen_and_patchable() {
    let device = cpu().autodiff();
    let base = Mlp::new(&device);
    let mut model = base.clone();
    patch(&mut model, &config(Targets::names(["fc1"]))).unwrap();
    let mut unloaded = unload(with_trained_factors(model));
    assert_eq!(bits(&unloaded), bits(&base));
    assert!(tracked(&unloaded).is_empty());
    assert_eq!(patch(&mut unloaded, &config(Targets::names(["fc2"]))).unwrap().adapted(), 2);
}
