//! The learning rate as a pure function of the step, and that function as a Burn scheduler.
//!
//! Warm-up rises linearly, `(step + 1) / warmup`, then the rate follows a cosine to zero, a straight
//! line to zero, or stays: transformers' `get_*_schedule_with_warmup`. Because the rate depends on
//! the step alone, a resumed run needs the step and nothing else.
//!
//! ```
//! use burn_lora_config::Schedule;
//! use burn_lora_train::schedule::LearningRate;
//!
//! let schedule = LearningRate::new(Schedule::Linear, 1e-3, 2.0, 10);
//! assert_eq!(schedule.rate(0), 0.5e-3);
//! assert_eq!(schedule.rate(2), 1e-3);
//! assert_eq!(schedule.rate(6), 0.5e-3);
//! ```

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};

use burn_lora_config::Schedule;

/// A learning rate over the steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningRate {
    decay: Schedule,
    peak: f64,
    warmup: f64,
    steps: usize,
}

impl LearningRate {
    /// `peak` is reached after `warmup` steps (a fraction counts); the decay ends at `steps`.
    pub fn new(decay: Schedule, peak: f64, warmup: f64, steps: usize) -> Self {
        Self { decay, peak, warmup, steps }
    }

    /// The same course, so many times as high.
    pub fn times(&self, factor: f64) -> Self {
        Self { peak: self.peak * factor, ..self.clone() }
    }

    /// The learning rate of the step, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        let step = step as f64;
        if step < self.warmup {
            return self.peak * ((step + 1.0) / self.warmup).min(1.0);
        }
        let rest = (self.steps as f64 - self.warmup).max(1.0);
        let done = ((step - self.warmup) / rest).min(1.0);
        self.peak * self.decay.factor(done)
    }
}

/// The schedule as Burn steps it: one call a step, from a first step on.
#[derive(Debug, Clone)]
pub struct Scheduler {
    schedule: LearningRate,
    next: usize,
}

impl Scheduler {
    /// A scheduler whose next step is `next`.
    pub fn starting_at(schedule: LearningRate, next: usize) -> Self {
        Self { schedule, next }
    }
}

impl LrScheduler for Scheduler {
    fn step(&mut self) -> f64 {
        let rate = self.schedule.rate(self.next);
        self.next += 1;
        rate
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("next", self.next as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(next) = record.scalar::<u64>("next") {
            self.next = next as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// The formula of the PyTorch recipe that the E2E figures were measured with, step by step.
    #[test]
    fn cosine_is_the_reference_recipes() {
        let (steps, peak) = (300_usize, 5e-4);
        let warm = steps as f64 * 0.06;
        let schedule = LearningRate::new(Schedule::Cosine, peak, warm, steps);
        for step in 0..steps {
            let s = step as f64;
            let rate = if s < warm {
                (s + 1.0) / warm
            } else {
                0.5 * (1.0 + (PI * (s - warm) / (steps as f64 - warm)).cos())
            };
            assert!((schedule.rate(step) - peak * rate).abs() < 1e-15, "step {step}");
        }
    }

    #[test]
    fn linear_and_constant_end_where_they_should() {
        let linear = LearningRate::new(Schedule::Linear, 1.0, 0.0, 4);
        assert_eq!((0..5).map(|s| linear.rate(s)).collect::<Vec<_>>(), [1.0, 0.75, 0.5, 0.25, 0.0]);
        let constant = LearningRate::new(Schedule::Constant, 1.0, 2.0, 4);
        assert_eq!((0..4).map(|s| constant.rate(s)).collect::<Vec<_>>(), [0.5, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn warmup_as_long_as_the_run_does_not_divide_by_zero() {
        let schedule = LearningRate::new(Schedule::Cosine, 1.0, 4.0, 4);
        assert!((0..6).all(|step| schedule.rate(step).is_finite()));
    }

    #[test]
    fn a_scheduler_goes_on_from_any_step() {
        let schedule = LearningRate::new(Schedule::Cosine, 1.0, 3.0, 20);
        let mut through = Scheduler::starting_at(schedule.clone(), 0);
        let all: Vec<f64> = (0..20).map(|_| through.step()).collect();
        let mut resumed = Scheduler::starting_at(schedule, 7);
        assert_eq!(resumed.step(), all[7]);
        let mut loaded = Scheduler::starting_at(resumed.schedule.clone(), 0);
        loaded.load_record(resumed.to_record());
        assert_eq!(loaded.step(), all[8]);
    }
}
