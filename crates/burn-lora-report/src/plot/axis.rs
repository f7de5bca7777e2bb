//! Axes: where values lie on them, and which of them are written.
//!
//! A logarithmic axis is an even one over logarithms, with the values written at its ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

/// So many round numbers are ticks of an even axis at most.
const TICKS: usize = 7;
/// So many values of another axis are written at most.
const LABELS: usize = 12;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Around the values; from zero where that costs little of the plot.
    #[default]
    Fitted,
    /// From zero on.
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
        // Of larger ones the range may be none.
        (place.abs() < 1e300).then_some(place)
    }

    /// The axis that holds these places.
    pub(super) fn axis(self, places: impl Iterator<Item = f64>) -> Axis {
        let (least, most) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(v), m.max(v)));
        let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
        let (range, ticks) = match self {
            Self::Fitted => even(least, most),
            Self::Linear => even(least.min(0.0), most.max(0.0)),
            Self::Log2 => powers(least, most, &[1.0], f64::log2),
            Self::Log10 => powers(least, most, &[1.0, 2.0, 5.0], f64::log10),
        };
        let span = range.end - range.start;
        let labelled = |tick: f64| {
            let value = match self {
                // What is left of zero after adding up ticks.
                Self::Fitted | Self::Linear if tick.abs() < 1e-9 * span => 0.0,
                Self::Fitted | Self::Linear => tick,
                Self::Log2 => tick.exp2(),
                Self::Log10 => 10_f64.powf(tick),
            };
            (tick, label(value))
        };
        Axis { range, ticks: ticks.into_iter().map(labelled).collect() }
    }
}

/// A part of an axis, and what is written where on it, as the drawing library asks for them.
#[derive(Debug)]
pub(super) struct Axis {
    range: Range<f64>,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The lighter lines between ticks are left out.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        let every = self.ticks.len().div_ceil(LABELS).max(1);
        self.ticks.iter().step_by(every).map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, tick: &f64) -> String {
        let here = self.ticks.iter().find(|(place, _)| place == tick);
        here.map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// A range with both values and a little room, which begins at zero where that costs little, and the drawing library's
/// ticks for it.
fn even(least: f64, most: f64) -> (Range<f64>, Vec<f64>) {
    let room = match most - least {
        height if height > 0.0 => 0.05 * height,
        // A level has none; half its value, or anything at zero.
        _ if most != 0.0 => 0.5 * most.abs(),
        _ => 1.0,
    };
    let low = if (0.0..0.4 * most).contains(&least) { 0.0 } else { least - room };
    let range = low..most + room;
    (range.clone(), RangedCoordf64::from(range).key_points(TICKS))
}

/// Powers, and multiples of them where few powers are seen: from the last that is not above the data to the first that is
/// not below it.
fn powers(least: f64, most: f64, digits: &[f64], log: fn(f64) -> f64) -> (Range<f64>, Vec<f64>) {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let are_few = (last - first) as usize * digits.len() <= LABELS;
    let digits = if are_few { digits } else { &digits[..1] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|power| digits.iter().map(move |digit| power as f64 + log(*digit)))
        .collect();
    let low = all.iter().rposition(|tick| *tick <= least + 1e-9).unwrap_or(0);
    let high = all.iter().position(|tick| *tick >= most - 1e-9).unwrap_or(all.len() - 1);
    let ticks = &all[low..=high.max(low)];
    let (start, end) = (all[low], all[high.max(low)]);
    let room = 0.05 * (end - start).max(1.0);
    (start - room..end + room, ticks.to_vec())
}

/// A number on an axis, short, of six digits at most: `0.5`, `2e-4`, `250`, `12.5k`, `135M`.
fn label(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // So that `0.1 + 0.2` is `0.3`.
    let rounded: f64 = format!("{scaled:.5e}").parse().unwrap_or(scaled);
    match rounded.abs() {
        0.001..1e6 | 0.0 => format!("{rounded}{unit}"),
        _ => format!("{rounded:e}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use plotters::coord::ranged1d::BoldPoints;

    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn numbers_on_an_axis_are_short() {
        let values = [0.0, 0.1 + 0.2, 2e-4, -1.5, 64.0_f64.log2().exp2(), 12_500.0, 3e7, 5e16];
        assert_eq!(values.map(label), ["0", "0.3", "2e-4", "-1.5", "64", "12.5k", "30M", "5e7G"]);
        let axis = Scale::Fitted.axis([-0.2, 0.1].into_iter());
        assert!(labels(&axis).contains(&"0"), "{axis:?}");
    }

    #[test]
    fn ranges_hold_their_values_and_are_never_empty() {
        let range = |values: &[f64]| Scale::Fitted.axis(values.iter().copied()).range;
        assert_eq!(range(&[1.0, 3.0]), 0.0..3.1);
        assert_eq!(range(&[2.0, 3.0]), 1.95..3.05);
        assert_eq!(range(&[-1.0, 1.0]), -1.1..1.1);
        assert_eq!(range(&[2.0]), 1.0..3.0);
        assert_eq!(range(&[0.0, 0.0]), -1.0..1.0);
        assert!(!range(&[]).is_empty());
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let axis = Scale::Linear.axis([120.0, 570.0].into_iter());
        assert_eq!(axis.range, 0.0..598.5);
        assert!(labels(&axis).starts_with(&["0", "100", "200"]), "{axis:?}");
        let axis = Scale::Log2.axis([0.0, 6.0].into_iter());
        assert_eq!(labels(&axis), ["1", "2", "4", "8", "16", "32", "64"]);
        assert!(axis.range.contains(&0.0) && axis.range.contains(&6.0));
        let sizes = [3e6_f64, 1.3e8].map(f64::log10);
        let axis = Scale::Log10.axis(sizes.into_iter());
        assert_eq!(labels(&axis), ["2M", "5M", "10M", "20M", "50M", "100M", "200M"]);
        for scale in [Scale::Linear, Scale::Log2, Scale::Log10] {
            for places in [vec![], vec![0.0], vec![2.5]] {
                let axis = scale.axis(places.into_iter());
                assert!(!axis.range.is_empty() && !axis.ticks.is_empty());
                assert!(axis.key_points(BoldPoints(9)).len() <= LABELS);
            }
        }
    }
}
