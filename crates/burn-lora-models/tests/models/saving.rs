//! What is saved loads again, here and elsewhere.

use burn_lora_models::{
    CausalConfig, CausalLm, Classifier, ClassifierConfig, Model, ModelConfig, SaveDtype,
    SequenceClassifier, SequenceClassifierConfig,
};
use safetensors::{Dtype, SafeTensors};

use crate::fixture::{Copy, DECODERS, Stored, Tensors, device, golden, read};

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The names and sizes of the files in a directory.
fn sizes(dir: &std::path::Path) -> Vec<(String, u64)> {
    let size = |name: &String| std::fs::metadata(dir.join(name)).unwrap().len();
    names(dir).into_iter().map(|name| (name.clone(), size(&name))).collect()
}

/// What a model says that it would write, sorted by name.
fn said(sizes: Vec<(&'static str, u64)>) -> Vec<(String, u64)> {
    let mut sizes: Vec<_> = sizes.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
    sizes.sort();
    sizes
}

/// Loads, saves in `dtype`, and gives back what is then in the file.
fn saved(architecture: &str, dtype: SaveDtype) -> Tensors {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = CausalLm::load(&golden(architecture), &device(), &mut |_, _| {}).unwrap();
    let target = dir.path().join("new");
    model.save(&target, dtype).unwrap();
    // A second time over the first: nothing but the two files may be left.
    model.save(&target, dtype).unwrap();
    assert_eq!(names(&target), ["config.json", "model.safetensors"]);
    assert_eq!(said(model.file_sizes(dtype).unwrap()), sizes(&target));
    let config = std::fs::read_to_string(target.join("config.json")).unwrap();
    let original = std::fs::read_to_string(golden(architecture).join("config.json")).unwrap();
    let name = match dtype {
        SaveDtype::F32 => "float32",
        SaveDtype::F16 => "float16",
        SaveDtype::Bf16 => "bfloat16",
    };
    assert_eq!(
        config,
        original.replace("\"dtype\": \"float32\"", &format!("\"dtype\": \"{name}\""))
    );
    let bytes = std::fs::read(target.join("model.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    read(&target.join("model.safetensors"))
}

#[test]
fn decoders_come_back_bit_for_bit() {
    for architecture in DECODERS {
        let original = read(&golden(architecture).join("model.safetensors"));
        assert_eq!(saved(architecture, SaveDtype::F32), original, "{architecture}");
    }
}

#[test]
fn halves_are_the_rounded_originals() {
    for (dtype, stored) in [(SaveDtype::F16, Dtype::F16), (SaveDtype::Bf16, Dtype::BF16)] {
        let original = read(&golden("qwen3").join("model.safetensors"));
        let rounded: Tensors =
            original.into_iter().map(|(key, value)| (key, value.cast(stored))).collect();
        assert_eq!(saved("qwen3", dtype), rounded);
    }
}

#[test]
fn a_classifier_comes_back_with_the_names_of_its_classes() {
    let mut copy = Copy::of("bert");
    copy.tensors.retain(|key, _| !key.starts_with("classifier."));
    copy.write();
    let labels = ["lost", "late", "other"].map(str::to_owned).to_vec();
    let config = SequenceClassifierConfig::from_path(copy.path()).unwrap();
    let config = config.with_labels(labels.clone());
    let (model, _) =
        SequenceClassifier::load_as(&config, copy.path(), 4, &device(), &mut |_, _| {}).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path(), SaveDtype::F32).unwrap();
    assert_eq!(said(model.file_sizes(SaveDtype::F32).unwrap()), sizes(dir.path()));

    let mut tensors = read(&dir.path().join("model.safetensors"));
    let head = tensors.remove("classifier.weight").unwrap();
    assert_eq!(head.shape, [3, 48]);
    assert_eq!(tensors.remove("classifier.bias"), Some(Stored::from_floats(vec![3], &[0.0; 3])));
    assert_eq!(tensors, copy.tensors);
    let (again, report) =
        SequenceClassifier::load_with_head(dir.path(), None, 0, &device(), &mut |_, _| {}).unwrap();
    assert!(report.fresh.is_empty());
    let config = SequenceClassifierConfig::from_path(dir.path()).unwrap();
    assert_eq!(config.labels(), labels);
    assert_eq!(config.about().to_json(), again.config().to_json());
}

#[test]
fn a_random_model_loads_after_saving_and_follows_its_seed() {
    let config = CausalConfig::from_path(&golden("qwen2")).unwrap();
    let write = |seed| {
        let dir = tempfile::tempdir().unwrap();
        let model = CausalLm::random(&config, seed, &device()).unwrap();
        model.save(dir.path(), SaveDtype::F32).unwrap();
        CausalLm::load(dir.path(), &device(), &mut |_, _| {}).unwrap();
        read(&dir.path().join("model.safetensors"))
    };
    let first = write(1);
    assert_eq!(first, write(1));
    let key = "model.layers.0.mlp.up_proj.weight";
    assert_ne!(first[key], write(2)[key]);
    let spread =
        |floats: Vec<f32>| (floats.iter().map(|v| v * v).sum::<f32>() / floats.len() as f32).sqrt();
    // 4608 normal numbers: the deviation's standard error is 1 %.
    assert!((spread(first[key].floats()) / 0.02 - 1.0).abs() < 0.05);
    assert!(first["model.norm.weight"].floats().iter().all(|&v| v == 1.0));
    assert!(first["model.layers.0.self_attn.q_proj.bias"].floats().iter().all(|&v| v == 0.0));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (model, _) = CausalLm::load(&golden("llama"), &device(), &mut |_, _| {}).unwrap();
    let message = model.save(&file, SaveDtype::F32).unwrap_err().to_string();
    assert!(message.contains("file"), "{message}");
}

#[test]
fn a_number_that_the_format_cannot_hold_is_refused_and_not_written_as_infinite() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = CausalLm::load(&golden("llama"), &device(), &mut |_, _| {}).unwrap();
    model.save(dir.path(), SaveDtype::F32).unwrap();
    let path = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    // The last number of the file: beyond f16, within bf16.
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1e9_f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let (large, _) = CausalLm::load(dir.path(), &device(), &mut |_, _| {}).unwrap();
    let target = dir.path().join("half");
    let error = large.save(&target, SaveDtype::F16).unwrap_err().to_string();
    assert!(error.contains("1000000000") && error.contains("f16"), "{error}");
    assert!(!target.join("model.safetensors").exists());
    large.save(&target, SaveDtype::Bf16).unwrap();
}
