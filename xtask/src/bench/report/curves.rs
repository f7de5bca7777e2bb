//! A plot of figures over a quantity: a line per series, a bar from the smallest to the largest
//! process at each point, and levels across.

use plotters::prelude::*;

use super::axis::Scale;
use super::frame::{DrawError, color, framed};
use crate::bench::statistics::Spread;

/// The plot.
pub struct Curves {
    /// Above it.
    pub title: String,
    /// What the horizontal axis shows, with its unit.
    pub x: (&'static str, Scale),
    /// What the vertical axis shows, with its unit.
    pub y: (&'static str, Scale),
    /// What is drawn.
    pub series: Vec<Series>,
    /// Whether points are joined.
    pub joined: bool,
}

/// A line, or a level.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Where its points are.
    pub points: Points,
}

/// Where points are.
pub enum Points {
    /// Over the quantity.
    Over(Vec<(f64, Spread)>),
    /// The same whatever the quantity.
    Level(f64),
}

impl Curves {
    /// As SVG. Points that have no place on an axis are left out.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self) -> Result<String, DrawError> {
        let names: Vec<String> = self.series.iter().map(|series| series.name.clone()).collect();
        framed(&self.title, &names, |area| {
            let placed: Vec<Vec<Point>> = self.series.iter().map(|one| self.place(one)).collect();
            let across = self.x.1.span(placed.iter().flatten().filter_map(|p| p.x));
            let up = self.y.1.span(placed.iter().flatten().flat_map(|p| [p.y, p.least, p.most]));
            let ends = (across.range.start, across.range.end);
            let mut chart = ChartBuilder::on(area)
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(64)
                .build_cartesian_2d(across, up)?;
            chart
                .configure_mesh()
                .x_desc(self.x.0)
                .y_desc(self.y.0)
                .label_style(("sans-serif", 13))
                .x_label_formatter(&|place| self.x.1.label(*place))
                .y_label_formatter(&|place| self.y.1.label(*place))
                .draw()?;
            for (index, points) in placed.iter().enumerate() {
                let ink = color(index);
                let level = points.iter().find(|point| point.x.is_none());
                if let Some(Point { y, .. }) = level {
                    let ends = [(ends.0, *y), (ends.1, *y)];
                    chart.draw_series(DashedLineSeries::new(ends, 8, 5, ink.stroke_width(2)))?;
                    continue;
                }
                let spots: Vec<(f64, f64)> =
                    points.iter().filter_map(|p| Some((p.x?, p.y))).collect();
                if self.joined {
                    chart.draw_series(LineSeries::new(spots.clone(), ink.stroke_width(2)))?;
                }
                chart.draw_series(points.iter().filter_map(|point| {
                    let x = point.x?;
                    let ends = [(x, point.least), (x, point.most)];
                    Some(PathElement::new(ends, ink.stroke_width(2)))
                }))?;
                chart.draw_series(spots.iter().map(|spot| Circle::new(*spot, 4, ink.filled())))?;
            }
            Ok(())
        })
    }

    fn place(&self, series: &Series) -> Vec<Point> {
        let up = |value| self.y.1.place(value);
        match &series.points {
            Points::Level(value) => {
                up(*value).map(|y| Point { x: None, y, least: y, most: y }).into_iter().collect()
            }
            Points::Over(points) => points
                .iter()
                .filter_map(|(x, spread)| {
                    Some(Point {
                        x: Some(self.x.1.place(*x)?),
                        y: up(spread.median)?,
                        least: up(spread.least)?,
                        most: up(spread.most)?,
                    })
                })
                .collect(),
        }
    }
}

/// A point in places on the axes; a level has no `x`.
struct Point {
    x: Option<f64>,
    y: f64,
    least: f64,
    most: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_levels_and_points_without_a_place_are_drawn_or_left_out() {
        let at = |x: f64, y: f64| (x, Spread { median: y, least: 0.9 * y, most: 1.1 * y });
        let plot = Curves {
            title: "title & more".to_owned(),
            x: ("rank", Scale::Log2),
            y: ("tokens a second", Scale::Linear),
            series: vec![
                Series {
                    name: "lora".to_owned(),
                    points: Points::Over(vec![at(1.0, 5.0), at(2.0, 4.0), at(0.0, 1.0)]),
                },
                Series { name: "full".to_owned(), points: Points::Level(2.0) },
            ],
            joined: true,
        };
        let svg = plot.svg().unwrap();
        assert!(svg.starts_with("<svg width=\"800\" height=\"480\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        for text in ["lora", "full", "title &amp; more", "tokens a second"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }
}
