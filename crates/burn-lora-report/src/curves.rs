//! The curves of a run: loss, learning rate, gradient norm and speed over the steps.
//!
//! [`charts`] are those of the page; [`loss_svg`] is the first of them as a file of its own.

use plotters::style::RGBColor;

use crate::ReportError;
use crate::figure::{self, LOSS, StepFigure};
use crate::plot::{COLOURS, Curve, FILE, Plot, Point, Scale, Stroke};
use crate::record::{EvalRecord, Record, StepRecord, evaluations, steps};
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
}

impl Chart {
    /// The chart as SVG, with letters of some height.
    ///
    /// # Errors
    ///
    /// It cannot be drawn.
    pub fn svg(&self, letters: u32) -> Result<String, ReportError> {
        let plot = Plot {
            title: self.caption,
            below: "step",
            beside: "",
            scales: (Scale::Linear, Scale::Fitted),
            tried: &[],
            curves: &self.curves,
        };
        plot.svg(letters)
    }
}

/// The loss over the steps as an image; none where no step was recorded.
///
/// # Errors
///
/// It cannot be drawn.
pub fn loss_svg(records: &[Record]) -> Result<Option<String>, ReportError> {
    let [loss, ..] = figure::OF_STEPS;
    steps(records).next().map(|_| chart(&loss, records).svg(FILE)).transpose()
}

/// The charts of a run; none where nothing was recorded.
pub fn charts(records: &[Record]) -> Vec<Chart> {
    let charts = figure::OF_STEPS.iter().map(|figure| chart(figure, records));
    charts.filter(|chart| !chart.curves.is_empty()).collect()
}

/// A figure of the steps; the loss with what is held out.
fn chart(figure: &StepFigure, records: &[Record]) -> Chart {
    let point = |record: &StepRecord| Some((record.step as f64, figure.measured(record)?));
    let mut points: Vec<Point> = steps(records).filter_map(point).collect();
    // A run that records no gradient norms leaves zeros.
    if figure.tag == "gradient_norm" && points.iter().all(|point| point.1 == 0.0) {
        points.clear();
    }
    let mut curves = Vec::new();
    if figure.noisy {
        let smooth = line("smoothed", smoothed(&points), STEPS);
        curves.extend([line("each step", points, RAW), smooth]);
    } else {
        curves.push(line("each step", points, STEPS));
    }
    if figure.tag == LOSS.tag {
        let point = |record: &EvalRecord| Some((record.step as f64, LOSS.measured(record)?));
        let points = evaluations(records).filter_map(point).filter(|point| point.1.is_finite());
        let curve = line("held out", points.collect(), HELD_OUT);
        let stroke = if curve.points.len() <= 60 { Stroke::LineAndDots } else { Stroke::Line };
        curves.push(Curve { stroke, ..curve });
    }
    curves.retain(|curve| !curve.points.is_empty());
    Chart { caption: figure.caption, curves }
}

fn line(name: &str, points: Vec<Point>, colour: RGBColor) -> Curve {
    let (name, points, stroke) = (name.to_owned(), thinned(points), Stroke::Line);
    Curve { name, points, ranges: Vec::new(), colour, stroke }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_drawn_and_no_records_draw_nothing() {
        assert!(loss_svg(&[]).unwrap().is_none());
        let record = |step, loss| Record::Step(StepRecord { step, loss, ..Default::default() });
        let svg = loss_svg(&[record(1, 2.0), record(2, 1.0)]).unwrap().unwrap();
        for part in ["<polyline", "smoothed", "Loss per target", "xmlns"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }
}
