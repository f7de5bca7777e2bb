//! What an adapter's files hold beside what is expected of them: loaded, or told.

use std::fs;

use burn_lora_patch::peft::{CONFIG_FILE, LoadOptions, TENSORS_FILE, load, read_config};
use burn_lora_patch::{KeyProblem, PatchError};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use tempfile::TempDir;

use crate::mlp::{Mlp, cpu, tracked};
use crate::peft_files::{A, B, Made, check_problems, check_refused, f32s, good, made};

#[test]
fn only_settings_that_are_switched_on_are_told() {
    let config = |rest: &str| {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(r#"{{"peft_type": "LORA", "r": 2{rest}}}"#);
        fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
        read_config(dir.path()).unwrap().passed_over()
    };
    assert_eq!(config(r#", "x": null, "y": false, "z": [], "merge_weights": false"#), None);
    let told = config(r#", "x": null, "use_quaternion": true, "blocks": {"n": 4}"#).unwrap();
    assert!(told.ends_with("has no effect: `blocks`, `use_quaternion`"), "{told}");
}

/// They were once told in a list of 900 lines, with the other factor of the layer as what was meant.
#[test]
fn names_that_differ_are_told_with_the_same_factor_and_not_all_of_them() {
    let layers = 0..40;
    let key = |layer: usize, factor: &str| -> &'static str {
        format!("base_model.model.model.layers.{layer}.fc1.{factor}.x.default.weight").leak()
    };
    let keys = layers.flat_map(|layer| ["lora_A", "lora_B"].map(|factor| key(layer, factor)));
    let tensors: Vec<Made> = keys.map(|key| f32s(key, &[1])).collect();
    let error = check_refused(made(&tensors).path());
    let text = error.to_string();
    assert!(text.contains("(82 problems)") && text.lines().count() == 10, "{text}");
    assert!(text.contains("did the writer mean"), "{text}");
    let PatchError::Keys { problems, .. } = error else { panic!("{text}") };
    let meant = problems.iter().filter_map(|problem| match problem {
        KeyProblem::Surplus { key, nearest: Some(nearest), .. } => Some((key, nearest)),
        _ => None,
    });
    let same = |(key, nearest): (&String, &String)| {
        ["lora_A", "lora_B"].iter().all(|factor| key.contains(factor) == nearest.contains(factor))
    };
    assert!(meant.clone().count() > 0);
    assert!(meant.clone().all(same), "{:?}", meant.collect::<Vec<_>>());
}

const TABLE: &str = "base_model.model.model.embed.weight";
const HEAD: &str = "base_model.model.lm_head.weight";

/// PEFT writes them where tokens were added before the training, and wherever it is asked to.
#[test]
fn a_table_and_a_head_beside_the_factors_are_loaded() {
    let factors = [f32s(A, &[2, 6]), f32s(B, &[10, 2])];
    let dir = made(&[factors, [f32s(TABLE, &[7, 6]), f32s(HEAD, &[7, 6])]].concat());
    let mut model = Mlp::new(&cpu());
    let before = crate::mlp::params(&model);
    load(&mut model, dir.path(), &LoadOptions::default()).unwrap();
    let after = crate::mlp::params(&model);
    let read = |dir: &TempDir, key: &str| -> Vec<f32> {
        let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = file.tensor(key).unwrap().data().as_chunks::<4>().0.to_vec();
        floats.into_iter().map(f32::from_le_bytes).collect()
    };
    assert_eq!(after["model.embed.weight"].0, read(&dir, TABLE));
    assert_ne!(after["model.embed.weight"].0, before["model.embed.weight"].0);
    // A linear lies the other way round in files: row 0 of the file is its column 0.
    let head: Vec<f32> = after["lm_head.weight"].0.iter().step_by(7).copied().collect();
    assert_eq!(head, read(&dir, HEAD)[..6]);
    assert_eq!(after["classifier.weight"].0, before["classifier.weight"].0);
    assert!(tracked(&model).is_empty(), "they are loaded frozen, as the factors are");
}

#[test]
fn a_table_of_other_rows_is_refused_with_the_way_out() {
    let problems = check_problems(&[f32s(A, &[2, 6]), f32s(B, &[10, 2]), f32s(TABLE, &[9, 6])]);
    let (key, found, expected) = (TABLE.into(), vec![9, 6], vec![7, 6]);
    assert_eq!(problems, [KeyProblem::Rows { key, found, expected }]);
    assert!(problems[0].to_string().contains("tokens were added"), "{}", problems[0]);
}

/// Kohya's names were once told as a list of what is missing and what is surplus.
#[test]
fn tensors_with_another_tools_names_are_told_in_one_sentence() {
    let key = |name: &str| -> &'static str { format!("model.layers.0.fc1.{name}").leak() };
    let kohya = [key("lora_down.weight"), key("lora_up.weight"), key("alpha")];
    let problems = check_problems(&kohya.map(|key| f32s(key, &[2, 6])));
    assert!(matches!(&problems[..], [KeyProblem::Foreign { count: 2, .. }]), "{problems:?}");
}

#[test]
fn values_that_are_not_finite_are_refused_by_their_tensor() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = [1.0, value, 0.5];
        let bytes = (0..20).flat_map(|at: usize| values[at % 3].to_le_bytes()).collect();
        let dir = made(&[f32s(A, &[2, 6]), Made(B, Dtype::F32, vec![10, 2], bytes)]);
        let error = check_refused(dir.path());
        assert!(matches!(&error, PatchError::Values { key, others: 0, .. } if key == B), "{error}");
    }
}

/// Each is finite, and so is a file of them: every verb but those that ran the model once took them for sound.
#[test]
fn values_that_nothing_can_be_computed_with_are_refused() {
    let filled = |key: &'static str, shape: [usize; 2], value: f32| {
        let bytes = (0..shape[0] * shape[1]).flat_map(|_| value.to_le_bytes()).collect();
        Made(key, Dtype::F32, shape.to_vec(), bytes)
    };
    let adapter = |a: f32, b: f32| made(&[filled(A, [2, 6], a), filled(B, [10, 2], b)]);
    for (a, b) in [(1.0, 3e38), (-2e19, 0.0)] {
        let error = check_refused(adapter(a, b).path());
        let key = if a == 1.0 { B } else { A };
        assert!(matches!(&error, PatchError::Values { key: told, .. } if told == key), "{error}");
        assert!(error.to_string().contains("too large to compute with"), "{error}");
    }
    let error = check_refused(adapter(1e15, -1e15).path());
    assert!(matches!(&error, PatchError::Change { key, .. } if key == A), "{error}");
    // Large, and nothing that f32 has not: a weight of 1e10.
    load(&mut Mlp::new(&cpu()), adapter(1e5, 1e5).path(), &LoadOptions::default()).unwrap();
}

/// They were once told one by one, each with the key that was meant.
#[test]
fn keys_of_a_wrapped_model_are_read_as_what_they_name() {
    let loaded = |dir: &TempDir| {
        let mut model = Mlp::new(&cpu());
        load(&mut model, dir.path(), &LoadOptions::default()).unwrap();
        crate::mlp::params(&model)
    };
    let plain = loaded(&good());
    let wrappers: [fn(&str) -> String; 7] = [
        |key| format!("module.{key}"),
        |key| format!("_orig_mod.{key}"),
        |key| format!("base_model.model.{key}"),
        |key| key.replacen("base_model.model.", "", 1),
        |key| key.replace("base_model.model.", "base_model.model.model."),
        |key| key.replace(".fc1.", "._fsdp_wrapped_module.fc1."),
        |key| key.replace(".weight", ".default.weight"),
    ];
    for wrapped in wrappers {
        let name = |key: &str| -> &'static str { wrapped(key).leak() };
        let dir = made(&[f32s(name(A), &[2, 6]), f32s(name(B), &[10, 2])]);
        assert!(loaded(&dir) == plain, "{}", name(A));
    }
    let tower = |key: &str| -> &'static str { key.replace("layers.", "tower.layers.").leak() };
    let problems = check_problems(&[f32s(tower(A), &[2, 6]), f32s(tower(B), &[10, 2])]);
    let (inserted, meant) = ("tower.".to_owned(), A.to_owned());
    assert_eq!(problems, [KeyProblem::Inserted { inserted, meant, count: 2 }]);
}

#[test]
fn the_file_of_tensors_in_the_place_of_its_directory_is_told() {
    let dir = good();
    let error = check_refused(&dir.path().join(TENSORS_FILE)).to_string();
    assert!(error.contains("name the directory that it is in"), "{error}");
}
