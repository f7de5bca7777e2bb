//! Figures per case: bars that lie, so that the cases' names can be read.

use burn_lora_text::{short, significant};
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Scale, Ticks};
use super::colour;
use super::paper::{self, Area, Failure, text_style, width};
use crate::ReportError;

/// Letters of a case's name on one line.
const LETTERS: usize = 36;

/// Bars, as a file.
#[derive(Debug, Clone, PartialEq)]
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

impl Bars {
    /// As SVG.
    ///
    /// # Errors
    ///
    /// What the drawing library says.
    pub fn svg(&self) -> Result<String, ReportError> {
        let series = self.series.iter().enumerate();
        let legend: Vec<_> = series.map(|(index, name)| (name.as_str(), colour(index))).collect();
        paper::file(&self.title, &legend, |area| self.draw(area))
            .map_err(|source| ReportError::Plot { plot: self.title.clone(), source })
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Failure> {
        let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
        let values = self.cases.iter().flat_map(|(_, bars)| bars).filter_map(finite);
        let ticks = Scale::Linear.ticks(values.chain(self.mark));
        let range = ticks.range();
        let names: Vec<Vec<String>> = self.cases.iter().map(|(name, _)| wrap(name)).collect();
        let widest = names.iter().flatten().map(|line| width(line, 12.0)).max().unwrap_or(0);
        let rows = self.cases.len().max(1) as f64;
        // Values are written behind the bars.
        let room = 0.1 * (range.end - range.start);
        let across = match ticks {
            Ticks::Round(range, ticks, scale) => {
                Ticks::Round(range.start..range.end + room, ticks, scale)
            }
            other => other,
        };
        let down = Ticks::Round(0.0..rows, Vec::new(), Scale::Linear);
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(widest + 8)
            .build_cartesian_2d(across, down)?;
        chart
            .configure_mesh()
            .x_desc(self.axis.as_str())
            .label_style(("sans-serif", 13))
            .x_label_formatter(&|value| short(*value))
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
                let style = text_style(12).pos(Pos::new(HPos::Right, VPos::Top));
                // `backend_coord` counts from the whole drawing, an area from its own corner.
                let corner = area.get_base_pixel();
                area.draw(&Text::new(text.clone(), (at.0 - corner.0, at.1 - corner.1), style))?;
            }
            let thick = 0.8 / self.series.len().max(1) as f64;
            for (index, value) in bars.iter().enumerate() {
                let Some(value) = finite(value) else { continue };
                let high = top - 0.1 - thick * index as f64;
                let bar = [(0.0, high), (value, high - thick)];
                chart.draw_series([Rectangle::new(bar, colour(index).filled())])?;
                let style = text_style(letters).pos(Pos::new(HPos::Left, VPos::Center));
                let at = (value + 0.06 * room, high - thick / 2.0);
                chart.draw_series([Text::new(significant(value), at, style)])?;
            }
        }
        if let Some(mark) = self.mark {
            let line = [(mark, 0.0), (mark, rows)];
            chart.draw_series([PathElement::new(line, BLACK.stroke_width(1))])?;
        }
        Ok(())
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
