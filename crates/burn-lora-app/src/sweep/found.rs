//! What the directory of a point holds already.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use burn_lora_config::{Decides, Length, RunConfig};
use burn_lora_files::header::{Header, NoHeader};
use burn_lora_files::{IoError, names};
use burn_lora_report::record::{EvalRecord, Record, evaluations, steps};
use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::base::BaseCache;
use burn_lora_train::checkpoint::Checkpoints;
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::early_stopping::{EarlyStopping, Seen};
use burn_lora_train::history::History;
use burn_lora_train::inputs::changed_since;
use burn_lora_train::metrics::figure;

use super::results::{PointResult, PointState};

/// What is in a point's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// No run.
    Nothing,
    /// A run of other settings or files, with `key: then -> now` for each, or what of a file has changed.
    Other(Vec<String>),
    /// The run, finished.
    Finished,
    /// The run, with a checkpoint to go on from.
    Checkpoint,
    /// The run, with nothing to go on from.
    Abandoned,
}

/// Looks at a point's directory. `steps` is what an earlier sweep noted as the steps of the finished
/// run: those of a run over epochs stand nowhere else.
///
/// A finished run whose data or base is another now is one of other settings: what it measured says nothing beside the rest.
///
/// # Errors
///
/// Files that cannot be read or are damaged.
pub(super) fn found(
    config: &RunConfig,
    steps: Option<usize>,
    bases: &BaseCache,
) -> Result<Found, TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    if !directory.config().is_file() {
        return Ok(Found::Nothing);
    }
    let then = directory.written_config()?;
    // What is measured is what a sweep compares.
    let differences = config.differences(&then, Decides::Evaluation)?;
    if !differences.is_empty() {
        let differences = differences.iter().map(ToString::to_string).collect();
        return Ok(Found::Other(differences));
    }
    if finished(&directory, config, steps)? {
        let changed = changed_since(config, &directory, bases)?;
        return Ok(if changed.is_empty() { Found::Finished } else { Found::Other(changed) });
    }
    let checkpoints = Checkpoints::new(directory.checkpoints(), config.train.keep);
    Ok(if checkpoints.list().is_empty() { Found::Abandoned } else { Found::Checkpoint })
}

fn finished(
    directory: &RunDirectory,
    config: &RunConfig,
    steps: Option<usize>,
) -> Result<bool, TrainError> {
    let metrics = directory.metrics();
    let weights = weights(directory, config);
    if weights.is_empty() || !metrics.is_file() {
        return Ok(false);
    }
    // An interrupted run leaves its weights too. One that went on from there and was lost left
    // newer records beside them.
    let stale = weights.iter().any(|weights| match (modified(weights), modified(&metrics)) {
        (Some(weights), Some(metrics)) => weights < metrics,
        _ => false,
    });
    Ok(!stale && complete(&History::read(&metrics)?, config, steps))
}

/// Whether the records reach to the end of the run: to its last step or to where early stopping
/// ended it, and to the evaluation after that.
fn complete(records: &[Record], config: &RunConfig, noted: Option<usize>) -> bool {
    let Some(last) = steps(records).next_back().map(|record| record.step) else { return false };
    let ended = match config.train.length {
        Length::Steps(steps) => steps == last,
        Length::Epochs(_) => false,
    };
    let evaluates = config.data.eval.is_some() || config.data.held_out.is_some();
    (ended || noted == Some(last) || stopped_early(records, config))
        && (!evaluates || evaluation_at(records, last).is_some())
}

fn stopped_early(records: &[Record], config: &RunConfig) -> bool {
    let Some(limit) = config.train.early_stopping else { return false };
    let (stopping, figure) =
        (EarlyStopping::new(limit, Seen::default()), figure(config.train.metric));
    for record in evaluations(records).filter(|record| record.step > 0) {
        stopping.note(figure.cost(record));
    }
    stopping.seen().since >= limit
}

/// The last evaluation after so many steps.
fn evaluation_at(records: &[Record], step: usize) -> Option<EvalRecord> {
    evaluations(records).rfind(|record| record.step == step).copied()
}

/// Takes down what the finished run of this configuration measured, read from what it left: the same right after the run
/// and in a later process.
///
/// # Errors
///
/// Files that cannot be read or are damaged.
pub(super) fn measure(row: &mut PointResult, config: &RunConfig) -> Result<(), TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    let records = History::read(&directory.metrics())?;
    let totals = Summary::of(&records, false);
    let mut trainable = 0_u64;
    for path in weights(&directory, config) {
        trainable = trainable.saturating_add(parameters(&path)?);
    }
    row.state = PointState::Finished;
    row.steps = Some(totals.steps);
    row.before = evaluation_at(&records, 0);
    row.after = evaluation_at(&records, totals.steps).filter(|_| totals.steps > 0);
    row.trainable = Some(trainable);
    row.seconds = Some(totals.seconds);
    row.tokens_per_second = Some(totals.tokens_per_second);
    Ok(())
}

/// The files of what the run trained; they hold that and nothing else.
fn weights(directory: &RunDirectory, config: &RunConfig) -> Vec<PathBuf> {
    let Ok(dir) = directory.result(config) else { return Vec::new() };
    let names = names(&dir).unwrap_or_default().into_iter();
    names.filter(|name| name.ends_with(".safetensors")).map(|name| dir.join(name)).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// How many numbers a safetensors file holds, from its header: a model's values are not read.
fn parameters(path: &Path) -> Result<u64, TrainError> {
    let header = burn_lora_files::open(path)
        .map_err(NoHeader::Io)
        .and_then(|mut file| Header::read(&mut file));
    let header = header.map_err(|error| match error {
        NoHeader::Io(error) => TrainError::from(IoError::at("read", path)(error)),
        NoHeader::Damaged(reason) => TrainError::Damaged { path: path.to_owned(), reason },
    })?;
    let count = |shape: &[usize]| shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d as u64));
    Ok(header
        .tensors
        .tensors()
        .values()
        .fold(0, |sum, info| sum.saturating_add(count(&info.shape))))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;
    use crate::sweep::fake::{self, eval, step};

    fn at(dir: &Path, more: &[&str]) -> RunConfig {
        fake::config(dir, more)
    }

    fn check(config: &RunConfig, records: &[Record], steps: Option<usize>, expected: Found) {
        fake::leave(config, records, true);
        assert_eq!(found(config, steps, &BaseCache::default()).unwrap(), expected, "{records:?}");
    }

    #[test]
    fn a_run_is_finished_when_its_last_step_is_evaluated_and_its_weights_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = at(dir.path(), &["data.eval=e.jsonl"]);
        assert_eq!(found(&config, None, &BaseCache::default()).unwrap(), Found::Nothing);
        let whole = [eval(0, 3.0), step(1), step(2), step(3), eval(3, 2.0)];
        check(&config, &whole[..3], None, Found::Abandoned);
        check(&config, &whole[..4], None, Found::Abandoned);
        check(&config, &whole, None, Found::Finished);
        fs::remove_dir_all(dir.path().join("adapter")).unwrap();
        assert_eq!(found(&config, None, &BaseCache::default()).unwrap(), Found::Abandoned);
        fake::checkpoint(&config, 2);
        assert_eq!(found(&config, None, &BaseCache::default()).unwrap(), Found::Checkpoint);
    }

    #[test]
    fn without_held_out_rows_the_last_step_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        check(&at(dir.path(), &[]), &[step(1), step(2), step(3)], None, Found::Finished);
    }

    #[test]
    fn weights_older_than_the_records_are_those_of_an_interrupted_run() {
        let dir = tempfile::tempdir().unwrap();
        let config = at(dir.path(), &[]);
        fake::leave(&config, &[step(1), step(2), step(3)], true);
        let weights = File::options()
            .append(true)
            .open(dir.path().join("adapter/adapter_model.safetensors"))
            .unwrap();
        weights.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert_eq!(found(&config, None, &BaseCache::default()).unwrap(), Found::Abandoned);
    }

    #[test]
    fn a_run_over_epochs_is_finished_where_an_earlier_sweep_noted_its_steps() {
        let dir = tempfile::tempdir().unwrap();
        let config = at(dir.path(), &["train.epochs=1"]);
        let records = [step(1), step(2)];
        check(&config, &records, None, Found::Abandoned);
        check(&config, &records, Some(3), Found::Abandoned);
        check(&config, &records, Some(2), Found::Finished);
    }

    #[test]
    fn early_stopping_ends_a_run_before_its_last_step() {
        let dir = tempfile::tempdir().unwrap();
        let stops = ["data.eval=e.jsonl", "train.eval_every=1", "train.early_stopping=1"];
        let config = at(dir.path(), &stops);
        let records = [eval(0, 1.0), step(1), eval(1, 3.0), step(2), eval(2, 3.5)];
        // The evaluation before training counts for nothing.
        check(&config, &records[..3], None, Found::Abandoned);
        check(&config, &records, None, Found::Finished);
    }

    #[test]
    fn a_run_of_other_settings_is_told_apart_from_one_that_is_only_watched_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        fake::leave(&at(dir.path(), &[]), &[step(1), step(2), step(3)], true);
        let watched = at(dir.path(), &["train.save_every=1", "train.samples=0"]);
        assert_eq!(found(&watched, None, &BaseCache::default()).unwrap(), Found::Finished);
        let other = at(dir.path(), &["train.seed=9", "adapter.rank=2"]);
        let expected = ["adapter.rank: 8 -> 2", "adapter.alpha: 16.0 -> 4.0", "train.seed: 0 -> 9"];
        let expected = expected.map(str::to_owned).to_vec();
        assert_eq!(found(&other, None, &BaseCache::default()).unwrap(), Found::Other(expected));
    }

    #[test]
    fn what_was_measured_is_read_from_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let config = at(dir.path(), &["data.eval=e.jsonl"]);
        let records = [eval(0, 3.0), step(1), step(2), step(3), eval(3, 2.0)];
        fake::leave(&config, &records, true);
        let mut row = fake::results(&[None]).points.remove(0);
        measure(&mut row, &config).unwrap();
        assert_eq!(row.before.map(|record| record.eval_loss), Some(3.0));
        assert_eq!(row.after.map(|record| record.eval_loss), Some(2.0));
        // Three steps of 20 tokens in half a second each; a 2 x 3 and a 3 x 2 factor.
        assert_eq!((row.steps, row.seconds), (Some(3), Some(1.5)));
        assert_eq!((row.tokens_per_second, row.trainable), (Some(40.0), Some(12)));
    }

    #[test]
    fn a_header_that_cannot_be_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let config = at(dir.path(), &[]);
        fake::leave(&config, &[step(3)], true);
        let path = dir.path().join("adapter/adapter_model.safetensors");
        for (length, header) in [(u64::MAX, b"{}"), (2, b"[]")] {
            fs::write(&path, [length.to_le_bytes().as_slice(), header].concat()).unwrap();
            let measured = measure(&mut fake::results(&[None]).points[0], &config);
            assert!(matches!(measured, Err(TrainError::Damaged { .. })));
        }
    }
}
