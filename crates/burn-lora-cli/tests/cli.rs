//! The binary as a person meets it: exit codes, and what it says when something is wrong.

use std::path::Path;
use std::process::{Command, Output};

fn burn_lora(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-lora"))
        .args(arguments)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_verb_explains_itself() {
    let dir = tempfile::tempdir().unwrap();
    for verb in ["check", "train", "eval", "generate", "merge"] {
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
