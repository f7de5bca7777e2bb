//! Adapters that start in a part of the base: saved for the base as it is, and back into the adapter.

use burn_lora::{Init, LoraError, Method};
use burn_lora_patch::peft::{LoadOptions, PeftConfig, load, load_into, read_config, save};
use burn_lora_patch::{
    LoraConfig, PatchError, Targets, merge_and_unload, patch, plan, set_tensors, trainable_ids,
    trainable_tensors, unload,
};
use serde_json::Value;

use crate::mlp::{Mlp, bits, config, cpu, logits, with_trained_factors};

const MOVED: [Init; 3] = [Init::Pissa, Init::PissaNiter(3), Init::Olora];

/// Two ways to sums of some twenty terms of size one.
fn check_close(left: &Mlp, right: &Mlp, what: &str) {
    let (left, right) = (logits(left), logits(right));
    let off = left.iter().zip(&right).fold(0.0_f32, |most, (l, r)| most.max((l - r).abs()));
    assert!(off < 1e-5, "{what}: {off}");
}

fn patched(config: &LoraConfig) -> Mlp {
    let mut model = Mlp::new(&cpu().autodiff());
    patch(&mut model, config).unwrap();
    model
}

#[test]
fn a_moved_start_is_the_base_and_is_saved_for_the_base_as_it_is() {
    for init in MOVED {
        for &method in Method::ALL.iter().filter(|method| method.subtracts()) {
            for rslora in [false, true] {
                let what = format!("{init}, {method}, rsLoRA {rslora}");
                let config = config(Targets::names(["fc1", "self"])).with_alpha(3.0);
                let config = config.with_rslora(rslora).with_method(method).with_init(init);
                let fresh = patched(&config);
                check_close(&fresh, &Mlp::new(&cpu().autodiff()), &what);

                let trained = with_trained_factors(fresh);
                let dir = tempfile::tempdir().unwrap();
                save(&trained, dir.path(), &PeftConfig::new(&config)).unwrap();
                let written = read_config(dir.path()).unwrap();
                assert_eq!((written.r, &written.init_lora_weights), (4, &Value::Bool(true)));
                let alpha = if rslora { 3.0 * 2.0_f64.sqrt() } else { 6.0 };
                assert!((written.lora_alpha - alpha).abs() < 1e-12);

                let mut loaded = Mlp::new(&cpu());
                let report = load(&mut loaded, dir.path(), &LoadOptions::default()).unwrap();
                assert!(report.warnings().is_empty(), "{report}");
                check_close(&loaded, &trained, &what);
                check_close(&merge_and_unload(trained.clone()).unwrap(), &trained, &what);
                assert_eq!(bits(&unload(trained.clone())), bits(&Mlp::new(&cpu())), "{what}");
                // The model says itself how it is saved.
                let again = tempfile::tempdir().unwrap();
                let of_model = burn_lora_patch::peft::config_of(&trained, None).unwrap();
                save(&trained, again.path(), &of_model).unwrap();
                let mut loaded_again = Mlp::new(&cpu());
                load(&mut loaded_again, again.path(), &LoadOptions::default()).unwrap();
                assert_eq!(logits(&loaded_again), logits(&loaded));
            }
        }
    }
}

/// The adapter that goes on started elsewhere: another seed, of which no round makes the same.
#[test]
fn values_go_into_another_start_bit_for_bit() {
    for &method in Method::ALL.iter().filter(|method| method.subtracts()) {
        let config = LoraConfig::new(1).with_targets(["fc1"]).with_method(method);
        let config = config.with_init(Init::PissaNiter(0));
        let trained = with_trained_factors(patched(&config));
        let tensors = trainable_tensors(&trained).unwrap();
        let shape = |end: &str| {
            let found = tensors.iter().find(|tensor| tensor.key.ends_with(end));
            found.unwrap().shape.clone()
        };
        assert_eq!(shape("layers.0.fc1.lora_A.weight"), [2, 6]);
        assert_eq!(shape("layers.0.fc1.lora_B.weight"), [10, 2]);

        let other = || patched(&config.clone().with_seed(7));
        let started = trainable_tensors(&patched(&config)).unwrap();
        assert_ne!(started, trainable_tensors(&other()).unwrap(), "the starts differ");
        let mut resumed = other();
        let ids = trainable_ids(&resumed);
        set_tensors(&mut resumed, tensors.clone()).unwrap();
        assert_eq!(trainable_tensors(&resumed).unwrap(), tensors);
        assert_eq!(trainable_ids(&resumed), ids);
        assert_eq!(logits(&resumed), logits(&trained), "{method}");

        let dir = tempfile::tempdir().unwrap();
        save(&trained, dir.path(), &PeftConfig::new(&config)).unwrap();
        let mut resumed = other();
        load_into(&mut resumed, "default", dir.path()).unwrap();
        assert_eq!(trainable_tensors(&resumed).unwrap(), tensors);
        assert_eq!(logits(&resumed), logits(&trained), "{method}");
    }
}

#[test]
fn a_start_that_a_layer_has_no_room_for_is_refused_by_the_layer() {
    let wide = LoraConfig::new(7).with_targets(["fc1"]).with_init(Init::Olora);
    let mut model = Mlp::new(&cpu());
    for error in [plan(&model, &wide).unwrap_err(), patch(&mut model, &wide).unwrap_err()] {
        let PatchError::Adapter { layer, source } = &error else { panic!("{error}") };
        assert_eq!(layer, "model.layers.0.fc1");
        let init = Init::Olora;
        assert_eq!(*source, LoraError::InitRank { init, rank: 7, d_in: 6, d_out: 10 });
    }
    assert_eq!(bits(&model), bits(&Mlp::new(&cpu())));
    let odd = LoraConfig::new(3).with_targets(["fc1"]).with_init(Init::Orthogonal);
    let error = plan(&model, &odd).unwrap_err();
    assert!(
        matches!(&error, PatchError::Settings { problems } if *problems == [LoraError::OddRank { rank: 3 }]),
        "{error}"
    );
}

/// PEFT writes this where it was not asked to convert: the factors alone are not the change.
#[test]
fn an_adapter_that_was_not_converted_is_refused_however_it_is_spelt() {
    for init in ["pissa", "pissa_niter_4", "olora", "OLoRA"] {
        let config = config(Targets::names(["fc1"]));
        let mut file = PeftConfig::new(&config);
        file.init_lora_weights = Value::String(init.to_owned());
        let settings = file.to_config().unwrap_err();
        assert!(settings[0].contains("it changes the base"), "{settings:?}");
    }
}
