//! The curves of a run: loss, learning rate, gradient norm and speed over the steps.
//!
//! [`charts`] are those of the page; [`loss_svg`] is the first of them as a file of its own.

use plotters::style::RGBColor;

use crate::ReportError;
use crate::figure::LOSS;
use crate::plot::{Axis, COLOURS, Curve, Place, Plot, Point, Scale, Stroke};
use crate::record::{Record, StepRecord, evaluations, steps};
use crate::series::{smoothed, thinned};

/// A curve of every step, pale under its smoothed one.
const RAW: RGBColor = RGBColor(160, 195, 222);
/// A curve of steps.
const STEPS: RGBColor = COLOURS[0];
/// What was held out.
const HELD_OUT: RGBColor = COLOURS[1];

/// Curves over steps, with what they are called.
#[derive(Debug, Clone)]
pub struct Chart {
    /// What the values are, with their unit.
    pub caption: &'static str,
    /// The curves, those without points left out.
    pub curves: Vec<Curve>,
    last: f64,
}

impl Chart {
    /// The chart as SVG.
    ///
    /// # Errors
    ///
    /// It cannot be drawn.
    pub fn svg(&self, place: Place) -> Result<String, ReportError> {
        let plot = Plot {
            title: "",
            below: "step",
            beside: self.caption,
            axis: Axis::To(self.last),
            values: Scale::Fitted,
            curves: &self.curves,
        };
        plot.svg(place)
    }
}

/// The loss over the steps as an image; none where no step was recorded.
///
/// # Errors
///
/// It cannot be drawn.
pub fn loss_svg(records: &[Record]) -> Result<Option<String>, ReportError> {
    let Some(last) = steps(records).next_back() else { return Ok(None) };
    Some(loss(records, last.step as f64).svg(Place::File)).transpose()
}

/// The charts of a run; none where nothing was recorded.
pub fn charts(records: &[Record]) -> Vec<Chart> {
    let last = records.iter().fold(0, |last, record| last.max(record.step())) as f64;
    let mut charts = vec![loss(records, last)];
    let rate = line("each step", values(records, |record| record.learning_rate), STEPS);
    charts.push(Chart { caption: "Learning rate", curves: vec![rate], last });
    let norms = values(records, |record| record.gradient_norm);
    // A run that records none leaves zeros.
    if norms.iter().any(|point| point.1 != 0.0) {
        let caption = "Gradient norm, before clipping";
        charts.push(Chart { caption, curves: noisy(norms).into(), last });
    }
    let speeds = values(records, |record| record.tokens as f64 / record.seconds);
    let caption = "Tokens a second, padding left out";
    charts.push(Chart { caption, curves: noisy(speeds).into(), last });
    for chart in &mut charts {
        chart.curves.retain(|curve| !curve.points.is_empty());
    }
    charts.retain(|chart| !chart.curves.is_empty());
    charts
}

fn loss(records: &[Record], last: f64) -> Chart {
    let mut curves = Vec::from(noisy(values(records, |record| record.loss)));
    let point =
        |record: &crate::record::EvalRecord| Some((record.step as f64, LOSS.measured(record)?));
    let points: Vec<Point> =
        evaluations(records).filter_map(point).filter(|point| point.1.is_finite()).collect();
    let stroke = if points.len() <= 60 { Stroke::LineAndDots } else { Stroke::Line };
    curves.push(Curve { stroke, ..line("held out", points, HELD_OUT) });
    Chart { caption: "Loss per target, in nats", curves, last }
}

fn values(records: &[Record], value: fn(&StepRecord) -> f64) -> Vec<Point> {
    let points = steps(records).map(|record| (record.step as f64, value(record)));
    points.filter(|point| point.1.is_finite()).collect()
}

fn line(name: &str, points: Vec<Point>, colour: RGBColor) -> Curve {
    let (name, points, stroke) = (name.to_owned(), thinned(points), Stroke::Line);
    Curve { name, points, ranges: Vec::new(), colour, width: 3, stroke }
}

/// A curve of every step, and a smoothed one over it.
fn noisy(points: Vec<Point>) -> [Curve; 2] {
    let smooth = line("smoothed", smoothed(&points), STEPS);
    [Curve { width: 2, ..line("each step", points, RAW) }, smooth]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_drawn_and_no_records_draw_nothing() {
        assert!(loss_svg(&[]).unwrap().is_none());
        let record = |step, loss| {
            let (learning_rate, gradient_norm, seconds) = (0.0, 0.0, 1.0);
            let (targets, tokens) = (1, 1);
            Record::Step(StepRecord {
                step,
                loss,
                learning_rate,
                gradient_norm,
                targets,
                tokens,
                seconds,
            })
        };
        let svg = loss_svg(&[record(1, 2.0), record(2, 1.0)]).unwrap().unwrap();
        for part in ["<polyline", "smoothed", "Loss per target", "xmlns"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }
}
