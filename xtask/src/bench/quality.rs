//! What methods and ranks come to: a run's configuration, trained again at each rank and whole.
//!
//! Data, steps, schedule and seed are the configuration's; alpha is twice the rank. Full
//! fine-tuning takes a learning rate of its own, for it diverges at an adapter's.

use std::io::Write;
use std::path::PathBuf;

use burn_lora_config::RunConfig;
use burn_lora_report::summary::Summary;
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use clap::Args;
use toml::Table;

use super::record::{Line, Method, Quality as Outcome};

/// Trains on a task at several ranks and with every parameter
#[derive(Args)]
pub struct Quality {
    /// A run's configuration
    #[arg(default_value = "configs/quickstart.toml")]
    config: PathBuf,
    /// The ranks
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    ranks: Vec<usize>,
    /// Learning rate of full fine-tuning [default: a tenth of the configuration's]
    #[arg(long, value_name = "RATE")]
    full_learning_rate: Option<f64>,
    /// Changes to the configuration, such as train.steps=50
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The results file that the outcomes are added to
    #[arg(long, value_name = "FILE")]
    results: PathBuf,
}

/// Trains and writes.
pub fn run(quality: &Quality) -> super::Done {
    let text = burn_lora_files::read_text(&quality.config)?;
    let task = quality.config.file_stem().map_or_else(String::new, |s| s.display().to_string());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&quality.results)?;
    let ranks = quality.ranks.iter().map(|&rank| Some(rank));
    for rank in ranks.chain([None]) {
        let dir = tempfile::tempdir()?;
        let changed = changed(&text, rank, quality.full_learning_rate)?;
        let mut set = quality.set.clone();
        set.push(format!("output.dir={}", dir.path().join("run").display()));
        let name = quality.config.display().to_string();
        let config = RunConfig::parse(&changed, &name, &set).map_err(|e| e.to_string())?;
        let summary = train(config, RunOptions::silent(), &Observer::silent())?;
        let outcome = outcome(&task, rank, &summary).ok_or("the configuration has no data.eval")?;
        eprintln!(
            "{task} {}: {} {:.1} %, held-out loss {:.4}",
            rank.map_or_else(|| "full".to_owned(), |rank| format!("rank {rank}")),
            outcome.metric,
            100.0 * outcome.after,
            outcome.eval_loss
        );
        writeln!(file, "{}", serde_json::to_string(&Line::Quality(outcome))?)?;
    }
    Ok(())
}

/// The configuration's text at that rank, or with every parameter trained.
fn changed(
    text: &str,
    rank: Option<usize>,
    full_rate: Option<f64>,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut config: Table = toml::from_str(text)?;
    let section = |config: &mut Table, name: &str| -> Table {
        config.get(name).and_then(toml::Value::as_table).cloned().unwrap_or_default()
    };
    let mut adapter = section(&mut config, "adapter");
    match rank {
        Some(rank) => {
            adapter.insert("rank".to_owned(), (rank as i64).into());
            adapter.insert("alpha".to_owned(), (2.0 * rank as f64).into());
        }
        None => {
            adapter = Table::from_iter([("method".to_owned(), "full".into())]);
            let mut train = section(&mut config, "train");
            let rate = train.get("learning_rate").and_then(toml::Value::as_float);
            let rate = full_rate.unwrap_or(rate.unwrap_or(2e-4) / 10.0);
            train.insert("learning_rate".to_owned(), rate.into());
            config.insert("train".to_owned(), train.into());
        }
    }
    config.insert("adapter".to_owned(), adapter.into());
    Ok(toml::to_string(&config)?)
}

fn outcome(task: &str, rank: Option<usize>, summary: &Summary) -> Option<Outcome> {
    let [before, after] = summary.evaluations()?;
    let (metric, before_value, after_value) = match (before.exact_match, after.exact_match) {
        (before, Some(after)) => ("exact match", before, after),
        _ => ("accuracy", Some(before.accuracy), after.accuracy),
    };
    Some(Outcome {
        task: task.to_owned(),
        metric: metric.to_owned(),
        method: if rank.is_some() { Method::Lora } else { Method::Full },
        rank,
        steps: summary.steps,
        trainable: summary.trainable as u64,
        before: before_value,
        after: after_value,
        eval_loss: after.eval_loss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_changed_in_what_is_compared_alone() {
        let text = "[model]\npath = 'm'\n[adapter]\nmethod = 'lora'\nrank = 2\nalpha = 4\n\
                    targets = ['q']\n[train]\nlearning_rate = 0.5\nsteps = 3\n";
        let lora: Table = toml::from_str(&changed(text, Some(8), None).unwrap()).unwrap();
        assert_eq!(lora["adapter"]["rank"].as_integer(), Some(8));
        assert_eq!(lora["adapter"]["alpha"].as_float(), Some(16.0));
        assert_eq!(lora["adapter"]["targets"][0].as_str(), Some("q"));
        assert_eq!(lora["train"]["learning_rate"].as_float(), Some(0.5));
        let full: Table = toml::from_str(&changed(text, None, None).unwrap()).unwrap();
        assert_eq!(full["adapter"].as_table().unwrap().len(), 1);
        assert_eq!(full["train"]["learning_rate"].as_float(), Some(0.05));
        assert_eq!(full["train"]["steps"], lora["train"]["steps"]);
    }
}
