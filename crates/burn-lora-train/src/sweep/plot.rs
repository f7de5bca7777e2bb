//! `sweep.svg`: the metric over the first axis, a line for each combination of the others.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::grid::Axis;
use super::results::{PointState, Results};
use crate::config::Metric;

/// An axis whose values span more than this is drawn on a logarithmic scale.
const WIDE: f64 = 10.0;

/// So many values of an axis are written out at most.
const LABELS: usize = 12;

/// So many lines are named at most.
const NAMED: usize = 16;

const COLOURS: [RGBColor; 8] = [
    RGBColor(40, 100, 170),
    RGBColor(200, 80, 40),
    RGBColor(60, 140, 70),
    RGBColor(140, 80, 160),
    RGBColor(190, 150, 30),
    RGBColor(60, 160, 170),
    RGBColor(200, 90, 140),
    RGBColor(110, 110, 110),
];

/// Where the values of an axis stand.
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    /// Of each value: its logarithm to base 10, or its number.
    positions: Vec<f64>,
    logarithmic: bool,
}

impl Scale {
    /// Logarithmic where all values are positive numbers that span more than [`WIDE`]; otherwise
    /// they are names, one beside the other.
    fn new(values: &[String]) -> Self {
        let numbers: Option<Vec<f64>> = values
            .iter()
            .map(|value| value.parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        if let Some(numbers) = numbers {
            let smallest = numbers.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = numbers.iter().copied().fold(0.0, f64::max);
            if smallest > 0.0 && largest / smallest > WIDE {
                let positions = numbers.into_iter().map(f64::log10).collect();
                return Self { positions, logarithmic: true };
            }
        }
        Self {
            positions: (0..values.len()).map(|index| index as f64).collect(),
            logarithmic: false,
        }
    }
}

/// A line: its name, and its points from left to right.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

fn lines(results: &Results, axis: &Axis, scale: &Scale) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    // The grid has the first axis outermost: its value changes every so many points.
    let stride = (results.points.len() / axis.values.len().max(1)).max(1);
    for (index, point) in results.points.iter().enumerate() {
        let after = point.after.as_ref().filter(|_| point.state == PointState::Finished);
        let value = after.and_then(|after| results.value(after));
        let (Some(value), Some(&x)) = (value, scale.positions.get(index / stride)) else {
            continue;
        };
        let others = results.axes.iter().zip(&point.values).skip(1);
        let name = others.map(|(axis, value)| format!("{} {value}", axis.short()));
        let name = name.collect::<Vec<_>>().join(", ");
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push((x, value)),
            None => lines.push(Line { name, points: vec![(x, value)] }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// The x axis: its labels stand at the values that were tried.
struct Ticks {
    at: Vec<(f64, String)>,
    range: Range<f64>,
}

impl Ticks {
    fn new(scale: &Scale, values: &[String]) -> Self {
        let mut at: Vec<(f64, String)> =
            scale.positions.iter().copied().zip(values.iter().cloned()).collect();
        at.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first = at.first().map_or(0.0, |(first, _)| *first);
        let last = at.last().map_or(first, |(last, _)| *last);
        let room = f64::max((last - first) * 0.05, 0.01);
        Self { at, range: first - room..last + room }
    }
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let every = self.at.len().div_ceil(LABELS).max(1);
        self.at.iter().step_by(every).map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        let here = self.at.iter().find(|(at, _)| at == value);
        here.map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// The plot; none where there is no axis, or nothing was measured.
///
/// # Errors
///
/// What plotters says.
pub(super) fn draw(results: &Results) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let Some(axis) = results.axes.first() else { return Ok(None) };
    let shown: Vec<String> = axis.values.iter().map(|value| super::grid::shown(value)).collect();
    let scale = Scale::new(&shown);
    let lines = lines(results, axis, &scale);
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if low > high {
        return Ok(None);
    }
    let room = f64::max((high - low) * 0.08, high * 0.01).max(1e-6);

    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (800, 480)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(Ticks::new(&scale, &shown), low - room..high + room)?;
        let measure = match results.metric {
            Metric::Loss => "held-out loss per target (nats)",
            Metric::Accuracy => "accuracy (%)",
            Metric::ExactMatch => "exact match (%)",
            Metric::Bleu => "BLEU",
        };
        let logarithmic = if scale.logarithmic { " (logarithmic)" } else { "" };
        let below = format!("{}{logarithmic}", axis.key);
        chart.configure_mesh().x_desc(below).y_desc(measure).draw()?;
        let mut named = false;
        for (index, line) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let style = colour.filled().stroke_width(2);
            let points = line.points.iter().copied();
            let series = chart.draw_series(LineSeries::new(points, style).point_size(3))?;
            if !line.name.is_empty() && index < NAMED {
                named = true;
                series.label(&line.name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            }
        }
        if named {
            chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        }
        root.present()?;
    }
    Ok(Some(svg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fake::results;

    fn check_scale(values: &[&str], logarithmic: bool) {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(Scale::new(&values).logarithmic, logarithmic, "{values:?}");
    }

    #[test]
    fn only_positive_numbers_that_span_more_than_tenfold_are_logarithmic() {
        check_scale(&["0.0001", "0.01", "0.001"], true);
        check_scale(&["1", "10"], false);
        check_scale(&["1", "10.5"], true);
        check_scale(&["0", "100"], false);
        check_scale(&["-1", "100"], false);
        check_scale(&["1", "all-linear", "100"], false);
        check_scale(&["1", "inf"], false);
    }

    #[test]
    fn a_line_for_each_combination_of_the_other_axes_from_left_to_right() {
        // Ranks 100 and 1 with two seeds each; the last point failed.
        let mut results = results(&[Some(1.0), Some(2.0), Some(3.0), Some(4.0)]);
        results.axes[0].values = ["100", "1"].map(str::to_owned).into();
        let seeds = ["0", "9"].map(str::to_owned);
        results.axes.push(Axis { key: "train.seed".to_owned(), values: seeds.into() });
        for (point, values) in
            results.points.iter_mut().zip([["100", "0"], ["100", "9"], ["1", "0"], ["1", "9"]])
        {
            point.values = values.map(str::to_owned).into();
        }
        results.points[3].state = PointState::Failed;
        let axis = results.axes[0].clone();
        let lines = lines(&results, &axis, &Scale::new(&axis.values));
        let line = |name: &str, points: &[(f64, f64)]| Line {
            name: name.to_owned(),
            points: points.into(),
        };
        assert_eq!(
            lines,
            [line("seed 0", &[(0.0, 3.0), (2.0, 1.0)]), line("seed 9", &[(2.0, 2.0)])]
        );

        let svg = draw(&results).unwrap().unwrap();
        for text in ["seed 0", "seed 9", "adapter.rank (logarithmic)", "held-out loss", "<polyline"]
        {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn values_are_written_where_they_stand() {
        let mut results = results(&[Some(1.0), Some(2.0), Some(1.5)]);
        results.axes[0].values = ["q_proj", "all-linear", "v_proj"].map(str::to_owned).into();
        let svg = draw(&results).unwrap().unwrap();
        for label in &results.axes[0].values {
            assert!(svg.contains(label.as_str()), "{label} is not in {svg}");
        }
        assert!(!svg.contains("logarithmic"));
    }

    #[test]
    fn one_value_is_drawn_and_nothing_measured_is_not() {
        assert!(draw(&results(&[Some(0.0), None])).unwrap().is_some());
        assert!(draw(&results(&[None, None])).unwrap().is_none());
        let mut without = results(&[Some(1.0)]);
        without.axes.clear();
        assert!(draw(&without).unwrap().is_none());
    }
}
