//! The loop: burn-train's learner, stepped by steps.
//!
//! burn-train's own loops count epochs, save the whole model, sum accumulated gradients and clip each
//! tensor by itself. This strategy counts optimiser steps, has the adapter saved by whoever runs it,
//! weighs micro-batches by their targets and clips by the global norm. Metrics, renderer, early
//! stopping and interrupter are burn-train's: what they call an epoch is the stretch from one
//! evaluation to the next.
//!
//! Where several ranks take a run, each takes its micro-batches in turn (`shared`); all else is the same on each, and what is written
//! is the first one's.

use std::cell::RefCell;
use std::time::Instant;

use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Tensor, TensorReadError};
use burn_lora::device::Connection;
use burn_lora_report::figure::Figure;
use burn_lora_report::record::{Record, StepRecord};
use burn_lora_report::sample::Scores;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};

use crate::TrainError;
use crate::clip::clip_at_step;
use crate::early_stopping::EarlyStopping;
use crate::evaluate::{record, tallied};
use crate::exchange::Ranks;
use crate::history::{Covered, History};
use crate::learner::{Batch, Micro, OptimizerTap, TrainableModel, Trainee};
use crate::metrics::{Measured, Tally};
use crate::optimizer::StepFactor;
use crate::scene::Scene;

/// When what happens.
#[derive(Debug, Clone)]
pub(crate) struct StepPlan {
    /// Steps taken already.
    pub start: usize,
    /// Steps in all.
    pub steps: usize,
    /// The largest global norm; 0 for no limit.
    pub clip: f64,
    /// Steps between evaluations; `None`: before and at the end.
    pub eval_every: Option<usize>,
    /// Steps between checkpoints; `None`: at the end.
    pub save_every: Option<usize>,
}

impl StepPlan {
    fn due(&self, every: Option<usize>, done: usize) -> bool {
        done == self.steps || every.is_some_and(|every| every > 0 && done.is_multiple_of(every))
    }

    fn round_length(&self) -> usize {
        self.eval_every.unwrap_or(self.steps).max(1)
    }

    /// The stretch from one evaluation to the next that contains the step, counted from 1.
    fn round(&self, step: usize) -> usize {
        step / self.round_length() + 1
    }

    /// How many such stretches the run has.
    pub fn rounds(&self) -> usize {
        self.round(self.steps.saturating_sub(1))
    }

    /// How far into its stretch a step is, and how long the stretch is, both in steps.
    fn in_round(&self, step: usize) -> (usize, usize) {
        let first = step - step % self.round_length();
        (step - first, self.round_length().min(self.steps - first))
    }
}

/// What the loop asks of whoever runs it.
pub(crate) trait Hooks<M> {
    /// A step was taken; forward and backward took `gradients` of its seconds.
    fn stepped(&self, _record: &StepRecord, _gradients: f64) {}

    /// Whether checkpoints are written at all.
    fn saves(&self) -> bool {
        true
    }

    /// Scores generated text of the model as it is after `step` steps, where that is asked for.
    fn score(&self, model: &M, step: usize) -> Result<Scores, TrainError>;

    /// The model is the best of all evaluations so far.
    fn best(&self, model: &M) -> Result<(), TrainError>;

    /// Saves a checkpoint; the optimiser's state is in the tap, and so much of the history is written.
    fn save(&self, model: &M, step: usize, metrics: &Covered) -> Result<(), TrainError>;
}

/// The strategy, and after the run what it came to.
pub(crate) struct StepStrategy<M> {
    pub plan: StepPlan,
    pub tap: OptimizerTap,
    /// What clipping multiplies gradients by, which the optimiser asks for.
    pub factor: StepFactor,
    pub early_stopping: EarlyStopping,
    /// What decides which evaluation is best.
    pub figure: Figure,
    pub history: RefCell<History>,
    pub hooks: Box<dyn Hooks<M>>,
    /// Who takes the steps: this process alone, or as one of several.
    pub ranks: Ranks,
    /// The connection to the device, where that is elsewhere.
    pub connection: Option<Connection>,
    /// The first error of the run.
    pub error: RefCell<Option<TrainError>>,
}

impl<M: TrainableModel> SupervisedLearningStrategy<Trainee<M>> for StepStrategy<M> {
    fn fit(
        &self,
        mut components: TrainingComponents<Trainee<M>>,
        mut learner: Learner<Trainee<M>>,
        train: TrainLoader<Trainee<M>>,
        valid: ValidLoader<Trainee<M>>,
        _: usize,
    ) -> (Trainee<M>, SupervisedTrainingEventProcessor<Trainee<M>>) {
        if let Err(error) = self.run(&mut components, &mut learner, &train, &valid) {
            *self.error.borrow_mut() = Some(error);
        }
        (learner.model(), components.event_processor)
    }
}

impl<M: TrainableModel> StepStrategy<M> {
    fn run(
        &self,
        components: &mut TrainingComponents<Trainee<M>>,
        learner: &mut Learner<Trainee<M>>,
        train: &TrainLoader<Trainee<M>>,
        valid: &ValidLoader<Trainee<M>>,
    ) -> Result<(), TrainError> {
        let interrupter = components.interrupter.clone();
        if self.plan.start == 0 {
            self.evaluate(components, learner, valid, 0)?;
        }
        let mut batches = train.iter();
        for step in self.plan.start..self.plan.steps {
            let (position, length) = self.plan.in_round(step);
            let round = self.plan.round(step);
            if position == 0 || step == self.plan.start {
                let start = LearnerEvent::StartSplit { epoch_number: round, total_items: length };
                interrupter.fail_on_error(components.event_processor.process_train(start));
            }
            // Asked once a step: whoever stops the run gets a checkpoint of a whole step.
            let stopping = self.stopping(&interrupter)?;
            let done = step + 1;
            let saves =
                self.hooks.saves() && (stopping || self.plan.due(self.plan.save_every, done));
            if saves && self.ranks.is_first() {
                self.tap.request();
            }

            let tally = self.step(learner, &mut *batches, step)?;

            let progress = Progress::new(position + 1, length, Some("steps".to_owned()));
            let measured = Measured { tally, unread: None };
            let lr = Some(learner.lr_current());
            let item = TrainingItem::new(measured, progress, Some(done), lr);
            let event = LearnerEvent::ProcessedItem(item);
            interrupter.fail_on_error(components.event_processor.process_train(event));

            // The last step's evaluation belongs to the run, whoever stops it there.
            let evaluates =
                (!stopping || done == self.plan.steps) && self.plan.due(self.plan.eval_every, done);
            if evaluates {
                let events = &mut components.event_processor;
                interrupter.fail_on_error(events.process_train(LearnerEvent::EndSplit(round)));
                self.evaluate(components, learner, valid, done)?;
                let end = LearnerEvent::EndEpoch(round);
                interrupter.fail_on_error(components.event_processor.process_train(end));
            }
            if saves {
                let metrics = self.history.borrow().covered();
                self.hooks.save(&learner.model().into_model(), done, &metrics)?;
            }
            let enough = evaluates
                && components
                    .early_stopping
                    .as_mut()
                    .is_some_and(|strategy| strategy.should_stop(round, &components.event_store));
            if enough || stopping {
                break;
            }
        }
        Ok(())
    }

    /// One optimiser step, queued as a whole before its loss and its norm are read: those two numbers, read as one, are all that a
    /// device is waited for.
    fn step(
        &self,
        learner: &mut Learner<Trainee<M>>,
        batches: &mut dyn DataLoaderIterator<Micro<M::Batch>>,
        step: usize,
    ) -> Result<Tally, TrainError> {
        let started = Instant::now();
        // What evaluations, checkpoints and the question whether to stop have exchanged is no step's.
        self.ranks.spent();
        let carried = self.carried();
        let (mut tally, unread, gradients) = self.queue(learner, batches, step)?;
        let exchanged = self.ranks.spent();
        let (norm, batch) =
            unread.read(&mut tally).map_err(TrainError::burn("reading the loss"))?;
        for (what, value) in [("loss", tally.loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                let scene = Scene::in_batch(batch);
                return Err(TrainError::NotFinite { step: step + 1, what, value, scene });
            }
        }
        if step == 0 && norm == 0.0 {
            return Err(TrainError::NoGradient { loss: tally.mean_loss() });
        }
        let record = StepRecord {
            step: step + 1,
            loss: tally.mean_loss(),
            learning_rate: learner.lr_current().base(),
            gradient_norm: norm,
            targets: tally.targets,
            tokens: tally.tokens,
            seconds: started.elapsed().as_secs_f64(),
            exchange_bytes: exchanged.map(|exchanged| exchanged.bytes),
            exchange_seconds: exchanged.map(|exchanged| exchanged.seconds),
            device_bytes: self.carried().zip(carried).map(|(now, before)| now - before),
        };
        let gradients = gradients - record.exchange_seconds.unwrap_or(0.0);
        self.hooks.stepped(&record, gradients);
        self.history.borrow_mut().push(Record::Step(record))?;
        Ok(tally)
    }

    /// Bytes that went over the connection to the device so far, where it is elsewhere.
    fn carried(&self) -> Option<u64> {
        self.connection.as_ref().map(|connection| connection.sent() + connection.received())
    }

    /// Forward and backward of every micro-batch, clipping and AdamW; and how many seconds forward and backward took, where the device
    /// is not only told of them.
    fn queue(
        &self,
        learner: &mut Learner<Trainee<M>>,
        batches: &mut dyn DataLoaderIterator<Micro<M::Batch>>,
        step: usize,
    ) -> Result<(Tally, Unread, f64), TrainError> {
        let started = Instant::now();
        let (tally, losses, mut grads) = match self.ranks.are_one() {
            true => self.accumulated(learner, batches, step)?,
            false => self.shared(learner, batches, step)?,
        };
        let gradients = started.elapsed().as_secs_f64();
        let square = clip_at_step(&learner.model(), &mut grads, self.plan.clip, &self.factor)
            .map_err(TrainError::burn("reading the gradient norm"))?;
        learner.lr_step();
        learner.model().gives_model_away();
        learner.optimizer_step(grads);
        Ok((tally, Unread { losses, square }, gradients))
    }

    /// The gradients of all micro-batches of a step, with their losses.
    fn accumulated(
        &self,
        learner: &Learner<Trainee<M>>,
        batches: &mut dyn DataLoaderIterator<Micro<M::Batch>>,
        step: usize,
    ) -> Result<Accumulated, TrainError> {
        let mut tally = Tally::default();
        let mut losses = Vec::new();
        let mut accumulator = GradientsAccumulator::new();
        for micro in &mut *batches {
            let micro = with_targets(micro, step)?;
            let last = micro.last;
            // Of a batch without a target nothing could be computed.
            if micro.batch.targets() > 0 {
                let output = learner.train_step(micro);
                tally.add(output.item.tally);
                losses.extend(output.item.unread);
                accumulator.accumulate(&learner.model(), output.grads);
            }
            if last {
                break;
            }
        }
        Ok((tally, losses, accumulator.grads()))
    }

    /// Whether the run is to stop after the step to come: every rank, if any is.
    fn stopping(&self, interrupter: &Interrupter) -> Result<bool, TrainError> {
        let here = interrupter.should_stop();
        let anywhere = self.ranks.any(here)?;
        if anywhere && !here {
            interrupter.stop(Some("another rank was interrupted"));
        }
        Ok(anywhere)
    }

    /// Held-out loss and generated text after `step` steps; nothing where no rows are held out.
    fn evaluate(
        &self,
        components: &mut TrainingComponents<Trainee<M>>,
        learner: &Learner<Trainee<M>>,
        valid: &ValidLoader<Trainee<M>>,
        step: usize,
    ) -> Result<(), TrainError> {
        let total = valid.num_items();
        if total == 0 {
            return Ok(());
        }
        // burn-train has no round 0; the evaluation before training goes to the history alone.
        let round = (step > 0).then(|| self.plan.round(step - 1));
        let interrupter = components.interrupter.clone();
        let model = learner.model().valid();
        let events = &mut components.event_processor;
        if let Some(epoch_number) = round {
            let start = LearnerEvent::StartSplit { epoch_number, total_items: total };
            interrupter.fail_on_error(events.process_valid(start));
        }
        let tally = tallied(&self.ranks, &model, valid.iter(), Some(step), |done, tally| {
            if round.is_some() {
                let progress = Progress::new(done, total, Some("batches".to_owned()));
                let item = TrainingItem::new(tally, progress, Some(done), None);
                let event = LearnerEvent::ProcessedItem(item);
                interrupter.fail_on_error(events.process_valid(event));
            }
        })?;
        if let Some(round) = round {
            interrupter.fail_on_error(events.process_valid(LearnerEvent::EndSplit(round)));
        }
        let scores = self.hooks.score(&model.model(), step)?;
        let record = record(step, &tally, &scores);
        // The evaluation before training is none that training could be stopped at.
        if step > 0 && self.early_stopping.note(self.figure.cost(&record)) {
            self.hooks.best(&learner.model().into_model())?;
        }
        self.history.borrow_mut().push(Record::Eval(record))
    }
}

/// What the micro-batches of a step gave: sums, losses that may be on the device, and the sum of their gradients.
type Accumulated = (Tally, Vec<Tensor<1>>, GradientsParams);

/// A micro-batch of a step that has something to predict.
fn with_targets<B>(
    micro: Result<Micro<B>, DatasetError>,
    step: usize,
) -> Result<Micro<B>, TrainError> {
    let micro = micro.map_err(TrainError::burn("reading a batch"))?;
    if micro.step_targets == 0 {
        let scene = Scene::default();
        return Err(TrainError::NothingToLearn { step: step + 1, scene });
    }
    Ok(micro)
}

/// The numbers of a step that are on the device.
struct Unread {
    /// The summed losses of the micro-batches, of one or several, `[micro-batches]`.
    losses: Vec<Tensor<1>>,
    /// The square of the gradients' norm, `[1]`.
    square: Option<Tensor<1>>,
}

impl Unread {
    /// Adds the losses to the tally and gives the norm, with one read; and the first loss that is not finite.
    fn read(self, tally: &mut Tally) -> Result<(f64, Option<usize>), TensorReadError> {
        let count = self.losses.iter().map(|losses| losses.dims()[0]).sum();
        let all: Vec<Tensor<1>> = self.losses.into_iter().chain(self.square).collect();
        if all.is_empty() {
            return Ok((0.0, None));
        }
        let numbers: Vec<f32> = Tensor::cat(all, 0).try_into_vec_as()?;
        let (losses, square) = numbers.split_at(count);
        tally.loss += losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
        let norm = square.first().map_or(0.0, |&square| f64::from(square).sqrt());
        Ok((norm, losses.iter().position(|loss| !loss.is_finite())))
    }
}

mod shared;

#[cfg(all(test, any(feature = "flex", feature = "wgpu")))]
#[path = "strategy/small.rs"]
mod small;
#[cfg(all(test, feature = "wgpu"))]
#[path = "strategy/waits.rs"]
mod waits;
#[cfg(all(test, feature = "flex"))]
#[path = "strategy/written.rs"]
mod written;

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: usize, eval_every: Option<usize>) -> StepPlan {
        let save_every = Some(4);
        StepPlan { start: 0, steps, clip: 0.0, eval_every, save_every }
    }

    #[test]
    fn rounds_reach_from_one_evaluation_to_the_next() {
        let plan = plan(10, Some(4));
        assert_eq!(plan.rounds(), 3);
        let rounds: Vec<_> = (0..10).map(|step| (plan.round(step), plan.in_round(step))).collect();
        assert_eq!(rounds[0], (1, (0, 4)));
        assert_eq!(rounds[5], (2, (1, 4)));
        assert_eq!(rounds[9], (3, (1, 2)));
    }

    #[test]
    fn the_last_step_evaluates_and_saves_whatever_the_interval() {
        for every in [None, Some(4), Some(100)] {
            let plan = plan(10, every);
            let due: Vec<usize> =
                (1..=10).filter(|&done| plan.due(plan.eval_every, done)).collect();
            assert_eq!(due, if every == Some(4) { vec![4, 8, 10] } else { vec![10] });
        }
    }
}
