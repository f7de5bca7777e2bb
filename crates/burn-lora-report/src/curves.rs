//! The curves of a run: loss, learning rate, gradient norm and speed over the steps.
//!
//! [`svg`] draws one of them for the page; [`loss_svg`] is the first of them as a file of its own.

use plotters::style::RGBColor;

use crate::ReportError;
use crate::figure::{LOSS, OF_STEPS, StepFigure};
use crate::plot::{COLOURS, Curve, FILE, Plot, Point, Scale, Stroke};
use crate::record::{EvalRecord, Record, StepRecord, evaluations, steps};
use crate::series::{smoothed, thinned};

/// A curve of every step, pale under its smoothed one.
const RAW: RGBColor = RGBColor(160, 195, 222);
/// A curve of steps.
const STEPS: RGBColor = COLOURS[0];
/// What was held out.
const HELD_OUT: RGBColor = COLOURS[1];

/// The loss over the steps as an image; none where no step was recorded, or no loss is finite.
///
/// # Errors
///
/// It cannot be drawn.
pub fn loss_svg(records: &[Record]) -> Result<Option<String>, ReportError> {
    let [loss, ..] = OF_STEPS;
    if steps(records).next().is_none() { Ok(None) } else { svg(&loss, records, FILE) }
}

/// A figure of the steps as SVG, with letters of some height; the loss with what is held out. None where there is nothing to draw.
///
/// # Errors
///
/// It cannot be drawn.
pub fn svg(
    figure: &StepFigure,
    records: &[Record],
    letters: u32,
) -> Result<Option<String>, ReportError> {
    let point = |record: &StepRecord| Some((record.step as f64, figure.measured(record)?));
    let mut points: Vec<Point> = steps(records).filter_map(point).collect();
    // A run that records no gradient norms leaves zeros.
    if figure.tag == "train/gradient_norm" && points.iter().all(|point| point.1 == 0.0) {
        points.clear();
    }
    let mut curves = match figure.noisy {
        true => {
            vec![line("each step", points.clone(), RAW), line("smoothed", smoothed(&points), STEPS)]
        }
        false => vec![line("each step", points, STEPS)],
    };
    if figure.tag == "train/loss" {
        let point = |record: &EvalRecord| Some((record.step as f64, LOSS.measured(record)?));
        let points = evaluations(records).filter_map(point).filter(|point| point.1.is_finite());
        let curve = line("held out", points.collect(), HELD_OUT);
        let stroke = if curve.points.len() <= 60 { Stroke::LineAndDots } else { Stroke::Line };
        curves.push(Curve { stroke, ..curve });
    }
    curves.retain(|curve| !curve.points.is_empty());
    let plot = Plot {
        title: figure.caption,
        below: "step",
        beside: "",
        scales: (Scale::Linear, Scale::Fitted),
        tried: &[],
        curves: &curves,
    };
    (!curves.is_empty()).then(|| plot.svg(letters)).transpose()
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
