//! Whole adapter directories: saved and loaded, broken and refused.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use burn::module::Module;
use burn_lora_patch::peft::{
    CONFIG_FILE, LoadOptions, Modules, PeftConfig, TENSORS_FILE, load, load_into, read_config,
    save, save_adapter,
};
use burn_lora_patch::{
    Bias, KeyProblem, LoraConfig, PatchError, Targets, TaskType, TokenIndices, adapter_names,
    delete_adapter, merge, patch, set_active, set_tensors, trainable_tensors, unload,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use tempfile::TempDir;

use crate::mlp::{BASE_PARAMS, Mlp, bits, config, cpu, logits, tracked, with_trained_factors};

pub const A: &str = "base_model.model.model.layers.0.fc1.lora_A.weight";
pub const B: &str = "base_model.model.model.layers.0.fc1.lora_B.weight";

/// A trained adapter, and a trained head, on the base of [`Mlp::new`].
fn trained(config: &LoraConfig) -> Mlp {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, config).unwrap();
    if config.task_type == Some(TaskType::SeqCls) {
        model.classifier = Mlp::with_offset(&cpu(), 5.0).classifier;
    }
    with_trained_factors(model)
}

fn saved(config: &LoraConfig) -> (Mlp, TempDir) {
    let (model, dir) = (trained(config), tempfile::tempdir().unwrap());
    save(&model, dir.path(), &PeftConfig::new(config)).unwrap();
    (model, dir)
}

fn classifier() -> LoraConfig {
    config(Targets::names(["0.fc1"])).with_task_type(TaskType::SeqCls)
}

#[test]
fn what_is_saved_loads_into_the_base_bit_for_bit() {
    for config in [
        classifier(),
        config(Targets::AllLinear),
        config(Targets::AllLinear).with_exclude(["1.self"]),
        config(Targets::Regex(r".*\.fc\d".into())).with_layers_to_transform([1]),
        config(Targets::names(["model.layers.0.fc1", "fc2"])).with_layers_to_transform([1]),
        config(Targets::names(["fc1"])).with_modules_to_save(["norm", "embed"]),
        LoraConfig::new(3).with_alpha(5.5).with_rslora(true).with_targets(["self"]),
        LoraConfig::new(2)
            .with_alpha(4.0)
            .with_method(burn_lora::Method::Dora)
            .with_targets(Targets::AllLinear),
        config(Targets::names(["0.fc1"])).with_bias(Bias::LoraOnly),
        config(Targets::names(["fc1"])).with_bias(Bias::All).with_modules_to_save(["classifier"]),
        config(Targets::AllLinear).with_method(burn_lora::Method::LoraBias).with_heads(["lm_head"]),
        config(Targets::names(["0.fc1"])).with_trainable_token_indices([6, 0, 3]),
        LoraConfig::new(2)
            .with_method(burn_lora::Method::Dora)
            .with_targets(["fc1"])
            .with_trainable_token_indices(TokenIndices::from_iter([("embed", vec![1])])),
        // More rows than an output has columns, and shards of 5 in 6 and in 10 inputs.
        LoraConfig::new(5)
            .with_method(burn_lora::Method::Miss)
            .with_dropout(0.5)
            .with_targets(Targets::AllLinear),
    ] {
        let (model, dir) = saved(&config);
        let mut loaded = Mlp::new(&cpu());
        let report = load(&mut loaded, dir.path(), &LoadOptions::default()).unwrap();
        assert_eq!(bits(&loaded), bits(&model));
        assert_eq!(logits(&loaded), logits(&model));
        assert!(report.warnings().is_empty(), "{report}");
    }
}

/// DoRA's norms follow from the base that it is loaded onto, which a file says nothing of.
#[test]
fn a_dora_directory_has_magnitudes_and_a_switch_and_is_the_same_on_the_same_base() {
    let lora =
        burn_lora::AdapterConfig::new(2).with_alpha(4.0).with_method(burn_lora::Method::Dora);
    let config = LoraConfig::from(lora.with_rslora(true)).with_targets(["0.fc1"]);
    let (model, dir) = saved(&config);
    let written = read_config(dir.path()).unwrap();
    assert!(written.use_dora && written.use_rslora);
    let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| {
        let key = format!("base_model.model.model.layers.0.fc1.{name}");
        file.tensor(&key).unwrap().shape().to_vec()
    };
    assert_eq!(shape("lora_A.weight"), [2, 6]);
    assert_eq!(shape("lora_B.weight"), [10, 2]);
    assert_eq!(shape("lora_magnitude_vector"), [10]);
    assert_eq!(file.len(), 3);
    let mut loaded = Mlp::new(&cpu());
    load(&mut loaded, dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(logits(&loaded), logits(&model));
    assert_ne!(logits(&loaded), logits(&Mlp::new(&cpu())));
    assert_eq!(bits(&unload(loaded)), bits(&Mlp::new(&cpu())));
}

/// PEFT's files know no LoRA-FA: what is saved is LoRA, and goes back into what it came from.
#[test]
fn a_lora_fa_is_saved_as_lora_and_trains_b_alone() {
    let config = config(Targets::names(["0.fc1"])).with_method(burn_lora::Method::LoraFa);
    let device = cpu().autodiff();
    let mut fresh = Mlp::new(&device);
    let report = patch(&mut fresh, &config).unwrap();
    assert_eq!((report.trainable(), report.total()), (2 * 10, BASE_PARAMS + 2 * (6 + 10)));
    let names = |model: &Mlp| -> Vec<String> {
        trainable_tensors(model).unwrap().into_iter().map(|tensor| tensor.key).collect()
    };
    assert_eq!(names(&fresh), [B]);

    let (model, dir) = saved(&config);
    let written = read_config(dir.path()).unwrap();
    assert_eq!(written.method(), Ok(burn_lora::Method::Lora));
    let mut loaded = Mlp::new(&cpu());
    load(&mut loaded, dir.path(), &LoadOptions::new().with_trainable(true)).unwrap();
    assert_eq!(logits(&loaded), logits(&model));
    assert_eq!(names(&loaded), [A, B]);

    // As a checkpoint, whose A is given back though it is not trained, and by name.
    let (mut restored, mut again) = (fresh.clone(), fresh);
    set_tensors(&mut restored, trainable_tensors(&loaded).unwrap()).unwrap();
    load_into(&mut again, "default", dir.path()).unwrap();
    for model in [&restored, &again] {
        assert_eq!(logits(&model.valid()), logits(&loaded));
        assert_eq!(names(model), [B]);
    }
    // Another adapter's A is nobody's here.
    let mut other = Mlp::new(&device);
    patch(&mut other, &config.with_targets(["1.fc1"])).unwrap();
    let error = set_tensors(&mut other, trainable_tensors(&loaded).unwrap()).unwrap_err();
    assert!(matches!(error, PatchError::Keys { .. }), "{error}");
}

/// Of the base model there is one: what is trained of it belongs to one adapter.
#[test]
fn biases_are_trained_saved_under_peft_s_keys_and_kept_to_one_adapter() {
    let one = config(Targets::names(["0.fc1"])).with_bias(Bias::LoraOnly);
    let mut model = Mlp::new(&cpu().autodiff());
    let report = patch(&mut model, &one).unwrap();
    let key = "base_model.model.model.layers.0.fc1.base_layer.bias";
    let keys = |model: &Mlp| -> Vec<String> {
        trainable_tensors(model).unwrap().into_iter().map(|tensor| tensor.key).collect()
    };
    let mut found = keys(&model);
    found.sort();
    assert_eq!(found, [key, A, B]);
    assert_eq!((report.biases().count, report.trainable()), (1, 2 * (6 + 10) + 10));

    let (_, dir) = saved(&one);
    let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
    assert_eq!(SafeTensors::deserialize(&bytes).unwrap().tensor(key).unwrap().shape(), [10]);
    let second = config(Targets::names(["1.fc1"])).with_name("second");
    let error = patch(&mut model, &second.clone().with_bias(Bias::All)).unwrap_err();
    assert!(matches!(error, PatchError::SavedBeside { .. }), "{error}");
    patch(&mut model, &second).unwrap();

    // Every bias: seven of linears, and two of norms, which Burn calls `beta`.
    let mut model = Mlp::new(&cpu().autodiff());
    let report = patch(&mut model, &one.clone().with_bias(Bias::All)).unwrap();
    assert_eq!((report.biases().count, report.biases().params), (9, 2 * (6 + 10 + 6 + 6) + 3));
    let found = keys(&model);
    assert!(
        found.iter().any(|key| key == "base_model.model.model.layers.1.norm.bias"),
        "{found:?}"
    );
    assert!(found.iter().any(|key| key == "base_model.model.classifier.bias"), "{found:?}");

    // A model without one is told of.
    let none = one.with_targets(["lm_head"]).with_bias(Bias::LoraOnly);
    let report = patch(&mut Mlp::new(&cpu()), &none).unwrap();
    assert!(report.warnings()[0].contains("bias = \"lora_only\" trains nothing"), "{report}");
}

#[test]
fn files_have_peft_s_names_keys_shapes_and_metadata() {
    let (_, dir) = saved(&classifier());
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [CONFIG_FILE, TENSORS_FILE]);

    let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(*metadata.metadata(), Some(HashMap::from([("format".into(), "pt".into())])));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(key, view)| (key, view.shape().to_vec(), view.dtype()))
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("base_model.model.classifier.bias", vec![3]),
        ("base_model.model.classifier.weight", vec![3, 6]),
        (A, vec![2, 6]),
        (B, vec![10, 2]),
    ];
    assert_eq!(tensors, expected.map(|(key, shape)| (key.to_owned(), shape, Dtype::F32)));
}

/// PEFT resolves names by suffix over all modules, and refuses a pattern with numbers of layers.
#[test]
fn targets_that_peft_would_resolve_otherwise_are_written_by_name() {
    let targets = |config: &LoraConfig| {
        let config = read_config(saved(config).1.path()).unwrap();
        assert!(
            config.layers_to_transform.is_none()
                || matches!(config.target_modules, Some(Modules::Names(_)))
        );
        config.target_modules.unwrap()
    };
    let names = |names: &[&str]| Modules::Names(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(targets(&config(Targets::AllLinear)), names(&["classifier", "fc1", "fc2", "self"]));
    let pattern = Targets::Regex(r".*\.fc\d".into());
    assert_eq!(targets(&config(pattern.clone())), Modules::Pattern(r".*\.fc\d".into()));
    assert_eq!(targets(&config(pattern).with_layers_to_transform([1])), names(&["1.fc1", "1.fc2"]));
    assert_eq!(
        targets(&config(Targets::names(["fc1"])).with_layers_to_transform([1])),
        names(&["fc1"])
    );
}

#[test]
fn saving_twice_replaces_and_leaves_no_temporary_file() {
    let (_, dir) = saved(&classifier());
    let config = config(Targets::names(["1.fc2"]));
    let model = trained(&config);
    save(&model, dir.path(), &PeftConfig::new(&config)).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let mut loaded = Mlp::new(&cpu());
    load(&mut loaded, dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(bits(&loaded), bits(&model));
}

#[test]
fn a_merged_adapter_is_saved_as_its_factors() {
    let config = config(Targets::names(["0.fc1"]));
    let (model, dir) = (trained(&config), tempfile::tempdir().unwrap());
    let mut merged = model.clone();
    merge(&mut merged).unwrap();
    save(&merged, dir.path(), &PeftConfig::new(&config)).unwrap();
    let mut loaded = Mlp::new(&cpu());
    load(&mut loaded, dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(bits(&loaded), bits(&model));
}

#[test]
fn loading_freezes_unless_asked_to_train() {
    let (_, dir) = saved(&classifier());
    let device = cpu().autodiff();
    let mut frozen = Mlp::new(&device);
    let report = load(&mut frozen, dir.path(), &LoadOptions::default()).unwrap();
    assert!(tracked(&frozen).is_empty());
    assert_eq!(report.trainable(), 0);
    let mut trainable = Mlp::new(&device);
    let options = LoadOptions::new().with_name("mine").with_trainable(true);
    let report = load(&mut trainable, dir.path(), &options).unwrap();
    assert_eq!(tracked(&trainable).len(), 4);
    assert_eq!(report.trainable(), 32 + 21);
    assert_eq!(adapter_names(&trainable), ["mine"]);
    let again = load(&mut trainable, dir.path(), &options).unwrap_err();
    assert!(matches!(again, PatchError::AlreadyPatched { .. }), "{again}");
    // The head keeps its loaded values.
    assert_ne!(bits(&unload(trainable)), bits(&Mlp::new(&device)));
}

#[test]
fn saving_what_does_not_fit_the_configuration_is_refused_before_writing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("adapter");
    let fc1 = config(Targets::names(["fc1"]));
    let check = |model: &Mlp, config: &PeftConfig| {
        let error = save(model, &target, config).unwrap_err();
        assert!(!target.exists());
        error
    };
    let peft = PeftConfig::new(&fc1);
    assert!(matches!(check(&Mlp::new(&cpu()), &peft), PatchError::NoAdapter));
    let model = trained(&fc1);
    let error = check(&model, &PeftConfig { r: 4, ..peft.clone() });
    assert!(matches!(error, PatchError::Mismatch { setting: "rank", .. }), "{error}");
    let error = check(&model, &PeftConfig { lora_alpha: 5.0, ..peft.clone() });
    assert!(matches!(error, PatchError::Mismatch { setting: "scale", .. }), "{error}");
    let error = check(&model, &PeftConfig { use_dora: true, ..peft.clone() });
    assert!(matches!(error, PatchError::Mismatch { setting: "method", .. }), "{error}");
    let error = check(&model, &PeftConfig { use_qalora: true, ..peft });
    assert!(matches!(error, PatchError::Unsupported { .. }), "{error}");
}

/// A directory holds one adapter; which of several is meant would be a guess.
#[test]
fn saving_several_adapters_at_once_is_refused() {
    let lora = burn_lora::AdapterConfig::new(2).with_alpha(4.0);
    let attach = |model: Mlp, layer: usize, name: &str| {
        let weight = &model.model.layers[layer].fc1.weight;
        let adapter = burn_lora::Adapter::init(name, &lora, weight, 0).unwrap();
        let path = format!("model.layers.{layer}.fc1.weight");
        burn_lora::attach(model, &path, adapter).unwrap()
    };
    let model = attach(attach(Mlp::new(&cpu()), 0, "a"), 1, "b");
    let dir = tempfile::tempdir().unwrap();
    let peft = PeftConfig::new(&config(Targets::names(["fc1"])));
    let error = save(&model, dir.path(), &peft).unwrap_err();
    assert!(error.to_string().starts_with("the model has the adapters `a` and `b`"), "{error}");
    let error = save_adapter(&model, "c", dir.path(), &peft).unwrap_err();
    assert!(matches!(error, PatchError::UnknownAdapter { .. }), "{error}");
}

/// Two kinds on layers that overlap, out and in again, alone and together, in any order.
#[test]
fn several_named_adapters_live_on_one_model() {
    let lora = burn_lora::AdapterConfig::new(2).with_alpha(4.0);
    let dora = lora.clone().with_method(burn_lora::Method::Dora);
    let one = LoraConfig::from(lora).with_targets(["fc1", "self"]).with_name("one");
    let two = LoraConfig::from(dora).with_targets(["fc1", "fc2"]).with_name("two");
    let mut model = Mlp::new(&cpu().autodiff());
    patch(&mut model, &one).unwrap();
    patch(&mut model, &two).unwrap();
    assert!(tracked(&model).iter().all(|path| path.contains(".Dora.")), "the first one is frozen");
    let model = with_trained_factors(model.valid());
    assert_eq!(adapter_names(&model), ["one", "two"]);

    let dirs = tempfile::tempdir().unwrap();
    for config in [&one, &two] {
        let peft = PeftConfig::new(config);
        save_adapter(&model, &config.name, dirs.path().join(&config.name), &peft).unwrap();
    }
    let loaded = |names: &[&str]| {
        let mut model = Mlp::new(&cpu());
        for name in names {
            let options = LoadOptions::new().with_name(*name);
            load(&mut model, dirs.path().join(name), &options).unwrap();
        }
        model
    };
    assert_eq!(logits(&loaded(&["one", "two"])), logits(&model));
    for name in ["one", "two"] {
        let alone = logits(&loaded(&[name]));
        assert_ne!(alone, logits(&model));
        let mut chosen = model.clone();
        set_active(&mut chosen, &[name]).unwrap();
        assert_eq!(logits(&chosen), alone);
        let mut left = model.clone();
        delete_adapter(&mut left, if name == "one" { "two" } else { "one" }).unwrap();
        assert_eq!(logits(&left), alone);
        assert_eq!(adapter_names(&left), [name]);
    }
    let mut none = model.clone();
    set_active(&mut none, &[]).unwrap();
    assert_eq!(logits(&none), logits(&Mlp::new(&cpu())));
    assert!(set_active(&mut none, &["three"]).is_err());
    assert_eq!(bits(&unload(model)), bits(&Mlp::new(&cpu())));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let config = config(Targets::names(["fc1"]));
    let error = save(&trained(&config), file.join("in"), &PeftConfig::new(&config)).unwrap_err();
    assert!(matches!(&error, PatchError::Io { action: "create", .. }), "{error}");
    assert!(error.to_string().contains("file/in"), "{error}");
}

/// One tensor of a made-up file.
#[derive(Clone)]
pub struct Made(pub &'static str, pub Dtype, pub Vec<usize>, pub Vec<u8>);

pub fn f32s(key: &'static str, shape: &[usize]) -> Made {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect();
    Made(key, Dtype::F32, shape.to_vec(), bytes)
}

/// A directory with rank 2 on `0.fc1` and these tensors.
pub fn made(tensors: &[Made]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = PeftConfig::new(&config(Targets::names(["0.fc1"])));
    fs::write(dir.path().join(CONFIG_FILE), config.to_json().unwrap()).unwrap();
    let views = tensors.iter().map(|Made(key, dtype, shape, bytes)| {
        (*key, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(dir.path().join(TENSORS_FILE), serialize(views, None).unwrap()).unwrap();
    dir
}

/// Loads what must be refused; the model must be as it was.
pub fn check_refused(dir: &Path) -> PatchError {
    let mut model = Mlp::new(&cpu().autodiff());
    let (before, tracked_before) = (bits(&model), tracked(&model));
    let error = load(&mut model, dir, &LoadOptions::default()).unwrap_err();
    assert_eq!(bits(&model), before);
    assert_eq!(tracked(&model), tracked_before);
    assert!(adapter_names(&model).is_empty());
    error
}

pub fn check_problems(tensors: &[Made]) -> Vec<KeyProblem> {
    let dir = made(tensors);
    match check_refused(dir.path()) {
        PatchError::Keys { origin, problems } => {
            assert!(origin.ends_with(TENSORS_FILE), "{origin}");
            problems
        }
        other => panic!("expected problems with keys, got: {other}"),
    }
}

#[test]
fn missing_and_surplus_keys_are_reported_together() {
    let problems = check_problems(&[
        f32s(A, &[2, 6]),
        f32s("base_model.model.model.layers.0.fc1.lora_B.x.default.weight", &[10, 2]),
        f32s("../../../../etc/passwd", &[1]),
    ]);
    let expected = [
        KeyProblem::Surplus {
            key: "base_model.model.model.layers.0.fc1.lora_B.x.default.weight".into(),
            found: vec![10, 2],
            nearest: Some(B.into()),
        },
        KeyProblem::Missing { key: B.into(), expected: vec![10, 2] },
        KeyProblem::Surplus { key: "../../../../etc/passwd".into(), found: vec![1], nearest: None },
    ];
    assert_eq!(problems, expected);
}

#[test]
fn shapes_and_ranks_are_reported_with_both_sides() {
    let problems = check_problems(&[f32s(A, &[4, 6]), f32s(B, &[2, 10])]);
    assert_eq!(
        problems,
        [
            KeyProblem::Rank {
                key: A.into(),
                found: vec![4, 6],
                expected: vec![2, 6],
                rank: 4,
                configured: 2,
            },
            KeyProblem::Shape { key: B.into(), found: vec![2, 10], expected: vec![10, 2] },
        ]
    );
    assert_eq!(
        problems[0].to_string(),
        format!("rank: `{A}` is [4, 6], which is rank 4, the configuration says r = 2 ([2, 6])")
    );
}

#[test]
fn half_precision_is_read_and_integers_are_refused() {
    let numbers = |count: usize| (0..count).map(|i| i as f32 * 0.25);
    let a = numbers(12).flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
    let b = numbers(20).flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let dir = made(&[Made(A, Dtype::F16, vec![2, 6], a), Made(B, Dtype::BF16, vec![10, 2], b)]);
    let mut model = Mlp::new(&cpu());
    load(&mut model, dir.path(), &LoadOptions::default()).unwrap();
    let stored = crate::mlp::params(&model);
    // Quarters are exact in both types; the file's rows are Burn's columns.
    let a = &stored["model.layers.0.fc1.weight.lora.adapters.0.factors.Lora.a"].0;
    assert_eq!(a[..4], [0.0, 1.5, 0.25, 1.75]);
    let b = &stored["model.layers.0.fc1.weight.lora.adapters.0.factors.Lora.b"].0;
    assert_eq!(b[..3], [0.0, 0.5, 1.0]);

    let problems =
        check_problems(&[f32s(A, &[2, 6]), Made(B, Dtype::I64, vec![10, 2], vec![0; 160])]);
    assert_eq!(problems, [KeyProblem::Dtype { key: B.into(), dtype: "i64".into() }]);
}

pub fn good() -> TempDir {
    made(&[f32s(A, &[2, 6]), f32s(B, &[10, 2])])
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let dir = good();
    let path = dir.path().join(TENSORS_FILE);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = check_refused(dir.path());
        assert!(matches!(&error, PatchError::Damaged { path: p, .. } if *p == path), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = check_refused(dir.path());
    assert!(matches!(&error, PatchError::NoAdapterFile { missing: TENSORS_FILE, .. }), "{error}");
    fs::write(dir.path().join("adapter_model.bin"), "x").unwrap();
    assert!(check_refused(dir.path()).to_string().contains("is a pickle"));
}

/// Headers that lie about their length, their offsets or their shapes, and names that come twice.
#[test]
fn headers_that_lie_are_refused() {
    let dir = good();
    let path = dir.path().join(TENSORS_FILE);
    let header = |json: &str| {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        bytes.extend([0; 128]);
        bytes
    };
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend([b'{'; 64]);
    let mut beyond_limit = 200_000_000u64.to_le_bytes().to_vec();
    beyond_limit.extend([b' '; 64]);
    let overlapping = format!(
        r#"{{"{A}":{{"dtype":"F32","shape":[2,6],"data_offsets":[0,48]}},"{B}":{{"dtype":"F32","shape":[10,2],"data_offsets":[40,120]}}}}"#
    );
    let overflowing = format!(
        r#"{{"{A}":{{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,128]}}}}"#
    );
    let beyond_end =
        format!(r#"{{"{A}":{{"dtype":"F32","shape":[2,6],"data_offsets":[100000,100048]}}}}"#);
    for bytes in [
        huge,
        beyond_limit,
        header(&overlapping),
        header(&overflowing),
        header(&beyond_end),
        header("[]"),
        header("{\"x\": \u{7f}"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let error = check_refused(dir.path());
        assert!(matches!(error, PatchError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_name_that_comes_twice_is_never_loaded_in_part() {
    let dir = good();
    let path = dir.path().join(TENSORS_FILE);
    let json = format!(
        r#"{{"{A}":{{"dtype":"F32","shape":[2,6],"data_offsets":[0,48]}},"{A}":{{"dtype":"F32","shape":[2,6],"data_offsets":[48,96]}}}}"#
    );
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.extend([0; 96]);
    fs::write(&path, &bytes).unwrap();
    check_refused(dir.path());
}

#[test]
fn a_broken_or_foreign_configuration_is_refused() {
    let dir = good();
    let path = dir.path().join(CONFIG_FILE);
    for (text, part) in [
        (r#"{"peft_type": "LOHA"}"#, "peft_type \"LOHA\""),
        (r#"{"peft_type": "LORA", "target_modules": ["0.fc1"], "r": 0}"#, "rank is 0"),
        (
            r#"{"peft_type": "LORA", "target_modules": ["nothing"], "r": 2}"#,
            "target `nothing` matches nothing",
        ),
        (
            r#"{"peft_type": "LORA", "target_modules": ["0.fc1"], "use_qalora": true}"#,
            "use_qalora = true",
        ),
        (
            r#"{"peft_type": "LORA", "target_modules": ["0.fc1"], "lora_dropout": 1.5}"#,
            "dropout is 1.5",
        ),
    ] {
        fs::write(&path, text).unwrap();
        let error = check_refused(dir.path()).to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// PEFT keeps quiet about targets that its model does not have; the report does not.
#[test]
fn an_entry_of_the_file_that_matches_nothing_is_a_warning() {
    let dir = good();
    let path = dir.path().join(CONFIG_FILE);
    let text = r#"{"peft_type": "LORA", "target_modules": ["0.fc1", "c_attn"], "r": 2, "x": 1}"#;
    fs::write(&path, text).unwrap();
    let mut model = Mlp::new(&cpu());
    let report = load(&mut model, dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(report.adapted(), 1);
    assert!(report.warnings()[0].contains("target `c_attn` matches nothing"), "{report}");
    assert!(report.warnings()[1].contains("not known here and has no effect: `x`"), "{report}");
}
