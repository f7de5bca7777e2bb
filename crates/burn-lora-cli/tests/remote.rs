//! Runs on a device that another process lends, on this machine's loopback: the losses of a run here, what went over the connection, and
//! what is left when the server is killed. Needs the cargo feature `remote`.

#![cfg(feature = "remote")]

mod binary;
mod small;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Output};
use std::time::Duration;

use binary::{burn_lora, start, text};
use serde_json::Value;
use small::{adapter, checkpoints, directory};

/// A process that lends this machine's CPU.
struct Lender {
    process: Child,
    name: String,
    /// Kept open, since it goes on to tell what it does.
    told: Option<BufReader<ChildStdout>>,
}

impl Lender {
    fn start(dir: &Path) -> Self {
        let listen = ["serve-device", "--listen", "127.0.0.1:0", "--device", "cpu"];
        let mut process = start(dir, &listen);
        let mut told = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let from = line.find("remote://").unwrap_or_else(|| panic!("{line}"));
        let name = line[from..].split(',').next().unwrap().to_owned();
        Self { process, name, told: Some(told) }
    }

    fn signal(&mut self, signal: &str) {
        let id = self.process.id().to_string();
        let told = std::process::Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn arguments<'a>(into: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "run.toml", "--json", "--set", into];
    arguments.extend(more);
    arguments
}

/// The summary of a run that came to its end.
fn run(dir: &Path, into: &str, more: &[&str]) -> Value {
    let output = burn_lora(dir, &arguments(&format!("output.dir={into:?}"), more));
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What each step of a run measured.
fn steps(dir: &Path, run: &str) -> Vec<Value> {
    let lines = fs::read_to_string(dir.join(run).join("metrics.jsonl")).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record.get("loss").is_some()).collect()
}

fn number(record: &Value, key: &str) -> f64 {
    record[key].as_f64().unwrap_or_else(|| panic!("no {key} in {record}"))
}

/// Both runs sum the same f32 numbers in other orders: here kernels of this project pass over them once, there the operations of Burn that
/// they stand for. That is 1e-6 of a first loss, and each step doubles it at most.
fn check_close(got: &[Value], expected: &[Value]) {
    assert_eq!(got.len(), expected.len());
    for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
        let allowed = 1e-6 * f64::from(1 << step);
        for key in ["loss", "gradient_norm"] {
            let (got, expected) = (number(got, key), number(expected, key));
            let off = (got - expected).abs() / expected.abs();
            // A norm is the root of a sum over all that is trained, of products of such sums.
            let allowed = if key == "loss" { allowed } else { 100.0 * allowed };
            assert!(off <= allowed, "{key} of step {}: {got} instead of {expected}", step + 1);
        }
        assert_eq!(got["targets"], expected["targets"]);
    }
}

/// Bytes that went over the connection for these steps.
fn carried(steps: &[Value]) -> f64 {
    steps.iter().map(|step| number(step, "device_bytes")).sum()
}

fn on(lender: &Lender) -> String {
    format!("train.device={:?}", lender.name)
}

/// With dropout, whose draws are the server's, and with blocks computed again, which must draw them once more. A second run on the same
/// server is bit for bit the first.
#[test]
fn a_run_on_a_lent_device_has_the_losses_of_one_here() {
    let dir = directory(2);
    let dir = dir.path();
    let mut lender = Lender::start(dir);
    let there = on(&lender);
    let here = run(dir, "here", &[]);
    assert_eq!(here["carried"], Value::Null);
    let summary = run(dir, "there", &["--set", &there]);
    let steps_here = steps(dir, "here");
    let steps_there = steps(dir, "there");
    check_close(&steps_there, &steps_here);
    let evaluated = |summary: &Value| number(&summary["after"], "eval_loss");
    let off = evaluated(&summary) / evaluated(&here) - 1.0;
    assert!(off.abs() < 1e-4, "held out: {off}");

    run(dir, "again", &["--set", &there]);
    assert!(adapter(dir, "again") == adapter(dir, "there"));
    run(dir, "recomputed", &["--set", &there, "--set", "train.recompute=\"block\""]);
    assert!(adapter(dir, "recomputed") == adapter(dir, "there"), "what is drawn again is the same");

    // What was counted of each step is what the summary adds up.
    let carried = carried(&steps_there);
    assert!(carried > 0.0);
    assert_eq!(number(&summary["carried"], "bytes"), carried);
    assert_eq!(summary["carried"]["steps"], 6);

    lender.signal("-TERM");
    assert!(lender.process.wait().unwrap().success(), "a server that is told to end ends well");
}

/// As a build without any GPU backend sends them: one operation at a time, where others are collected into graphs. What goes over the
/// connection then is what `plan` counts, to a factor of three.
#[test]
fn operations_that_are_sent_one_by_one_come_to_the_same_and_are_as_many_bytes_as_planned() {
    let dir = directory(2);
    let dir = dir.path();
    let lender = Lender::start(dir);
    let there = on(&lender);
    run(dir, "there", &["--set", &there]);
    fs::write(dir.join("burn.toml"), "[fusion]\nmax_graph_size = 0\n").unwrap();
    run(dir, "single", &["--set", &there]);
    assert!(adapter(dir, "single") == adapter(dir, "there"));
    let plan = burn_lora(dir, &["plan", "run.toml", "--json", "--set", &there]);
    assert!(plan.status.success(), "{}", text(&plan.stderr));
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let planned = number(&plan["connection"], "step_bytes");
    let mean = carried(&steps(dir, "single")) / 6.0;
    assert!((0.33..3.0).contains(&(planned / mean)), "planned {planned}, carried {mean}");
}

#[test]
fn a_server_that_is_killed_ends_the_run_and_it_goes_on_with_another_to_the_same_bits() {
    let dir = directory(2);
    let dir = dir.path();
    let mut lender = Lender::start(dir);
    let there = on(&lender);
    let longer = ["--set", "train.steps=20", "--set", "train.eval_every=1", "--set", &there];
    run(dir, "whole", &longer);
    let mut running = start(dir, &arguments("output.dir=\"killed\"", &longer));
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    // A line for each evaluation: by the third step there is a checkpoint of the first.
    let third = lines.by_ref().find(|line| line.as_ref().unwrap().contains("round 3/20"));
    assert!(third.is_some());
    lender.signal("-KILL");
    let told: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(running.wait().unwrap().code(), Some(1), "{told:?}");
    let told = told.join("\n");
    for part in [&*lender.name, "broke", "newest checkpoint", "--resume", "serve-device"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!dir.join("killed/adapter").exists());
    assert!(!checkpoints(dir, "killed").is_empty());

    let other = Lender::start(dir);
    let there = on(&other);
    let longer = ["--set", "train.steps=20", "--set", "train.eval_every=1", "--set", &there];
    run(dir, "killed", &[&longer[..], &["--resume"]].concat());
    assert!(adapter(dir, "killed") == adapter(dir, "whole"));
}

fn refused(output: &Output, parts: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_device_that_is_not_there_is_named_before_anything_is_done() {
    let dir = directory(2);
    let dir = dir.path();
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("train.device=\"remote://{free}\"");
    for verb in ["check", "plan", "train"] {
        let output = burn_lora(dir, &[verb, "run.toml", "--set", &nobody]);
        refused(&output, &[&format!("remote://{free}"), "cannot be reached", "serve-device"]);
    }
    assert!(!dir.join("here").exists(), "a refused run leaves nothing");

    // Somebody answers, who lends no device.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        let (mut caller, _) = other.accept().unwrap();
        caller.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = caller.read(&mut [0; 64]);
    });
    let somebody = format!("train.device=\"remote://{address}\"");
    let output = burn_lora(dir, &["check", "run.toml", "--set", &somebody]);
    refused(&output, &[&format!("remote://{address}"), "no server of devices"]);
    answers.join().unwrap();
}

#[test]
fn a_device_is_lent_where_it_can_be() {
    let dir = directory(2);
    let dir = dir.path();
    let lender = Lender::start(dir);
    let taken = lender.name.strip_prefix("remote://").unwrap();
    let serve = |listen: &str, device: &str| {
        burn_lora(dir, &["serve-device", "--listen", listen, "--device", device])
    };
    refused(&serve(taken, "cpu"), &[taken, "port that is free"]);
    refused(&serve("127.0.0.1:0", &lender.name), &["a device elsewhere already"]);
    refused(&serve("127.0.0.1:0", "tpu"), &["unknown device `tpu`"]);
    assert!(lender.told.is_some());
}

/// What it says, and what the other verbs do with it.
#[test]
fn the_other_verbs_compute_on_a_lent_device_too() {
    let dir = directory(2);
    let dir = dir.path();
    let lender = Lender::start(dir);
    let there = on(&lender);
    run(dir, "there", &["--set", &there]);
    let check = burn_lora(dir, &["check", "run.toml", "--set", &there]);
    assert!(check.status.success(), "{}", text(&check.stderr));
    let plan = burn_lora(dir, &["plan", "run.toml", "--set", &there]);
    assert!(text(&plan.stdout).contains("connection to the device:"), "{}", text(&plan.stdout));
    let evaluated = burn_lora(dir, &["eval", "there", "--json"]);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    let written = |device: &str| {
        let arguments =
            ["generate", "there", "--prompt", "call", "--max-tokens", "8", "--device", device];
        let output = burn_lora(dir, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(written(&lender.name), written("cpu"));
    let merged = burn_lora(dir, &["merge", "there", "--out", "merged"]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
}
