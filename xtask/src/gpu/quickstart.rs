//! A training run as the command line takes it, on a device: the losses of its steps, and how many
//! held-out rows it writes exactly.

use std::path::PathBuf;

use burn_lora_config::RunConfig;
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use burn_lora_train::silent::SilentRenderer;
use clap::Args;
use serde_json::Value;

use super::line::{self, Line, Quickstart as Outcome};
use super::{Done, Where};
use crate::bench::median;

/// Trains the quickstart and keeps its losses
#[derive(Args)]
pub struct Quickstart {
    #[command(flatten)]
    at: Where,
    /// The run's configuration; its files are found from the working directory
    #[arg(long, default_value = "configs/quickstart.toml")]
    config: PathBuf,
    /// Changes to the configuration, such as train.steps=50
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

pub fn run(quickstart: &Quickstart) -> Done {
    let name = quickstart.config.display().to_string();
    let text =
        std::fs::read_to_string(&quickstart.config).map_err(|error| format!("{name}: {error}"))?;
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("run");
    let mut set = quickstart.set.clone();
    set.push(format!("output.dir={}", out.display()));
    set.push(format!("train.device={}", quickstart.at.device));
    let config = RunConfig::parse(&text, &name, &set).map_err(|error| error.to_string())?;
    let options = RunOptions { renderer: Some(Box::new(SilentRenderer)), ..RunOptions::default() };
    let summary = train(config, options, &Observer::silent())?;
    let exact_match = summary
        .evaluations()
        .and_then(|[before, after]| Some((before.exact_match?, after.exact_match?)));
    let steps = steps(&std::fs::read_to_string(out.join("metrics.jsonl"))?);
    let seconds: Vec<f64> = steps.iter().map(|(_, seconds)| *seconds).collect();
    let outcome = Outcome {
        device: quickstart.at.device.clone(),
        losses: steps.iter().map(|(loss, _)| *loss).collect(),
        exact_match,
        seconds: summary.seconds,
        first_step_seconds: seconds.first().copied().unwrap_or(0.0),
        step_seconds: median(seconds).unwrap_or(0.0),
        tokens: summary.tokens,
    };
    println!(
        "{}: {} steps, last loss {:.4}, {:.1} ms a step, exact match {:?}",
        outcome.device,
        outcome.losses.len(),
        outcome.losses.last().copied().unwrap_or(f64::NAN),
        1e3 * outcome.step_seconds,
        outcome.exact_match
    );
    line::append(&quickstart.at.results, &Line::Quickstart(outcome))
}

/// Loss and seconds of every step of a `metrics.jsonl`; its other lines are evaluations.
fn steps(text: &str) -> Vec<(f64, f64)> {
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter_map(|line| Some((line["loss"].as_f64()?, line["seconds"].as_f64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_from_evaluations() {
        let text =
            "{\"step\": 0, \"eval_loss\": 2.0}\n{\"step\": 1, \"loss\": 1.5, \"seconds\": 0.25}\n";
        assert_eq!(steps(text), [(1.5, 0.25)]);
    }
}
