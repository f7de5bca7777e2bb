//! What is measured, each figure once: its name, its unit, and how a process's measurement holds it.

use burn_lora_text::{grouped, significant};

use super::numbers;
use crate::bench::record::{Cell, Measured, StepTimes};
use crate::bench::statistics::{Spread, median};

/// A figure of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Of the adapter.
    Rank,
    /// Parameters of the model alone.
    Size,
    /// Tokens of a step.
    BatchTokens,
    /// Tokens trained a second, in whole steps.
    Tokens,
    /// A whole step.
    Step,
    /// Forward and backward.
    Gradients,
    /// Clipping and AdamW.
    Update,
    /// The process's largest resident size.
    Peak,
    /// From the start of the process to the end of its first step.
    FirstStep,
    /// Trained parameters.
    Trained,
    /// Trained parameters as a share of all.
    TrainedShare,
    /// The adapter's file.
    Adapter,
    /// What is trained with AdamW's two moments.
    Checkpoint,
    /// A forward pass without an adapter.
    Base,
    /// A forward pass with the adapter.
    Attached,
    /// A forward pass after merging it.
    Merged,
    /// [`Self::Attached`] over [`Self::Base`].
    AttachedRatio,
    /// [`Self::Merged`] over [`Self::Base`].
    MergedRatio,
    /// Multiplications and additions of a step's products.
    Work,
    /// The same a second, in whole steps (or forward passes of the merged model).
    Rate,
    /// A step's products alone.
    Products,
    /// What the products are held against: a whole step, or a forward pass of the merged model.
    Whole,
    /// [`Self::Products`] over [`Self::Whole`].
    Share,
    /// Right answers after training.
    Right,
    /// Held-out loss after training.
    EvalLoss,
    /// The largest difference from another library's losses.
    LossDifference,
}

/// How values are written.
#[derive(Clone, Copy)]
enum Unit {
    /// Three digits, with the spread.
    Spread,
    Count,
    Seconds,
    Bytes,
    Percent,
    Ratio,
    /// In thousand millions.
    Giga,
    Nats,
    Tiny,
}

impl Figure {
    /// Those that a process of a cell measures.
    pub const OF_CELLS: [Self; 20] = [
        Self::Rank,
        Self::BatchTokens,
        Self::Tokens,
        Self::Step,
        Self::Gradients,
        Self::Update,
        Self::Peak,
        Self::FirstStep,
        Self::Trained,
        Self::TrainedShare,
        Self::Adapter,
        Self::Checkpoint,
        Self::Base,
        Self::Attached,
        Self::Merged,
        Self::Work,
        Self::Rate,
        Self::Products,
        Self::Whole,
        Self::Share,
    ];

    fn described(self) -> (&'static str, Unit) {
        match self {
            Self::Rank => ("rank", Unit::Count),
            Self::Size => ("parameters of the model", Unit::Count),
            Self::BatchTokens => ("tokens of a step", Unit::Count),
            Self::Tokens => ("tokens/s", Unit::Spread),
            Self::Step => ("step", Unit::Seconds),
            Self::Gradients => ("forward, backward", Unit::Seconds),
            Self::Update => ("clipping, AdamW", Unit::Seconds),
            Self::Peak => ("peak memory", Unit::Bytes),
            Self::FirstStep => ("first step", Unit::Seconds),
            Self::Trained => ("trained", Unit::Count),
            Self::TrainedShare => ("trained", Unit::Percent),
            Self::Adapter => ("adapter", Unit::Bytes),
            Self::Checkpoint => ("checkpoint", Unit::Bytes),
            Self::Base => ("latency, base", Unit::Seconds),
            Self::Attached => ("latency, adapter", Unit::Seconds),
            Self::Merged => ("latency, merged", Unit::Seconds),
            Self::AttachedRatio => ("adapter / base", Unit::Ratio),
            Self::MergedRatio => ("merged / base", Unit::Ratio),
            Self::Work => ("GFLOP", Unit::Giga),
            Self::Rate => ("GFLOP/s", Unit::Giga),
            Self::Products => ("products alone", Unit::Seconds),
            Self::Whole => ("whole step", Unit::Seconds),
            Self::Share => ("share of the limit", Unit::Percent),
            Self::Right => ("right", Unit::Percent),
            Self::EvalLoss => ("held-out loss", Unit::Nats),
            Self::LossDifference => ("largest difference of losses", Unit::Tiny),
        }
    }

    /// In headings.
    pub fn name(self) -> &'static str {
        self.described().0
    }

    /// Whether more of it is better.
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Tokens | Self::Rate | Self::Share | Self::Right)
    }

    /// A value as a reader sees it.
    pub fn words(self, value: f64) -> String {
        match self.described().1 {
            Unit::Spread => significant(value),
            Unit::Count => grouped(value as usize),
            Unit::Seconds => numbers::seconds(value),
            Unit::Bytes => numbers::memory(value),
            Unit::Percent => numbers::percent(value),
            Unit::Ratio => numbers::ratio(value),
            Unit::Giga => significant(value / 1e9),
            Unit::Nats => format!("{value:.4}"),
            Unit::Tiny => format!("{value:.1e} nats"),
        }
    }

    /// A cell of a table.
    pub fn cell(self, spread: Option<Spread>) -> String {
        match (spread, self.described().1) {
            (Some(spread), Unit::Spread) => numbers::with_spread(&spread),
            (Some(spread), _) => self.words(spread.median),
            (None, _) => numbers::NONE.to_owned(),
        }
    }

    /// On an axis: its name with the unit, and what a value is multiplied with.
    pub fn axis(self) -> (String, f64) {
        let (name, unit) = self.described();
        let (unit, factor) = match unit {
            Unit::Bytes => (" (MiB)", 1.0 / f64::from(1 << 20)),
            Unit::Percent => (" (%)", 100.0),
            Unit::Seconds => (" (s)", 1.0),
            Unit::Giga => ("", 1e-9),
            _ => ("", 1.0),
        };
        (format!("{name}{unit}"), factor)
    }

    /// What a process of a cell measured; none where it did not.
    pub fn of(self, cell: &Cell, measured: &Measured) -> Option<f64> {
        let part = |part: fn(&StepTimes) -> f64| median(measured.steps.iter().map(part).collect());
        let latency = measured.latency.as_ref();
        let some = |value: f64| (value > 0.0).then_some(value);
        Some(match self {
            Self::Rank => cell.rank? as f64,
            Self::BatchTokens => cell.tokens() as f64,
            Self::Tokens => cell.tokens() as f64 / Self::Step.of(cell, measured)?,
            Self::Step => part(StepTimes::total)?,
            Self::Gradients => part(|step| step.gradients)?,
            Self::Update => part(|step| step.optimizer)?,
            Self::Peak => measured.peak_bytes as f64,
            Self::FirstStep => measured.first_step_seconds,
            Self::Trained => measured.trainable as f64,
            Self::TrainedShare => measured.trainable as f64 / measured.parameters as f64,
            Self::Adapter => measured.adapter_bytes? as f64,
            Self::Checkpoint => some(measured.checkpoint_bytes as f64)?,
            Self::Base => median(latency?.base.clone())?,
            Self::Attached => median(latency?.adapter.clone())?,
            // The products of an inference cell are the base model's, and so are a merged one's.
            Self::Merged => median(latency?.merged.clone())?,
            Self::Work => some(measured.flops)?,
            Self::Rate => some(measured.flops)? / Self::Whole.of(cell, measured)?,
            Self::Products => some(measured.products_seconds)?,
            Self::Whole if latency.is_some() => Self::Merged.of(cell, measured)?,
            Self::Whole => Self::Step.of(cell, measured)?,
            Self::Share => some(measured.products_seconds)? / Self::Whole.of(cell, measured)?,
            // Of several processes together, or of other rows.
            Self::Size
            | Self::AttachedRatio
            | Self::MergedRatio
            | Self::Right
            | Self::EvalLoss
            | Self::LossDifference => return None,
        })
    }
}
