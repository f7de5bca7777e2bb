//! Curves over an axis as SVG: the one place that draws.
//!
//! A [`Plot`] is drawn for one of two places. [`Place::File`] stands alone: white paper, names of the axes and a legend.
//! [`Place::Page`] lies in a page that has captions of its own: its colours are the light ones, and the page's style
//! sheet finds them by value and replaces them in the dark; its text is large, for a phone shows a plot at a third of its
//! size.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::ReportError;

/// A place on the axis below, and a value.
pub type Point = (f64, f64);

/// So many values of an axis are written out at most.
const LABELS: usize = 12;

/// So many curves are named in a legend at most.
const NAMED: usize = 16;

/// Axes and their labels on a page.
const INK: RGBColor = RGBColor(68, 68, 68);
/// Lines across at the ticks of a page.
const GRID: RGBColor = RGBColor(221, 221, 221);

/// Colours that can be told apart, also by who sees fewer of them (Okabe and Ito, and grey).
pub const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(0, 0, 0),
];

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the legend of a file calls it; without a name it is not in the legend.
    pub name: String,
    /// From left to right, finite.
    pub points: Vec<Point>,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width, in units of the drawing.
    pub width: u32,
    /// Whether each point is a dot, too.
    pub dotted: bool,
}

/// The axis below.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// Numbers from 0 to at least 1.
    To(f64),
    /// Values that were tried, each with where it stands: labels are there and nowhere else.
    At(Vec<(f64, String)>),
}

/// Where a plot is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By itself.
    File,
    /// In a page.
    Page,
}

/// Curves over an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot<'a> {
    /// What is below.
    pub below: &'a str,
    /// What the values are.
    pub beside: &'a str,
    /// The axis below.
    pub axis: Axis,
    /// The curves; the later over the earlier.
    pub curves: &'a [Curve],
}

impl Plot<'_> {
    /// The plot as an `<svg>` element, over a range that holds all values.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self, place: Place) -> Result<String, ReportError> {
        self.draw(place).map_err(|error| ReportError::Plot {
            plot: self.beside.to_owned(),
            source: error.into(),
        })
    }

    fn draw(&self, place: Place) -> Result<String, String> {
        let mut svg = String::new();
        let size = match place {
            Place::File => (800, 480),
            Place::Page => (960, 540),
        };
        self.draw_on(place, SVGBackend::with_string(&mut svg, size).into_drawing_area())
            .map_err(|error| error.to_string())?;
        // Inside of HTML an `<svg>` needs no namespace, and the page then holds no address at all.
        Ok(match place {
            Place::File => svg,
            Place::Page => svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""),
        })
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        place: Place,
        root: DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let range = enclosing(points.map(|point| point.1));
        let height = range.end - range.start;
        let ticks = Ticks::new(&self.axis);
        let mut builder = ChartBuilder::on(&root);
        if place == Place::File {
            root.fill(&WHITE)?;
            builder.margin(16).x_label_area_size(40).y_label_area_size(64);
        } else {
            builder.margin(12).margin_right(36).x_label_area_size(44).y_label_area_size(110);
        }
        let mut chart = builder.build_cartesian_2d(ticks, range)?;
        let value = |value: &f64| tick(*value, height);
        let mut mesh = chart.configure_mesh();
        mesh.y_label_formatter(&value);
        match place {
            Place::File => mesh.x_desc(self.below).y_desc(self.beside).draw()?,
            Place::Page => mesh
                .disable_x_mesh()
                .max_light_lines(0)
                .bold_line_style(GRID.stroke_width(2))
                .axis_style(INK.stroke_width(2))
                .label_style(("sans-serif", 28).into_font().color(&INK))
                .x_labels(7)
                .y_labels(7)
                .draw()?,
        }
        for (index, curve) in self.curves.iter().enumerate() {
            let style = curve.colour.stroke_width(curve.width);
            let series = chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
            if place == Place::File && !curve.name.is_empty() && index < NAMED {
                series
                    .label(&curve.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
            }
            if curve.dotted {
                let radius = 2 * curve.width as i32 + 1;
                let dot = |point: &Point| Circle::new(*point, radius, curve.colour.filled());
                chart.draw_series(curve.points.iter().map(dot))?;
            }
        }
        if place == Place::File && self.curves.iter().take(NAMED).any(|c| !c.name.is_empty()) {
            chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        }
        root.present()
    }
}

/// The axis below, as the drawing library asks for it.
enum Ticks {
    Even(RangedCoordf64, f64),
    At(Vec<(f64, String)>, Range<f64>),
}

impl Ticks {
    fn new(axis: &Axis) -> Self {
        match axis {
            Axis::To(last) => {
                let last = last.max(1.0);
                Self::Even((0.0..last).into(), last)
            }
            Axis::At(places) => {
                let mut at = places.clone();
                at.sort_by(|a, b| a.0.total_cmp(&b.0));
                let first = at.first().map_or(0.0, |(first, _)| *first);
                let last = at.last().map_or(first, |(last, _)| *last);
                let room = f64::max((last - first) * 0.05, 0.01);
                Self::At(at, first - room..last + room)
            }
        }
    }
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self {
            Self::Even(range, _) => range.map(value, limit),
            Self::At(_, range) => RangedCoordf64::from(range.clone()).map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self {
            Self::Even(range, _) => range.key_points(hint),
            Self::At(at, _) => {
                let every = at.len().div_ceil(LABELS).max(1);
                at.iter().step_by(every).map(|(at, _)| *at).collect()
            }
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Even(range, _) => range.range(),
            Self::At(_, range) => range.clone(),
        }
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, value: &f64) -> String {
        match self {
            Self::Even(_, last) => tick(*value, *last),
            Self::At(at, _) => {
                let here = at.iter().find(|(at, _)| at == value);
                here.map_or_else(String::new, |(_, label)| label.clone())
            }
        }
    }
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

    fn curves() -> [Curve; 2] {
        let curve = |name: &str, colour, dotted| Curve {
            name: name.to_owned(),
            points: vec![(1.0, 2.0), (2.0, 1.0)],
            colour,
            width: 3,
            dotted,
        };
        [curve("one", RGBColor(1, 2, 3), false), curve("", RGBColor(4, 5, 6), true)]
    }

    #[test]
    fn on_a_page_curves_are_lines_and_dots_in_their_colours_and_nothing_is_named() {
        let curves = curves();
        let plot = Plot { below: "step", beside: "loss", axis: Axis::To(2.0), curves: &curves };
        let svg = plot.svg(Place::Page).unwrap();
        assert!(svg.starts_with("<svg width=\"960\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("stroke=\"#010203\"") && svg.contains("fill=\"#040506\""), "{svg}");
        assert!(!svg.contains("://") && !svg.contains("\none\n") && !svg.contains("step"), "{svg}");
    }

    #[test]
    fn a_file_names_its_axes_its_curves_and_the_values_that_were_tried() {
        let curves = curves();
        let axis = Axis::At(vec![(2.0, "b".to_owned()), (1.0, "a".to_owned())]);
        let svg = Plot { below: "axis", beside: "loss", axis, curves: &curves };
        let svg = svg.svg(Place::File).unwrap();
        let words = ["axis", "loss", "\none\n", "\na\n", "\nb\n"];
        for word in words {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        assert!(svg.contains("xmlns"), "a file is an image by itself");
    }
}
