//! What is drawn on: a white sheet with a title and a legend.

use plotters::coord::Shift;
use plotters::prelude::*;

/// What the drawing library says.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width of a sheet.
const WIDTH: u32 = 800;
/// Height of a sheet, unless what is drawn needs more.
pub(super) const HEIGHT: u32 = 480;
/// Room on all sides.
pub(super) const MARGIN: u32 = 16;
/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(68, 68, 68);
/// Lines across at the ticks.
pub(super) const GRID: RGBColor = RGBColor(221, 221, 221);

pub(super) fn text_style(letters: u32) -> TextStyle<'static> {
    ("sans-serif", letters).into_font().color(&INK)
}

/// A sheet of some height, drawn on below its title and its legend where there are any.
pub(super) fn sheet(
    height: u32,
    letters: u32,
    title: &str,
    legend: &[(&str, RGBColor)],
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let mut root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        if !title.is_empty() {
            root = root.titled(title, text_style(letters + 3))?;
        }
        // Roughly how wide a name is, for fonts are the viewer's, and the mark and the room beside it.
        let width = |(name, _): &(&str, _)| letters * (6 * name.chars().count() as u32 + 35) / 10;
        let widest = legend.iter().map(width).max().unwrap_or(WIDTH);
        let columns = ((WIDTH - 2 * MARGIN) / widest).max(1);
        for (index, (name, colour)) in (0..).zip(legend) {
            let x = (MARGIN + index % columns * widest) as i32;
            let y = (MARGIN / 2 + index / columns * letters * 3 / 2) as i32;
            let mark = [(x, y + 1), (x + letters as i32, y + letters as i32)];
            root.draw(&Rectangle::new(mark, colour.filled()))?;
            let beside = (x + letters as i32 * 3 / 2, y);
            root.draw(&Text::new((*name).to_owned(), beside, text_style(letters)))?;
        }
        let rows = (legend.len() as u32).div_ceil(columns);
        let (_, rest) = root.split_vertically(rows * letters * 3 / 2);
        draw(&rest)?;
        root.present()?;
    }
    Ok(svg)
}
