//! The points of a sweep, or those of a shard of it, in this process, one after the other.

use burn_lora_config::RunConfig;
use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::base::BaseCache;
use burn_lora_train::metrics::figure;
use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::run::{RunOptions, train_on};
use burn_train::Interrupter;

use super::found::{Found, measure};
use super::gather::fail_if;
use super::note::Note;
use super::results::{PointResult, PointState, Results};
use super::{Sweep, SweepError};

impl Sweep {
    /// Runs every point of the [shard](Self::only) that is not finished. The interrupter ends the sweep after the step it is in,
    /// with a checkpoint; the observer is told a line when a point begins and when it ends, and of
    /// the stages within.
    ///
    /// A whole sweep writes its table after every point. A shard writes it where all points have ended when its own have: so
    /// whichever of several shards comes last. What is returned has all points either way.
    ///
    /// # Errors
    ///
    /// A directory that holds a run of other settings; the sweep's own files cannot be written. What
    /// goes wrong in a point is in its result.
    pub fn run(
        &self,
        interrupter: &Interrupter,
        observer: &Observer,
    ) -> Result<Results, SweepError> {
        let bases = BaseCache::default();
        let within = without_lines(observer);
        self.run_by(interrupter, observer, |config, options| {
            train_on(Some(&bases), config, options, &within)
        })
    }

    pub(super) fn run_by(
        &self,
        interrupter: &Interrupter,
        observer: &Observer,
        mut train: impl FnMut(RunConfig, RunOptions) -> Result<Summary, TrainError>,
    ) -> Result<Results, SweepError> {
        let all = self.look()?;
        let mut results = self.results(&all);
        if self.shard.is_whole() {
            self.write(&mut results)?;
        }

        let count = self.plans.len();
        for (place, (plan, found)) in self.shard.of(self.plans.iter().zip(all)) {
            if interrupter.should_stop() {
                break;
            }
            let Some(row) = results.points.get_mut(place) else { continue };
            let name = &plan.point.name;
            let head = format!("[{}/{count}] {name}", place + 1);
            let outcome = match found {
                Ok(Found::Finished) => {
                    observer.line(format!("{head}: finished before, passed over"));
                    continue;
                }
                Err(error) => Err(error),
                Ok(found) => {
                    let (resume, overwrite) =
                        (found == Found::Checkpoint, found == Found::Abandoned);
                    let begins = if resume { "goes on from its checkpoint" } else { "starts" };
                    observer.line(format!("{head}: {begins}"));
                    *row = PointResult::pending(&plan.point);
                    Note::forget(&self.dir, name)?;
                    let options = RunOptions {
                        resume,
                        overwrite,
                        interrupter: interrupter.clone(),
                        no_memory_check: self.no_memory_check,
                        ..RunOptions::silent()
                    };
                    train(plan.config.clone(), options)
                }
            };
            // An error inside of burn-train stops whoever holds the interrupter, but only this
            // point is concerned.
            if interrupter.error().is_some() {
                interrupter.reset();
            }
            // Whoever runs it says what becomes of it.
            if let Err(error @ TrainError::Running { .. }) = &outcome {
                observer.line(format!("{head}: runs elsewhere: {error}"));
                continue;
            }
            let interrupted = matches!(&outcome, Ok(Summary { steps, planned_steps, .. })
                if steps < planned_steps && interrupter.should_stop());
            if interrupted {
                row.state = PointState::Interrupted;
            } else {
                let measured = outcome.and_then(|_| measure(row, &plan.config));
                fail_if(row, measured);
            }
            if let Some(note) = Note::of(row) {
                note.write(&self.dir, name)?;
            }
            let ends = end_line(&results, place);
            if self.shard.is_whole() {
                self.write(&mut results)?;
            }
            observer.line(format!("{head}: {ends}"));
        }
        match self.shard.is_whole() {
            true => Ok(results),
            false => self.gathered_if_ended(),
        }
    }

    /// What all shards have come to by now. The table is written only where no point is left: what is seen while others run may be
    /// older than what they have written.
    fn gathered_if_ended(&self) -> Result<Results, SweepError> {
        let mut results = self.results(&self.look()?);
        if results.have_ended() {
            self.write(&mut results)?;
        }
        Ok(results)
    }
}

/// How a point ended, in a line.
fn end_line(results: &Results, place: usize) -> String {
    let Some(row) = results.points.get(place) else { return String::new() };
    match (row.state, &row.error) {
        (PointState::Failed, Some(error)) => format!("failed: {error}"),
        (PointState::Finished, _) => {
            let figure = figure(results.metric);
            let seconds = row.seconds.unwrap_or(0.0);
            let change = row.before.zip(row.after);
            match change.and_then(|(before, after)| figure.change(&before, &after)) {
                Some(change) => format!("{} {change}, {seconds:.1} s", figure.name),
                None => format!("finished, {seconds:.1} s"),
            }
        }
        (state, _) => state.name().to_owned(),
    }
}

/// Passes on everything but the lines that a single run tells.
fn without_lines(observer: &Observer) -> Observer {
    let observer = observer.clone();
    Observer::new(move |event| match event {
        Event::Stage(name) => observer.stage(name),
        Event::Progress { done, total } => observer.progress(done, total),
        Event::Done => observer.done(),
        // Lines are those of a single run.
        _ => {}
    })
}
