//! `burn-lora check CONFIG`: everything a run needs, without running it.

mod view;

use std::path::PathBuf;

use burn_lora_train::config::RunConfig;
use burn_lora_train::learner::Objective;
use burn_lora_train::prepare::{Adapt, Kind, Run, prepare};
use burn_lora_train::{TrainError, with_model};

use super::Overrides;
use crate::{output, terminal};
use view::Checked;

/// Check configuration, data, model and targets, and show one row as the model sees it
#[derive(clap::Args)]
pub struct Check {
    /// The run configuration
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// List every linear layer and what became of it
    #[arg(long)]
    layers: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> Result<(), TrainError> {
        let config = RunConfig::read(&self.config, &self.overrides.set)?;
        let observer = terminal::observer(self.json);
        with_model!(Kind::of(&config, &observer)?, Model => {
            self.tell(&prepare::<Model>(config, Adapt::Fresh, &observer)?)
        })
    }

    fn tell<M: Objective>(&self, run: &Run<M>) -> Result<(), TrainError> {
        if self.json {
            return output::json(&Checked::of(run, self.layers));
        }
        show(run, self.layers);
        Ok(())
    }
}

fn show<M: Objective>(run: &Run<M>, layers: bool) {
    for note in &run.notes {
        println!("{note}");
    }
    match &run.patched {
        Some((report, _)) => {
            println!("{report}");
            if layers {
                println!("{}", report.table());
            }
        }
        None => println!("{}", run.trainable_line()),
    }
    let steps = run.config.train.length.steps(run.steps_per_epoch());
    println!(
        "steps: {steps} of {} rows",
        run.config.train.batch_size * run.config.train.accumulate
    );
    println!("\nthe first training row:\n{}", run.sample);
}
