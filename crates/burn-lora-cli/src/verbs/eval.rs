//! `burn-lora eval RUN`: a finished run on its held-out rows.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_report::bleu::Bleu;
use burn_lora_train::evaluate::{Evaluation, evaluate};
use serde::Serialize;

use super::Overrides;
use crate::place::place;
use crate::{output, terminal};

/// Measure a finished run on its held-out rows, or on others (`--set data.eval=FILE`)
#[derive(clap::Args)]
pub struct Eval {
    /// The run directory
    #[arg(value_parser = place())]
    run: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Generate for every held-out row and count what is exactly right: `--set train.exact_match=true`
    #[arg(long)]
    exact_match: bool,
    /// Generate for every held-out prompt and score by BLEU: `--set train.bleu=true`
    #[arg(long)]
    bleu: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Eval {
    pub fn run(self) -> Result<(), AppError> {
        let observer = terminal::observer(self.json);
        let mut overrides = self.overrides.set;
        let scores = [(self.exact_match, "exact_match"), (self.bleu, "bleu")];
        let asked = scores.into_iter().filter(|(asked, _)| *asked);
        overrides.extend(asked.map(|(_, key)| format!("train.{key}=true")));
        let evaluation = evaluate(&self.run, &overrides, &observer)?;
        if self.json {
            return output::json(&Figures::from(&evaluation));
        }
        output::line(&evaluation)
    }
}

/// An evaluation as JSON, with the names that `metrics.jsonl` has; `step` is not among them.
#[derive(Serialize)]
struct Figures {
    eval_loss: f64,
    perplexity: f64,
    accuracy: f64,
    /// Absent where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact_match: Option<f64>,
    /// 0 to 1; absent where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bleu_parts: Option<Bleu>,
    targets: usize,
    tokens: usize,
}

impl From<&Evaluation> for Figures {
    fn from(evaluation: &Evaluation) -> Self {
        let (tally, scores) = (&evaluation.tally, &evaluation.scores);
        Self {
            eval_loss: tally.mean_loss(),
            perplexity: tally.perplexity(),
            accuracy: tally.accuracy(),
            exact_match: scores.exact_match,
            bleu: scores.bleu.map(|bleu| bleu.score),
            bleu_parts: scores.bleu,
            targets: tally.targets,
            tokens: tally.tokens,
        }
    }
}
