//! What runs leave, without running them.

use std::fs;
use std::path::Path;

use burn_lora_config::{Metric, RunConfig};
use burn_lora_report::record::{EvalRecord, Record, StepRecord};
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::history::History;

use super::grid::{Axis, Point};
use super::results::{PointResult, PointState, Results};

/// A file of a run of three steps; a test adds the rest as overrides.
pub(super) fn text(dir: &Path) -> String {
    let dir = dir.display().to_string();
    format!(
        "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nsteps = 3\n[output]\ndir = {dir:?}\n"
    )
}

pub(super) fn config(dir: &Path, more: &[&str]) -> RunConfig {
    let more: Vec<String> = more.iter().map(|&set| set.to_owned()).collect();
    RunConfig::parse(&text(dir), "run.toml", &more).unwrap()
}

/// A step of 20 tokens in half a second.
pub(super) fn step(step: usize) -> Record {
    Record::Step(StepRecord {
        step,
        loss: 1.5,
        learning_rate: 1e-3,
        gradient_norm: 0.25,
        targets: 10,
        tokens: 20,
        seconds: 0.5,
        ..StepRecord::default()
    })
}

pub(super) fn eval(step: usize, loss: f64) -> Record {
    Record::Eval(measures(step, loss))
}

fn measures(step: usize, eval_loss: f64) -> EvalRecord {
    let accuracy = eval_loss / 10.0;
    let (exact_match, bleu) = (None, None);
    EvalRecord { step, eval_loss, perplexity: eval_loss.exp(), accuracy, exact_match, bleu }
}

/// Leaves what a run leaves: configuration, records, and an adapter of a 2 x 3 and a 3 x 2 factor.
pub(super) fn leave(config: &RunConfig, records: &[Record], weights: bool) {
    let run = RunDirectory::new(&config.output.dir);
    run.write_config(config).unwrap();
    let mut history = History::create(&run.metrics()).unwrap();
    for record in records {
        history.push(*record).unwrap();
    }
    if weights {
        let header = r#"{"__metadata__":{"format":"pt"},
            "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
            "b":{"dtype":"F32","shape":[3,2],"data_offsets":[24,48]}}"#;
        let length = header.len() as u64;
        let bytes = [&length.to_le_bytes(), header.as_bytes(), &[0; 48]].concat();
        fs::create_dir_all(run.adapter()).unwrap();
        fs::write(run.adapter().join("adapter_model.safetensors"), bytes).unwrap();
    }
}

/// Leaves what makes a checkpoint one.
pub(super) fn checkpoint(config: &RunConfig, step: usize) {
    let dir = RunDirectory::new(&config.output.dir).checkpoints().join(format!("step-{step:06}"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("state.json"), "{}").unwrap();
}

/// Finished points `p0`, `p1`, … on an axis of ranks 0, 1, …, with this held-out loss after.
pub(super) fn results(losses: &[Option<f64>]) -> Results {
    let values: Vec<String> = (0..losses.len()).map(|index| index.to_string()).collect();
    let point = |(index, loss): (usize, &Option<f64>)| {
        let value = index.to_string();
        let (name, values) = (format!("p{index}"), vec![value.clone()]);
        let point = Point { overrides: vec![format!("adapter.rank={value}")], name, values };
        PointResult {
            state: PointState::Finished,
            steps: Some(3),
            before: loss.map(|_| measures(0, 3.0)),
            after: loss.map(|loss| measures(3, loss)),
            trainable: Some(1234),
            seconds: Some(1.5),
            tokens_per_second: Some(40.0),
            ..PointResult::pending(&point)
        }
    };
    Results {
        metric: Metric::Loss,
        best: None,
        axes: vec![Axis { key: "adapter.rank".to_owned(), values }],
        points: losses.iter().enumerate().map(point).collect(),
    }
}
