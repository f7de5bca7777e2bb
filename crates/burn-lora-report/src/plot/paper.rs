//! What is drawn on: a file of its own with title and legend, or a part of a page.

use plotters::coord::Shift;
use plotters::prelude::*;

/// What the drawing library says.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Width and height of a file.
const FILE: (u32, u32) = (800, 480);
/// Width and height in a page.
const PAGE: (u32, u32) = (960, 540);
/// Room on all sides.
const MARGIN: i32 = 16;
/// Height of the title and of a row of the legend.
const ROW: i32 = 20;

/// Roughly how wide a text is: fonts are the viewer's.
pub(super) fn width(text: &str, size: f64) -> i32 {
    (0.58 * size * text.chars().count() as f64).ceil() as i32
}

pub(super) fn text_style(size: impl Into<f64>) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

/// A file: white, and drawn below its title and its legend where there are any.
pub(super) fn file(
    title: &str,
    legend: &[(&str, RGBColor)],
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, FILE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut top = 0;
        if !title.is_empty() {
            root.draw(&Text::new(title.to_owned(), (MARGIN, MARGIN), text_style(16)))?;
            top = MARGIN + ROW;
        }
        let (mut x, mut y) = (MARGIN, MARGIN.max(top + 4));
        for (name, colour) in legend {
            let needed = 32 + width(name, 13.0);
            if x > MARGIN && x + needed > FILE.0 as i32 - MARGIN {
                (x, y) = (MARGIN, y + ROW);
            }
            root.draw(&Rectangle::new([(x, y + 1), (x + 12, y + 13)], colour.filled()))?;
            root.draw(&Text::new((*name).to_owned(), (x + 18, y), text_style(13)))?;
            x += needed;
            top = y + ROW;
        }
        let (_, rest) = root.split_vertically(top);
        draw(&rest)?;
        root.present()?;
    }
    Ok(svg)
}

/// A part of a page. Inside of HTML an `<svg>` needs no namespace, and the page then holds no address at all.
pub(super) fn page(draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, PAGE).into_drawing_area();
        draw(&root)?;
        root.present()?;
    }
    Ok(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}
