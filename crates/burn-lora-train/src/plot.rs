//! `loss.svg`: training loss and held-out loss over the steps.

use std::path::Path;

use plotters::prelude::*;

use crate::history::Record;
use crate::{TrainError, files};

/// Draws the records into the file; nothing where there are none.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn write_loss(path: &Path, records: &[Record]) -> Result<(), TrainError> {
    let steps: Vec<(f64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Step(record) => Some((record.step as f64, record.loss)),
            Record::Eval(_) => None,
        })
        .filter(is_finite)
        .collect();
    let evaluations: Vec<(f64, f64)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Eval(record) => Some((record.step as f64, record.eval_loss)),
            Record::Step(_) => None,
        })
        .filter(is_finite)
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    let mut svg = String::new();
    draw(&mut svg, &steps, &evaluations)
        .map_err(|error| TrainError::io("draw", path)(std::io::Error::other(error.to_string())))?;
    Ok(files::write(path, svg.as_bytes())?)
}

/// What can be drawn.
fn is_finite((_, loss): &(f64, f64)) -> bool {
    loss.is_finite()
}

fn draw(
    svg: &mut String,
    steps: &[(f64, f64)],
    evaluations: &[(f64, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    let last = steps.last().map_or(1.0, |(step, _)| *step);
    let top = steps.iter().chain(evaluations).fold(0.0_f64, |top, (_, loss)| top.max(*loss));
    let root = SVGBackend::with_string(svg, (800, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last, 0.0..top.max(1e-6) * 1.05)?;
    chart.configure_mesh().x_desc("step").y_desc("loss per target (nats)").draw()?;
    chart
        .draw_series(LineSeries::new(steps.iter().copied(), RGBColor(140, 170, 210)))?
        .label("training")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], RGBColor(140, 170, 210)));
    let held_out = RGBColor(200, 80, 40);
    chart
        .draw_series(LineSeries::new(evaluations.iter().copied(), held_out.stroke_width(2)))?
        .label("held out")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], held_out.stroke_width(2)));
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::StepRecord;

    #[test]
    fn a_curve_is_drawn_and_no_records_draw_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loss.svg");
        write_loss(&path, &[]).unwrap();
        assert!(!path.exists());
        let record = |step, loss| {
            Record::Step(StepRecord {
                step,
                loss,
                learning_rate: 0.0,
                gradient_norm: 0.0,
                targets: 1,
                tokens: 1,
                seconds: 1.0,
            })
        };
        write_loss(&path, &[record(1, 2.0), record(2, 1.0)]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.contains("<polyline") && svg.contains("training"), "{svg}");
    }
}
