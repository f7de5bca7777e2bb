//! What every plot has: 800 x 480, a title, and a legend above the drawing, so that it covers
//! nothing.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Where plots are drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What can go wrong while drawing.
pub type DrawError = Box<dyn std::error::Error>;

/// Width and height.
const SIZE: (u32, u32) = (800, 480);
/// Room on all sides.
const MARGIN: i32 = 16;
/// Height of the title and of a row of the legend.
const ROW: i32 = 20;

/// Told apart by people who do not see all colours (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// The colour of a series.
pub fn color(series: usize) -> RGBColor {
    COLORS[series % COLORS.len()]
}

/// Roughly how wide a text is: fonts are the viewer's.
pub fn width(text: &str, size: f64) -> i32 {
    (0.58 * size * text.chars().count() as f64).ceil() as i32
}

/// Draws into a new SVG what is left below title and legend.
pub fn framed(
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
