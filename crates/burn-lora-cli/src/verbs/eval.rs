//! `burn-lora eval RUN`: a finished run on its held-out rows.

use std::path::PathBuf;

use burn_lora_train::TrainError;
use burn_lora_train::evaluate::{Evaluation, evaluate};
use burn_lora_train::score::exact_match;
use serde::Serialize;

use super::Overrides;
use crate::{output, terminal};

/// Measure a finished run on its held-out rows, or on others (`--set data.eval=FILE`)
#[derive(clap::Args)]
pub struct Eval {
    /// The run directory
    run: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub fn run(self) -> Result<(), TrainError> {
        let observer = terminal::observer(self.json);
        let evaluation = evaluate(&self.run, &self.overrides.set, &observer)?;
        if self.json {
            return output::json(&Figures::from(&evaluation));
        }
        println!("{evaluation}");
        Ok(())
    }
}

/// An evaluation as JSON, with the names that `metrics.jsonl` has.
#[derive(Serialize)]
struct Figures {
    eval_loss: f64,
    perplexity: f64,
    accuracy: f64,
    /// Absent where no texts were generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact_match: Option<f64>,
    targets: usize,
    tokens: usize,
}

impl From<&Evaluation> for Figures {
    fn from(evaluation: &Evaluation) -> Self {
        let (tally, samples) = (&evaluation.tally, &evaluation.samples);
        Self {
            eval_loss: tally.mean_loss(),
            perplexity: tally.perplexity(),
            accuracy: tally.accuracy(),
            exact_match: (!samples.is_empty()).then(|| exact_match(samples)),
            targets: tally.targets,
            tokens: tally.tokens,
        }
    }
}
