//! What `sweep --on` says to a scheduler, and what it makes of what that says: with stand-ins for `sbatch`, `scontrol` and `python3` that
//! take down what they were given. Points run on the schedulers themselves in `.ci/cluster`.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory with a configuration and a folder of stand-ins, which are all that is in PATH beside the shell's own programs.
struct Cluster(tempfile::TempDir);

impl Cluster {
    fn new(programs: &[(&str, &str)]) -> Self {
        let cluster = Self(tempfile::tempdir().unwrap());
        let config = "[model]\npath = \"model\"\n[data]\ntrain = \"rows.jsonl\"\n[train]\nsteps = 2\n\
                      [output]\ndir = \"runs\"\n";
        fs::write(cluster.path("run.toml"), config).unwrap();
        fs::create_dir(cluster.path("bin")).unwrap();
        for (name, body) in programs {
            let path = cluster.path("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {name}.told\n{body}\n"))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        // As the program finds the directory that it is in.
        fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burn-lora"));
        command.args([
            "sweep",
            "run.toml",
            "--set",
            "adapter.rank=1,2,4,8,16",
            "--set",
            "data.separator=it's",
        ]);
        command.args(arguments).current_dir(self.0.path()).env("NO_COLOR", "1");
        command.env("PATH", self.path("bin")).output().unwrap()
    }

    /// The words that a stand-in was given.
    fn told(&self, program: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{program}.told"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn refused(output: &Output, code: i32, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

const SBATCH: &str = "echo '42;here'";

#[test]
fn slurm_is_given_an_array_whose_tasks_are_shares_of_the_points() {
    let cluster = Cluster::new(&[("sbatch", SBATCH), ("scontrol", "echo 'MaxArraySize = 1001'")]);
    let output = cluster.sweep(&[
        "--on",
        "slurm",
        "--sbatch",
        "--partition=gpu --comment='two words'",
        "--json",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let submitted: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&submitted["job"], &submitted["scheduler"]), (&"42".into(), &"SLURM".into()));
    assert_eq!(submitted["shards"].as_array().unwrap().len(), 5);
    let logs = cluster.path("runs/slurm");
    let script = logs.join("job.sh");
    let expected = [
        "--parsable".to_owned(),
        "--array=0-4".to_owned(),
        format!("--output={}/shard-%a.log", logs.display()),
        "--partition=gpu".to_owned(),
        "--comment=two words".to_owned(),
        script.display().to_string(),
    ];
    assert_eq!(cluster.told("sbatch"), expected);

    let script = fs::read_to_string(script).unwrap();
    let copy = cluster.path("runs/sweep.toml");
    let command = format!(
        "sweep {} '--set=adapter.rank=1,2,4,8,16' \"--set=data.separator=it's\" --shard \"$SLURM_ARRAY_TASK_ID/5\"",
        copy.display()
    );
    // A shell's quotes are of more than one kind; its words are not.
    let line = script.lines().find(|line| line.contains("--shard")).unwrap();
    let words = |line: &str| {
        let line = line.split("sweep ").last().unwrap().trim_end_matches(") &").to_owned();
        let shell = format!("SLURM_ARRAY_TASK_ID=i; printf '%s\\n' {line}");
        text(&Command::new("sh").args(["-c", &shell]).output().unwrap().stdout)
    };
    assert_eq!(words(line), words(&command));
    assert_eq!(fs::read(copy).unwrap(), fs::read(cluster.path("run.toml")).unwrap());
}

#[test]
fn a_cluster_of_small_arrays_gets_several_points_in_a_task() {
    let cluster = Cluster::new(&[("sbatch", SBATCH), ("scontrol", "echo 'MaxArraySize = 2'")]);
    assert!(cluster.sweep(&["--on", "slurm"]).status.success());
    assert_eq!(cluster.told("sbatch")[1], "--array=0-1");
    let script = fs::read_to_string(cluster.path("runs/slurm/job.sh")).unwrap();
    assert!(script.contains("\"$SLURM_ARRAY_TASK_ID/2\""), "{script}");
}

#[test]
fn what_slurm_refuses_is_told_and_so_is_that_it_is_not_there() {
    let none = Cluster::new(&[]);
    refused(&none.sweep(&["--on", "slurm"]), 1, &["`sbatch`", "login nodes", "--shard I/N"]);
    let no = "echo 'sbatch: error: invalid partition' >&2; exit 1";
    let cluster = Cluster::new(&[("sbatch", no)]);
    refused(&cluster.sweep(&["--on", "slurm"]), 1, &["invalid partition"]);
    let own = cluster.sweep(&["--on", "slurm", "--sbatch", "--array=0-1"]);
    refused(&own, 1, &["`--array=0-1`", "ArrayTaskThrottle"]);
    let other = cluster.sweep(&["--on", "slurm", "--ray-gpus", "1"]);
    refused(&other, 2, &["--ray-gpus means something with --on ray alone"]);
    refused(&cluster.sweep(&["--wait"]), 2, &["--on"]);
}

#[test]
fn a_wait_for_slurm_ends_with_what_the_points_came_to() {
    let cluster = Cluster::new(&[("sbatch", "echo 42; exit 3")]);
    // What is left of one point cannot be read, and nothing is of the others.
    fs::create_dir_all(cluster.path("runs/rank-1")).unwrap();
    fs::write(cluster.path("runs/rank-1/config.toml"), "no [toml").unwrap();
    let output = cluster.sweep(&["--on", "slurm", "--wait", "--json"]);
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let state = |point: usize| results["points"][point]["state"].as_str().unwrap().to_owned();
    assert_eq!((state(0), state(1)), ("failed".to_owned(), "pending".to_owned()));
    assert!(cluster.told("sbatch").contains(&"--wait".to_owned()));
    assert!(text(&output.stderr).contains("job 42 of SLURM: 5 tasks"), "{}", text(&output.stderr));
}

#[test]
fn ray_is_given_the_command_of_a_share_and_what_a_task_needs() {
    let cluster = Cluster::new(&[("python3", "echo 'shard 0/5: ended with 0'")]);
    let output = cluster.sweep(&["--on", "ray", "--ray-cpus", "2", "--ray-gpus", "0.5"]);
    // The stand-in ran nothing.
    refused(&output, 1, &["no point of this grid has begun"]);
    assert!(text(&output.stdout).contains("shard 0/5: ended with 0"), "{}", text(&output.stdout));
    let at = |name: &str| cluster.path("runs/ray").join(name).display().to_string();
    assert_eq!(cluster.told("python3"), [at("submit.py"), at("tasks.json")]);
    let tasks: Value = serde_json::from_slice(&fs::read(at("tasks.json")).unwrap()).unwrap();
    let command: Vec<&str> =
        tasks["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let copy = cluster.path("runs/sweep.toml").display().to_string();
    let expected =
        ["sweep", &*copy, "--set=adapter.rank=1,2,4,8,16", "--set=data.separator=it's", "--shard"];
    assert!(Path::new(command[0]).is_absolute());
    assert_eq!(command[1..], expected);
    assert_eq!(tasks["shards"], serde_json::json!([0, 1, 2, 3, 4]));
    assert_eq!(
        (&tasks["of"], &tasks["cpus"], &tasks["gpus"]),
        (&5.into(), &2.0.into(), &0.5.into())
    );
    assert_eq!(tasks["cwd"], cluster.path("").display().to_string().trim_end_matches('/'));
}

#[test]
fn what_python_lacks_is_told_with_what_brings_it() {
    refused(&Cluster::new(&[]).sweep(&["--on", "ray"]), 1, &["`python3`", "package of Python"]);
    let lacks = Cluster::new(&[("python3", "echo \"No module named 'ray'\" >&2; exit 3")]);
    refused(&lacks.sweep(&["--on", "ray"]), 1, &["No module named 'ray'", "`pip install ray`"]);
    let lacks = Cluster::new(&[("python3", "echo 'nobody answers' >&2; exit 4")]);
    refused(
        &lacks.sweep(&["--on", "ray"]),
        1,
        &["nobody answers", "ray start --head", "RAY_ADDRESS"],
    );
    let fails = Cluster::new(&[("python3", "echo 'ValueError: GPUs' >&2; exit 1")]);
    refused(&fails.sweep(&["--on", "ray"]), 1, &["ValueError: GPUs", "submit.log"]);
    let amount = fails.sweep(&["--on", "ray", "--ray-cpus=-1"]);
    refused(&amount, 1, &["-1 CPUs", "0 or more"]);
}
