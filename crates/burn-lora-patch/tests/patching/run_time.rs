//! Multiplier, merge, unmerge and unload.

use burn::module::Module;
use burn_lora_patch::{
    PatchError, Targets, adapter_names, merge, merge_and_unload, patch, set_multiplier, unload,
    unmerge,
};
use proptest::prelude::*;

use crate::mlp::{
    HIDDEN, Mlp, ToVec, WIDTH, bits, config, cpu, logits, params, with_trained_factors,
};

fn patched(targets: Targets) -> Mlp {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, &config(targets)).unwrap();
    with_trained_factors(model)
}

const FC1: &str = "model.layers.0.fc1.weight";

/// `W + scale · A B` of `layers.0.fc1`, in f64.
fn merged_by_hand(model: &Mlp, scale: f64) -> Vec<f64> {
    let params = params(model);
    let values = |path: &str| params[path].0.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (w, a) = (values(FC1), values(&format!("{FC1}.lora.adapters.0.factors.Lora.a")));
    let b = values(&format!("{FC1}.lora.adapters.0.factors.Lora.b"));
    let rank = a.len() / WIDTH;
    (0..WIDTH * HIDDEN)
        .map(|at| {
            let (row, column) = (at / HIDDEN, at % HIDDEN);
            let dot: f64 = (0..rank).map(|k| a[row * rank + k] * b[k * HIDDEN + column]).sum();
            w[at] + scale * dot
        })
        .collect()
}

/// The weight that `layers.0.fc1` multiplies with.
fn composed(model: &Mlp) -> Vec<f32> {
    model.model.layers[0].fc1.weight.val().into_data().to_vec_f32()
}

/// Sums of a few products of size 1 in f32: rounding stays under 1e-6.
fn check_close(values: &[f32], expected: &[f64]) {
    assert_eq!(values.len(), expected.len());
    for (value, expected) in values.iter().zip(expected) {
        assert!((f64::from(*value) - expected).abs() < 1e-6, "{value} is not {expected}");
    }
}

/// Outputs that took another order of sums through two blocks of sizes around 1: under 1e-5.
fn check_same_outputs(left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right) {
        assert!((l - r).abs() < 1e-5, "{l} is not {r}");
    }
}

#[test]
fn merging_writes_the_scaled_product_into_the_weight() {
    let mut model = patched(Targets::names(["fc1"]));
    let (expected, adapted) = (merged_by_hand(&model, 2.0), logits(&model));
    let base = logits(&Mlp::new(&cpu()));
    assert!(adapted.iter().zip(&base).any(|(a, b)| (a - b).abs() > 0.01), "the adapter acts");
    merge(&mut model).unwrap();
    check_close(&composed(&model), &expected);
    check_same_outputs(&logits(&model), &adapted);
    let once = composed(&model);
    merge(&mut model).unwrap();
    assert_eq!(composed(&model), once, "merging twice is merging once");
}

#[test]
fn the_multiplier_dials_the_change_whether_merged_or_not() {
    let mut model = patched(Targets::AllLinear);
    let base = logits(&Mlp::new(&cpu()));
    let adapted = logits(&model);
    set_multiplier(&mut model, "default", 0.0).unwrap();
    assert_eq!(logits(&model), base);
    set_multiplier(&mut model, "default", 1.0).unwrap();
    assert_eq!(logits(&model), adapted);

    let unmerged_bits = bits(&model);
    let half = merged_by_hand(&model, 1.0);
    merge(&mut model).unwrap();
    set_multiplier(&mut model, "default", 0.5).unwrap();
    check_close(&composed(&model), &half);
    unmerge(&mut model).unwrap();
    assert_eq!(bits(&model), unmerged_bits);
}

#[test]
fn unloading_gives_the_base_back_merged_or_not() {
    let base = bits(&Mlp::new(&cpu()));
    assert_eq!(bits(&unload(patched(Targets::AllLinear))), base);
    let mut merged = patched(Targets::AllLinear);
    merge(&mut merged).unwrap();
    assert_eq!(bits(&unload(merged)), base);
    assert_eq!(bits(&unload(Mlp::new(&cpu()))), base, "nothing to unload is no error");
}

#[test]
fn merging_for_good_leaves_plain_weights() {
    let model = patched(Targets::AllLinear);
    let adapted = logits(&model);
    let merged = merge_and_unload(model).unwrap();
    assert!(adapter_names(&merged).is_empty());
    assert_eq!(bits(&merged).len(), bits(&Mlp::new(&cpu())).len());
    check_same_outputs(&logits(&merged), &adapted);
}

/// Not a number, and infinity, in a factor: PEFT's `safe_merge` refuses both.
#[test]
fn merging_what_is_not_finite_names_the_layer_and_changes_nothing() {
    for broken in [f32::NAN, f32::INFINITY] {
        let mut model = patched(Targets::AllLinear);
        let set = model.model.layers[1].fc2.weight.reparameterization::<burn_lora::Adapters>();
        let factor = set.unwrap().iter().next().unwrap().factor::<2>("b").unwrap().id;
        model = model.map(&mut Break { factor, value: broken });
        let before = bits(&model);
        let error = merge(&mut model).unwrap_err();
        assert!(
            matches!(&error, PatchError::NotFinite { layer } if layer == "model.layers.1.fc2"),
            "{error}"
        );
        assert_eq!(bits(&model), before);
        assert!(merge_and_unload(model).is_err());
    }
}

struct Break {
    factor: burn::module::ParamId,
    value: f32,
}

impl burn::module::ModuleMapper for Break {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        if param.id != self.factor {
            return param;
        }
        param.map(|tensor| tensor.full_like(self.value))
    }
}

#[test]
fn what_is_not_there_is_said() {
    let mut bare = Mlp::new(&cpu());
    assert!(matches!(merge(&mut bare), Err(PatchError::NoAdapter)));
    assert!(matches!(unmerge(&mut bare), Err(PatchError::NoAdapter)));
    assert!(matches!(set_multiplier(&mut bare, "default", 1.0), Err(PatchError::NoAdapter)));
    let mut model = patched(Targets::names(["fc1"]));
    let error = set_multiplier(&mut model, "other", 1.0).unwrap_err();
    assert_eq!(error.to_string(), "the model has no adapter `other`: it has `default`");
    let error = set_multiplier(&mut model, "default", f64::NAN).unwrap_err();
    assert!(matches!(error, PatchError::Multiplier { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Merge then unmerge is bit for bit nothing, whatever rank, scale and multiplier.
    #[test]
    fn unmerging_undoes_merging_exactly(
        rank in 1usize..12,
        alpha in 0.0f64..1e6,
        multiplier in -1e3f64..1e3,
        rslora: bool,
    ) {
        let mut model = Mlp::new(&cpu());
        let mut config = config(Targets::names(["fc1", "self"]));
        config.adapter.rank = rank;
        config.adapter.alpha = alpha;
        config.adapter.rslora = rslora;
        patch(&mut model, &config).unwrap();
        let mut model = with_trained_factors(model);
        set_multiplier(&mut model, "default", multiplier).unwrap();
        let (before, output) = (bits(&model), logits(&model));
        merge(&mut model).unwrap();
        unmerge(&mut model).unwrap();
        prop_assert_eq!(bits(&model), before);
        prop_assert_eq!(logits(&model), output);
    }
}
