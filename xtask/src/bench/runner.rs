//! Starts the processes of the cells and writes what they say, a line as soon as it is known.
//!
//! The repeats are the outer loop: a cell and what it is compared with are measured a few seconds
//! apart, again and again, so that a machine that slows down slows all of them.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use burn_lora_train::system_memory;
use serde::Serialize;

use super::cell::{Order, least_bytes, now};
use super::machine;
use super::matrix::{Matrix, Shape};
use super::record::{Cell, Excuse, Line, Measured, Run, Sample};
use super::statistics;

/// A run of the matrix and the file that its results go to.
pub struct Runner<'a> {
    matrix: &'a Matrix,
    file: File,
    done: BTreeSet<(Cell, usize)>,
    /// How many processes there are to be, and how many there were.
    progress: (usize, usize),
}

impl<'a> Runner<'a> {
    /// Opens the results file, made anew or with what an interrupted run left in it.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or written.
    pub fn open(
        results: &Path,
        matrix: &'a Matrix,
        root: &Path,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut done = BTreeSet::new();
        if results.exists() && std::fs::metadata(results)?.len() > 0 {
            let complete = statistics::read(results)?;
            done.extend(complete.iter().filter_map(|line| match line {
                Line::Sample(sample) => Some((sample.cell.clone(), sample.repeat)),
                _ => None,
            }));
            // An interrupted run may have left half a line behind.
            let text: Vec<String> =
                complete.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
            std::fs::write(results, text.join("\n") + "\n")?;
        }
        let file = OpenOptions::new().create(true).append(true).open(results)?;
        let mut runner = Self { matrix, file, done, progress: (0, 0) };
        runner.write(&Line::Run(Run {
            started: now() as u64,
            machine: machine::this(),
            features: burn_lora::device::compiled().into_iter().map(str::to_owned).collect(),
            versions: machine::versions(root),
            commit: machine::commit(root),
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            repeats: matrix.repeat,
            seed: matrix.seed,
        }))?;
        Ok(runner)
    }

    /// The matrix.
    pub fn matrix(&self) -> &'a Matrix {
        self.matrix
    }

    /// Measures the cells; one that fails or cannot start becomes a line that says why.
    ///
    /// # Errors
    ///
    /// The results file cannot be written.
    pub fn run(&mut self, cells: &[Cell]) -> Result<(), Box<dyn std::error::Error>> {
        let mut given_up = BTreeSet::new();
        self.progress = (cells.len() * self.matrix.repeat, 0);
        for repeat in 0..self.matrix.repeat {
            for cell in cells {
                self.progress.1 += 1;
                if given_up.contains(cell) || self.done.contains(&(cell.clone(), repeat)) {
                    continue;
                }
                let excuse = |reason| Excuse { cell: cell.clone(), reason };
                let line = match self.obstacle(cell) {
                    Some(reason) => Line::Skipped(excuse(reason)),
                    None => match self.process(cell) {
                        Ok(measured) => {
                            Line::Sample(Sample { cell: cell.clone(), repeat, measured })
                        }
                        Err(reason) => Line::Failed(excuse(reason)),
                    },
                };
                match &line {
                    Line::Sample(sample) => self.tell(cell, &spoken(&sample.measured)),
                    Line::Skipped(Excuse { reason, .. }) => {
                        self.tell(cell, &format!("skipped: {reason}"));
                        given_up.insert(cell.clone());
                    }
                    Line::Failed(Excuse { reason, .. }) => {
                        self.tell(cell, &format!("failed: {reason}"));
                        given_up.insert(cell.clone());
                    }
                    _ => {}
                }
                self.write(&line)?;
            }
        }
        Ok(())
    }

    /// Why the cell cannot be measured here.
    fn obstacle(&self, cell: &Cell) -> Option<String> {
        if let Err(error) = burn_lora::device::parse(&cell.backend) {
            return Some(error.to_string());
        }
        let config = self.matrix.config(&cell.model)?;
        let shape = Shape::parse(&config, "config.json".as_ref()).ok()?;
        let (needed, free) = (least_bytes(cell, &shape).ok()?, system_memory::available()?);
        (needed > free).then(|| {
            let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
            format!("needs {:.1} GiB at least, {:.1} GiB are free", gib(needed), gib(free))
        })
    }

    fn process(&self, cell: &Cell) -> Result<Measured, String> {
        let config = self.matrix.config(&cell.model).ok_or("a model without a configuration")?;
        measure(&Order {
            cell: cell.clone(),
            config,
            seed: self.matrix.seed,
            warmup: self.matrix.warmup,
            steps: self.matrix.steps,
            started: 0.0,
            given: None,
            alone: true,
        })
    }

    /// Appends a line to the results.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&mut self, line: &Line) -> Result<(), Box<dyn std::error::Error>> {
        writeln!(self.file, "{}", serde_json::to_string(line)?)?;
        self.file.flush()?;
        Ok(())
    }

    fn tell(&self, cell: &Cell, what: &str) {
        let (all, now) = self.progress;
        eprintln!("[{now:>3}/{all}] {cell}: {what}");
    }
}

fn spoken(measured: &Measured) -> String {
    let times = measured.steps.iter().map(super::record::StepTimes::total);
    let memory = measured.peak_bytes as f64 / (1 << 20) as f64;
    match statistics::median(times.collect()) {
        Some(step) => format!("{:.1} ms a step, {memory:.0} MiB", 1e3 * step),
        None => format!("{memory:.0} MiB"),
    }
}

/// Has a process of its own measure the order.
///
/// # Errors
///
/// What the process said last before it failed.
pub fn measure(order: &Order) -> Result<Measured, String> {
    let order = Order { started: now(), ..order.clone() };
    let answer = ask("cell", &order)?;
    serde_json::from_slice(&answer).map_err(|error| format!("unreadable answer: {error}"))
}

/// Starts this program with a hidden verb, gives it a question as JSON, and takes its output.
///
/// # Errors
///
/// What the process said last before it failed.
pub fn ask(verb: &str, question: &impl Serialize) -> Result<Vec<u8>, String> {
    let said = |error: std::io::Error| error.to_string();
    let question = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let mut child = Command::new(std::env::current_exe().map_err(said)?)
        .args(["bench", verb])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(said)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&question).map_err(said)?;
    }
    let output = child.wait_with_output().map_err(said)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        return Err(format!("{} ({})", last.unwrap_or("no message"), output.status));
    }
    Ok(output.stdout)
}
