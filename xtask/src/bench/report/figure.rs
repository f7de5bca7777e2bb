//! What is measured, each figure once: its name, its unit, and how a process's measurement holds it.

use burn_lora_text::{grouped, significant};

use super::numbers::{self, memory, percent, ratio, seconds};
use crate::bench::record::{Cell, Measured, StepTimes};
use crate::bench::statistics::{Spread, median};

/// A figure of a row.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// In headings; no two have the same.
    pub name: &'static str,
    unit: Unit,
    of: fn(&Cell, &Measured) -> Option<f64>,
}

/// How values are written; and on an axis, what stands behind the name and what they are multiplied with.
#[derive(Debug, Clone, Copy)]
struct Unit(fn(f64) -> String, &'static str, f64);

const SPEED: Unit = Unit(significant, "", 1.0);
const COUNT: Unit = Unit(|value| grouped(value as usize), "", 1.0);
const SECONDS: Unit = Unit(seconds, " (s)", 1.0);
const BYTES: Unit = Unit(memory, " (MiB)", 1.0 / 1_048_576.0);
const PERCENT: Unit = Unit(percent, " (%)", 100.0);
const RATIO: Unit = Unit(ratio, "", 1.0);
const GIGA: Unit = Unit(|value| significant(value / 1e9), "", 1e-9);
const NATS: Unit = Unit(|value| format!("{value:.4}"), "", 1.0);
const TINY: Unit = Unit(|value| format!("{value:.1e} nats"), "", 1.0);

impl Figure {
    /// Of the adapter.
    pub const RANK: Self = Self::new("rank", COUNT, |cell, _| Some(cell.rank? as f64));
    /// Parameters of the model alone.
    pub const SIZE: Self = Self::of_rows("parameters of the model", COUNT);
    /// Tokens of a step.
    pub const BATCH_TOKENS: Self =
        Self::new("tokens of a step", COUNT, |cell, _| Some(cell.tokens() as f64));
    /// Tokens trained a second, in whole steps.
    pub const TOKENS: Self = Self::new("tokens/s", SPEED, |cell, one| {
        Some(cell.tokens() as f64 / Self::STEP.of(cell, one)?)
    });
    /// A whole step.
    pub const STEP: Self = Self::new("step", SECONDS, |_, one| middle(one, StepTimes::total));
    /// Forward and backward.
    pub const GRADIENTS: Self =
        Self::new("forward, backward", SECONDS, |_, one| middle(one, |step| step.gradients));
    /// Clipping and AdamW.
    pub const UPDATE: Self =
        Self::new("clipping, AdamW", SECONDS, |_, one| middle(one, |step| step.optimizer));
    /// The process's largest resident size.
    pub const PEAK: Self = Self::new("peak memory", BYTES, |_, one| Some(one.peak_bytes as f64));
    /// What was planned of it before the model was made.
    pub const PLANNED: Self =
        Self::new("planned peak", BYTES, |_, one| Some(one.planned_bytes? as f64));
    /// [`Self::PLANNED`] over [`Self::PEAK`].
    pub const PLANNED_RATIO: Self = Self::of_rows("planned / measured", RATIO);
    /// From the start of the process to the end of its first step.
    pub const FIRST_STEP: Self =
        Self::new("first step", SECONDS, |_, one| Some(one.first_step_seconds));
    /// Trained parameters.
    pub const TRAINED: Self = Self::new("trained", COUNT, |_, one| Some(one.trainable as f64));
    /// Trained parameters as a share of all.
    pub const TRAINED_SHARE: Self = Self::new("share trained", PERCENT, |_, one| {
        Some(one.trainable as f64 / one.parameters as f64)
    });
    /// The adapter's file.
    pub const ADAPTER: Self = Self::new("adapter", BYTES, |_, one| Some(one.adapter_bytes? as f64));
    /// What is trained with AdamW's two moments.
    pub const CHECKPOINT: Self =
        Self::new("checkpoint", BYTES, |_, one| some(one.checkpoint_bytes as f64));
    /// A forward pass without an adapter.
    pub const BASE: Self =
        Self::new("latency, base", SECONDS, |_, one| median(one.latency.as_ref()?.base.clone()));
    /// A forward pass with the adapter.
    pub const ATTACHED: Self = Self::new("latency, adapter", SECONDS, |_, one| {
        median(one.latency.as_ref()?.adapter.clone())
    });
    /// A forward pass after merging it.
    pub const MERGED: Self = Self::new("latency, merged", SECONDS, |_, one| {
        median(one.latency.as_ref()?.merged.clone())
    });
    /// [`Self::ATTACHED`] over [`Self::BASE`].
    pub const ATTACHED_RATIO: Self = Self::of_rows("adapter / base", RATIO);
    /// [`Self::MERGED`] over [`Self::BASE`].
    pub const MERGED_RATIO: Self = Self::of_rows("merged / base", RATIO);
    /// Multiplications and additions of a step's products.
    pub const WORK: Self = Self::new("GFLOP", GIGA, |_, one| some(one.flops));
    /// The same a second, in whole steps (or forward passes of the merged model).
    pub const RATE: Self =
        Self::new("GFLOP/s", GIGA, |cell, one| Some(some(one.flops)? / Self::WHOLE.of(cell, one)?));
    /// A step's products alone.
    pub const PRODUCTS: Self =
        Self::new("products alone", SECONDS, |_, one| some(one.products_seconds));
    /// What the products are held against: a whole step, or a forward pass of the merged model, for the products of an
    /// inference cell are the base model's, and so are a merged one's.
    pub const WHOLE: Self = Self::new("whole step", SECONDS, |cell, one| match one.latency {
        Some(_) => Self::MERGED.of(cell, one),
        None => Self::STEP.of(cell, one),
    });
    /// [`Self::PRODUCTS`] over [`Self::WHOLE`].
    pub const SHARE: Self = Self::new("share of the limit", PERCENT, |cell, one| {
        Some(some(one.products_seconds)? / Self::WHOLE.of(cell, one)?)
    });
    /// Right answers after training.
    pub const RIGHT: Self = Self::of_rows("right", PERCENT);
    /// Held-out loss after training.
    pub const EVAL_LOSS: Self = Self::of_rows("held-out loss", NATS);
    /// The largest difference from another library's losses.
    pub const LOSS_DIFFERENCE: Self = Self::of_rows("largest difference of losses", TINY);

    const fn new(name: &'static str, unit: Unit, of: fn(&Cell, &Measured) -> Option<f64>) -> Self {
        Self { name, unit, of }
    }

    /// One that no process of a cell measures: of several processes together, or of other rows.
    const fn of_rows(name: &'static str, unit: Unit) -> Self {
        Self::new(name, unit, |_, _| None)
    }

    /// What a process of a cell measured; none where it did not.
    pub fn of(self, cell: &Cell, measured: &Measured) -> Option<f64> {
        (self.of)(cell, measured)
    }

    /// A value as a reader sees it.
    pub fn words(self, value: f64) -> String {
        (self.unit.0)(value)
    }

    /// A cell of a table; a speed with its spread.
    pub fn cell(self, spread: Option<Spread>) -> String {
        match spread {
            Some(spread) if self.name == Self::TOKENS.name => numbers::with_spread(&spread),
            Some(spread) => self.words(spread.median),
            None => numbers::NONE.to_owned(),
        }
    }

    /// On an axis: its name with the unit, and what a value is multiplied with.
    pub fn axis(self) -> (String, f64) {
        let Unit(_, unit, factor) = self.unit;
        (format!("{}{unit}", self.name), factor)
    }
}

/// The middle one of the steps.
fn middle(measured: &Measured, part: fn(&StepTimes) -> f64) -> Option<f64> {
    median(measured.steps.iter().map(part).collect())
}

/// What was not measured is 0 in the file.
fn some(value: f64) -> Option<f64> {
    (value > 0.0).then_some(value)
}
