//! Curves over an axis.

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

use super::axis::{Axis, Scale};
use super::paper::{self, Area, Failure};
use super::{Place, Point};
use crate::ReportError;

/// So many curves are named in a legend at most.
const NAMED: usize = 16;

/// Axes and their labels on a page.
const INK: RGBColor = RGBColor(68, 68, 68);
/// Lines across at the ticks of a page.
const GRID: RGBColor = RGBColor(221, 221, 221);

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the legend of a file calls it; without a name it is not in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
    /// The smallest and the largest of what each point stands for; none, or as many as there are points.
    pub ranges: Vec<(f64, f64)>,
    /// Its colour.
    pub colour: RGBColor,
    /// Its width, in units of the drawing.
    pub width: u32,
    /// What is drawn of it.
    pub stroke: Stroke,
}

/// What is drawn of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A line through its points.
    Line,
    /// A dot at each point.
    Dots,
    /// Both.
    LineAndDots,
    /// The value of its first point, all across.
    Level,
}

/// Curves over an axis. A value that has no place on its axis is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot<'a> {
    /// Above a file; empty for none.
    pub title: &'a str,
    /// What is below.
    pub below: &'a str,
    /// What the values are.
    pub beside: &'a str,
    /// The axis below.
    pub axis: Axis,
    /// How the values lie beside.
    pub values: Scale,
    /// The curves; the later over the earlier.
    pub curves: &'a [Curve],
}

/// A point in places on the axes, and the range that it stands for.
type Placed = (f64, f64, Option<(f64, f64)>);

impl Plot<'_> {
    /// The plot as an `<svg>` element.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self, place: Place) -> Result<String, ReportError> {
        let drawn = match place {
            Place::File => {
                let named = self.curves.iter().take(NAMED).filter(|curve| !curve.name.is_empty());
                let legend: Vec<_> =
                    named.map(|curve| (curve.name.as_str(), curve.colour)).collect();
                paper::file(self.title, &legend, |area| self.draw(area, place))
            }
            Place::Page => paper::page(|area| self.draw(area, place)),
        };
        drawn.map_err(|source| ReportError::Plot { plot: self.beside.to_owned(), source })
    }

    fn placed(&self, curve: &Curve) -> Vec<Placed> {
        let points = curve.points.iter().enumerate();
        let place = |(index, &(x, y)): (usize, &Point)| {
            let x = match curve.stroke {
                Stroke::Level => 0.0,
                _ => self.axis.place(x)?,
            };
            let y = self.values.place(y)?;
            let range = match curve.ranges.get(index) {
                Some(&(least, most)) => Some((self.values.place(least)?, self.values.place(most)?)),
                None => None,
            };
            Some((x, y, range))
        };
        points.filter_map(place).collect()
    }

    fn draw(&self, area: &Area<'_>, place: Place) -> Result<(), Failure> {
        let placed: Vec<(&Curve, Vec<Placed>)> =
            self.curves.iter().map(|curve| (curve, self.placed(curve))).collect();
        let points = || placed.iter().flat_map(|(_, points)| points);
        let across = placed.iter().filter(|(curve, _)| curve.stroke != Stroke::Level);
        let across = self.axis.ticks(across.flat_map(|(_, points)| points).map(|point| point.0));
        let ends = across.range();
        let up = self.values.ticks(points().flat_map(|&(_, y, range)| {
            let (least, most) = range.unwrap_or((y, y));
            [y, least, most]
        }));
        let mut builder = ChartBuilder::on(area);
        match place {
            Place::File => builder.margin(16).x_label_area_size(44).y_label_area_size(64),
            Place::Page => {
                builder.margin(12).margin_right(36).x_label_area_size(44).y_label_area_size(110)
            }
        };
        let mut chart = builder.build_cartesian_2d(across, up)?;
        let mut mesh = chart.configure_mesh();
        match place {
            Place::File => mesh
                .x_desc(self.below)
                .y_desc(self.beside)
                .label_style(("sans-serif", 13))
                .draw()?,
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
        for (curve, points) in &placed {
            let style = curve.colour.stroke_width(curve.width);
            let spots = || points.iter().map(|&(x, y, _)| (x, y));
            if let (Stroke::Level, Some(&(_, y, _))) = (curve.stroke, points.first()) {
                let level = [(ends.start, y), (ends.end, y)];
                chart.draw_series(DashedLineSeries::new(level, 8, 5, style))?;
                continue;
            }
            if matches!(curve.stroke, Stroke::Line | Stroke::LineAndDots) {
                chart.draw_series(LineSeries::new(spots(), style))?;
            }
            chart.draw_series(points.iter().filter_map(|&(x, _, range)| {
                let (least, most) = range?;
                Some(PathElement::new([(x, least), (x, most)], style))
            }))?;
            if matches!(curve.stroke, Stroke::Dots | Stroke::LineAndDots) {
                let radius = 2 * curve.width as i32 + 1;
                let dot = |point: Point| Circle::new(point, radius, curve.colour.filled());
                chart.draw_series(spots().map(dot))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves() -> [Curve; 2] {
        let curve = |name: &str, colour, stroke| Curve {
            name: name.to_owned(),
            points: vec![(1.0, 2.0), (2.0, 1.0)],
            ranges: Vec::new(),
            colour,
            width: 3,
            stroke,
        };
        [
            curve("one", RGBColor(1, 2, 3), Stroke::Line),
            curve("", RGBColor(4, 5, 6), Stroke::LineAndDots),
        ]
    }

    fn plot(curves: &[Curve], axis: Axis) -> Plot<'_> {
        let (title, below, beside) = ("title & more", "step", "loss");
        Plot { title, below, beside, axis, values: Scale::Fitted, curves }
    }

    #[test]
    fn on_a_page_curves_are_lines_and_dots_in_their_colours_and_nothing_is_named() {
        let svg = plot(&curves(), Axis::To(2.0)).svg(Place::Page).unwrap();
        assert!(svg.starts_with("<svg width=\"960\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("stroke=\"#010203\"") && svg.contains("fill=\"#040506\""), "{svg}");
        assert!(!svg.contains("://") && !svg.contains("\none\n") && !svg.contains("step"), "{svg}");
    }

    #[test]
    fn a_file_names_its_axes_its_curves_and_the_values_that_were_tried() {
        let axis = Axis::At(vec![(2.0, "b".to_owned()), (1.0, "a".to_owned())]);
        let svg = plot(&curves(), axis).svg(Place::File).unwrap();
        for word in ["step", "loss", "title &amp; more", "\none\n", "\na\n", "\nb\n"] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        assert!(svg.starts_with("<svg width=\"800\" height=\"480\""), "{svg}");
        assert!(svg.contains("xmlns"), "a file is an image by itself");
    }

    #[test]
    fn levels_and_ranges_are_drawn_and_points_without_a_place_are_left_out() {
        let [mut lora, mut full] = curves();
        // A rank of 0 has no logarithm.
        lora.points = vec![(1.0, 5.0), (2.0, 4.0), (0.0, 1.0)];
        lora.ranges = vec![(4.5, 5.5), (3.0, 5.0), (1.0, 1.0)];
        lora.stroke = Stroke::Dots;
        (full.name, full.stroke) = ("full".to_owned(), Stroke::Level);
        let svg = plot(&[lora, full], Axis::Of(Scale::Log2)).svg(Place::File).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        // A range for each of the two points; the level is dashed.
        assert!(svg.matches("stroke=\"#010203\"").count() == 2, "{svg}");
        assert!(svg.matches("stroke=\"#040506\"").count() > 10, "{svg}");
        assert!(svg.contains("\nfull\n"), "{svg}");
    }
}
