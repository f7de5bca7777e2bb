//! The table of a sweep, from what its points left: the same whoever ran them, here or elsewhere, and in whatever order.

use std::path::PathBuf;

use burn_lora_config::Metric;
use burn_lora_files::{self as files, IoError};
use burn_lora_train::TrainError;
use burn_lora_train::base::BaseCache;

use super::found::{Found, found, measure};
use super::note::Note;
use super::results::{PointResult, PointState, Results};
use super::{Plan, Sweep, SweepError, plot};

/// What the directory of each point holds, in the order of the grid.
pub(super) type AllFound = Vec<Result<Found, TrainError>>;

impl Sweep {
    /// What all points have come to by now, wherever they ran, of all shards; `sweep.json`, `sweep.md` and `sweep.svg` are written anew.
    /// Points that run, or have not begun, are pending.
    ///
    /// # Errors
    ///
    /// No point has begun; a directory that holds a run of other settings; the sweep's own files cannot be written.
    pub fn gather(&self) -> Result<Results, SweepError> {
        let all = self.look()?;
        let mut results = self.results(&all);
        // A point may have failed before it had a directory.
        let nothing = all.iter().all(|found| matches!(found, Ok(Found::Nothing)));
        if nothing && results.points.iter().all(|row| row.state == PointState::Pending) {
            return Err(SweepError::NothingToGather { dir: self.dir.clone() });
        }
        self.write(&mut results)?;
        Ok(results)
    }

    /// What the points' directories and notes say.
    pub(super) fn results(&self, all: &[Result<Found, TrainError>]) -> Results {
        let mut results = Results {
            metric: self.plans.first().map_or(Metric::Loss, |plan| plan.config.train.metric),
            best: None,
            axes: self.axes.clone(),
            points: self.plans.iter().map(|plan| PointResult::pending(&plan.point)).collect(),
        };
        for ((plan, found), row) in self.plans.iter().zip(all).zip(&mut results.points) {
            match found {
                Ok(Found::Finished) => {
                    let measured = measure(row, &plan.config);
                    fail_if(row, measured);
                }
                Err(error) => fail(row, error),
                Ok(_) => match Note::read(&self.dir, &plan.point.name) {
                    Some(Note::Failed { error }) => fail(row, error),
                    Some(Note::Interrupted) => row.state = PointState::Interrupted,
                    // A run that was finished once and is not there any more.
                    Some(Note::Finished { .. }) | None => {}
                },
            }
        }
        results.choose();
        results
    }

    /// What the points' directories hold.
    ///
    /// # Errors
    ///
    /// Some hold runs of other settings or files; a table where this sweep's would stand is no sweep's.
    pub(super) fn look(&self) -> Result<AllFound, SweepError> {
        self.writes_over_nothing()?;
        let mut others = Vec::new();
        let bases = BaseCache::default();
        let mut all = Vec::with_capacity(self.plans.len());
        for Plan { point, config } in &self.plans {
            let steps = match Note::read(&self.dir, &point.name) {
                Some(Note::Finished { steps }) => Some(steps),
                _ => None,
            };
            let found = found(config, steps, &bases);
            if let Ok(Found::Other(differences)) = &found {
                others.push((config.output.dir.clone(), differences.clone()));
            }
            all.push(found);
        }
        match others.is_empty() {
            true => Ok(all),
            false => Err(SweepError::Differs { runs: others }),
        }
    }

    /// The files of the table.
    fn table(&self) -> [PathBuf; 3] {
        ["sweep.json", "sweep.md", "sweep.svg"].map(|name| self.dir.join(name))
    }

    /// Sees to it that what stands where the table goes is a sweep's: one leaves all of it, and `sweep.json` tells.
    fn writes_over_nothing(&self) -> Result<(), SweepError> {
        let table = self.table();
        let own = || -> Option<bool> {
            let text = files::read_text(&table[0]).ok()?;
            let value: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(["metric", "axes", "points"].iter().all(|key| value.get(key).is_some()))
        };
        let there = table.iter().find(|path| path.exists()).cloned();
        match there.filter(|_| own() != Some(true)) {
            Some(path) => Err(SweepError::NotASweeps { path }),
            None => Ok(()),
        }
    }

    pub(super) fn write(&self, results: &mut Results) -> Result<(), SweepError> {
        results.choose();
        let [json, markdown, svg] = self.table();
        let text = results.to_json().map_err(|error| IoError::at("write", &json)(error.into()))?;
        files::write(&json, text.as_bytes())?;
        files::write(&markdown, results.to_string().as_bytes())?;
        match plot::draw(results)? {
            Some(plot) => Ok(files::write(&svg, plot.as_bytes())?),
            None => Ok(()),
        }
    }
}

/// Takes down why a point failed, if it did.
pub(super) fn fail_if(row: &mut PointResult, outcome: Result<(), TrainError>) {
    if let Err(error) = outcome {
        fail(row, error);
    }
}

fn fail(row: &mut PointResult, error: impl ToString) {
    row.state = PointState::Failed;
    row.error = Some(error.to_string());
}
