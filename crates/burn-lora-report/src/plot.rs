//! Pictures as SVG: [`Plot`], curves over an axis, and [`Bars`], figures per case. The one place that draws.
//!
//! A plot stands alone: white paper, its title, and a legend above the drawing, so that it covers nothing. One in a
//! page is drawn with larger [letters](PAGE), for a phone shows it at a third of its size; the page's style sheet finds its
//! colours, the light ones, by value and replaces them in the dark.

mod axis;
mod bars;
mod curves;
mod paper;

use plotters::style::RGBColor;

pub use axis::Scale;
pub use bars::Bars;
pub use curves::{Curve, Plot, Stroke};

/// A place on the axis below, and a value.
pub type Point = (f64, f64);

/// Height of the letters of a plot in a file, in units of the drawing.
pub const FILE: u32 = 13;
/// Height of the letters of a plot in a page.
pub const PAGE: u32 = 24;

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

/// The colour of a series; after the last one the first again.
pub fn colour(series: usize) -> RGBColor {
    COLOURS[series % COLOURS.len()]
}
