//! `sweep.svg`: the metric over the first axis, a line for each combination of the others.

use burn_lora_report::ReportError;
use burn_lora_report::plot::{Curve, FILE, Plot, Scale, Stroke};
use burn_lora_train::metrics::figure;

use super::grid::Axis;
use super::results::{PointState, Results};

/// An axis whose values span more than this is drawn on a logarithmic scale.
const WIDE: f64 = 10.0;

/// Where the values of an axis stand: logarithmic where all are positive numbers that span more than [`WIDE`];
/// otherwise they are names, one beside the other.
fn places(values: &[String]) -> (Scale, Vec<f64>) {
    let positive = |value: &String| {
        value.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite())
    };
    if let Some(numbers) = values.iter().map(positive).collect::<Option<Vec<f64>>>() {
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        if numbers.iter().any(|number| number / least > WIDE) {
            return (Scale::Log10, numbers);
        }
    }
    (Scale::Fitted, (0..values.len()).map(|index| index as f64 + 0.5).collect())
}

/// A line for each combination of the other axes, with its points from left to right.
fn lines(results: &Results, axis: &Axis, places: &[f64]) -> Vec<Curve> {
    let mut lines: Vec<Curve> = Vec::new();
    // The grid has the first axis outermost: its value changes every so many points.
    let stride = (results.points.len() / axis.values.len().max(1)).max(1);
    for (index, point) in results.points.iter().enumerate() {
        let after = point.after.as_ref().filter(|_| point.state == PointState::Finished);
        let value = after.and_then(|after| results.value(after));
        let (Some(value), Some(&place)) = (value, places.get(index / stride)) else { continue };
        let others = results.axes.iter().zip(&point.values).skip(1);
        let name = others.map(|(axis, value)| format!("{} {value}", axis.short()));
        let name = name.collect::<Vec<_>>().join(", ");
        Curve::named(&mut lines, &name, Stroke::LineAndDots).points.push((place, value));
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// The plot; none where there is no axis, or nothing was measured.
///
/// # Errors
///
/// It cannot be drawn.
pub(super) fn draw(results: &Results) -> Result<Option<String>, ReportError> {
    let Some(axis) = results.axes.first() else { return Ok(None) };
    let shown: Vec<String> = axis.values.iter().map(|value| super::grid::shown(value)).collect();
    let (scale, places) = places(&shown);
    let curves = lines(results, axis, &places);
    if curves.is_empty() {
        return Ok(None);
    }
    let logarithmic = if scale == Scale::Log10 { " (logarithmic)" } else { "" };
    let mut tried: Vec<_> = places.into_iter().zip(shown).collect();
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let plot = Plot {
        title: "",
        below: &format!("{}{logarithmic}", axis.key),
        beside: &figure(results.metric).head(),
        scales: (scale, Scale::Fitted),
        tried: &tried,
        curves: &curves,
    };
    plot.svg(FILE).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fake::results;

    fn check_scale(values: &[&str], logarithmic: bool) {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        assert_eq!(places(&values).0 == Scale::Log10, logarithmic, "{values:?}");
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
        let lines = lines(&results, &axis, &places(&axis.values).1);
        let lines: Vec<_> =
            lines.iter().map(|line| (line.name.as_str(), line.points.as_slice())).collect();
        assert_eq!(
            lines,
            [("seed 0", &[(1.0, 3.0), (100.0, 1.0)][..]), ("seed 9", &[(100.0, 2.0)][..])]
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
