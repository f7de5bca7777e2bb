//! What a run measured, told in words, numbers and pictures.
//!
//! - [`record`]: what every step and every evaluation measured, as `metrics.jsonl` holds it.
//! - [`figure`]: the figures of an evaluation, each with its name, its unit and how it is written: the one source of
//!   everything below, of a sweep's table and of a model card.
//! - [`sample`], [`bleu`]: generated texts against what was expected.
//! - [`summary`]: what a run came to, as lines or as JSON.
//! - [`plot`], [`html`], [`tensorboard`]: curves as SVG, the run as one page, event files.
//! - [`spectra`]: the singular values of an adapter as plots; [`html`] has the page about it.
//!
//! Nothing here runs or reads a model, knows a configuration or finds a file: what to tell is given, and texts come
//! back.

pub mod bleu;
pub mod curves;
mod error;
pub mod figure;
pub mod html;
pub mod plot;
pub mod record;
pub mod sample;
mod series;
pub mod spectra;
pub mod summary;
pub mod tensorboard;

pub use error::ReportError;
