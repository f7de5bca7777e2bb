//! A run that is used from another directory than the one it was made in.

mod binary;

use std::fs;
use std::path::Path;

use binary::{burn_lora, text};

const CONFIG: &str = "[model]\npath = \"model\"\n[adapter]\nrank = 2\ntargets = [\"q_proj\"]\n[data]\ntrain = \"rows.jsonl\"\n\
                      eval = \"held.jsonl\"\nmax_length = 32\n[train]\ndevice = \"cpu\"\nsteps = 1\nbatch_size = 2\nsamples = 0\n\
                      [output]\ndir = \"runs/a\"\n";

fn row(prompt: &str) -> String {
    format!("{{\"prompt\": \"{prompt}\", \"completion\": \" the red door\"}}\n")
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_run_finds_its_files_from_anywhere_and_after_its_project_was_moved() {
    let outside = tempfile::tempdir().unwrap();
    let project = outside.path().join("project");
    fs::create_dir(&project).unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    copied(&model, &project.join("model"));
    fs::write(project.join("run.toml"), CONFIG).unwrap();
    fs::write(project.join("rows.jsonl"), row("a") + &row("b")).unwrap();
    fs::write(project.join("held.jsonl"), row("c") + &row("d")).unwrap();
    // A file of the same name elsewhere is another one.
    let elsewhere = outside.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("held.jsonl"), row("something else altogether")).unwrap();
    let ended = |dir: &Path, arguments: &[&str]| {
        let output = burn_lora(dir, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    ended(&project, &["train", "run.toml", "--plain"]);
    let here = ended(&project, &["eval", "runs/a", "--json"]);
    assert_eq!(ended(&elsewhere, &["eval", "../project/runs/a", "--json"]), here);
    let other = ended(
        &elsewhere,
        &["eval", "../project/runs/a", "--json", "--set", "data.eval=held.jsonl"],
    );
    assert_ne!(other, here, "what the command names lies where the command is given");
    ended(&elsewhere, &["generate", "../project/runs/a", "--prompt", "a", "--max-tokens", "2"]);
    ended(&elsewhere, &["merge", "../project/runs/a", "--out", "merged"]);
    ended(&elsewhere, &["export", "../project/runs/a", "--out", "shared"]);
    // A run goes on from where it was made, as its configuration says.
    ended(&project, &["train", "run.toml", "--plain", "--resume"]);

    let moved = outside.path().join("moved");
    fs::rename(&project, &moved).unwrap();
    assert_eq!(ended(&moved, &["eval", "runs/a", "--json"]), here);
}
