//! How a training run can end before its end, and that nothing of it is lost.
#![cfg(unix)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};

use binary::{burn_lora, start, text};

const STEPS: usize = 24;
const SAVE_EVERY: usize = 3;

/// A run of a tiny random model into `run`, whose seeds are fixed.
fn configure(dir: &Path) {
    let model = r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 64}"#;
    fs::write(dir.join("config.json"), model).unwrap();
    let rows =
        (0..12).map(|i| format!("{{\"prompt\": \"say {i}\", \"completion\": \" the {i}\"}}\n"));
    fs::write(dir.join("rows.jsonl"), rows.collect::<String>()).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    let run = format!(
        "[model]\nconfig = \"config.json\"\nrandom = true\ntokenizer = {:?}\n[adapter]\nrank = 2\ndropout = 0.1\n\
         [data]\ntrain = \"rows.jsonl\"\neval = \"rows.jsonl\"\nmax_length = 32\n[train]\ndevice = \"cpu\"\n\
         threads = 1\nsteps = {STEPS}\nsave_every = {SAVE_EVERY}\neval_every = 5\nbatch_size = 4\nsamples = 0\n\
         [output]\ndir = \"run\"\n",
        tokenizer.display().to_string()
    );
    fs::write(dir.join("run.toml"), run).unwrap();
}

fn train(dir: &Path, more: &[&str]) -> Output {
    burn_lora(dir, &[&["train", "run.toml", "--plain"], more].concat())
}

fn adapter(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("run/adapter/adapter_model.safetensors")).unwrap()
}

fn lines(dir: &Path) -> usize {
    let text = fs::read(dir.join("run/metrics.jsonl")).unwrap_or_default();
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// What lies among the checkpoints.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("run/checkpoints")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// How a run that was killed goes on.
fn how(dir: &Path) -> &'static str {
    match names(dir).iter().any(|name| name.starts_with("step-")) {
        true => "--resume",
        false => "--overwrite",
    }
}

/// Waits until the run has written so many lines, or has ended.
fn until(child: &mut Child, dir: &Path, count: usize) {
    while lines(dir) < count && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

fn whole() -> (tempfile::TempDir, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let output = train(dir.path(), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let adapter = adapter(dir.path());
    (dir, adapter)
}

#[test]
fn fifty_kills_lose_no_step_that_a_checkpoint_covers_and_change_no_bit() {
    let (reference, expected) = whole();
    let recorded = lines(reference.path());
    for run in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        for kill in 0..5 {
            let mut child = start(dir.path(), &["train", "run.toml", "--plain", how(dir.path())]);
            // Anywhere in the run, and never at the same place twice.
            until(&mut child, dir.path(), 1 + (7 * run + 5 * kill) % recorded);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let output = train(dir.path(), &[how(dir.path())]);
        assert!(output.status.success(), "run {run}: {}", text(&output.stderr));
        assert!(adapter(dir.path()) == expected, "run {run}: the adapters differ");
        assert_eq!(lines(dir.path()), recorded, "run {run}: a line a step and an evaluation");
        assert!(names(dir.path()).iter().all(|name| name.starts_with("step-")), "run {run}");
    }
}

#[test]
fn a_signal_ends_the_run_with_a_checkpoint_and_a_code_of_its_own() {
    let (_reference, expected) = whole();
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let endless = [
            "train",
            "run.toml",
            "--plain",
            "--set",
            "train.steps=1000000",
            "--set",
            "train.save_every=0",
        ];
        let mut child = start(dir.path(), &endless);
        until(&mut child, dir.path(), 3);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{name}: {}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.contains("stopped: interrupted; go on with --resume"), "{name}: {said}");
        assert_eq!(names(dir.path()).len(), 1, "{name}");
    }
    // The advice, followed, on a run that can end.
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let mut child = start(dir.path(), &["train", "run.toml", "--plain"]);
    until(&mut child, dir.path(), 3);
    signal(&child, "TERM");
    let interrupted = child.wait().unwrap().code() == Some(75);
    if interrupted {
        assert!(train(dir.path(), &["--resume"]).status.success());
    }
    assert!(adapter(dir.path()) == expected);
}

/// Sends several signals, all of which are there when the first is seen to.
fn signals(child: &Child, names: &[&str]) {
    let all = ["STOP"].iter().chain(names).chain(&["CONT"]);
    let sent: Vec<String> = all.map(|name| format!("kill -{name} {}", child.id())).collect();
    assert!(Command::new("sh").args(["-c", &sent.join(" && ")]).status().unwrap().success());
}

/// Waits until that is so, or the run has ended.
fn until_so(child: &mut Child, is_so: impl Fn() -> bool) {
    while !is_so() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a_second_signal_of_any_kind_leaves_at_once_and_costs_no_checkpoint() {
    let (_reference, expected) = whole();
    for (first, second) in
        [("HUP", "TERM"), ("TERM", "HUP"), ("INT", "TERM"), ("HUP", "INT"), ("TERM", "INT")]
    {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let mut child = start(dir.path(), &["train", "run.toml", "--plain"]);
        let has = || names(dir.path()).iter().any(|name| name.starts_with("step-"));
        until_so(&mut child, has);
        signals(&child, &[first, second]);
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{first}, {second}: {said}");
        // What was saved is there, and the run goes on from it.
        assert!(has(), "{first}, {second}");
        let output = train(dir.path(), &["--resume"]);
        assert!(output.status.success(), "{first}, {second}: {}", text(&output.stderr));
        assert!(adapter(dir.path()) == expected, "{first}, {second}: the adapters differ");
        assert!(names(dir.path()).iter().all(|name| name.starts_with("step-")));
    }
}

#[test]
fn a_signal_before_the_first_step_leaves_one_step_to_go_on_from() {
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let endless = ["--set", "train.steps=1000000", "--set", "train.save_every=0"];
        let mut child =
            start(dir.path(), &[&["train", "run.toml", "--plain"][..], &endless].concat());
        until_so(&mut child, || dir.path().join("run/run.lock").exists());
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains("interrupted; go on with --resume"), "{name}");
        assert_eq!(names(dir.path()).len(), 1, "{name}");
    }
}

#[test]
fn a_signal_during_an_evaluation_or_a_save_lets_it_come_to_its_end() {
    let (reference, expected) = whole();
    let recorded = lines(reference.path());
    let check = |of: &str, mut child: Child, dir: &Path, name: &str| {
        signal(&child, name);
        let code = child.wait().unwrap().code();
        // A run so short may have ended first.
        assert!(matches!(code, Some(75 | 0)), "{of}, {name}: {code:?}");
        let left = names(dir);
        assert!(left.iter().all(|name| name.starts_with("step-")), "{of}, {name}: {left:?}");
        if code == Some(75) {
            let output = train(dir, &["--resume"]);
            assert!(output.status.success(), "{of}, {name}: {}", text(&output.stderr));
        }
        assert!(adapter(dir) == expected, "{of}, {name}: the adapters differ");
        assert_eq!(lines(dir), recorded, "{of}, {name}");
    };
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let mut child = start(dir.path(), &["train", "run.toml", "--plain"]);
        // The evaluation before training and five steps are written: the next evaluation runs.
        until(&mut child, dir.path(), 6);
        check("evaluation", child, dir.path(), name);
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let mut child = start(dir.path(), &["train", "run.toml", "--plain"]);
        until_so(&mut child, || names(dir.path()).iter().any(|name| name.starts_with('.')));
        check("save", child, dir.path(), name);
    }
}

/// It was once told to go on, where nothing was left to do, by an exit code that stops a script.
#[test]
fn a_signal_behind_the_last_step_stops_nothing() {
    let (reference, expected) = whole();
    let recorded = lines(reference.path());
    for name in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path());
        let generates = ["--set", "train.samples=4", "--set", "data.generate_max_tokens=30"];
        let mut child =
            start(dir.path(), &[&["train", "run.toml", "--plain"][..], &generates].concat());
        // All is written but the evaluation at the end, which generates.
        until(&mut child, dir.path(), recorded - 1);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}: {said}{}", text(&output.stderr));
        assert!(!said.contains("--resume"), "{name}: {said}");
        assert!(adapter(dir.path()) == expected, "{name}");
    }
}

#[test]
fn a_second_process_is_refused_while_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let endless = ["train", "run.toml", "--plain", "--set", "train.steps=1000000"];
    let mut child = start(dir.path(), &endless);
    until(&mut child, dir.path(), 9);
    for how in ["--overwrite", "--resume"] {
        let output = burn_lora(dir.path(), &[&endless[..], &[how]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{how}: {said}");
        assert!(said.contains(&format!("process {}", child.id())), "{how}: {said}");
    }
    signal(&child, "KILL");
    child.wait().unwrap();
    // The lock went with its process.
    let output = train(dir.path(), &["--overwrite"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_file_beyond_the_limit_of_the_system_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let program = env!("CARGO_BIN_EXE_burn-lora");
    let script = format!("ulimit -f 1; exec {program:?} train run.toml --plain");
    let output = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write `"), "{said}");
}
