//! Pictures as SVG: [`Plot`], curves over an axis, and [`Bars`], figures per case. The one place that draws.
//!
//! A plot is drawn for one of two places. [`Place::File`] stands alone: white paper, names of the axes, and a legend
//! above the drawing, so that it covers nothing. [`Place::Page`] lies in a page that has captions of its own: its
//! colours are the light ones, and the page's style sheet finds them by value and replaces them in the dark;
//! its text is large, for a phone shows a plot at a third of its size.

mod axis;
mod bars;
mod curves;
mod paper;

use plotters::style::RGBColor;

pub use axis::{Axis, Scale};
pub use bars::Bars;
pub use curves::{Curve, Plot, Stroke};

/// A place on the axis below, and a value.
pub type Point = (f64, f64);

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

/// Where a plot is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By itself.
    File,
    /// In a page.
    Page,
}
