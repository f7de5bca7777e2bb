//! Runs that mpirun starts, on this machine's loopback: the bits of one process, and what is left when a rank is killed. What the loop
//! does with ranks is tested where the loop is; here it is MPI, the binary and what it prints. Needs the cargo feature `mpi` and mpirun.

#![cfg(feature = "mpi")]

mod small;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use small::{adapter, checkpoints, directory};

fn burn_lora() -> Command {
    Command::new(env!("CARGO_BIN_EXE_burn-lora"))
}

fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--allow-run-as-root", "-np", &ranks.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_burn-lora"));
    command
}

fn in_dir(mut command: Command, dir: &Path, into: &str, more: &[&str]) -> Command {
    command
        .args(["train", "run.toml", "--json", "--set"])
        .arg(format!("output.dir={into:?}"))
        .args(more)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("HF_HUB_OFFLINE", "1");
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// One summary is printed, and the adapter has the bits of the run of one process.
#[test]
fn runs_of_several_processes_have_the_bits_of_one() {
    let dir = directory(4);
    let dir = dir.path();
    done(&mut in_dir(burn_lora(), dir, "alone", &[]));
    for ranks in [2, 3, 4] {
        let run = format!("on{ranks}");
        let output = done(&mut in_dir(mpirun(ranks), dir, &run, &[]));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&summary["steps"], &summary["exchanged"]["steps"]), (&6.into(), &6.into()));
        assert!(adapter(dir, &run) == adapter(dir, "alone"), "{ranks} ranks");
    }
}

/// The process of a rank, among those that mpirun started.
fn process_of(mpirun: u32, rank: &str) -> u32 {
    let children = fs::read_to_string(format!("/proc/{mpirun}/task/{mpirun}/children")).unwrap();
    let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
    let is = |process: &&str| {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|set| set == wanted.as_bytes())
    };
    children.split_whitespace().find(is).unwrap().parse().unwrap()
}

#[test]
fn a_killed_rank_ends_all_and_the_run_goes_on_with_fewer_to_the_same_bits() {
    let dir = directory(4);
    let dir = dir.path();
    let longer = ["--set", "train.steps=40", "--set", "train.eval_every=1"];
    done(&mut in_dir(burn_lora(), dir, "alone", &longer));
    let mut command = in_dir(mpirun(3), dir, "killed", &longer);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    // A line for each evaluation: by the third step there is a checkpoint of the first.
    let third = lines.by_ref().find(|line| line.as_ref().unwrap().contains("round 3/40"));
    assert!(third.is_some());
    let killed = process_of(running.id(), "2");
    assert!(Command::new("kill").args(["-9", &killed.to_string()]).status().unwrap().success());
    let told: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(!running.wait().unwrap().success());
    assert!(told.iter().any(|line| line.contains("rank 2")), "{told:?}");
    assert!(!dir.join("killed/adapter").exists());
    assert!(!checkpoints(dir, "killed").is_empty());
    done(&mut in_dir(mpirun(2), dir, "killed", &[&longer[..], &["--resume"]].concat()));
    assert!(adapter(dir, "killed") == adapter(dir, "alone"));
}
