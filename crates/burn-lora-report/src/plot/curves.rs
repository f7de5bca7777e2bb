//! Curves over an axis.

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

use super::axis::Scale;
use super::paper::{self, Area, Failure, GRID, INK, text_style};
use super::{Point, colour};
use crate::ReportError;

/// So many curves are named in a legend at most.
const NAMED: usize = 16;

/// Width of a curve, in units of the drawing.
const WIDTH: u32 = 2;

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the legend calls it; without a name it is not in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
    /// Lines from one point to another: the smallest and the largest of what a point stands for.
    pub ranges: Vec<[Point; 2]>,
    /// Its colour.
    pub colour: RGBColor,
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

impl Curve {
    /// The curve of that name; where there is none yet, one without points in the next colour.
    pub fn named<'a>(curves: &'a mut Vec<Self>, name: &str, stroke: Stroke) -> &'a mut Self {
        let known = curves.iter().position(|curve| curve.name == name);
        let index = known.unwrap_or(curves.len());
        if known.is_none() {
            let (name, points, ranges, colour) = (name.to_owned(), vec![], vec![], colour(index));
            curves.push(Self { name, points, ranges, colour, stroke });
        }
        &mut curves[index]
    }
}

/// Curves over an axis. A value that has no place on its axis is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot<'a> {
    /// Above it; empty for none.
    pub title: &'a str,
    /// What is below.
    pub below: &'a str,
    /// What the values are, beside them; empty where the title says it.
    pub beside: &'a str,
    /// How values lie on the axis below, and on the one beside.
    pub scales: (Scale, Scale),
    /// Values that were tried, in order: of the axis below, these are written and no others. None for round numbers.
    pub tried: &'a [(f64, String)],
    /// The curves; the later over the earlier.
    pub curves: &'a [Curve],
}

/// A curve in places on the axes.
struct Placed<'a> {
    curve: &'a Curve,
    points: Vec<Point>,
    ranges: Vec<[Point; 2]>,
}

impl Placed<'_> {
    fn all(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().chain(self.ranges.as_flattened())
    }
}

impl Plot<'_> {
    /// The plot as an `<svg>` element, with letters of some height, such as [`FILE`](super::FILE).
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self, letters: u32) -> Result<String, ReportError> {
        let named = self.curves.iter().take(NAMED).filter(|curve| !curve.name.is_empty());
        let legend: Vec<_> = named.map(|curve| (curve.name.as_str(), curve.colour)).collect();
        let draw = |area: &Area<'_>| self.draw(area, letters);
        paper::sheet(paper::HEIGHT, letters, self.title, &legend, draw).map_err(|source| {
            ReportError::Plot { plot: [self.title, self.beside].concat(), source }
        })
    }

    fn placed<'a>(&self, curve: &'a Curve) -> Placed<'a> {
        let (below, beside) = self.scales;
        let place = |&(x, y): &Point| match curve.stroke {
            Stroke::Level => Some((0.0, beside.place(y)?)),
            _ => Some((below.place(x)?, beside.place(y)?)),
        };
        let ranges = curve.ranges.iter();
        Placed {
            curve,
            points: curve.points.iter().filter_map(place).collect(),
            ranges: ranges.filter_map(|[low, high]| Some([place(low)?, place(high)?])).collect(),
        }
    }

    fn draw(&self, area: &Area<'_>, letters: u32) -> Result<(), Failure> {
        let placed: Vec<Placed<'_>> = self.curves.iter().map(|curve| self.placed(curve)).collect();
        let tick =
            |(value, label): &(f64, String)| Some((self.scales.0.place(*value)?, label.clone()));
        let tried: Vec<(f64, String)> = self.tried.iter().filter_map(tick).collect();
        let curves = placed.iter().filter(|placed| placed.curve.stroke != Stroke::Level);
        let places = curves.flat_map(Placed::all).map(|point| point.0);
        let mut across = self.scales.0.axis(places.chain(tried.iter().map(|tick| tick.0)));
        if !tried.is_empty() {
            across.ticks = tried;
        }
        let ends = across.range();
        let up = self.scales.1.axis(placed.iter().flat_map(Placed::all).map(|point| point.1));
        let mut chart = ChartBuilder::on(area)
            .margin(paper::MARGIN)
            .margin_right(3 * paper::MARGIN)
            .x_label_area_size(3 * letters)
            .y_label_area_size(5 * letters)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(text_style(letters))
            .x_desc(self.below)
            .y_desc(self.beside)
            .draw()?;
        for Placed { curve, points, ranges } in placed {
            let style = curve.colour.stroke_width(WIDTH);
            if let (Stroke::Level, Some(&(_, y))) = (curve.stroke, points.first()) {
                let level = [(ends.start, y), (ends.end, y)];
                chart.draw_series(DashedLineSeries::new(level, 8, 5, style))?;
                continue;
            }
            if curve.stroke != Stroke::Dots {
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            }
            chart.draw_series(ranges.into_iter().map(|range| PathElement::new(range, style)))?;
            if curve.stroke != Stroke::Line {
                let dot = |point| Circle::new(point, 2 * WIDTH, curve.colour.filled());
                chart.draw_series(points.into_iter().map(dot))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::FILE;

    fn curves() -> [Curve; 2] {
        let curve = |name: &str, colour, stroke| Curve {
            name: name.to_owned(),
            points: vec![(1.0, 2.0), (2.0, 1.0)],
            ranges: Vec::new(),
            colour,
            stroke,
        };
        [
            curve("one", RGBColor(1, 2, 3), Stroke::Line),
            curve("", RGBColor(4, 5, 6), Stroke::LineAndDots),
        ]
    }

    fn plot(curves: &[Curve]) -> Plot<'_> {
        let (title, below, beside) = ("title & more", "step", "loss");
        Plot { title, below, beside, scales: Default::default(), tried: &[], curves }
    }

    #[test]
    fn curves_are_lines_and_dots_in_their_colours_and_those_with_a_name_are_in_the_legend() {
        let svg = plot(&curves()).svg(FILE).unwrap();
        assert!(svg.starts_with("<svg width=\"800\" height=\"480\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        // The background and the mark of the one that has a name.
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("stroke=\"#010203\"") && svg.contains("fill=\"#040506\""), "{svg}");
    }

    #[test]
    fn axes_title_curves_and_the_values_that_were_tried_are_named() {
        let curves = curves();
        let tried = [(1.0, "a".to_owned()), (2.0, "b".to_owned())];
        let svg = Plot { tried: &tried, ..plot(&curves) }.svg(FILE).unwrap();
        for word in ["step", "loss", "title &amp; more", "\none\n", "\na\n", "\nb\n"] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
        assert_eq!(svg.matches("\n1.2\n").count(), 1, "beside alone: {svg}");
    }

    #[test]
    fn levels_and_ranges_are_drawn_and_points_without_a_place_are_left_out() {
        let [mut lora, mut full] = curves();
        // A rank of 0 has no logarithm.
        lora.points = vec![(1.0, 5.0), (2.0, 4.0), (0.0, 1.0)];
        let range = |x, low, high| [(x, low), (x, high)];
        lora.ranges = vec![range(1.0, 4.5, 5.5), range(2.0, 3.0, 5.0), range(0.0, 1.0, 1.0)];
        lora.stroke = Stroke::Dots;
        (full.name, full.stroke) = ("full".to_owned(), Stroke::Level);
        let curves = [lora, full];
        let scales = (Scale::Log2, Scale::Fitted);
        let svg = Plot { scales, ..plot(&curves) }.svg(FILE).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        // A range for each of the two points; the level is dashed.
        assert!(svg.matches("stroke=\"#010203\"").count() == 2, "{svg}");
        assert!(svg.matches("stroke=\"#040506\"").count() > 10, "{svg}");
        assert!(svg.contains("\nfull\n"), "{svg}");
    }
}
