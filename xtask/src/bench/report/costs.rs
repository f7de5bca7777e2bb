//! A cell's figures as the tables of several questions show them.

use super::numbers::{memory, or_none, seconds, with_spread};
use crate::bench::record::StepTimes;
use crate::bench::statistics::{Spread, Summary};

/// A figure of a cell.
pub type Figure = fn(&Summary) -> Option<Spread>;

/// Tokens trained a second, with the spread.
pub fn tokens(summary: &Summary) -> String {
    or_none(summary.tokens_per_second(), |spread| with_spread(&spread))
}

/// A whole step.
pub fn step(summary: &Summary) -> String {
    or_none(summary.step_seconds(), |spread| seconds(spread.median))
}

/// A part of a step.
pub fn part(summary: &Summary, part: impl Fn(&StepTimes) -> f64) -> String {
    or_none(summary.part(part), |spread| seconds(spread.median))
}

/// Peak memory.
pub fn peak(summary: &Summary) -> String {
    or_none(summary.peak(), |spread| memory(spread.median))
}

/// Peak memory in MiB, for an axis.
pub fn mebibytes(summary: &Summary) -> Option<Spread> {
    let Spread { median, least, most } = summary.peak()?;
    let mib = f64::from(1 << 20);
    Some(Spread { median: median / mib, least: least / mib, most: most / mib })
}

/// A quotient of two medians; none where either is missing.
pub fn quotient(value: Option<Spread>, of: Option<Spread>) -> Option<f64> {
    Some(value?.median / of?.median)
}
