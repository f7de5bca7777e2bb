//! Axes: where values lie on them, and which of them are written.
//!
//! A logarithmic axis is a linear one over logarithms, with the values written at the ticks.

use std::ops::Range;

use burn_lora_text::short;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

/// So many values of an axis are written out at most.
const LABELS: usize = 12;

/// The axis below.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// Numbers from 0 to at least 1.
    To(f64),
    /// Values that were tried, each with where it stands: labels are there and nowhere else.
    At(Vec<(f64, String)>),
    /// As far as the curves go.
    Of(Scale),
}

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Around the values; from zero where that costs little of the plot.
    #[default]
    Fitted,
    /// From zero on, to a round number.
    Linear,
    /// Powers of two.
    Log2,
    /// Powers of ten, with 2 and 5 between them where few powers are seen.
    Log10,
}

impl Scale {
    /// Where a value lies; none where it lies nowhere.
    pub(super) fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Fitted | Self::Linear => value,
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// What holds these places.
    pub(super) fn ticks(self, places: impl Iterator<Item = f64>) -> Ticks {
        let (least, most) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(v), m.max(v)));
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        let round = |span: (Range<f64>, Vec<f64>)| Ticks::Round(span.0, span.1, self);
        match self {
            Self::Fitted => {
                let range = enclosing(least, most);
                Ticks::Even(range.clone().into(), range.end - range.start)
            }
            Self::Linear => round(linear(least, most)),
            Self::Log2 => round(powers(least, most)),
            Self::Log10 => round(decades(least, most)),
        }
    }

    /// The value at a place, as it is written there.
    fn label(self, place: f64) -> String {
        short(match self {
            Self::Fitted | Self::Linear => place,
            Self::Log2 => place.exp2(),
            Self::Log10 => 10_f64.powf(place),
        })
    }
}

impl Axis {
    /// Where a value lies; none where it lies nowhere.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        match self {
            Self::To(_) | Self::At(_) => Some(value),
            Self::Of(scale) => scale.place(value),
        }
    }

    pub(super) fn ticks(&self, places: impl Iterator<Item = f64>) -> Ticks {
        match self {
            Self::To(last) => {
                let last = last.max(1.0);
                Ticks::Even((0.0..last).into(), last)
            }
            Self::At(labels) => {
                let mut at = labels.clone();
                at.sort_by(|a, b| a.0.total_cmp(&b.0));
                let first = at.first().map_or(0.0, |(first, _)| *first);
                let last = at.last().map_or(first, |(last, _)| *last);
                let room = f64::max((last - first) * 0.05, 0.01);
                Ticks::At(at, first - room..last + room)
            }
            Self::Of(scale) => scale.ticks(places),
        }
    }
}

/// A part of an axis and its ticks, as the drawing library asks for them.
#[derive(Clone)]
pub(super) enum Ticks {
    /// The library's own, on an axis that spans so much.
    Even(RangedCoordf64, f64),
    At(Vec<(f64, String)>, Range<f64>),
    /// Ticks in order, as they are written on that scale.
    Round(Range<f64>, Vec<f64>, Scale),
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self {
            Self::Even(range, _) => range.key_points(hint),
            Self::At(at, _) => {
                let every = at.len().div_ceil(LABELS).max(1);
                at.iter().step_by(every).map(|(at, _)| *at).collect()
            }
            // The lighter lines between ticks are left out.
            Self::Round(..) if hint.weight().allow_light_points() => Vec::new(),
            Self::Round(_, ticks, _) => ticks.clone(),
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Even(range, _) => range.range(),
            Self::At(_, range) | Self::Round(range, ..) => range.clone(),
        }
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        match self {
            Self::Even(_, span) => tick(*value, *span),
            Self::At(at, _) => {
                let here = at.iter().find(|(at, _)| at == value);
                here.map_or_else(String::new, |(_, label)| label.clone())
            }
            Self::Round(_, _, scale) => scale.label(*value),
        }
    }
}

/// A range with all values and a little room. It begins at zero where that costs little of the plot.
fn enclosing(least: f64, most: f64) -> Range<f64> {
    let room = match most - least {
        height if height > 0.0 => 0.05 * height,
        // A level has none; half its value, or anything at zero.
        _ if most != 0.0 => 0.5 * most.abs(),
        _ => 1.0,
    };
    let low = if (0.0..0.4 * most).contains(&least) { 0.0 } else { least - room };
    low..most + room
}

fn linear(least: f64, most: f64) -> (Range<f64>, Vec<f64>) {
    let (low, high) = (least.min(0.0), most.max(0.0));
    let rough = if high > low { (high - low) / 6.0 } else { 1.0 };
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * decade);
    let first = (low / step).floor() as i64;
    let last = ((high / step).ceil() as i64).max(first + 1);
    let ticks = (first..=last).map(|index| index as f64 * step).collect();
    (first as f64 * step..last as f64 * step, ticks)
}

fn powers(least: f64, most: f64) -> (Range<f64>, Vec<f64>) {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let every = 1 + (last - first) as usize / LABELS;
    let ticks = (first..=last).step_by(every).map(|power| power as f64).collect();
    (first as f64 - 0.3..last as f64 + 0.3, ticks)
}

fn decades(least: f64, most: f64) -> (Range<f64>, Vec<f64>) {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let digits: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|decade| digits.iter().map(move |digit| decade as f64 + digit.log10()))
        .collect();
    // From the last tick that is not above the data to the first that is not below it.
    let low = all.iter().rposition(|tick| *tick <= least + 1e-9).unwrap_or(0);
    let high = all.iter().position(|tick| *tick >= most - 1e-9).unwrap_or(all.len() - 1);
    let ticks = all[low..=high.max(low)].to_vec();
    (all[low] - 0.05..all[high.max(low)] + 0.05, ticks)
}

/// A value at an axis that spans `span`: six digits at most, so that `0.1 + 0.2` is `0.3`.
fn tick(value: f64, span: f64) -> String {
    // What is left of zero after adding up ticks.
    if value.abs() < 1e-9 * span.abs() {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    match rounded.abs() {
        0.001..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        let ticks = [0.1 + 0.2, -2.5e-17, 2e-4, 12_500.0, 3e7, -1.5].map(|value| tick(value, 1.0));
        assert_eq!(ticks, ["0.3", "0", "2e-4", "12500", "3e7", "-1.5"]);
    }

    #[test]
    fn ranges_hold_their_values_and_are_never_empty() {
        let range = |values: &[f64]| Scale::Fitted.ticks(values.iter().copied()).range();
        assert_eq!(range(&[1.0, 3.0]), 0.0..3.1);
        assert_eq!(range(&[2.0, 3.0]), 1.95..3.05);
        assert_eq!(range(&[-1.0, 1.0]), -1.1..1.1);
        assert_eq!(range(&[2.0]), 1.0..3.0);
        assert_eq!(range(&[0.0, 0.0]), -1.0..1.0);
        assert!(!range(&[]).is_empty());
    }

    fn round(scale: Scale, places: &[f64]) -> (Range<f64>, Vec<f64>) {
        let Ticks::Round(range, ticks, _) = scale.ticks(places.iter().copied()) else {
            panic!("{scale:?}")
        };
        (range, ticks)
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let (range, ticks) = round(Scale::Linear, &[120.0, 570.0]);
        assert_eq!((range, ticks.len()), (0.0..600.0, 7));
        let (range, ticks) = round(Scale::Log2, &[0.0, 6.0]);
        assert_eq!((range, ticks.len()), (-0.3..6.3, 7));
        assert_eq!(Scale::Log2.label(6.0), "64");
        let (_, ticks) = round(Scale::Log10, &[3e6_f64.log10(), 1.3e8_f64.log10()]);
        let labels: Vec<String> = ticks.iter().map(|tick| Scale::Log10.label(*tick)).collect();
        assert_eq!(labels, ["2M", "5M", "10M", "20M", "50M", "100M", "200M"]);
        for scale in [Scale::Linear, Scale::Log2, Scale::Log10] {
            for places in [vec![], vec![0.0], vec![2.5]] {
                let (range, ticks) = round(scale, &places);
                assert!(range.end > range.start && !ticks.is_empty());
            }
        }
    }
}
