//! The binary as a person meets it: exit codes, and what it says when something is wrong.

mod binary;

use std::path::Path;

use binary::{burn_lora, text};

#[test]
fn every_verb_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    let verbs = ["init", "check", "train", "eval", "generate", "merge", "inspect", "export"];
    for verb in verbs.into_iter().chain([
        "completions",
        "sweep",
        "fetch",
        "chat",
        "combine",
        "extract",
        "compress",
        "serve-device",
    ]) {
        let output = burn_lora(dir.path(), &[verb, "--help"]);
        assert!(output.status.success(), "{verb}");
        assert!(text(&output.stdout).contains("Usage: burn-lora"), "{verb}");
    }
}

#[test]
fn all_problems_of_a_configuration_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[model]\npath = \"m\"\n[adapter]\nrnak = 4\nalpha = -1\n[data]\n\
                  train = \"t.jsonl\"\n[output]\ndir = \"runs/x\"\n";
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    let output = burn_lora(dir.path(), &["train", "run.toml", "--set", "train.stesp=5"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for expected in ["rnak", "`rank`", "alpha", "stesp", "`steps`"] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    assert!(!dir.path().join("runs").exists(), "a refused run leaves nothing");
}

#[test]
fn a_device_that_is_not_compiled_in_names_the_feature() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\ndevice = \"gpu\"\n\
                  [output]\ndir = \"runs/x\"\n";
    std::fs::write(dir.path().join("run.toml"), config).unwrap();
    let output = burn_lora(dir.path(), &["check", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("unknown device `gpu`"), "{}", text(&output.stderr));
}

#[test]
fn scores_of_generated_texts_are_asked_for_by_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[output]\ndir = \"run\"\n";
    std::fs::create_dir(dir.path().join("run")).unwrap();
    std::fs::write(dir.path().join("run/config.toml"), config).unwrap();
    for (flag, key) in [("--bleu", "train.bleu"), ("--exact-match", "train.exact_match")] {
        let output = burn_lora(dir.path(), &["eval", "run", flag]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        let expected = format!("--set {key}=true: {key}: needs rows");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn wrong_arguments_exit_with_2() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(burn_lora(dir.path(), &["trian"]).status.code(), Some(2));
    assert_eq!(burn_lora(dir.path(), &["generate"]).status.code(), Some(2));
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = burn_lora(dir.path(), &["merge", "runs/none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("runs/none"), "{}", text(&output.stderr));
}

#[test]
fn ready_configurations_are_listed_shown_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let list = burn_lora(dir.path(), &["init"]);
    assert!(list.status.success());
    let listed = text(&list.stdout);
    let line = listed.lines().find(|line| line.starts_with("quickstart ")).unwrap();
    assert!(line.contains("Teaches the quickstart's model eight tools"), "{line}");

    let shown = text(&burn_lora(dir.path(), &["init", "quickstart"]).stdout);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart.toml");
    assert_eq!(shown, std::fs::read_to_string(file).unwrap());

    let copy = ["init", "quickstart", "--out", "run.toml", "--model", "m", "--data", "t.jsonl"];
    let copied = burn_lora(dir.path(), &copy);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    // Nobody should evaluate on rows of another data set without knowing.
    let note = text(&copied.stderr);
    assert!(note.contains("eval is still datasets/quickstart/eval.jsonl"), "{note}");
    let written = std::fs::read_to_string(dir.path().join("run.toml")).unwrap();
    let expected = shown
        .replace("path = \"datasets/quickstart/model\"", "path = \"m\"")
        .replace("train = \"datasets/quickstart/train.jsonl\"", "train = \"t.jsonl\"");
    assert_eq!(written, expected);

    let again = burn_lora(dir.path(), &copy);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("`run.toml` is there already"), "{}", text(&again.stderr));
}

#[test]
fn a_ready_configuration_that_is_none_gets_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let output = burn_lora(dir.path(), &["init", "quikstart", "--out", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("did you mean `quickstart`?"),
        "{}",
        text(&output.stderr)
    );
    assert!(!dir.path().join("run.toml").exists());
    let empty = burn_lora(dir.path(), &["init", "quickstart", "--model", ""]);
    assert!(text(&empty.stderr).contains("model.path"), "{}", text(&empty.stderr));
    assert!(empty.stdout.is_empty());
    assert_eq!(burn_lora(dir.path(), &["init", "--out", "run.toml"]).status.code(), Some(2));
}

#[test]
fn completions_know_the_verbs() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = burn_lora(dir.path(), &["completions", shell]);
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("inspect"), "{shell}");
    }
}

/// An adapter of one layer: A = [1 2 2], B = [3 4] as a column, alpha 2.
fn write_adapter(dir: &Path) {
    use safetensors::tensor::{Dtype, TensorView, serialize};

    std::fs::create_dir_all(dir).unwrap();
    let config = r#"{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["q_proj"]}"#;
    std::fs::write(dir.join("adapter_config.json"), config).unwrap();
    let bytes =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let (a, b) = (bytes(&[1.0, 2.0, 2.0]), bytes(&[3.0, 4.0]));
    let key = |factor: &str| format!("base_model.model.layers.0.q_proj.{factor}.weight");
    let views = [
        (key("lora_A"), TensorView::new(Dtype::F32, vec![1, 3], &a).unwrap()),
        (key("lora_B"), TensorView::new(Dtype::F32, vec![2, 1], &b).unwrap()),
    ];
    std::fs::write(dir.join("adapter_model.safetensors"), serialize(views, None).unwrap()).unwrap();
}

#[test]
fn an_adapter_is_inspected_without_its_model() {
    let dir = tempfile::tempdir().unwrap();
    write_adapter(&dir.path().join("adapter"));
    let output = burn_lora(dir.path(), &["inspect", "adapter"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    // The norms are 3 and 5; of rank 1, that of the product is theirs multiplied.
    let row = lines.lines().find(|line| line.starts_with("layers.0.q_proj")).unwrap();
    let cells = row.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(cells, "layers.0.q_proj 1 x 3 2 x 1 2.000 f32 3.000 5.000 30.000");

    let json = text(&burn_lora(dir.path(), &["inspect", "adapter", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["layers"][0]["norm_change"], 30.0);
    assert_eq!(json["totals"]["factor_parameters"], 5);

    std::fs::remove_file(dir.path().join("adapter/adapter_model.safetensors")).unwrap();
    let missing = burn_lora(dir.path(), &["inspect", "adapter"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("adapter_model.safetensors"));
}

#[test]
fn an_export_of_what_is_no_run_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = burn_lora(dir.path(), &["export", "runs/none", "--out", "out"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("runs/none"), "{}", text(&output.stderr));
    assert!(!dir.path().join("out").exists());
}

#[test]
fn adapters_are_combined_and_compressed_into_new_directories() {
    let dir = tempfile::tempdir().unwrap();
    write_adapter(&dir.path().join("a"));
    write_adapter(&dir.path().join("b"));
    let combined = ["combine", "a", "b", "--weights", "0.5,-1.5", "--method", "cat"];
    let output = burn_lora(dir.path(), &[&combined[..], &["--out", "c"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "combined: c\n1 layers of rank 2\n");
    let json = text(&burn_lora(dir.path(), &["inspect", "c", "--json"]).stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    // (0.5 − 1.5) · 30, and of rank 1 still.
    assert!((json["layers"][0]["norm_change"].as_f64().unwrap() - 30.0).abs() < 1e-4, "{json}");
    assert_eq!(json["suggested_rank"], 1);

    let again = burn_lora(dir.path(), &[&combined[..], &["--output", "c"]].concat());
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("`c` is there already"), "{}", text(&again.stderr));

    let small = burn_lora(dir.path(), &["compress", "c", "--energy", "0.99", "--out", "d"]);
    assert!(small.status.success(), "{}", text(&small.stderr));
    assert!(text(&small.stdout).contains("rank 2 -> 1"), "{}", text(&small.stdout));
    let neither = burn_lora(dir.path(), &["compress", "c", "--out", "e"]);
    assert_eq!(neither.status.code(), Some(2));

    let pruned = ["combine", "a", "b", "--weights", "1", "1", "--method", "ties", "--out", "e"];
    let pruned = burn_lora(dir.path(), &pruned);
    let said = text(&pruned.stderr);
    assert!(said.contains("no density is given") && said.contains("`--density 0.5`"), "{said}");
    assert!(!dir.path().join("e").exists());
}
