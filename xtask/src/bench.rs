//! `cargo xtask bench`: rank, backend, model size and method, each cell in a process of its own.
//!
//! - [`matrix`], [`filter`]: which cells; [`cell`], [`workload`], [`products`], [`planned`]: what one process
//!   measures; [`runner`]: starts the processes, alternating, and writes [`record`]s as they come;
//! - [`counted`]: parameters of published models; [`peers`]: PEFT on the same weights and batches; [`quality`]: what methods and ranks come to;
//! - [`statistics`], [`report`], [`compare`]: what the records say.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

pub mod cell;
mod compare;
mod counted;
mod filter;
pub mod machine;
pub mod matrix;
mod peers;
mod planned;
mod products;
mod quality;
mod record;
mod report;
mod runner;
mod statistics;
mod workload;

use filter::Filter;
use matrix::Matrix;
pub use record::{Cell, Measured, Method, StepTimes};
pub use report::markdown::Table;
pub use statistics::median;

use crate::root;

/// Measures what LoRA costs and saves on this machine
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The matrix [default: benches/matrix.toml]
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,
    /// Keep the cells with these values, such as rank=8,16 (several: all must hold)
    #[arg(long, value_name = "AXIS=VALUES")]
    filter: Vec<Filter>,
    /// Measure the sweeps that are marked `full` too
    #[arg(long)]
    full: bool,
    /// Processes per cell [default: the matrix file's]
    #[arg(long, value_name = "N")]
    repeat: Option<usize>,
    /// Where results go [default: target/bench/TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the newest run, or with the one in --out
    #[arg(long)]
    resume: bool,
    /// List the cells and stop
    #[arg(long)]
    list: bool,
    /// Compare with PEFT on PyTorch too, on the same weights and batches
    #[arg(long)]
    peers: bool,
    /// The Python that has PEFT [default: $PEFT_PYTHON, or python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Renders the report of a results file again, or of several: other processors' figures stand beside one another
    Report {
        /// The JSON Lines
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Where the report goes [default: beside the first results]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Lists what became worse by more than the spread; exit code 1 where something did
    Compare {
        /// The results to compare with
        old: PathBuf,
        /// The results to look at
        new: PathBuf,
    },
    /// Trains on a task at several ranks and with every parameter, and adds what they come to
    Quality(quality::Quality),
    /// Measures one cell: reads an order as JSON, prints a measurement as JSON
    #[command(hide = true)]
    Cell,
    /// Writes the directory that peers are compared on: reads what to write as JSON
    #[command(hide = true)]
    Prepare,
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Runs the verb.
pub fn run(bench: &Bench) -> Done {
    match &bench.verb {
        None => measure(bench),
        Some(Verb::Report { results, out }) => {
            let beside = results.first().and_then(|first| first.parent());
            let dir = out.as_deref().or(beside).unwrap_or(Path::new("."));
            let mut lines = Vec::new();
            for file in results {
                lines.extend(statistics::read(file)?);
            }
            let files: Vec<&Path> = results.iter().map(PathBuf::as_path).collect();
            println!("{}", report::write(&lines, &files, dir)?.display());
            Ok(())
        }
        Some(Verb::Compare { old, new }) => {
            let found = compare::compare(&statistics::read(old)?, &statistics::read(new)?);
            println!("{found}");
            match found.regressions() {
                0 => Ok(()),
                count => Err(format!("{count} regressions beyond the spread").into()),
            }
        }
        Some(Verb::Quality(quality)) => quality::run(quality),
        Some(Verb::Prepare) => {
            Ok(peers::prepare(&serde_json::from_reader(std::io::stdin().lock())?)?)
        }
        Some(Verb::Cell) => {
            let order = serde_json::from_reader(std::io::stdin().lock())?;
            println!("{}", serde_json::to_string(&cell::measure(&order)?)?);
            Ok(())
        }
    }
}

fn measure(bench: &Bench) -> Done {
    let root = root();
    let path = bench.matrix.clone().unwrap_or_else(|| root.join("benches/matrix.toml"));
    let mut matrix = Matrix::read(&path)?;
    matrix.repeat = bench.repeat.unwrap_or(matrix.repeat).max(1);
    let cells = matrix.cells(bench.full, &bench.filter);
    if bench.list {
        cells.iter().for_each(|cell| println!("{cell}"));
        println!("{} cells, {} processes each", cells.len(), matrix.repeat);
        return Ok(());
    }
    if cells.is_empty() && !bench.peers {
        return Err("no cell is left: see --list without --filter".into());
    }
    let runs = root.join("target/bench");
    let dir = match (&bench.out, bench.resume) {
        (Some(dir), _) => dir.clone(),
        (None, true) => newest(&runs).ok_or("there is no run to resume under target/bench")?,
        (None, false) => runs.join((cell::now() as u64).to_string()),
    };
    std::fs::create_dir_all(&dir)?;
    let results = dir.join("results.jsonl");
    if results.exists() && !bench.resume {
        return Err(format!("{} exists: --resume goes on with it", results.display()).into());
    }
    let mut runner = runner::Runner::open(&results, &matrix, &root)?;
    runner.run(&cells)?;
    if bench.peers {
        peers::run(&mut runner, bench.python.as_deref())?;
    }
    println!("{}", report::write(&statistics::read(&results)?, &[&results], &dir)?.display());
    Ok(())
}

/// The run directory with the largest time as its name.
fn newest(runs: &Path) -> Option<PathBuf> {
    let started = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    std::fs::read_dir(runs)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| started(path).is_some() && path.join("results.jsonl").exists())
        .max_by_key(started)
}
