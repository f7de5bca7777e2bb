//! One HTML file that reports a run ([`render`]: its curves, samples before and after, evaluations, configuration) or an adapter
//! ([`render_adapter`]: its singular values, and tables of its layers).
//!
//! It opens without a network and without JavaScript: plots are inline SVG, the style is inside, and a content
//! security policy forbids the browser to load anything. Light or dark is the reader's setting; a phone shows
//! one column. Whatever came from a user, a model or a file is escaped and is text, never markup.
//!
//! What has nothing to show is left out with its heading. Curves cannot be zoomed into; [`crate::tensorboard`]
//! is for that.
//!
//! ```
//! use burn_lora_report::html::{RunReport, render};
//!
//! let report = RunReport {
//!     title: "quickstart <1>",
//!     summary: &[("held-out loss", "3.2104 -> 0.8731".to_owned())],
//!     ..RunReport::default()
//! };
//! let page = render(&report)?;
//! assert!(page.starts_with("<!DOCTYPE html>") && page.contains("quickstart &lt;1&gt;"));
//! # Ok::<(), burn_lora_report::ReportError>(())
//! ```

mod escape;
mod sections;

use crate::ReportError;
use crate::record::Record;
use crate::sample::Sample;
use crate::spectra::LayerSpectrum;
use escape::escaped;

/// The page's look.
const STYLE: &str = include_str!("html/style.css");

/// What a page says. All texts are plain ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunReport<'a> {
    /// The heading, and the browser tab's name.
    pub title: &'a str,
    /// The resolved configuration, as TOML.
    pub config_toml: &'a str,
    /// What the run came to, as [`Summary::facts`](crate::summary::Summary::facts) says it.
    pub summary: &'a [(&'a str, String)],
    /// What `metrics.jsonl` holds.
    pub records: &'a [Record],
    /// Some prompts with what was written, as in [`crate::summary::Summary`].
    pub samples: &'a [Sample],
    /// What was adapted, as the patch report prints it.
    pub patch_report: &'a str,
    /// Names and values of what else is worth knowing: machine, device, version, time.
    pub facts: &'a [(&'a str, &'a str)],
}

/// What a page says of an adapter. All texts are plain ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdapterReport<'a> {
    /// The heading, and the browser tab's name.
    pub title: &'a str,
    /// Names and values of what holds for the adapter as a whole.
    pub facts: &'a [(&'a str, String)],
    /// The singular values of its layers' changes.
    pub spectra: &'a [LayerSpectrum<'a>],
    /// Tables, each with its heading; the first row of one has the columns' names.
    pub tables: &'a [(&'a str, Vec<Vec<String>>)],
    /// What should be looked at, a line each.
    pub notes: &'a str,
}

/// The page of a run.
///
/// # Errors
///
/// A plot cannot be drawn.
pub fn render(report: &RunReport<'_>) -> Result<String, ReportError> {
    Ok(page(
        report.title,
        &[
            ("Summary", sections::facts(report.summary)),
            ("Curves", sections::curves(report.records)?),
            ("Samples", sections::samples(report.samples)),
            ("Evaluations", sections::evaluations(report.records)),
            ("Adapted model", sections::text(report.patch_report)),
            ("Configuration", sections::text(report.config_toml)),
            ("Machine and time", sections::facts(report.facts)),
        ],
    ))
}

/// The page of an adapter.
///
/// # Errors
///
/// A plot cannot be drawn.
pub fn render_adapter(report: &AdapterReport<'_>) -> Result<String, ReportError> {
    let mut sections = vec![
        ("Adapter", sections::facts(report.facts)),
        ("Singular values", sections::spectra(report.spectra)?),
        ("Notes", sections::text(report.notes)),
    ];
    sections.extend(report.tables.iter().map(|(heading, rows)| (*heading, sections::table(rows))));
    Ok(page(report.title, &sections))
}

/// A page of sections, a heading and its HTML each; those with nothing in them are left out.
fn page(title: &str, sections: &[(&str, String)]) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1 dir=\"auto\">{title}</h1>\n"
    );
    for (heading, html) in sections {
        let start = format!("<section>\n<h2>{}</h2>\n", escaped(heading));
        page += &sections::within(&start, html, "</section>\n");
    }
    page + "</main>\n</body>\n</html>\n"
}

#[cfg(test)]
mod tests;
