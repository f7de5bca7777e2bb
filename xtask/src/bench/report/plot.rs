//! The plots of a report as SVG: figures over a quantity ([`Curves`]), and figures per case ([`Bars`]).
//!
//! Every plot is 800 x 480 with its legend above the drawing, so that it covers nothing. A logarithmic axis is a linear one over
//! logarithms, with the values written at the ticks.

use std::ops::Range;

use burn_lora_report::plot::COLOURS;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::numbers;
use crate::bench::statistics::Spread;

/// What can go wrong while drawing.
pub type DrawError = Box<dyn std::error::Error>;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width and height.
const SIZE: (u32, u32) = (800, 480);
/// Room on all sides.
const MARGIN: i32 = 16;
/// Height of the title and of a row of the legend.
const ROW: i32 = 20;
/// Letters of a case's name on one line.
const LETTERS: usize = 36;
/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero on.
    Linear,
    /// Powers of two.
    Log2,
    /// Powers of ten, with 2 and 5 between them where few powers are seen.
    Log10,
}

/// A value over the quantity; without one: a level.
pub type Spot = (Option<f64>, Spread);

/// Figures over a quantity: a line per series, at each point a bar from the smallest to the largest process, levels across.
pub struct Curves {
    /// Above it.
    pub title: String,
    /// What the horizontal axis shows, with its unit.
    pub x: (String, Scale),
    /// What the vertical axis shows, with its unit.
    pub y: (String, Scale),
    /// The name of each series and its points.
    pub series: Vec<(String, Vec<Spot>)>,
    /// Whether points are joined.
    pub joined: bool,
}

/// Figures per case: bars that lie, so that the cases' names can be read.
pub struct Bars {
    /// Above it.
    pub title: String,
    /// What the axis shows, with its unit.
    pub axis: String,
    /// What the bars of a case are.
    pub series: Vec<String>,
    /// A case each: its name and its bars.
    pub cases: Vec<(String, Vec<Option<f64>>)>,
    /// A line across, such as a ratio of 1.
    pub mark: Option<f64>,
}

/// The colour of a series.
fn color(series: usize) -> RGBColor {
    COLOURS[series % COLOURS.len()]
}

/// Roughly how wide a text is: fonts are the viewer's.
fn width(text: &str, size: f64) -> i32 {
    (0.58 * size * text.chars().count() as f64).ceil() as i32
}

/// Draws into a new SVG what is left below title and legend.
fn framed(
    title: &str,
    legend: &[String],
    draw: impl FnOnce(&Area<'_>) -> Result<(), DrawError>,
) -> Result<String, DrawError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let style = ("sans-serif", 16).into_font().color(&BLACK);
        root.draw(&Text::new(title.to_owned(), (MARGIN, MARGIN), style))?;
        let (mut x, mut y) = (MARGIN, MARGIN + ROW + 4);
        for (series, name) in legend.iter().enumerate() {
            let needed = 32 + width(name, 13.0);
            if x > MARGIN && x + needed > SIZE.0 as i32 - MARGIN {
                (x, y) = (MARGIN, y + ROW);
            }
            let block = [(x, y + 1), (x + 12, y + 13)];
            root.draw(&Rectangle::new(block, color(series).filled()))?;
            let style = ("sans-serif", 13).into_font().color(&BLACK);
            root.draw(&Text::new(name.clone(), (x + 18, y), style))?;
            x += needed;
        }
        let (_, rest) = root.split_vertically(y + ROW);
        draw(&rest)?;
        root.present()?;
    }
    Ok(svg)
}

impl Scale {
    /// Where a value lies; none where it lies nowhere.
    fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => value,
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
        };
        place.is_finite().then_some(place)
    }

    /// The value at a place, as it is written there.
    fn label(self, place: f64) -> String {
        numbers::tick(match self {
            Self::Linear => place,
            Self::Log2 => place.exp2(),
            Self::Log10 => 10_f64.powf(place),
        })
    }

    /// What holds these places, with its ticks.
    fn span(self, places: impl IntoIterator<Item = f64>) -> Span {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for place in places {
            (least, most) = (least.min(place), most.max(place));
        }
        if least > most {
            (least, most) = (0.0, 1.0);
        }
        match self {
            Self::Linear => linear(least, most),
            Self::Log2 => powers(least, most),
            Self::Log10 => decades(least, most),
        }
    }
}

/// A part of an axis and its ticks in order, places both. The library's own axes choose their ticks themselves.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The lighter lines between ticks are left out.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

fn linear(least: f64, most: f64) -> Span {
    let (low, high) = (least.min(0.0), most.max(0.0));
    let rough = if high > low { (high - low) / 6.0 } else { 1.0 };
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .map(|digit| digit * decade)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(10.0 * decade);
    let first = (low / step).floor() as i64;
    let last = ((high / step).ceil() as i64).max(first + 1);
    let ticks = (first..=last).map(|index| index as f64 * step).collect();
    Span { range: first as f64 * step..last as f64 * step, ticks }
}

fn powers(least: f64, most: f64) -> Span {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let every = 1 + (last - first) as usize / 12;
    let ticks = (first..=last).step_by(every).map(|power| power as f64).collect();
    Span { range: first as f64 - 0.3..last as f64 + 0.3, ticks }
}

fn decades(least: f64, most: f64) -> Span {
    let (first, last) = (least.floor() as i64, most.ceil() as i64);
    let digits: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|decade| digits.iter().map(move |digit| decade as f64 + digit.log10()))
        .collect();
    // From the last tick that is not above the data to the first that is not below it.
    let low = all.iter().rposition(|tick| *tick <= least + 1e-9).unwrap_or(0);
    let high = all.iter().position(|tick| *tick >= most - 1e-9).unwrap_or(all.len() - 1);
    let ticks = all[low..=high.max(low)].to_vec();
    Span { range: all[low] - 0.05..all[high.max(low)] + 0.05, ticks }
}

/// A point in places on the axes; a level has no `x`.
struct Point {
    x: Option<f64>,
    y: f64,
    least: f64,
    most: f64,
}

impl Curves {
    /// As SVG. Points that have no place on an axis are left out.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self) -> Result<String, DrawError> {
        let names: Vec<String> = self.series.iter().map(|(name, _)| name.clone()).collect();
        framed(&self.title, &names, |area| {
            let placed: Vec<Vec<Point>> =
                self.series.iter().map(|(_, points)| self.placed(points)).collect();
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
                .x_desc(self.x.0.as_str())
                .y_desc(self.y.0.as_str())
                .label_style(("sans-serif", 13))
                .x_label_formatter(&|place| self.x.1.label(*place))
                .y_label_formatter(&|place| self.y.1.label(*place))
                .draw()?;
            for (index, points) in placed.iter().enumerate() {
                let ink = color(index);
                if let Some(Point { y, .. }) = points.iter().find(|point| point.x.is_none()) {
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

    fn placed(&self, points: &[Spot]) -> Vec<Point> {
        let up = |value| self.y.1.place(value);
        let point = |(x, spread): &Spot| {
            let x = match x {
                Some(x) => Some(self.x.1.place(*x)?),
                None => None,
            };
            Some(Point {
                x,
                y: up(spread.median)?,
                least: up(spread.least)?,
                most: up(spread.most)?,
            })
        };
        points.iter().filter_map(point).collect()
    }
}

impl Bars {
    /// As SVG.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self) -> Result<String, DrawError> {
        framed(&self.title, &self.series, |area| {
            let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
            let values = self.cases.iter().flat_map(|(_, bars)| bars).filter_map(finite);
            let Span { range, ticks } = Scale::Linear.span(values.chain(self.mark));
            let names: Vec<Vec<String>> = self.cases.iter().map(|(name, _)| wrap(name)).collect();
            let widest = names.iter().flatten().map(|line| width(line, 12.0)).max().unwrap_or(0);
            let rows = self.cases.len().max(1) as f64;
            // Values are written behind the bars.
            let room = 0.1 * (range.end - range.start);
            let mut chart = ChartBuilder::on(area)
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(widest + 8)
                .build_cartesian_2d(
                    Span { range: range.start..range.end + room, ticks },
                    Span { range: 0.0..rows, ticks: Vec::new() },
                )?;
            chart
                .configure_mesh()
                .x_desc(self.axis.as_str())
                .label_style(("sans-serif", 13))
                .x_label_formatter(&|value| numbers::tick(*value))
                .draw()?;
            let height = chart.plotting_area().dim_in_pixel().1 as f64 / rows;
            let letters = (height / (self.series.len().max(1) as f64 + 0.6)).clamp(6.0, 12.0);
            for (row, ((_, bars), name)) in self.cases.iter().zip(&names).enumerate() {
                // The first case is on top.
                let top = rows - row as f64;
                let (_, middle) = chart.backend_coord(&(range.start, top - 0.5));
                let (left, _) = chart.plotting_area().get_pixel_range();
                for (line, text) in name.iter().enumerate() {
                    let down = 13.0 * (line as f64 - name.len() as f64 / 2.0);
                    let at = (left.start - 8, middle + down as i32);
                    let style = ("sans-serif", 12).into_font().color(&BLACK);
                    let style = style.pos(Pos::new(HPos::Right, VPos::Top));
                    // `backend_coord` counts from the whole drawing, an area from its own corner.
                    let corner = area.get_base_pixel();
                    area.draw(&Text::new(text.clone(), (at.0 - corner.0, at.1 - corner.1), style))?;
                }
                let thick = 0.8 / self.series.len().max(1) as f64;
                for (index, value) in bars.iter().enumerate() {
                    let Some(value) = finite(value) else { continue };
                    let high = top - 0.1 - thick * index as f64;
                    let bar =
                        Rectangle::new([(0.0, high), (value, high - thick)], color(index).filled());
                    chart.draw_series([bar])?;
                    let style = ("sans-serif", letters).into_font().color(&BLACK);
                    let anchor = Pos::new(HPos::Left, VPos::Center);
                    let at = (value + 0.06 * room, high - thick / 2.0);
                    let text = numbers::significant(value);
                    chart.draw_series([Text::new(text, at, style.pos(anchor))])?;
                }
            }
            if let Some(mark) = self.mark {
                let line = [(mark, 0.0), (mark, rows)];
                chart.draw_series([PathElement::new(line, BLACK.stroke_width(1))])?;
            }
            Ok(())
        })
    }
}

/// A name on lines of at most [`LETTERS`], broken between words.
fn wrap(name: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LETTERS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let Span { range, ticks } = Scale::Linear.span([120.0, 570.0]);
        assert_eq!((range, ticks.len()), (0.0..600.0, 7));
        let Span { range, ticks } = Scale::Log2.span([0.0, 6.0]);
        assert_eq!((range, ticks.len()), (-0.3..6.3, 7));
        assert_eq!(Scale::Log2.label(6.0), "64");
        let Span { ticks, .. } = Scale::Log10.span([3e6_f64.log10(), 1.3e8_f64.log10()]);
        let labels: Vec<String> = ticks.iter().map(|tick| Scale::Log10.label(*tick)).collect();
        assert_eq!(labels, ["2M", "5M", "10M", "20M", "50M", "100M", "200M"]);
        for scale in [Scale::Linear, Scale::Log2, Scale::Log10] {
            for places in [vec![], vec![0.0], vec![2.5]] {
                let Span { range, ticks } = scale.span(places);
                assert!(range.end > range.start && !ticks.is_empty());
            }
        }
    }

    #[test]
    fn lines_levels_and_points_without_a_place_are_drawn_or_left_out() {
        let at = |y: f64| Spread { median: y, least: 0.9 * y, most: 1.1 * y };
        let plot = Curves {
            title: "title & more".to_owned(),
            x: ("rank".to_owned(), Scale::Log2),
            y: ("tokens a second".to_owned(), Scale::Linear),
            series: vec![
                // A rank of 0 has no logarithm.
                (
                    "lora".to_owned(),
                    [(1.0, 5.0), (2.0, 4.0), (0.0, 1.0)].map(|(x, y)| (Some(x), at(y))).into(),
                ),
                ("full".to_owned(), vec![(None, at(2.0))]),
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

    #[test]
    fn a_bar_is_drawn_for_each_value_that_there_is() {
        let plot = Bars {
            title: "against full".to_owned(),
            axis: "ratio".to_owned(),
            series: vec!["tokens".to_owned(), "memory".to_owned()],
            cases: vec![
                ("a".to_owned(), vec![Some(1.5), Some(0.5)]),
                ("b".to_owned(), vec![Some(2.0), None]),
                ("c".to_owned(), vec![Some(f64::NAN), None]),
            ],
            mark: Some(1.0),
        };
        let svg = plot.svg().unwrap();
        // The background, two of the legend, three bars.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3);
        assert!(svg.contains("1.50") && svg.contains("0.500"), "{svg}");
    }
}
