//! `burn-lora check CONFIG`: everything a run needs, without running it.

mod view;

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::prepare::{Kind, Run, prepare_if_it_fits};
use burn_lora_train::with_model;

use super::Overrides;
use crate::place::{configuration, input};
use crate::{output, terminal};
use view::Checked;

/// Check configuration, data, model and targets, and show one row as the model sees it
#[derive(clap::Args)]
pub struct Check {
    /// The run configuration
    #[arg(value_parser = input())]
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
    pub fn run(self) -> Result<(), AppError> {
        let config = configuration(&self.config, &self.overrides.set)?;
        let observer = terminal::observer(self.json);
        with_model!(Kind::of(&config, &observer)?, Model => {
            self.tell(&prepare_if_it_fits::<Model>(config, &observer)?)
        })
    }

    fn tell<M: TrainableModel>(&self, run: &Run<M>) -> Result<(), AppError> {
        if self.json {
            return output::json(&Checked::of(run, self.layers));
        }
        let mut text = run.notes.iter().map(|note| format!("{note}\n")).collect::<String>();
        match &run.patched {
            Some((report, _)) => {
                text += &format!("{report}\n");
                if self.layers {
                    text += &format!("{}\n", report.table());
                }
            }
            None => text += &format!("{}\n", run.trainable_line()),
        }
        let steps = run.config.train.length.steps(run.steps_per_epoch());
        let rows = run.config.train.batch_size * run.config.train.accumulate;
        text +=
            &format!("steps: {steps} of {rows} rows\n\nthe first training row:\n{}", run.sample);
        output::line(&text)
    }
}
