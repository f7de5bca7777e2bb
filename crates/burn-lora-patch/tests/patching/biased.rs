//! Biases of factor B: what files call them, and what they are merged into.

use std::fs;

use burn_lora::Method;
use burn_lora_patch::peft::{self, CONFIG_FILE, TENSORS_FILE};
use burn_lora_patch::{
    Init, LoraConfig, LoraModule, PatchError, Targets, check_mergeable, merge, merge_and_unload,
    patch, plan, unmerge,
};
use safetensors::SafeTensors;

use crate::mlp::{Mlp, bits, config, cpu, logits, params, with_trained_factors};

fn biased(names: &[&str]) -> LoraConfig {
    config(Targets::names(names.iter().copied())).with_method(Method::LoraBias)
}

fn trained(config: &LoraConfig) -> Mlp {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, config).unwrap();
    with_trained_factors(model)
}

fn check_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    }
}

#[test]
fn a_bias_of_b_is_trained_counted_and_saved_under_pefts_key() {
    let mut fresh = Mlp::new(&cpu());
    let before = logits(&fresh);
    let report = patch(&mut fresh, &biased(&["0.fc1", "1.fc2"])).unwrap();
    assert_eq!(report.trainable(), 2 * (6 + 10) + 10 + 2 * (10 + 6) + 6);
    assert!(report.warnings().is_empty(), "{report}");
    check_close(&logits(&fresh), &before);

    let dir = tempfile::tempdir().unwrap();
    trained(&biased(&["0.fc1"])).save_adapter(dir.path()).unwrap();
    assert!(peft::read_config(dir.path()).unwrap().lora_bias);
    let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 3);
    let key = "base_model.model.model.layers.0.fc1.lora_B.bias";
    assert_eq!(file.tensor(key).unwrap().shape(), [10]);
}

/// `scale · β`, as PEFT merges it.
#[test]
fn merging_adds_the_scaled_bias_to_the_layers_own() {
    let model = trained(&biased(&["0.fc1"]));
    let (adapted, all) = (logits(&model), bits(&model));
    let of = |model: &Mlp, path: &str| params(model)[path].0.clone();
    let beta = of(&model, "model.layers.0.fc1.weight.lora.adapters.0.factors.LoraBias.beta");
    let own = of(&model, "model.layers.0.fc1.bias");

    let mut merged = model.clone();
    merge(&mut merged).unwrap();
    check_close(&logits(&merged), &adapted);
    assert_eq!(of(&merged, "model.layers.0.fc1.bias"), own, "merged beside the base");
    unmerge(&mut merged).unwrap();
    assert_eq!(bits(&merged), all);

    check_mergeable(&model).unwrap();
    for multiplier in [1.0, 0.5] {
        let model = model.clone().lora_scale("default", multiplier).unwrap();
        let adapted = logits(&model);
        let folded = merge_and_unload(model).unwrap();
        check_close(&logits(&folded), &adapted);
        // Scale 2.
        let sums: Vec<f32> =
            own.iter().zip(&beta).map(|(own, beta)| own + 2.0 * multiplier as f32 * beta).collect();
        check_close(&of(&folded, "model.layers.0.fc1.bias"), &sums);
        assert_eq!(
            of(&folded, "model.layers.0.fc2.bias"),
            of(&model_of_base(), "model.layers.0.fc2.bias")
        );
    }
}

fn model_of_base() -> Mlp {
    Mlp::new(&cpu())
}

#[test]
fn a_layer_without_a_bias_trains_and_is_told_of_and_not_merged() {
    let config = biased(&["0.fc1", "lm_head"]);
    let report = plan(&Mlp::new(&cpu()), &config).unwrap();
    let [warning] = report.warnings() else { panic!("{report}") };
    assert!(warning.contains("`lm_head` has no bias"), "{warning}");
    let mut model = trained(&config);
    let before = bits(&model);
    for error in [
        merge(&mut model).unwrap_err(),
        check_mergeable(&model).unwrap_err(),
        merge_and_unload(model.clone()).unwrap_err(),
    ] {
        let named = |layer: &str| layer == "lm_head";
        assert!(
            matches!(&error, PatchError::NoBias { layer, layers: 1 } if named(layer)),
            "{error}"
        );
    }
    assert_eq!(bits(&model), before);
    // What is switched off adds nothing, and can be merged.
    merge_and_unload(model.lora_scale("default", 0.0).unwrap()).unwrap();
}

#[test]
fn what_peft_refuses_beside_it_is_refused() {
    for init in [Init::Gaussian, Init::Orthogonal, Init::Pissa, Init::Olora] {
        let error = plan(&Mlp::new(&cpu()), &biased(&["0.fc1"]).with_init(init)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("biased LoRA starts with kaiming alone, and not with {init}")),
            "{text}"
        );
    }
    let error = plan(&Mlp::new(&cpu()), &biased(&["embed"])).unwrap_err().to_string();
    assert!(error.contains("this kind of adapter is for linear layers"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    trained(&biased(&["0.fc1"])).save_adapter(dir.path()).unwrap();
    let path = dir.path().join(CONFIG_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"use_dora\": false", "\"use_dora\": true")).unwrap();
    let told = || Mlp::new(&cpu()).load_adapter(dir.path()).unwrap_err().to_string();
    let error = told();
    assert!(error.contains("lora_bias = true, use_dora = true: one kind at a time"), "{error}");
    fs::write(&path, text.replace("\"lora_bias\": true", "\"lora_bias\": false")).unwrap();
    let error = told();
    assert!(error.contains("1 tensors are biases of factor B"), "{error}");
    assert!(error.contains("`lora_bias` in adapter_config.json is not true"), "{error}");
}
