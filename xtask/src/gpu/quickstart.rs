//! A training run as the command line takes it, on a device: the losses of its steps, and how many
//! held-out rows it writes exactly. A run that was ended before it was done has left its steps in its folder.

use std::path::PathBuf;

use burn_lora_config::{Length, RunConfig};
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use clap::Args;
use serde::Deserialize;

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
    /// Where the run's files go and stay [default: nowhere]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Train nothing: tell what the run in --run came to before it was ended
    #[arg(long, requires = "run")]
    unfinished: bool,
}

pub fn run(quickstart: &Quickstart) -> Done {
    let name = quickstart.config.display().to_string();
    let text = burn_lora_files::read_text(&quickstart.config)?;
    let scratch = tempfile::tempdir()?;
    let dir = quickstart.run.clone().unwrap_or_else(|| scratch.path().join("run"));
    let mut set = quickstart.set.clone();
    set.push(format!("output.dir={}", dir.display()));
    set.push(format!("train.device={}", quickstart.at.device));
    let config = RunConfig::parse(&text, &name, &set).map_err(|error| error.to_string())?;
    let planned = match config.train.length {
        Length::Steps(steps) => steps,
        Length::Epochs(_) => 0,
    };
    let exact_match = match quickstart.unfinished {
        true => None,
        false => trained(config)?,
    };
    let steps = steps(&burn_lora_files::read_text(&dir.join("metrics.jsonl"))?);
    let seconds: Vec<f64> = steps.iter().map(|step| step.seconds).collect();
    let outcome = Outcome {
        device: quickstart.at.device.clone(),
        planned,
        losses: steps.iter().map(|step| step.loss).collect(),
        exact_match,
        seconds: seconds.iter().sum(),
        first_step_seconds: seconds.first().copied().unwrap_or(0.0),
        step_seconds: median(seconds).unwrap_or(0.0),
        tokens: steps.iter().map(|step| step.tokens).sum(),
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

/// Trains; gives the share of held-out rows written exactly, before and after, where it was asked for.
fn trained(config: RunConfig) -> Result<Option<(f64, f64)>, Box<dyn std::error::Error>> {
    let summary = train(config, RunOptions::silent(), &Observer::silent())?;
    let pair = summary.evaluations().map(|[before, after]| (before.exact_match, after.exact_match));
    Ok(pair.and_then(|(before, after)| Some((before?, after?))))
}

/// A step, as `metrics.jsonl` has it.
#[derive(Debug, PartialEq, Deserialize)]
struct Step {
    loss: f64,
    seconds: f64,
    tokens: usize,
}

/// Every step of a `metrics.jsonl`; its other lines are evaluations, and its last one may be half a line.
fn steps(text: &str) -> Vec<Step> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;

    #[test]
    fn steps_are_told_from_evaluations_and_from_half_a_line() {
        let text = "{\"step\": 0, \"eval_loss\": 2.0}\n\
                    {\"step\": 1, \"loss\": 1.5, \"seconds\": 0.25, \"tokens\": 7}\n{\"step\": 2, \"lo";
        assert_eq!(steps(text), [Step { loss: 1.5, seconds: 0.25, tokens: 7 }]);
    }

    #[test]
    fn a_run_that_was_ended_tells_the_steps_that_it_took() {
        let dir = tempfile::tempdir().unwrap();
        let (run_dir, results) = (dir.path().join("run"), dir.path().join("results.jsonl"));
        std::fs::create_dir(&run_dir).unwrap();
        let step = |loss| format!("{{\"loss\": {loss}, \"seconds\": 0.5, \"tokens\": 3}}\n");
        std::fs::write(run_dir.join("metrics.jsonl"), step(2.0) + &step(1.0)).unwrap();
        run(&Quickstart {
            at: Where { device: "cpu".to_owned(), results: results.clone() },
            config: root().join("configs/quickstart.toml"),
            set: vec!["train.steps=50".to_owned()],
            run: Some(run_dir),
            unfinished: true,
        })
        .unwrap();
        let (lines, _) = line::read(&results).unwrap();
        let [Line::Quickstart(outcome)] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((outcome.planned, &outcome.losses[..]), (50, &[2.0, 1.0][..]));
        assert_eq!((outcome.seconds, outcome.tokens), (1.0, 6));
    }
}
