//! Every way in which a directory's files may differ, sound or not.

use burn_lora_models::{
    CausalConfig, CausalLm, Classifier, Decoder, LoadReport, Model, ModelConfig, ModelError,
    SequenceClassifier, TensorProblem,
};
use safetensors::Dtype;

use crate::fixture::{Batch, Copy, Stored, device, floats, golden, write};

fn load_causal(dir: &std::path::Path) -> Result<(CausalLm, LoadReport), ModelError> {
    CausalLm::load(dir, &device(), &mut |_, _| {})
}

fn load_classifier(
    dir: &std::path::Path,
    num_labels: Option<usize>,
) -> Result<(SequenceClassifier, LoadReport), ModelError> {
    SequenceClassifier::load_with_head(dir, num_labels, 0, &device(), &mut |_, _| {})
}

fn causal_logits(model: &CausalLm) -> Vec<f32> {
    let batch = Batch::of("qwen2");
    floats(model.logits(model.hidden(batch.ids(&device()), &batch.lengths, None)))
}

fn class_logits(model: &SequenceClassifier) -> Vec<f32> {
    let batch = Batch::of("bert");
    floats(model.logits(batch.ids(&device()), &batch.lengths))
}

/// The changed copy loads and computes what the original does, bit for bit.
fn check_same_as_golden(copy: &Copy) {
    let (original, _) = load_causal(&golden("qwen2")).unwrap();
    let (model, _) = load_causal(copy.path()).unwrap();
    assert_eq!(causal_logits(&model), causal_logits(&original));
}

fn problems(error: ModelError) -> Vec<TensorProblem> {
    match error {
        ModelError::Tensors { problems, .. } => problems,
        other => panic!("{other}"),
    }
}

fn shard(copy: &Copy) {
    copy.write_config();
    let mut map = serde_json::Map::new();
    for shard in 0..3 {
        let name = format!("model-{shard}.safetensors");
        let part: crate::fixture::Tensors = copy
            .tensors
            .iter()
            .enumerate()
            .filter(|(index, _)| index % 3 == shard)
            .map(|(_, (key, value))| (key.clone(), value.clone()))
            .collect();
        map.extend(part.keys().map(|key| (key.clone(), name.as_str().into())));
        write(&copy.path().join(name), &part);
    }
    let index = serde_json::json!({"metadata": {"total_size": 0}, "weight_map": map});
    let path = copy.path().join("model.safetensors.index.json");
    std::fs::write(path, index.to_string()).unwrap();
}

#[test]
fn shards_load_as_one_file_does() {
    let copy = Copy::of("qwen2");
    shard(&copy);
    check_same_as_golden(&copy);
}

#[test]
fn a_bare_decoder_loads_as_a_prefixed_one_does() {
    let mut copy = Copy::of("qwen2");
    copy.rename(|key| key.strip_prefix("model.").unwrap_or(key).to_owned());
    assert!(copy.tensors.contains_key("layers.0.self_attn.q_proj.bias"));
    copy.write();
    check_same_as_golden(&copy);
}

fn check_halves(dtype: Dtype, round: fn(f32) -> f32) {
    let mut copy = Copy::of("qwen2");
    let rounded: Vec<_> = copy.tensors.values().map(|stored| stored.cast(dtype)).collect();
    // The same rounding, spelled out in f32: loading halves must then add nothing.
    for stored in copy.tensors.values_mut() {
        let floats: Vec<f32> = stored.floats().into_iter().map(round).collect();
        *stored = Stored::from_floats(stored.shape.clone(), &floats);
    }
    copy.write();
    let (expected, _) = load_causal(copy.path()).unwrap();
    for (stored, rounded) in copy.tensors.values_mut().zip(rounded) {
        *stored = rounded;
    }
    copy.write();
    let (model, report) = load_causal(copy.path()).unwrap();
    let numbers: usize = copy.tensors.values().map(|s| s.shape.iter().product::<usize>()).sum();
    assert_eq!(report.bytes, 2 * numbers as u64);
    assert_eq!(causal_logits(&model), causal_logits(&expected));
    let (original, _) = load_causal(&golden("qwen2")).unwrap();
    assert_ne!(causal_logits(&model), causal_logits(&original));
}

#[test]
fn f16_is_read_exactly() {
    check_halves(Dtype::F16, |v| half::f16::from_f32(v).to_f32());
}

#[test]
fn bf16_is_read_exactly() {
    check_halves(Dtype::BF16, |v| half::bf16::from_f32(v).to_f32());
}

#[test]
fn progress_ends_at_the_bytes_of_the_weights() {
    let mut seen = Vec::new();
    let (_, report) = CausalLm::load(&golden("qwen2"), &device(), &mut |done, total| {
        seen.push((done, total));
    })
    .unwrap();
    let bytes: usize = Copy::of("qwen2").tensors.values().map(|stored| stored.bytes.len()).sum();
    assert_eq!(report.bytes, bytes as u64);
    assert_eq!(seen.first(), Some(&(0, report.bytes)));
    assert_eq!(seen.last(), Some(&(report.bytes, report.bytes)));
    assert!(seen.is_sorted() && seen.iter().all(|(_, total)| *total == report.bytes));
}

#[test]
fn missing_surplus_and_misshapen_tensors_come_in_one_error() {
    let mut copy = Copy::of("qwen2");
    copy.tensors.remove("model.norm.weight");
    copy.tensors.remove("model.layers.1.self_attn.q_proj.bias");
    copy.tensors.insert("model.layers.3.extra".into(), Stored::from_floats(vec![1], &[0.0]));
    let file = copy.path().join("model.safetensors");
    let key = "model.layers.2.mlp.up_proj.weight".to_owned();
    copy.tensors.get_mut(&key).unwrap().shape = vec![48, 96];
    let embed = "model.embed_tokens.weight".to_owned();
    let table = copy.tensors.get_mut(&embed).unwrap();
    table.dtype = Dtype::I32;
    let error = load_causal(copy.write()).unwrap_err();
    let message = error.to_string();
    for part in ["5 problems", "up_proj.weight", "[48, 96]", "[96, 48]", "model.safetensors"] {
        assert!(message.contains(part), "{message}");
    }
    let found = problems(error);
    let expected = [
        TensorProblem::Dtype { key: embed, file: file.clone(), found: "I32".into() },
        TensorProblem::Missing { key: "model.layers.1.self_attn.q_proj.bias".into() },
        TensorProblem::Shape {
            key,
            file: file.clone(),
            found: vec![48, 96],
            expected: vec![96, 48],
        },
        TensorProblem::Missing { key: "model.norm.weight".into() },
        TensorProblem::Surplus { key: "model.layers.3.extra".into(), file },
    ];
    assert_eq!(found, expected);
}

#[test]
fn harmless_surplus_is_tolerated_and_reported() {
    let mut copy = Copy::of("llama");
    let table = copy.tensors["model.embed_tokens.weight"].clone();
    copy.tensors.insert("lm_head.weight".into(), table);
    let key = "model.layers.0.self_attn.rotary_emb.inv_freq";
    copy.tensors.insert(key.into(), Stored::from_floats(vec![6], &[0.0; 6]));
    let (_, report) = load_causal(copy.write()).unwrap();
    assert_eq!(report.tolerated, ["lm_head.weight", key]);

    let mut copy = Copy::of("bert");
    let ids = Stored { dtype: Dtype::I64, shape: vec![1], bytes: vec![0; 8] };
    copy.tensors.insert("bert.embeddings.position_ids".into(), ids);
    copy.tensors.insert("cls.predictions.bias".into(), Stored::from_floats(vec![1], &[0.0]));
    let (_, report) = load_classifier(copy.write(), None).unwrap();
    assert_eq!(report.tolerated, ["bert.embeddings.position_ids", "cls.predictions.bias"]);
}

#[test]
fn a_bare_encoder_without_a_head_gets_one_from_the_seed() {
    let mut copy = Copy::of("bert");
    copy.tensors.retain(|key, _| !key.starts_with("classifier."));
    copy.rename(|key| key.strip_prefix("bert.").unwrap_or(key).to_owned());
    copy.write();
    let load = |seed| {
        SequenceClassifier::load_with_head(copy.path(), Some(9), seed, &device(), &mut |_, _| {})
            .unwrap()
    };
    let (model, report) = load(1);
    assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
    assert_eq!(class_logits(&model).len(), 3 * 9);
    assert_eq!(class_logits(&model), class_logits(&load(1).0));
    assert_ne!(class_logits(&model), class_logits(&load(2).0));
}

#[test]
fn the_first_checkpoints_names_of_norms_load() {
    let mut copy = Copy::of("bert");
    copy.rename(|key| {
        key.replace("LayerNorm.weight", "LayerNorm.gamma")
            .replace("LayerNorm.bias", "LayerNorm.beta")
    });
    let (model, _) = load_classifier(copy.write(), None).unwrap();
    let (original, _) = load_classifier(&golden("bert"), None).unwrap();
    assert_eq!(class_logits(&model), class_logits(&original));
}

#[test]
fn half_a_head_is_missing_the_other_half() {
    let mut copy = Copy::of("bert");
    copy.tensors.remove("classifier.bias");
    let error = load_classifier(copy.write(), None).unwrap_err();
    assert_eq!(problems(error), [TensorProblem::Missing { key: "classifier.bias".into() }]);
}

#[test]
fn a_head_of_another_number_of_classes_is_refused() {
    let error = load_classifier(&golden("bert"), Some(6)).unwrap_err();
    assert!(matches!(error, ModelError::Head { found: 5, wanted: 6, .. }), "{error}");
    // Both ways out that it names lead out.
    load_classifier(&golden("bert"), Some(5)).unwrap();
    let mut copy = Copy::of("bert");
    copy.tensors.retain(|key, _| !key.starts_with("classifier."));
    let (_, report) = load_classifier(copy.write(), Some(6)).unwrap();
    assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
    let error = load_classifier(&golden("bert"), Some(0)).unwrap_err();
    assert!(error.to_string().contains("0 classes"), "{error}");
}

fn check_damaged(change: impl Fn(&mut Vec<u8>), reason: &str) {
    let copy = Copy::of("llama");
    let path = copy.write().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    let message = load_causal(copy.path()).unwrap_err().to_string();
    assert!(message.contains(reason) && message.contains("model.safetensors"), "{message}");
}

#[test]
fn damaged_files_are_named_with_what_is_wrong() {
    check_damaged(|bytes| bytes.truncate(bytes.len() - 1), "cut short");
    check_damaged(|bytes| bytes.truncate(100), "cut short");
    check_damaged(|bytes| bytes.truncate(5), "fewer than a header");
    check_damaged(Vec::clear, "fewer than a header");
    check_damaged(|bytes| bytes.push(0), "damaged");
    check_damaged(|bytes| bytes[..8].fill(0xff), "its header says");
    check_damaged(|bytes| bytes[8] = b'[', "header: ");
}

#[test]
fn a_directory_without_weights_says_what_is_expected() {
    let copy = Copy::of("llama");
    copy.write_config();
    let message = load_causal(copy.path()).unwrap_err().to_string();
    assert!(message.contains("model.safetensors.index.json"), "{message}");
    let empty = tempfile::tempdir().unwrap();
    let message = load_causal(empty.path()).unwrap_err().to_string();
    assert!(message.contains("config.json"), "{message}");
}

#[test]
fn an_index_that_lies_or_leads_elsewhere_is_refused() {
    let copy = Copy::of("qwen2");
    shard(&copy);
    let path = copy.path().join("model.safetensors.index.json");
    let index = std::fs::read_to_string(&path).unwrap();
    let lie = index.replacen("model-1.safetensors", "model-2.safetensors", 1);
    std::fs::write(&path, lie).unwrap();
    assert!(matches!(
        problems(load_causal(copy.path()).unwrap_err())[..],
        [TensorProblem::NotInShard { .. }]
    ));
    let outside = index.replacen("model-1.safetensors", "../model-1.safetensors", 1);
    std::fs::write(&path, outside).unwrap();
    let message = load_causal(copy.path()).unwrap_err().to_string();
    assert!(message.contains("not the name of a file beside it"), "{message}");
    let gone = index.replacen("model-1.safetensors", "model-9.safetensors", 1);
    std::fs::write(&path, gone).unwrap();
    let message = load_causal(copy.path()).unwrap_err().to_string();
    assert!(message.contains("model-9.safetensors"), "{message}");
}

#[test]
fn two_shards_with_the_same_tensor_are_refused() {
    let copy = Copy::of("qwen2");
    shard(&copy);
    let part = crate::fixture::read(&copy.path().join("model-0.safetensors"));
    let mut other = crate::fixture::read(&copy.path().join("model-1.safetensors"));
    other.extend(part);
    write(&copy.path().join("model-1.safetensors"), &other);
    let message = load_causal(copy.path()).unwrap_err().to_string();
    assert!(message.contains("is also in"), "{message}");
}

fn said(dir: &std::path::Path) -> String {
    let error = load_causal(dir).unwrap_err().to_string();
    assert!(error.lines().count() <= 10, "{error}");
    // What is planned is refused as what is loaded.
    let outlined = CausalConfig::from_path(dir)
        .and_then(|config| CausalLm::outline_of(&config, dir, &device()).map(|_| ()));
    assert_eq!(outlined.unwrap_err().to_string(), error);
    error
}

fn check_said(dir: &std::path::Path, parts: &[&str]) {
    let said = said(dir);
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn more_blocks_than_there_are_tensors_of_are_one_problem() {
    let mut copy = Copy::of("qwen2");
    for count in [4_u64, 4000] {
        copy.config["num_hidden_layers"] = count.into();
        let count = format!("`num_hidden_layers` of `config.json` is {count}");
        check_said(copy.write(), &[&count, "those of 3 blocks"]);
    }
    copy.config["num_hidden_layers"] = (1_u64 << 40).into();
    check_said(copy.write(), &["`num_hidden_layers` is 1099511627776: at most"]);
    copy.config["num_hidden_layers"] = 3.into();
    load_causal(copy.write()).unwrap();
}

#[test]
fn of_many_problems_the_first_are_told_and_how_many_more_there_are() {
    let mut copy = Copy::of("qwen2");
    let width = copy.config["intermediate_size"].as_u64().unwrap();
    copy.config["intermediate_size"] = (2 * width).into();
    check_said(copy.write(), &["9 problems", "and 1 more"]);
}

#[test]
fn a_model_inside_something_that_wraps_it_is_one_problem_and_taking_the_wrapper_off_helps() {
    for prefix in ["_orig_mod.", "module.", "language_model."] {
        let mut copy = Copy::of("qwen2");
        copy.rename(|key| format!("{prefix}{key}"));
        check_said(copy.write(), &[&format!("names begin with `{prefix}`"), "save_pretrained"]);
        copy.rename(|key| key.strip_prefix(prefix).unwrap().to_owned());
        copy.write();
        check_same_as_golden(&copy);
    }
    let mut copy = Copy::of("qwen2");
    copy.rename(|key| format!("base_model.model.{}", key.replace("q_proj.", "q_proj.base_layer.")));
    check_said(copy.write(), &["with an adapter of PEFT", "merge_and_unload"]);
}

#[test]
fn a_head_that_is_missing_names_the_key_that_would_tie_it() {
    let mut copy = Copy::of("llama");
    copy.config["tie_word_embeddings"] = false.into();
    copy.tensors.remove("lm_head.weight");
    check_said(copy.write(), &["`lm_head.weight`", "`tie_word_embeddings` is true"]);
    copy.config["tie_word_embeddings"] = true.into();
    load_causal(copy.write()).unwrap();
}

#[test]
fn all_shards_that_are_missing_are_named_and_a_whole_set_needs_no_index() {
    let name = |part: usize| format!("model-{part:05}-of-00003.safetensors");
    let copy = Copy::of("qwen2");
    shard(&copy);
    for part in 0..3 {
        let old = copy.path().join(format!("model-{part}.safetensors"));
        std::fs::rename(old, copy.path().join(name(part + 1))).unwrap();
    }
    check_said(copy.path(), &["0 of the 3 files", "`model-0.safetensors`, `model-1.safetensors`"]);
    std::fs::remove_file(copy.path().join("model.safetensors.index.json")).unwrap();
    check_same_as_golden(&copy);
    std::fs::remove_file(copy.path().join(name(1))).unwrap();
    std::fs::remove_file(copy.path().join(name(3))).unwrap();
    check_said(copy.path(), &["1 of the 3 files", &name(1), &name(3)]);
}

#[test]
fn what_is_there_instead_of_a_model_is_named_with_the_way_out() {
    let copy = Copy::of("llama");
    copy.write_config();
    for (file, part) in [
        ("only.safetensors", "if it is the whole model, name it `model.safetensors`"),
        ("pytorch_model.bin", "`pytorch_model.bin` is there: a pickle is not read"),
        ("adapter_config.json", "this is an adapter: name its base"),
        ("q4.gguf", "name that file itself"),
    ] {
        std::fs::write(copy.path().join(file), "x").unwrap();
        check_said(copy.path(), &["no weights in", part]);
    }
    std::fs::remove_file(copy.path().join("config.json")).unwrap();
    check_said(copy.path(), &["no `config.json`", "name that file itself"]);
    let weights = copy.path().join("only.safetensors");
    check_said(&weights, &["is a file of weights: name the directory"]);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_named_with_where_it_leads() {
    let copy = Copy::of("llama");
    copy.write_config();
    let place = copy.path().join("model.safetensors");
    std::os::unix::fs::symlink("../blobs/gone", &place).unwrap();
    check_said(copy.path(), &["model.safetensors` is a link to `../blobs/gone`"]);
}
