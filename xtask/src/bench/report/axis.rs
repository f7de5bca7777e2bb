//! An axis: which values it spans and where its ticks are.
//!
//! A logarithmic axis is a linear one over logarithms, with the values written at the ticks.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use super::numbers;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero on.
    Linear,
    /// Powers of two.
    Log2,
    /// Powers of ten, with 2 and 5 between them where few powers are seen.
    Log10,
}

impl Scale {
    /// Where a value lies; none where it lies nowhere.
    pub fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => value,
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The value at a place, as it is written there.
    pub fn label(self, place: f64) -> String {
        numbers::tick(match self {
            Self::Linear => place,
            Self::Log2 => place.exp2(),
            Self::Log10 => 10_f64.powf(place),
        })
    }

    /// What holds these places, with its ticks.
    pub fn span(self, places: impl IntoIterator<Item = f64>) -> Span {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in places {
            (least, most) = (least.min(place), most.max(place));
        }
        if least > most {
            (least, most) = (0.0, 1.0);
        }
        match self {
            Self::Linear => linear(least, most),
            Self::Log2 => powers(least, most),
            Self::Log10 => decades(least, most),
        }
    }
}

/// A part of an axis and its ticks, places both.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// From the one end to the other.
    pub range: Range<f64>,
    /// In order.
    pub ticks: Vec<f64>,
}

/// The library's own axes choose their ticks themselves.
impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The lighter lines between ticks are left out.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

fn linear(least: f64, most: f64) -> Span {
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
    Span { range: first as f64 * step..last as f64 * step, ticks }
}

fn powers(least: f64, most: f64) -> Span {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let every = 1 + (last - first) as usize / 12;
    let ticks = (first..=last).step_by(every).map(|power| power as f64).collect();
    Span { range: first as f64 - 0.3..last as f64 + 0.3, ticks }
}

fn decades(least: f64, most: f64) -> Span {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let digits: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|decade| digits.iter().map(move |digit| decade as f64 + digit.log10()))
        .collect();
    // From the last tick that is not above the data to the first that is not below it.
    let low = all.iter().rposition(|tick| *tick <= least + 1e-9).unwrap_or(0);
    let high = all.iter().position(|tick| *tick >= most - 1e-9).unwrap_or(all.len() - 1);
    let ticks = all[low..=high.max(low)].to_vec();
    Span { range: all[low] - 0.05..all[high.max(low)] + 0.05, ticks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let Span { range, ticks } = Scale::Linear.span([120.0, 570.0]);
        assert_eq!((range, ticks.len()), (0.0..600.0, 7));
        let Span { range, ticks } = Scale::Log2.span([0.0, 6.0]);
        assert_eq!((range, ticks.len()), (-0.3..6.3, 7));
        assert_eq!(Scale::Log2.label(6.0), "64");
        let Span { ticks, .. } = Scale::Log10.span([3e6_f64.log10(), 1.3e8_f64.log10()]);
        let labels: Vec<String> = ticks.iter().map(|tick| Scale::Log10.label(*tick)).collect();
        assert_eq!(labels, ["2M", "5M", "10M", "20M", "50M", "100M", "200M"]);
    }

    #[test]
    fn what_has_no_place_has_none_and_nothing_spans_something() {
        assert_eq!(Scale::Log10.place(0.0), None);
        assert_eq!(Scale::Linear.place(f64::NAN), None);
        for scale in [Scale::Linear, Scale::Log2, Scale::Log10] {
            for places in [vec![], vec![0.0], vec![2.5]] {
                let Span { range, ticks } = scale.span(places);
                assert!(range.end > range.start && !ticks.is_empty());
            }
        }
    }
}
