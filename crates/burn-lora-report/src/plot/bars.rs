//! Figures per case: bars that lie, each case's under its name.

use std::ops::Range;

use burn_lora_text::significant;
use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Scale;
use super::paper::{self, Area, Failure, GRID, INK, text_style};
use super::{FILE, colour};
use crate::ReportError;

/// Height of a bar or of a name, where there are many.
const ROW: u32 = 16;

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
    pub mark: f64,
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
        let height = paper::HEIGHT.max(120 + ROW * self.rows() as u32);
        paper::sheet(height, FILE, &self.title, &legend, |area| self.draw(area))
            .map_err(|source| ReportError::Plot { plot: self.title.clone(), source })
    }

    /// A row for each case's name and for each of its bars.
    fn rows(&self) -> usize {
        self.cases.len() * (1 + self.series.len())
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Failure> {
        let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
        let values = self.cases.iter().flat_map(|(_, bars)| bars).filter_map(finite);
        // Values are written behind the bars.
        let across = Scale::Linear.axis(values.chain([self.mark]).flat_map(|v| [v, 1.1 * v]));
        let Range { start, end } = across.range();
        let room = 0.005 * (end - start);
        // From above.
        let rows = self.rows() as f64;
        let down: RangedCoordf64 = (rows..0.0).into();
        let mut chart = ChartBuilder::on(area)
            .margin(paper::MARGIN)
            .x_label_area_size(3 * FILE)
            .build_cartesian_2d(across, down)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(text_style(FILE))
            .x_desc(self.axis.as_str())
            .draw()?;
        let style = text_style(FILE - 1).pos(Pos::new(HPos::Left, VPos::Center));
        let text = |text: &str, x, row| Text::new(text.to_owned(), (x + room, row), style.clone());
        let mut row = 0.0;
        for (name, bars) in &self.cases {
            chart.draw_series([text(name, start, row + 0.6)])?;
            row += 1.0;
            for (index, value) in bars.iter().enumerate() {
                if let Some(value) = finite(value) {
                    let bar = [(0.0, row + 0.05), (value, row + 0.95)];
                    chart.draw_series([Rectangle::new(bar, colour(index).filled())])?;
                    chart.draw_series([text(&significant(value), value.max(0.0), row + 0.5)])?;
                }
                row += 1.0;
            }
        }
        let line = [(self.mark, 0.0), (self.mark, rows)];
        chart.draw_series([PathElement::new(line, INK.stroke_width(1))])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_drawn_for_each_value_that_there_is() {
        let mut plot = Bars {
            title: "against full".to_owned(),
            axis: "ratio".to_owned(),
            series: vec!["tokens".to_owned(), "memory".to_owned()],
            cases: vec![
                ("a".to_owned(), vec![Some(1.5), Some(0.5)]),
                ("b".to_owned(), vec![Some(2.0), None]),
                ("c".to_owned(), vec![Some(f64::NAN), None]),
            ],
            mark: 1.0,
        };
        let svg = plot.svg().unwrap();
        // The background, two of the legend, three bars.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 + 3);
        assert!(svg.contains("1.50") && svg.contains("0.500"), "{svg}");
        assert!(svg.starts_with("<svg width=\"800\" height=\"480\""), "{svg}");
        plot.cases = vec![plot.cases[0].clone(); 20];
        let svg = plot.svg().unwrap();
        assert!(
            svg.starts_with("<svg width=\"800\" height=\"1080\""),
            "as high as it needs: {svg}"
        );
    }
}
