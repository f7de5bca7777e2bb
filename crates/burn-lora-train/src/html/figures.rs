//! The plots of a run, each with its caption and the meaning of its colours.

use plotters::style::RGBColor;

use super::plot::{Curve, svg};
use super::series::{Point, smoothed, thinned};
use super::{HtmlError, undrawn};
use crate::history::{EvalRecord, Record, StepRecord};

/// A curve of every step, pale under its smoothed one.
pub const RAW: RGBColor = RGBColor(160, 195, 222);
/// A curve of steps.
pub const STEPS: RGBColor = RGBColor(0, 114, 178);
/// What was held out.
pub const HELD_OUT: RGBColor = RGBColor(213, 94, 0);

/// The curves of a run as `<figure>` elements; empty where nothing was recorded.
pub fn figures(records: &[Record]) -> Result<String, HtmlError> {
    let last = records.iter().fold(0, |last, record| last.max(step(record))) as f64;
    let figure = |plot, caption, curves| figure(plot, caption, curves, last);
    let steps = |value: fn(&StepRecord) -> f64| -> Vec<Point> {
        let point = |record: &Record| match record {
            Record::Step(record) => Some((record.step as f64, value(record))),
            Record::Eval(_) => None,
        };
        records.iter().filter_map(point).filter(|point| point.1.is_finite()).collect()
    };
    let held_out = |value: fn(&EvalRecord) -> f64| -> Vec<Point> {
        let point = |record: &Record| match record {
            Record::Eval(record) => Some((record.step as f64, value(record))),
            Record::Step(_) => None,
        };
        records.iter().filter_map(point).filter(|point| point.1.is_finite()).collect()
    };
    let line = |points: Vec<Point>, color| Curve {
        points: thinned(points),
        color,
        width: 3,
        dotted: false,
    };
    let noisy = |points: Vec<Point>| {
        let smooth = line(smoothed(&points), STEPS);
        [Curve { width: 2, ..line(points, RAW) }, smooth]
    };
    let evaluations = held_out(|record| record.eval_loss);
    let dotted = evaluations.len() <= 60;
    let [raw, smooth] = noisy(steps(|record| record.loss));
    let mut html = figure(
        "loss",
        "Loss per target, in nats",
        vec![
            ("raw", "each step", raw),
            ("steps", "smoothed", smooth),
            ("held-out", "held out", Curve { dotted, ..line(evaluations, HELD_OUT) }),
        ],
    )?;
    html += &figure(
        "learning rate",
        "Learning rate",
        vec![("steps", "each step", line(steps(|record| record.learning_rate), STEPS))],
    )?;
    let norms = steps(|record| record.gradient_norm);
    // A run that records none leaves zeros.
    if norms.iter().any(|point| point.1 != 0.0) {
        let [raw, smooth] = noisy(norms);
        html += &figure(
            "gradient norm",
            "Gradient norm, before clipping",
            vec![("raw", "each step", raw), ("steps", "smoothed", smooth)],
        )?;
    }
    let [raw, smooth] = noisy(steps(|record| record.tokens as f64 / record.seconds));
    html += &figure(
        "speed",
        "Tokens a second, padding left out",
        vec![("raw", "each step", raw), ("steps", "smoothed", smooth)],
    )?;
    Ok(html)
}

fn step(record: &Record) -> usize {
    match record {
        Record::Step(record) => record.step,
        Record::Eval(record) => record.step,
    }
}

/// A figure of the curves that have points, each with the class of its colour and its name; empty
/// where none has.
fn figure(
    plot: &'static str,
    caption: &str,
    mut curves: Vec<(&str, &str, Curve)>,
    last: f64,
) -> Result<String, HtmlError> {
    curves.retain(|(_, _, curve)| !curve.points.is_empty());
    if curves.is_empty() {
        return Ok(String::new());
    }
    let mut keys = String::new();
    let mut drawn = Vec::new();
    for (class, name, curve) in curves {
        keys += &format!(" <span class=\"key {class}\">{name}</span>");
        drawn.push(curve);
    }
    let svg = svg(&drawn, last).map_err(undrawn(plot))?;
    Ok(format!(
        "<figure>\n<figcaption><strong>{caption}</strong>{keys}</figcaption>\n\
         <div class=\"plot\" role=\"img\" aria-label=\"{caption}, over steps\">{svg}</div>\n</figure>\n"
    ))
}
