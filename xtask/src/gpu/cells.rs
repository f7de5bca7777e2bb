//! Training steps of models' shapes with random weights, one cell after the other in this one process: on a GPU the
//! first steps compile kernels and choose among them, and cells share those.
//!
//! Every cell is taken twice: a few steps for its kernels, told as a [`Warm`], and, when it is this process's turn,
//! the steps that count. A cell that fails or panics is told and does not stop the next; one whose format the device does
//! not have is told and is no failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::FromStr;

use burn::tensor::Device;
use burn_lora_models::Recompute;
use burn_lora_models::weights::WeightDtype;
use clap::Args;

use super::line::{self, CellLine, Line, Warm};
use super::turn::Turn;
use super::{Done, Where};
use crate::bench::cell::{Order, measure, now};
use crate::bench::{Cell, Measured, Method};

/// Measures training steps of models' shapes
#[derive(Args)]
pub struct Cells {
    #[command(flatten)]
    at: Where,
    #[command(flatten)]
    turn: Turn,
    /// The folder with a folder for each model, in it a config.json
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// Steps of a cell that are not timed
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Steps that are
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// `MODEL:METHOD[:rRANK][:DTYPE]:BATCHxLENGTH`, such as smollm2-135m:lora:r16:bf16:4x128; rank 16 and f32 where not said
    #[arg(required = true, value_name = "CELL")]
    cells: Vec<Spec>,
}

/// A cell as the command line has it: everything but the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    model: String,
    method: Method,
    rank: usize,
    dtype: WeightDtype,
    batch: usize,
    length: usize,
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let strange = || {
            format!(
                "`{text}` is no cell: MODEL:METHOD[:rRANK][:DTYPE]:BATCHxLENGTH, such as smollm2-135m:lora:r16:bf16:4x128"
            )
        };
        let words: Vec<&str> = text.split(':').collect();
        let [model, method, options @ .., size] = &words[..] else { return Err(strange()) };
        let method: Method = serde_json::from_value((*method).into()).map_err(|_| strange())?;
        let (batch, length) = size.split_once('x').ok_or_else(strange)?;
        let count = |text: &str| text.parse().ok().filter(|&count: &usize| count > 0);
        let (mut rank, mut dtype) = (16, WeightDtype::F32);
        for option in options {
            match option.strip_prefix('r').and_then(count) {
                Some(given) => rank = given,
                None => dtype = serde_json::from_value((*option).into()).map_err(|_| strange())?,
            }
        }
        if dtype != WeightDtype::F32 && matches!(method, Method::Full | Method::Composed) {
            return Err(format!("`{text}`: full and composed take their gradients in f32 alone"));
        }
        Ok(Self {
            model: (*model).to_owned(),
            method,
            rank,
            dtype,
            batch: count(batch).ok_or_else(strange)?,
            length: count(length).ok_or_else(strange)?,
        })
    }
}

impl Spec {
    fn on(&self, device: &str) -> Cell {
        Cell {
            model: self.model.clone(),
            backend: device.to_owned(),
            dtype: self.dtype,
            recompute: Recompute::None,
            batch: self.batch,
            length: self.length,
            method: self.method,
            rank: self.method.has_rank().then_some(self.rank),
        }
    }
}

/// Steps for the kernels alone, untimed and timed: the optimiser's moments are there from the second on.
const FOR_KERNELS: (usize, usize) = (2, 1);

pub fn run(cells: &Cells) -> Done {
    let mut started = now();
    let device = burn_lora::device::parse(&cells.at.device)?;
    let (mut left, mut failed) = (Vec::new(), 0);
    // Said at once, for the steps after it may take long.
    let mut fails = |cell: &Cell, reason: String| {
        eprintln!("{cell}: {reason}");
        failed += 1;
    };
    for spec in &cells.cells {
        let cell = spec.on(&cells.at.device);
        if !device.supports_dtype(cell.dtype.dtype()) {
            println!("{cell}: that format is not on this device");
            continue;
        }
        if cells.turn.has_come() {
            left.push(cell);
            continue;
        }
        match cells.taken(&cell, &device, FOR_KERNELS, started) {
            Ok(measured) => {
                let seconds = now() - started;
                println!("{cell}: kernels in {seconds:.1} s");
                let first_step_seconds = measured.first_step_seconds;
                let warm = Warm { cell: cell.clone(), seconds, first_step_seconds };
                line::append(&cells.at.results, &Line::Warm(warm))?;
                left.push(cell);
            }
            Err(reason) => fails(&cell, reason),
        }
        started = now();
    }
    cells.turn.wait()?;
    for cell in left {
        match cells.taken(&cell, &device, (cells.warmup, cells.steps), now()) {
            Ok(measured) => {
                let line = CellLine { cell, measured };
                let rate = line.tokens_per_second().unwrap_or(f64::NAN);
                println!("{}: {rate:.0} tokens/s", line.cell);
                line::append(&cells.at.results, &Line::Cell(line))?;
            }
            Err(reason) => fails(&cell, reason),
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(format!("{count} of {} cells failed", cells.cells.len()).into()),
    }
}

impl Cells {
    /// Takes a cell's steps with nothing of the cell before it left on the device.
    fn taken(
        &self,
        cell: &Cell,
        device: &Device,
        (warmup, steps): (usize, usize),
        started: f64,
    ) -> Result<Measured, String> {
        let path = self.models.join(&cell.model).join("config.json");
        let config = burn_lora_files::read_text(&path).map_err(|error| error.to_string())?;
        let cell = cell.clone();
        let order =
            Order { cell, config, seed: 0, warmup, steps, started, given: None, alone: false };
        // What runs out of memory inside of a backend panics.
        let taken = catch_unwind(AssertUnwindSafe(|| {
            let synced = device.sync();
            device.memory_cleanup();
            synced.map_err(|error| error.to_string()).and_then(|()| measure(&order))
        }));
        taken.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panicked: {}", text.unwrap_or("without a text")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_whole_and_what_is_none_is_refused() {
        let cell = |text: &str| text.parse::<Spec>().map(|spec| spec.on("cpu").to_string());
        assert_eq!(cell("tiny:lora:2x16").unwrap(), "tiny lora r=16 cpu 2x16");
        assert_eq!(cell("tiny:lora:bf16:r4:2x16").unwrap(), "tiny lora r=4 bf16 cpu 2x16");
        assert_eq!(cell("tiny:full:2x16").unwrap(), "tiny full cpu 2x16");
        for strange in [
            "tiny",
            "tiny:lora",
            "tiny:Lora:2x16",
            "tiny:lora:r0:2x16",
            "tiny:lora:0x16",
            "tiny:lora:int8:2x16",
        ] {
            assert!(cell(strange).unwrap_err().contains("is no cell"), "{strange}");
        }
        assert!(cell("tiny:composed:bf16:2x16").unwrap_err().contains("f32 alone"));
    }

    #[test]
    fn a_cell_that_fails_is_told_and_the_next_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let config = include_str!("models/tiny.json");
        std::fs::create_dir(dir.path().join("tiny")).unwrap();
        std::fs::write(dir.path().join("tiny/config.json"), config).unwrap();
        let results = dir.path().join("results.jsonl");
        let cells = ["none:lora:1x4", "tiny:lora:r2:1x4"].map(|text| text.parse().unwrap());
        let at = Where { device: "cpu".to_owned(), results: results.clone() };
        let (models, turn) = (dir.path().to_owned(), Turn::default());
        let cells = Cells { at, turn, models, warmup: 1, steps: 2, cells: cells.into() };
        assert_eq!(run(&cells).unwrap_err().to_string(), "1 of 2 cells failed");
        let (lines, _) = line::read(&results).unwrap();
        let [Line::Cell(line)] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line.measured.steps.len(), 2);
    }
}
