//! Training steps of a model's shape, one method after the other in this one process: on a GPU the
//! first steps compile kernels and choose among them, and the cells of one shape share those.

use std::path::PathBuf;

use burn_lora_models::weights::WeightDtype;
use clap::Args;

use super::line::{self, CellLine, Line};
use super::{Done, Where};
use crate::bench::cell::{Order, measure, now};
use crate::bench::{Cell, Method};

/// Measures training steps of a model's shape
#[derive(Args)]
pub struct Cells {
    #[command(flatten)]
    at: Where,
    /// The model's folder, with its config.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// lora, full, composed
    #[arg(long, value_delimiter = ',', default_value = "lora")]
    methods: Vec<String>,
    /// The adapter's
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Rows of a batch
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// Steps that are not timed
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Steps that are
    #[arg(long, default_value_t = 20)]
    steps: usize,
}

pub fn run(cells: &Cells) -> Done {
    let path = cells.model.join("config.json");
    let config =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let device = burn_lora::device::parse(&cells.at.device)?;
    let mut failed = Vec::new();
    for method in &cells.methods {
        let method: Method = serde_json::from_value(method.as_str().into())
            .map_err(|_| format!("unknown method `{method}`"))?;
        let cell = Cell {
            model: cells.model.file_name().unwrap_or_default().display().to_string(),
            backend: cells.at.device.clone(),
            dtype: WeightDtype::F32,
            batch: cells.batch,
            length: cells.length,
            method,
            rank: method.has_rank().then_some(cells.rank),
        };
        // What the cell before it held is no longer used: its pages are given back first.
        device.memory_cleanup();
        device.sync().map_err(|error| error.to_string())?;
        let order = Order {
            cell: cell.clone(),
            config: config.clone(),
            seed: 0,
            warmup: cells.warmup,
            steps: cells.steps,
            started: now(),
            given: None,
            alone: false,
        };
        match measure(&order) {
            Ok(measured) => {
                let line = CellLine { cell, measured };
                let rate = line.tokens_per_second().unwrap_or(f64::NAN);
                println!("{}: {rate:.0} tokens/s", line.cell);
                line::append(&cells.at.results, &Line::Cell(line))?;
            }
            Err(reason) => failed.push(format!("{cell}: {reason}")),
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("; ").into()),
    }
}
