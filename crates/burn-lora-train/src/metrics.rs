//! What a step or an evaluation measures, and those measures as burn-train metrics.
//!
//! A sum over targets and their number is kept, never a mean: batches differ in how many targets
//! they have, and only sums add up to the mean over all targets.

use std::sync::Arc;

use burn::tensor::{ExecutionError, Tensor, TensorReadError};
use burn_train::metric::ItemLazy;
use burn_train::metric::state::{FormatOptions, NumericMetricState};
use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};
use serde::Serialize;

use burn_lora_report::figure::{self, Figure};

/// Sums over the targets of some batches: tokens that carry loss, or rows to classify.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Tally {
    /// The sum of the targets' cross-entropies, in nats.
    pub loss: f64,
    /// How many targets were predicted exactly (the largest logit).
    pub correct: usize,
    /// The number of targets.
    pub targets: usize,
    /// The tokens that were read, padding left out.
    pub tokens: usize,
}

impl Tally {
    /// Adds what another batch gave.
    pub fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.targets += other.targets;
        self.tokens += other.tokens;
    }

    /// The loss per target, in nats; 0 where there is no target.
    pub fn mean_loss(&self) -> f64 {
        if self.targets == 0 { 0.0 } else { self.loss / self.targets as f64 }
    }

    /// `exp` of the mean loss.
    pub fn perplexity(&self) -> f64 {
        self.mean_loss().exp()
    }

    /// The share of targets predicted exactly, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        if self.targets == 0 { 0.0 } else { self.correct as f64 / self.targets as f64 }
    }
}

/// The figure that a configuration's `[train] metric` names.
pub fn figure(metric: burn_lora_config::Metric) -> Figure {
    match metric {
        burn_lora_config::Metric::Loss => figure::LOSS,
        burn_lora_config::Metric::Accuracy => figure::ACCURACY,
        burn_lora_config::Metric::ExactMatch => figure::EXACT_MATCH,
        burn_lora_config::Metric::Bleu => figure::BLEU,
    }
}

impl ItemLazy for Tally {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// What a micro-batch in training gave: a loss that stays on the device until the whole step is queued.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The sums; without the loss while that is unread.
    pub tally: Tally,
    /// The sum of the targets' cross-entropies, `[1]`, where it has not been read.
    pub unread: Option<Tensor<1>>,
}

impl ItemLazy for Measured {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<Tally> for Measured {
    fn adapt(&self) -> Tally {
        self.tally
    }
}

/// Which of a [`Tally`]'s means a metric shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Loss per target.
    Loss,
    /// Share of targets predicted exactly, in percent.
    Accuracy,
}

/// A mean over targets, weighted by how many each batch has.
#[derive(Clone)]
pub struct TargetMean {
    measure: Measure,
    name: MetricName,
    state: NumericMetricState,
}

impl TargetMean {
    /// The metric of that measure.
    pub fn new(measure: Measure) -> Self {
        let name = match measure {
            Measure::Loss => "Loss",
            Measure::Accuracy => "Accuracy",
        };
        Self { measure, name: Arc::new(name.to_owned()), state: NumericMetricState::default() }
    }

    fn format(&self) -> FormatOptions {
        FormatOptions::new(self.name.clone()).precision(4)
    }
}

impl Adaptor<Tally> for Tally {
    fn adapt(&self) -> Tally {
        *self
    }
}

impl Metric for TargetMean {
    type Input = Tally;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = self.measure == Measure::Accuracy;
        NumericAttributes { unit: None, higher_is_better }.into()
    }

    fn update(
        &mut self,
        tally: &Tally,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        let value = match self.measure {
            Measure::Loss => tally.mean_loss(),
            Measure::Accuracy => 100.0 * tally.accuracy(),
        };
        self.state.update(value, tally.targets);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for TargetMean {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_weigh_by_their_targets() {
        let mut sum = Tally { loss: 2.0, correct: 1, targets: 2, tokens: 5 };
        sum.add(Tally { loss: 16.0, correct: 0, targets: 1, tokens: 5 });
        // (2 + 16) / 3 targets, not the mean of the batches' means (1 + 16) / 2.
        assert_eq!(sum.mean_loss(), 6.0);
        assert_eq!(sum.accuracy(), 1.0 / 3.0);
        assert_eq!(sum.perplexity(), 6.0_f64.exp());
    }

    #[test]
    fn no_target_is_no_division_by_zero() {
        assert_eq!(Tally::default().mean_loss(), 0.0);
        assert_eq!(Tally::default().accuracy(), 0.0);
    }
}
