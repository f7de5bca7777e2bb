//! `adapter_config.json`, against the files that PEFT 0.21.2 wrote.

use std::fs;
use std::path::{Path, PathBuf};

use burn_lora::{Init, Method};
use burn_lora_patch::peft::{CONFIG_FILE, Modules, OneOrMany, PeftConfig, read_config};
use burn_lora_patch::{Bias, EvaConfig, LoraConfig, PatchError, Targets, TaskType, TokenIndices};

use crate::mlp::config;

/// The adapter directories that PEFT wrote whose last segment is one of `names`.
fn golden(names: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden");
    let mut found: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|model| names.iter().map(move |name| model.join(name)))
        .filter(|dir| dir.join(CONFIG_FILE).exists())
        .collect();
    found.sort();
    found
}

#[test]
fn what_peft_wrote_is_written_again_byte_for_byte() {
    let names = [
        "lora",
        "rslora",
        "partial",
        "dora",
        "patterns",
        "embedding",
        "miss",
        "bias_all",
        "bias_lora_only",
    ];
    let directories = golden(&names);
    assert!(directories.len() >= 23, "{directories:?}");
    for dir in directories {
        let text = fs::read_to_string(dir.join(CONFIG_FILE)).unwrap();
        assert_eq!(read_config(&dir).unwrap().to_json().unwrap(), text, "{}", dir.display());
    }
}

#[test]
fn there_are_41_keys_and_no_others() {
    let dir = &golden(&["lora"])[0];
    let text = fs::read_to_string(dir.join(CONFIG_FILE)).unwrap();
    let keys = |text: &str| -> Vec<String> {
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).unwrap();
        fields.keys().cloned().collect()
    };
    let ours = PeftConfig::new(&config(Targets::AllLinear)).to_json().unwrap();
    assert_eq!(keys(&ours), keys(&text));
    assert_eq!(keys(&ours).len(), 41);
}

#[test]
fn lora_rslora_and_dora_are_understood() {
    for dir in golden(&["lora", "rslora", "partial", "dora"]) {
        let config = read_config(&dir).unwrap();
        // GPT-2's files store their weights the other way round; the factors' do not.
        let conv1d = dir.components().any(|part| part.as_os_str() == "gpt2");
        assert_eq!(config.fan_in_fan_out, conv1d);
        let loaded = config.to_config().unwrap();
        let again = PeftConfig::new(&loaded.config).with_fan_in_fan_out(conv1d);
        assert_eq!(again.fan_in_fan_out, conv1d);
        assert!(loaded.warnings.is_empty());
        assert_eq!((loaded.config.adapter.rank, loaded.config.adapter.alpha), (4, 8.0));
        assert_eq!(loaded.config.adapter.rslora, dir.ends_with("rslora"));
        assert_eq!(loaded.config.adapter.method == Method::Dora, dir.ends_with("dora"));
        assert_eq!(PeftConfig::new(&loaded.config).use_dora, dir.ends_with("dora"));
        let bert =
            dir.components().any(|part| part.as_os_str().to_string_lossy().ends_with("bert"));
        assert_eq!(loaded.config.task_type == Some(TaskType::SeqCls), bert);
        assert!(loaded.config.modules_to_save.is_empty(), "the task says which heads");
        if dir.ends_with("partial") {
            assert_eq!(loaded.config.layers_to_transform, Some(vec![1]));
        }
    }
}

#[test]
fn miss_is_understood_in_its_own_words() {
    let directories = golden(&["miss"]);
    assert!(!directories.is_empty());
    for dir in directories {
        let file = read_config(&dir).unwrap();
        let loaded = file.to_config().unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let adapter = &loaded.config.adapter;
        assert_eq!((adapter.method, adapter.rank, adapter.scale()), (Method::Miss, 4, 1.0));
        let again = PeftConfig::new(&loaded.config).to_json().unwrap();
        let text = fs::read_to_string(dir.join(CONFIG_FILE)).unwrap();
        let keys = |text: &str| -> Vec<String> {
            let fields: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(text).unwrap();
            fields.keys().cloned().collect()
        };
        assert_eq!(keys(&again), keys(&text));
    }
    // A rank that is not said is PEFT's for this kind, dropout has a name of its own, and variants are refused.
    let dir = written(
        r#"{"peft_type": "MISS", "target_modules": ["q"], "miss_dropout": 0.25, "new": true}"#,
    );
    let file = read_config(dir.path()).unwrap();
    let loaded = file.to_config().unwrap();
    assert_eq!((loaded.config.adapter.rank, loaded.config.adapter.dropout), (64, 0.25));
    let text = file.to_json().unwrap();
    assert!(text.contains("\"miss_dropout\": 0.25") && text.contains("\"new\""), "{text}");
    assert!(!text.contains("lora"), "{text}");
    for variant in ["bat", "mini"] {
        let text = format!(
            r#"{{"peft_type": "MISS", "target_modules": ["q"], "init_weights": "{variant}", "mini_r": 2}}"#
        );
        let settings = read_config(written(&text).path()).unwrap().to_config().unwrap_err();
        let [one] = settings.as_slice() else { panic!("{settings:?}") };
        assert!(one.starts_with(&format!("init_weights = \"{variant}\" (another")), "{one}");
    }
}

#[test]
fn what_is_not_supported_is_listed_all_at_once() {
    let text = r#"{
        "peft_type": "LORA", "target_modules": ["q"], "bias": "norms", "lora_bias": true,
        "layer_replication": [[0, 2], [1, 3]],
        "trainable_token_indices": {"embed": -1}, "init_lora_weights": "pissa_niter_4",
        "ensure_weight_tying": true, "rank_pattern": {"q": -1}, "use_qalora": true, "use_bdlora": {}, "velora_config": {"rank": 1},
        "kasa_config": {"beta": 1}, "arrow_config": {"top_k": 3}, "monteclora_config": {"n": 1},
        "alora_invocation_tokens": [3], "task_type": "SEQ_CLASS"
    }"#;
    let config: PeftConfig = serde_json::from_str(text).unwrap();
    let settings = config.to_config().unwrap_err();
    assert_eq!(settings.len(), 12, "{settings:#?}");
    let both = PeftConfig { use_dora: true, ..config };
    assert!(
        both.to_config().unwrap_err().join("\n").contains("use_dora = true, use_qalora = true")
    );
    let joined = settings.join("\n");
    for part in [
        "bias = \"norms\" (there are none, all, lora_only)",
        "init_lora_weights = \"pissa_niter_4\" (it changes the base",
        "layer_replication = [[0,2],[1,3]]",
        "rank_pattern = {\"q\": -1}",
        "trainable_token_indices = {\"embed\":-1} (a list of tokens, or",
        "lora_bias = true, use_qalora = true: one kind at a time",
        "task_type = \"SEQ_CLASS\" (there are SEQ_CLS,",
    ] {
        assert!(joined.contains(part), "{joined}");
    }
    assert!(!joined.contains("use_bdlora"), "an empty setting is off");
}

/// What PEFT writes for a patch, and what a patch reads from it, are the same patch.
#[test]
fn a_patch_goes_into_peft_s_configuration_and_back() {
    let mut full = LoraConfig::new(16)
        .with_alpha(24.5)
        .with_dropout(0.05)
        .with_rslora(true)
        .with_init(Init::Gaussian)
        .with_targets(["q_proj", "v_proj"])
        .with_task_type(TaskType::SeqCls)
        .with_exclude(["0.q_proj"])
        .with_layers_to_transform([0, 2])
        .with_modules_to_save(["embed"])
        .with_rank_pattern([("v_proj", 4), ("0.q_proj", 2)])
        .with_alpha_pattern([("v_proj", 4.0), ("q_proj", 2.5)]);
    full.layers_pattern = vec!["layers".into()];
    let mut pattern = config(Targets::Regex(".*_proj".into()));
    pattern.exclude_regex = Some(".*k_proj".into());
    let miss = LoraConfig::new(6).with_method(Method::Miss).with_dropout(0.5).with_targets(["q"]);
    let biased = miss.clone().with_bias(Bias::LoraOnly);
    assert_eq!(PeftConfig::new(&biased).bias, "MiSS_only");
    let all = config(Targets::AllLinear).with_bias(Bias::All);
    let orthogonal = config(Targets::AllLinear).with_init(Init::Orthogonal);
    let beta = config(Targets::AllLinear)
        .with_method(Method::LoraBias)
        .with_trainable_token_indices([17, 5]);
    let written = PeftConfig::new(&beta);
    assert!(written.lora_bias && !written.use_dora);
    assert_eq!(written.trainable_token_indices, serde_json::json!([17, 5]));
    let named = TokenIndices::from_iter([("embed", vec![3]), ("wpe", vec![1, 0])]);
    let named = config(Targets::AllLinear).with_trainable_token_indices(named);
    let experts = config(Targets::none()).with_target_parameters(["experts.up"]);
    let written = PeftConfig::new(&experts).to_json().unwrap();
    assert!(written.contains("\"target_modules\": []"), "{written}");
    let eva = EvaConfig::default().with_rho(1.5).with_whiten(true);
    let eva = config(Targets::AllLinear).with_init(Init::Eva).with_eva(eva);
    let plain = config(Targets::AllLinear);
    assert!(PeftConfig::new(&plain).trainable_token_indices.is_null());
    for config in [full, pattern, miss, biased, all, orthogonal, beta, named, experts, eva, plain] {
        let config = config.with_base_model("base");
        let peft = PeftConfig::new(&config);
        let text = peft.to_json().unwrap();
        let read: PeftConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, peft);
        assert_eq!(read.to_config().unwrap().config, config);
    }
}

#[test]
fn heads_are_written_as_peft_writes_them() {
    let config = config(Targets::AllLinear).with_task_type(TaskType::SeqCls);
    let peft = PeftConfig::new(&config);
    assert_eq!(peft.modules_to_save, Some(vec!["classifier".into(), "score".into()]));
    assert_eq!(peft.target_modules, Some(Modules::Pattern("all-linear".into())));
}

#[test]
fn names_and_a_pattern_to_exclude_become_one_pattern() {
    let mut both = config(Targets::AllLinear).with_exclude(["0.fc1"]);
    both.exclude_regex = Some("a|b".into());
    let peft = PeftConfig::new(&both);
    let Some(Modules::Pattern(pattern)) = peft.exclude_modules else { panic!("a pattern") };
    assert_eq!(pattern, r"(?:.*\.)?(?:0\.fc1)|(?:a|b)");
}

fn written(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(CONFIG_FILE), text).unwrap();
    dir
}

#[test]
fn absent_keys_have_peft_s_defaults_and_unknown_ones_are_kept_and_named() {
    let dir = written(
        r#"{"peft_type": "LORA", "target_modules": "all-linear", "alpha_pattern": null,
            "layers_to_transform": 3, "layers_pattern": "h", "new_in_0_30": [1]}"#,
    );
    let config = read_config(dir.path()).unwrap();
    assert_eq!((config.r, config.lora_alpha, config.peft_version.as_deref()), (8, 8.0, None));
    assert_eq!(config.layers_to_transform, Some(OneOrMany::One(3)));
    assert!(config.to_json().unwrap().contains("new_in_0_30"));
    let loaded = config.to_config().unwrap();
    assert_eq!(loaded.config.layers_to_transform, Some(vec![3]));
    assert_eq!(loaded.config.layers_pattern, ["h"]);
    assert!(loaded.warnings[0].contains("new_in_0_30"), "{:?}", loaded.warnings);
}

#[test]
fn configurations_that_are_none_are_refused_by_file_and_key() {
    let missing = tempfile::tempdir().unwrap();
    let error = read_config(missing.path()).unwrap_err();
    assert!(matches!(&error, PatchError::NoAdapterFile { missing: CONFIG_FILE, .. }), "{error}");
    let error = read_config(missing.path().join("nowhere")).unwrap_err().to_string();
    assert!(error.contains("there is no such directory"), "{error}");
    for name in ["checkpoint-10", "checkpoint-20"] {
        fs::create_dir(missing.path().join(name)).unwrap();
        fs::write(missing.path().join(name).join(CONFIG_FILE), "{}").unwrap();
    }
    let error = read_config(missing.path()).unwrap_err().to_string();
    assert!(error.ends_with("; `checkpoint-20` in it is one: name that"), "{error}");

    let error = read_config(written("{\"peft_type\": \"LORA\",").path()).unwrap_err();
    assert!(matches!(error, PatchError::Config { .. }), "{error}");
    let error = read_config(written(r#"{"peft_type": "LORA", "r": -4}"#).path()).unwrap_err();
    assert!(
        error.to_string().contains("adapter_config.json cannot be understood: `r` is -4"),
        "{error}"
    );

    for key in ["lora_alpha", "r"] {
        let null = format!(r#"{{"peft_type": "LORA", "target_modules": ["q"], "{key}": null}}"#);
        let error = read_config(written(&null).path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`{key}` is null")) && error.contains("takes 8"),
            "{error}"
        );
    }
    let mlx = r#"{"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 20.0}}"#;
    let error = read_config(written(mlx).path()).unwrap_err().to_string();
    assert!(error.contains("`mlx_lm.fuse`"), "{error}");

    for (text, found) in [(r#"{"peft_type": "IA3"}"#, "\"IA3\""), ("{}", "missing")] {
        let error = read_config(written(text).path()).unwrap_err();
        assert!(matches!(&error, PatchError::PeftType { found: f, .. } if f == found), "{error}");
    }
}
