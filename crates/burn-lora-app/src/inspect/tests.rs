use std::collections::HashMap;
use std::fs;

use proptest::prelude::*;
use safetensors::tensor::{Dtype, serialize};

use super::*;

/// A tensor of a file: its key, number format, shape and bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

fn f32s(key: &str, shape: &[usize], values: &[f32]) -> Stored {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (format!("base_model.model.{key}"), Dtype::F32, shape.to_vec(), bytes)
}

fn write_adapter(dir: &Path, config: &str, tensors: &[Stored]) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(CONFIG_FILE), config).unwrap();
    let views = tensors.iter().map(|(key, dtype, shape, bytes)| {
        (key.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::write(dir.join(TENSORS_FILE), serialize(views, Some(metadata)).unwrap()).unwrap();
}

const CONFIG: &str = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 8, "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "org/base", "target_modules": ["q_proj", "fc"]}"#;

/// The same with magnitudes.
fn dora() -> String {
    CONFIG.replace("\"r\"", "\"use_dora\": true, \"r\"")
}

/// Two layers, out of their order, and a head that is trained whole.
fn two_layers() -> Vec<Stored> {
    vec![
        // A = [1 2 2; 0 0 3], B = [1 0; 0 2]: B A = [1 2 2; 0 0 6], squares 9 + 36.
        f32s("layers.10.q_proj.lora_A.weight", &[2, 3], &[1.0, 2.0, 2.0, 0.0, 0.0, 3.0]),
        f32s("layers.10.q_proj.lora_B.weight", &[2, 2], &[1.0, 0.0, 0.0, 2.0]),
        f32s("layers.2.q_proj.lora_A.weight", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        f32s("layers.2.q_proj.lora_B.weight", &[2, 2], &[0.0; 4]),
        f32s("score.weight", &[2, 3], &[0.0; 6]),
    ]
}

#[test]
fn a_small_adapter_is_what_was_computed_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    write_adapter(dir.path(), CONFIG, &two_layers());
    let found = inspect(dir.path()).unwrap();

    assert_eq!((found.rank, found.alpha, found.rslora), (2, Some(8.0), false));
    assert_eq!(found.base_model.as_deref(), Some("org/base"));
    assert_eq!(found.task.as_deref(), Some("CAUSAL_LM"));
    assert_eq!(found.targets, ["q_proj", "fc"]);
    assert_eq!(found.bytes, fs::metadata(dir.path().join(TENSORS_FILE)).unwrap().len());

    let [second, tenth] = &found.layers[..] else { panic!("{:?}", found.layers) };
    assert_eq!(tenth.path, "layers.10.q_proj");
    assert_eq!((tenth.rank, tenth.alpha, tenth.scale), (2, 8.0, 4.0));
    assert_eq!((tenth.shape_a, tenth.shape_b, &*tenth.dtype), ([2, 3], [2, 2], "f32"));
    // Whole numbers up to 45: every sum is exact, the roots are rounded alike.
    assert_eq!(tenth.norm_a, 18.0_f64.sqrt());
    assert_eq!(tenth.norm_b, 5.0_f64.sqrt());
    assert_eq!(tenth.norm_change, 4.0 * 45.0_f64.sqrt());
    assert_eq!((second.norm_b, second.norm_change), (0.0, 0.0));

    let head = OtherTensor { name: "score.weight".into(), shape: vec![2, 3], dtype: "f32".into() };
    assert_eq!(found.others, [head]);
    let totals = Totals {
        layers: 2,
        factor_parameters: 20,
        other_parameters: 6,
        norm_change: tenth.norm_change,
    };
    assert_eq!(found.totals, totals);
    assert_eq!(found.notes, ["1 of 2 layers change nothing: their B is zero"]);
}

#[test]
fn the_lines_are_aligned_and_the_json_has_the_same_values() {
    let dir = tempfile::tempdir().unwrap();
    write_adapter(dir.path(), CONFIG, &two_layers());
    let found = inspect(dir.path()).unwrap();
    let (lines, at) = (found.to_string(), dir.path().display());
    let size = found.bytes;
    assert_eq!(
        lines,
        format!(
            "adapter: {at}\n\
             base model: org/base\n\
             task: CAUSAL_LM\n\
             rank 2, alpha 8\n\
             targets: q_proj, fc\n\
             \n\
             layer                 A      B  scale  type    ‖A‖    ‖B‖  ‖scale·B A‖\n\
             layers.2.q_proj   2 x 3  2 x 2  4.000   f32  1.414      0            0\n\
             layers.10.q_proj  2 x 3  2 x 2  4.000   f32  4.243  2.236       26.833\n\
             \n\
             layer             largest σ  smallest σ  effective rank  rank of 90 %  rank of 99 %\n\
             layers.2.q_proj           0           0            0.00             0             0\n\
             layers.10.q_proj     25.475       8.426            1.75             1             2\n\
             \n\
             other tensor  shape  type\n\
             score.weight  2 x 3   f32\n\
             \n\
             2 layers, 20 parameters and 6 beside them, {size} bytes, change 26.833\n\
             rank 2 keeps 99 % of the squared norm of every layer's change\n\
             note: 1 of 2 layers change nothing: their B is zero"
        )
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["layers"][1]["norm_change"], found.layers[1].norm_change);
    assert_eq!(json["layers"][1]["shape_b"], serde_json::json!([2, 2]));
    assert_eq!(json["totals"]["factor_parameters"], 20);
}

#[test]
fn scales_follow_rslora_and_the_patterns_of_alpha_and_rank() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = [
        f32s("a.fc.lora_A.weight", &[4, 1], &[1.0, 0.0, 0.0, 0.0]),
        f32s("a.fc.lora_B.weight", &[1, 4], &[1.0, 0.0, 0.0, 0.0]),
        f32s("fc.lora_A.weight", &[1, 1], &[1.0]),
        f32s("fc.lora_B.weight", &[1, 1], &[1.0]),
        f32s("xfc.lora_A.weight", &[1, 1], &[1.0]),
        f32s("xfc.lora_B.weight", &[1, 1], &[1.0]),
    ];
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 8, "rank_pattern": {"a.fc": 4},
        "alpha_pattern": {"^fc": 3, "fc": 6}, "target_modules": ["fc", "xfc"]}"#;
    write_adapter(dir.path(), config, &tensors);
    let scales = |path: &Path| -> Vec<(String, f64)> {
        let layers = inspect(path).unwrap().layers;
        layers.into_iter().map(|layer| (layer.path, layer.scale)).collect()
    };
    let expect = |scales: [f64; 3]| -> Vec<(String, f64)> {
        ["a.fc", "fc", "xfc"].map(str::to_owned).into_iter().zip(scales).collect()
    };
    assert_eq!(scales(dir.path()), expect([1.5, 3.0, 8.0]));
    let rslora = config.replace("\"r\": 1", "\"r\": 1, \"use_rslora\": true");
    write_adapter(dir.path(), &rslora, &tensors);
    assert_eq!(scales(dir.path()), expect([3.0, 3.0, 8.0]));
    let broken = config.replace("\"fc\": 6", "\"fc(\": 6");
    write_adapter(dir.path(), &broken, &tensors);
    let error = inspect(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`alpha_pattern` has `fc(`"), "{error}");
}

#[test]
fn half_precision_and_doubles_are_read() {
    // 1.5 and -2 in every format: IEEE half, bfloat, double.
    let halves = |bits: [u16; 2]| bits.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>();
    let doubles: Vec<u8> = [1.5_f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (dtype, bytes) in [
        (Dtype::F16, halves([0x3E00, 0xC000])),
        (Dtype::BF16, halves([0x3FC0, 0xC000])),
        (Dtype::F64, doubles),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let a = ("base_model.model.fc.lora_A.weight".to_owned(), dtype, vec![1, 2], bytes);
        write_adapter(dir.path(), CONFIG, &[a, f32s("fc.lora_B.weight", &[1, 1], &[2.0])]);
        let found = inspect(dir.path()).unwrap();
        assert_eq!(found.layers[0].norm_a, 2.5, "{dtype}");
        assert_eq!(found.layers[0].norm_change, 8.0 * 5.0, "{dtype}");
        assert_eq!(found.layers[0].dtype, format!("{dtype}, f32").to_lowercase());
    }
}

#[test]
fn values_that_are_not_finite_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = [
        f32s("fc.lora_A.weight", &[1, 2], &[f32::NAN, 1.0]),
        f32s("fc.lora_B.weight", &[1, 1], &[1.0]),
        f32s("fc.lora_magnitude_vector", &[1], &[1.0]),
    ];
    write_adapter(dir.path(), &dora(), &tensors);
    let found = inspect(dir.path()).unwrap();
    assert!(found.layers[0].norm_change.is_nan());
    assert_eq!(found.notes.len(), 2);
    assert!(found.notes[0].contains("not finite, the first is fc"), "{:?}", found.notes);
    assert_eq!(found.broken, ["fc.lora_A.weight"]);
    let error = found.sound().unwrap_err().to_string();
    assert!(error.contains("1 of its tensors") && error.contains("`fc.lora_A.weight`"), "{error}");
    assert!(serde_json::to_value(&found).unwrap()["layers"][0]["norm_a"].is_null());
}

#[test]
fn factors_that_are_no_matrices_are_listed_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let tensors = [
        f32s("conv.lora_A.weight", &[1, 2, 1, 1], &[1.0, 1.0]),
        f32s("conv.lora_B.weight", &[2, 1, 1, 1], &[1.0, 1.0]),
        f32s("emb.lora_embedding_A", &[1, 2], &[1.0, 1.0]),
    ];
    write_adapter(dir.path(), CONFIG, &tensors);
    let found = inspect(dir.path()).unwrap();
    let names: Vec<&str> = found.others.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["conv.lora_A.weight", "conv.lora_B.weight", "emb.lora_embedding_A"]);
    assert_eq!(found.notes, ["there is no layer with factors"]);
}

/// They were listed as strangers, and counted as none of the factors.
#[test]
fn magnitudes_are_a_factor_of_their_layer() {
    let dir = tempfile::tempdir().unwrap();
    let magnitudes = |shape: &[usize], values: &[f32]| {
        let mut tensors = two_layers();
        tensors.push(f32s("layers.10.q_proj.lora_magnitude_vector", shape, values));
        tensors.push(f32s("layers.2.q_proj.lora_magnitude_vector", &[2], &[0.0, 2.0]));
        tensors
    };
    write_adapter(dir.path(), &dora(), &magnitudes(&[2], &[3.0, 4.0]));
    let found = inspect(dir.path()).unwrap();
    let norms: Vec<_> = found.layers.iter().map(|layer| layer.norm_magnitude).collect();
    assert_eq!(norms, [Some(2.0), Some(5.0)]);
    assert_eq!((found.totals.factor_parameters, found.others.len()), (24, 1));
    let lines = found.to_string();
    let ends =
        |line: &str, end: &str| lines.lines().any(|l| l.starts_with(line) && l.ends_with(end));
    assert!(ends("layer ", "  ‖magnitude‖") && ends("layers.10.q_proj", "5.000"), "{lines}");

    let refused = |tensors: &[Stored], says: &str| {
        write_adapter(dir.path(), &dora(), tensors);
        let error = inspect(dir.path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(
        &magnitudes(&[3], &[1.0; 3]),
        "magnitudes of `layers.10.q_proj` are [3] and should be [2]",
    );
    refused(&two_layers(), "has no `base_model.model.layers.10.q_proj.lora_magnitude_vector`");
    // Without the switch they are nobody's.
    write_adapter(dir.path(), CONFIG, &magnitudes(&[2], &[3.0, 4.0]));
    assert_eq!(inspect(dir.path()).unwrap().others.len(), 3);
}

#[test]
fn blocks_of_miss_are_measured_and_no_alpha_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"peft_type": "MISS", "r": 2, "target_modules": ["fc"]}"#;
    write_adapter(dir.path(), config, &[f32s("fc.miss_block", &[2, 3], &[1.0; 6])]);
    let found = inspect(dir.path()).unwrap();
    assert_eq!((found.method.as_str(), found.alpha, found.layers.len()), ("miss", None, 0));
    assert_eq!((found.blocks[0].path.as_str(), found.blocks[0].shape), ("fc", [2, 3]));
    assert_eq!((found.totals.factor_parameters, found.others.len()), (6, 0));
    assert_eq!(found.blocks[0].norm_block, 6.0_f64.sqrt());
    assert_eq!(found.blocks[0].norm_change, None);
    let lines = found.to_string();
    assert!(
        lines.contains("\nrank 2, MiSS\n") && lines.contains("note: MiSS: how often"),
        "{lines}"
    );
}

/// Writes a base whose only weights are these.
fn write_base(dir: &Path, weights: &[Stored]) {
    fs::create_dir_all(dir).unwrap();
    let bare = |key: &str| key.trim_start_matches("base_model.model.").to_owned();
    let named: Vec<Stored> = weights
        .iter()
        .map(|(key, dtype, shape, bytes)| (bare(key), *dtype, shape.clone(), bytes.clone()))
        .collect();
    let views = named.iter().map(|(key, dtype, shape, bytes)| {
        (key.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(dir.join("model.safetensors"), serialize(views, None).unwrap()).unwrap();
}

#[test]
fn norms_stand_beside_those_of_the_base_where_it_is_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (adapter, base) = (dir.path().join("adapter"), dir.path().join("base"));
    let weight = |layer: &str| f32s(&format!("{layer}.weight"), &[2, 3], &[1.0; 6]);
    write_base(&base, &[weight("layers.10.q_proj"), weight("layers.2.q_proj")]);
    write_adapter(&adapter, CONFIG, &two_layers());
    let found = inspect_on(&adapter, Some(&base)).unwrap();
    assert_eq!(found.base, Some(base.clone()));
    let weights: Vec<_> = found.layers.iter().map(|layer| layer.norm_weight).collect();
    assert_eq!(weights, [Some(6.0_f64.sqrt()); 2]);
    // 4 √45 / √6
    assert!(found.to_string().contains("10.954"), "{found}");
    // The base that the configuration names is read unasked, and passed over where it is not there.
    let named = CONFIG.replace("org/base", &base.display().to_string());
    write_adapter(&adapter, &named, &two_layers());
    assert_eq!(inspect(&adapter).unwrap().layers, found.layers);
    write_adapter(&adapter, &named.replace("/base", "/none"), &two_layers());
    assert_eq!(inspect(&adapter).unwrap().base, None);
    assert!(inspect_on(&adapter, Some(&dir.path().join("none"))).is_err());

    // A block of two rows of norms 1 and 2 over three inputs: the first row twice.
    let miss = r#"{"peft_type": "MISS", "r": 2, "target_modules": ["fc"]}"#;
    write_adapter(&adapter, miss, &[f32s("fc.miss_block", &[2, 2], &[1.0, 0.0, 0.0, 2.0])]);
    write_base(&base, &[f32s("fc.weight", &[2, 3], &[1.0; 6])]);
    let found = inspect_on(&adapter, Some(&base)).unwrap();
    assert_eq!(found.blocks[0].norm_change, Some(6.0_f64.sqrt()));
    assert_eq!(found.blocks[0].norm_weight, Some(6.0_f64.sqrt()));
}

fn check_refused(tensors: &[Stored], says: &str) {
    let dir = tempfile::tempdir().unwrap();
    write_adapter(dir.path(), CONFIG, tensors);
    let error = inspect(dir.path()).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    let a = f32s("fc.lora_A.weight", &[1, 2], &[1.0, 2.0]);
    let b = |shape: &[usize]| f32s("fc.lora_B.weight", shape, &[1.0, 2.0]);
    check_refused(std::slice::from_ref(&a), "has no `base_model.model.fc.lora_B.weight`");
    check_refused(&[b(&[2, 1])], "has no `base_model.model.fc.lora_A.weight`");
    check_refused(&[a.clone(), b(&[1, 2])], "the factors of `fc` do not fit: A is [1, 2]");
    let none = [f32s("fc.lora_A.weight", &[0, 2], &[]), f32s("fc.lora_B.weight", &[2, 0], &[])];
    check_refused(&none, "A is [0, 2]");
    let (key, _, shape, bytes) = b(&[2, 1]);
    check_refused(&[a, (key, Dtype::I32, shape, bytes)], "B of `fc` is i32");
}

#[test]
fn what_is_no_adapter_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let says = |path: &Path, words: &str| {
        let error = inspect(path).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says(&dir.path().join("none"), "there is no such directory");
    says(dir.path(), CONFIG_FILE);
    fs::write(dir.path().join(CONFIG_FILE), CONFIG).unwrap();
    says(dir.path(), TENSORS_FILE);
    fs::write(dir.path().join(TENSORS_FILE), b"\x08\0\0\0\0\0\0\0{}").unwrap();
    says(dir.path(), "is not a whole safetensors file");

    let whole = tempfile::tempdir().unwrap();
    write_adapter(whole.path(), CONFIG, &two_layers());
    let bytes = fs::read(whole.path().join(TENSORS_FILE)).unwrap();
    fs::write(whole.path().join(TENSORS_FILE), &bytes[..bytes.len() - 1]).unwrap();
    says(whole.path(), "is not a whole safetensors file");
    fs::write(whole.path().join(CONFIG_FILE), "{").unwrap();
    says(whole.path(), "cannot be understood");
}

#[test]
fn a_run_stands_for_the_adapter_that_it_trained() {
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join("config.toml"), "").unwrap();
    let unfinished = inspect(run.path());
    assert!(matches!(
        unfinished,
        Err(AppError::Train(TrainError::Unfinished { missing: "adapter", .. }))
    ));
    write_adapter(&run.path().join("adapter"), CONFIG, &two_layers());
    assert_eq!(inspect(run.path()).unwrap().directory, run.path().join("adapter"));
    fs::remove_dir_all(run.path().join("adapter")).unwrap();
    fs::create_dir(run.path().join("model")).unwrap();
    let full = inspect(run.path());
    assert!(matches!(full, Err(AppError::Inspect(InspectError::Full { .. }))));
}

proptest! {
    #[test]
    fn the_norm_of_the_product_is_that_of_the_dense_matrix(
        rank in 1_usize..6, d_in in 1_usize..9, d_out in 1_usize..9, seed in any::<u64>(),
    ) {
        // Values in [-1, 1) from a linear congruential generator.
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        };
        let a: Vec<f64> = (0..rank * d_in).map(|_| next()).collect();
        let b: Vec<f64> = (0..d_out * rank).map(|_| next()).collect();
        let mut dense = 0.0;
        for row in 0..d_out {
            for column in 0..d_in {
                let entry: f64 =
                    (0..rank).map(|k| b[row * rank + k] * a[k * d_in + column]).sum();
                dense += entry * entry;
            }
        }
        // The squares differ by rounding of at most a few hundred terms of size ‖A‖² ‖B‖² · 1e-16; the
        // root turns 1e-14 into 1e-7 where the product cancels.
        let bound = norms::norm(&a) * norms::norm(&b);
        let difference = (product_norm(&a, &b, rank) - dense.sqrt()).abs();
        prop_assert!(difference <= 1e-7 * bound, "{difference} of {bound}");
    }
}
