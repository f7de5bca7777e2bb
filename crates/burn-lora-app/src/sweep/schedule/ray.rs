//! Ray: the shards as tasks, submitted by a script of Python that lies beside (`ray/submit.py`), since Ray has no interface but
//! Python's.
//!
//! The script and what it is to do (`ray/tasks.json`) are written into the sweep's directory and run by the `python3` of this
//! environment. This process stays until the tasks have ended: Ray ends those of a driver that is gone. When the sweep is stopped,
//! the script's standard input ends, and it has the tasks stop their shards, which leave checkpoints.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use burn_lora_files::{self as files, IoError};
use burn_lora_train::observe::Observer;
use burn_train::Interrupter;
use serde::Serialize;

use super::{Launch, Outcome, RETRIES, Scheduler, command, places, unwritable};
use crate::sweep::{Shard, Sweep, SweepError};

/// The script.
const SUBMIT: &str = include_str!("ray/submit.py");

/// A sweep as tasks of Ray.
#[derive(Debug, Clone, PartialEq)]
pub struct Ray {
    /// How a task does its shard.
    pub launch: Launch,
    /// CPUs of a task.
    pub cpus: f64,
    /// GPUs of a task; less than one shares one.
    pub gpus: f64,
}

/// What the script reads.
#[derive(Debug, Serialize)]
struct Tasks<'a> {
    command: Vec<&'a str>,
    cwd: &'a str,
    shards: Vec<usize>,
    of: usize,
    cpus: f64,
    gpus: f64,
    retries: usize,
    logs: &'a str,
}

impl Scheduler for Ray {
    fn run(
        &self,
        sweep: &Sweep,
        interrupter: &Interrupter,
        observer: &Observer,
    ) -> Result<Outcome, SweepError> {
        for (what, amount) in [("CPUs", self.cpus), ("GPUs", self.gpus)] {
            if !(amount.is_finite() && amount >= 0.0) {
                return Err(SweepError::Amount { what, amount });
            }
        }
        let of = sweep.plans.len();
        let shards = sweep.unfinished(of)?;
        if shards.is_empty() {
            return sweep.gather().map(Outcome::Results);
        }
        let (cwd, logs) = places(&sweep.dir().join("ray"))?;
        let tasks = Tasks {
            command: self.launch.words()?,
            cwd: &cwd,
            shards: shards.into_iter().map(Shard::index).collect(),
            of,
            cpus: self.cpus,
            gpus: self.gpus,
            retries: RETRIES,
            logs: logs.to_str().ok_or_else(|| unwritable(&logs.to_string_lossy()))?,
        };
        sweep.copy_configuration()?;
        let (script, list) = (logs.join("submit.py"), logs.join("tasks.json"));
        files::write(&script, SUBMIT.as_bytes())?;
        let text = serde_json::to_vec_pretty(&tasks)
            .map_err(|error| IoError::at("write", &list)(error.into()))?;
        files::write(&list, &text)?;

        let log = logs.join("submit.log");
        let mut python = command("python3");
        python.arg(&script).arg(&list).stdin(Stdio::piped()).stdout(Stdio::piped());
        python.stderr(File::create(&log).map_err(IoError::at("write", &log))?);
        // Ctrl-C is this process's, which tells the script in its own time.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut python, 0);
        let failed = |source| SweepError::NoProgram {
            program: "python3",
            source,
            advice: "Ray is a package of Python",
        };
        let child = python.spawn().map_err(failed)?;
        let status = relay(child, interrupter, observer).map_err(failed)?;
        judge(status, &log)?;
        sweep.gather().map(Outcome::Results)
    }
}

/// Tells the script's lines, and ends its standard input when the sweep is stopped; how it ended.
fn relay(
    mut child: Child,
    interrupter: &Interrupter,
    observer: &Observer,
) -> std::io::Result<ExitStatus> {
    let (input, lines) = (child.stdin.take(), child.stdout.take());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (interrupter, over) = (interrupter.clone(), &over);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) && !interrupter.should_stop() {
                thread::sleep(Duration::from_millis(100));
            }
            drop(input);
        });
        let told = lines.into_iter().try_for_each(|lines| {
            BufReader::new(lines).lines().try_for_each(|line| line.map(|line| observer.line(line)))
        });
        over.store(true, Ordering::Relaxed);
        told
    })?;
    child.wait()
}

/// What the script's exit status means: the numbers at its head.
fn judge(status: ExitStatus, log: &Path) -> Result<(), SweepError> {
    const DONE: [i32; 3] = [0, 5, 75];
    let told = files::read_text(log).unwrap_or_default();
    // What is wrong stands last.
    let last: Vec<&str> =
        told.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let told = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    match status.code() {
        Some(code) if DONE.contains(&code) => Ok(()),
        Some(3) => Err(SweepError::NoRay { told }),
        Some(4) => Err(SweepError::NoCluster { told }),
        _ => Err(SweepError::Refused {
            program: "python3",
            ended: format!("ran no points ({status}; more in `{}`)", log.display()),
            told,
        }),
    }
}
