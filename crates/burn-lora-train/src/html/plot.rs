//! A plot of values over steps as SVG that a page's style can recolour.
//!
//! Drawn in the light colours below. The style sheet finds them by value and replaces them in the dark, so
//! each is written there too. Text is large, for a phone shows a plot at a third of its size.

use std::ops::Range;

use plotters::prelude::*;

use super::series::Point;

/// Width and height that a plot is drawn with; shown, it fits the page.
const SIZE: (u32, u32) = (960, 540);
/// Of tick labels.
const FONT: (&str, u32) = ("sans-serif", 28);

/// Axes and their labels.
pub const INK: RGBColor = RGBColor(68, 68, 68);
/// Lines across at the ticks.
pub const GRID: RGBColor = RGBColor(221, 221, 221);

/// A curve.
pub struct Curve {
    /// In the order of their steps, finite.
    pub points: Vec<Point>,
    /// Its colour.
    pub color: RGBColor,
    /// Its width, of [`SIZE`].
    pub width: u32,
    /// Whether each point is a dot, too.
    pub dotted: bool,
}

/// The curves as an `<svg>` element, over the steps from 0 to `last` and a range that holds all values.
///
/// # Errors
///
/// What the drawing library says.
pub fn svg(curves: &[Curve], last: f64) -> Result<String, Box<dyn std::error::Error>> {
    let last = last.max(1.0);
    let points = curves.iter().flat_map(|curve| &curve.points);
    let range = enclosing(points.map(|point| point.1));
    let height = range.end - range.start;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .margin_right(36)
            .x_label_area_size(44)
            .y_label_area_size(110)
            .build_cartesian_2d(0.0..last, range)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(INK.stroke_width(2))
            .label_style(FONT.into_font().color(&INK))
            .x_labels(7)
            .y_labels(7)
            .x_label_formatter(&|step| tick(*step, last))
            .y_label_formatter(&|value| tick(*value, height))
            .draw()?;
        for curve in curves {
            let style = curve.color.stroke_width(curve.width);
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
            if curve.dotted {
                let dot = |point: &Point| Circle::new(*point, 7, curve.color.filled());
                chart.draw_series(curve.points.iter().map(dot))?;
            }
        }
        root.present()?;
    }
    // Inside of HTML an `<svg>` needs no namespace, and the page then holds no address at all.
    Ok(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}

/// A range with all values and a little room. It begins at zero where that costs little of the plot.
fn enclosing(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| (l.min(v), m.max(v)));
    if least > most {
        return 0.0..1.0;
    }
    let room = match most - least {
        height if height > 0.0 => 0.05 * height,
        // A level has none; half its value, or anything at zero.
        _ if most != 0.0 => 0.5 * most.abs(),
        _ => 1.0,
    };
    let low = if (0.0..0.4 * most).contains(&least) { 0.0 } else { least - room };
    low..most + room
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
        let range = |values: &[f64]| enclosing(values.iter().copied());
        assert_eq!(range(&[1.0, 3.0]), 0.0..3.1);
        assert_eq!(range(&[2.0, 3.0]), 1.95..3.05);
        assert_eq!(range(&[-1.0, 1.0]), -1.1..1.1);
        assert_eq!(range(&[2.0]), 1.0..3.0);
        assert_eq!(range(&[0.0, 0.0]), -1.0..1.0);
        assert_eq!(range(&[]), 0.0..1.0);
    }

    #[test]
    fn curves_are_lines_and_dots_in_their_colours() {
        let points = vec![(1.0, 2.0), (2.0, 1.0)];
        let curve = |color, dotted| Curve { points: points.clone(), color, width: 3, dotted };
        let curves = [curve(RGBColor(1, 2, 3), false), curve(RGBColor(4, 5, 6), true)];
        let svg = svg(&curves, 2.0).unwrap();
        assert!(svg.starts_with("<svg width=\"960\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("stroke=\"#010203\"") && svg.contains("fill=\"#040506\""), "{svg}");
        assert!(!svg.contains("://"), "{svg}");
    }
}
