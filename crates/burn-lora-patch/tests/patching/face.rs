//! What a user writes: the prelude, methods on a model, configurations in files.

use burn::module::Module;
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::prelude::*;

use crate::mlp::{Mlp, bits, cpu, logits, tracked, with_trained_factors};

fn config() -> LoraConfig {
    LoraConfig::new(2).with_targets(["fc1", "self"])
}

/// Under `name`, with factors that are not zero.
fn with_adapter(model: Mlp, name: &str, targets: &str) -> Mlp {
    let config = LoraConfig::new(2).with_targets(targets).with_name(name);
    let (model, report) = model.with_lora(&config).unwrap();
    assert_eq!(report.name(), name);
    with_trained_factors(model)
}

#[test]
fn a_model_goes_through_all_methods_and_comes_back() {
    let base = Mlp::new(&cpu());
    let planned = base.plan_lora(&config()).unwrap();
    let (model, report) = base.clone().with_lora(&config()).unwrap();
    assert_eq!(planned, report);
    let model = with_trained_factors(model);
    let adapted = logits(&model);
    assert_ne!(adapted, logits(&base));

    let off = model.clone().lora_scale("default", 0.0).unwrap();
    assert_eq!(logits(&off), logits(&base));
    assert_eq!(logits(&model), adapted, "what a clone is told stays with the clone");
    let merged = model.clone().merge_lora().unwrap();
    assert_eq!(bits(&merged.unmerge_lora().unwrap()), bits(&model));
    assert!(model.clone().merge_and_unload_lora().unwrap().adapter_names().is_empty());
    assert_eq!(bits(&model.unload_lora()), bits(&base));
}

/// Burn's own way with configurations.
#[test]
fn a_configuration_is_saved_and_loaded_as_burn_s_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lora.json");
    let config = config()
        .with_alpha(3)
        .with_method(Method::Dora)
        .with_dropout(0.1)
        .with_rslora(true)
        .with_init(Init::Gaussian)
        .with_heads(["lm_head", "classifier"])
        .with_exclude(["0.fc1"])
        .with_exclude_regex(".*self")
        .with_layers_to_transform([0, 1])
        .with_layers_pattern(["layers"])
        .with_modules_to_save(["norm"])
        .with_task_type(TaskType::SeqCls)
        .with_seed(7)
        .with_name("mine")
        .with_base_model("some/base");
    config.save(&path).unwrap();
    assert_eq!(LoraConfig::load(&path).unwrap(), config);
    std::fs::write(&path, r#"{"adapter": {"rank": 4, "droput": 0.1}}"#).unwrap();
    assert!(LoraConfig::load(&path).is_err(), "an unknown key is no default");
}

/// A user has patched the model and does not carry the configuration around.
#[test]
fn an_adapter_is_saved_with_the_configuration_it_was_made_with() {
    let (dir, by_hand) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config()
        .with_dropout(0.1)
        .with_rslora(true)
        .with_task_type(TaskType::SeqCls)
        .with_base_model("some/base");
    let (model, _) = Mlp::new(&cpu().autodiff()).with_lora(&config).unwrap();
    // Through what a model goes on its way from training to being saved.
    let model = with_trained_factors(model).valid().train().merge_lora().unwrap();
    model.save_adapter(dir.path()).unwrap();
    peft::save(&model, by_hand.path(), &PeftConfig::new(&config)).unwrap();
    for file in [peft::CONFIG_FILE, peft::TENSORS_FILE] {
        let read = |dir: &tempfile::TempDir| std::fs::read(dir.path().join(file)).unwrap();
        assert!(read(&dir) == read(&by_hand), "{file}");
    }
    assert_eq!(
        peft::read_config(dir.path()).unwrap().base_model_name_or_path.unwrap(),
        "some/base"
    );

    // What another version of PEFT wrote beside it goes back out.
    let mut text = peft::read_config(dir.path()).unwrap();
    text.unknown.insert("of_tomorrow".into(), 1.into());
    std::fs::write(dir.path().join(peft::CONFIG_FILE), text.to_json().unwrap()).unwrap();
    let (loaded, _) = Mlp::new(&cpu()).load_adapter(dir.path()).unwrap();
    loaded.save_adapter(by_hand.path()).unwrap();
    assert_eq!(peft::read_config(by_hand.path()).unwrap(), text);
}

#[test]
fn an_adapter_attached_by_hand_is_saved_as_what_it_is() {
    let base = Mlp::new(&cpu());
    let settings = burn_lora::AdapterConfig::new(3).with_alpha(5).with_rslora(true);
    let weight = &base.model.layers[1].fc2.weight;
    let adapter = burn_lora::Adapter::init("hand", &settings, weight, 1).unwrap();
    let model = burn_lora::attach(base, "model.layers.1.fc2.weight", adapter).unwrap();
    let model = with_trained_factors(model);
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let (loaded, report) = Mlp::new(&cpu()).load_adapter(dir.path()).unwrap();
    assert_eq!(report.adapted(), 1);
    assert_eq!(logits(&loaded), logits(&model));
}

#[test]
fn adapters_are_added_chosen_saved_and_deleted_by_name() {
    let base = Mlp::new(&cpu());
    let one = with_adapter(base.clone(), "one", "fc1");
    let both = with_adapter(one.clone(), "two", "fc2");
    assert_eq!(both.adapter_names(), ["one", "two"]);

    let only_one = both.clone().with_active_adapters(["one"]).unwrap();
    assert_eq!(logits(&only_one), logits(&one));
    let none = both.clone().with_active_adapters::<&str>([]).unwrap();
    assert_eq!(logits(&none), logits(&base));
    let again = none.with_active_adapters(both.adapter_names()).unwrap();
    assert_eq!(logits(&again), logits(&both));
    let left = both.clone().delete_adapter("two").unwrap();
    assert_eq!((left.adapter_names(), logits(&left)), (vec!["one".to_owned()], logits(&one)));

    let dirs = tempfile::tempdir().unwrap();
    assert!(both.save_adapter(dirs.path()).is_err(), "which of the two?");
    let mut loaded = base;
    for name in ["two", "one"] {
        let dir = dirs.path().join(name);
        both.save_named_adapter(name, &dir).unwrap();
        let options = LoadOptions::new().with_name(name);
        loaded = loaded.load_adapter_with(&dir, &options).unwrap().0;
    }
    assert_eq!(loaded.adapter_names(), ["one", "two"]);
    assert_eq!(logits(&loaded), logits(&both));
}

/// An optimiser keys its state by identities: they must be those of the adapter that is there.
#[test]
fn values_are_loaded_into_an_adapter_that_is_there() {
    let device = cpu().autodiff();
    let config = config().with_task_type(TaskType::SeqCls).with_seed(1);
    let fresh = Mlp::with_offset(&device, 0.4).with_lora(&config).unwrap().0;
    let trained =
        with_trained_factors(Mlp::with_offset(&device, 0.4).with_lora(&config).unwrap().0);
    let dir = tempfile::tempdir().unwrap();
    trained.save_adapter(dir.path()).unwrap();

    let ids = |model: &Mlp| burn_lora_patch::trainable_ids(model);
    let (before, trainable) = (ids(&fresh), tracked(&fresh));
    let loaded = fresh.load_into_adapter("default", dir.path()).unwrap();
    assert_eq!((ids(&loaded), tracked(&loaded)), (before, trainable));
    assert_eq!(bits(&loaded), bits(&trained));

    let wider = Mlp::new(&device).with_lora(&LoraConfig::new(3).with_targets(["fc1", "self"]));
    let error = wider.unwrap().0.load_into_adapter("default", dir.path()).unwrap_err();
    assert!(matches!(error, PatchError::Mismatch { setting: "rank", .. }), "{error}");
    let fewer = Mlp::new(&device).with_lora(&LoraConfig::new(2).with_targets(["fc1"]));
    let error = fewer.unwrap().0.load_into_adapter("default", dir.path()).unwrap_err();
    assert!(matches!(error, PatchError::Keys { .. }), "{error}");
}

#[test]
fn a_name_that_no_adapter_has_is_an_error_with_the_nearest_one() {
    let model = with_adapter(Mlp::new(&cpu()), "default", "fc1");
    let dir = tempfile::tempdir().unwrap();
    let said = [
        model.clone().lora_scale("defualt", 1.0).err(),
        model.clone().with_active_adapters(["defualt"]).err(),
        model.clone().delete_adapter("defualt").err(),
        model.save_named_adapter("defualt", dir.path()).err(),
        model.clone().load_into_adapter("defualt", dir.path()).err(),
    ];
    for (call, error) in said.into_iter().enumerate() {
        let text = error.map(|error| error.to_string());
        let expected = "the model has no adapter `defualt`: did you mean `default`?";
        // The directory is read before the model is looked at.
        if call == 4 {
            assert!(text.unwrap().contains("adapter_config.json"));
        } else {
            assert_eq!(text.as_deref(), Some(expected), "call {call}");
        }
    }
    let error = model.lora_scale("xyz", 1.0).unwrap_err();
    assert_eq!(error.to_string(), "the model has no adapter `xyz`: it has `default`");
}
