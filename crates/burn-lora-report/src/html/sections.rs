//! The parts of a page that are text: each gives HTML with everything escaped, or nothing where there is
//! nothing to show.

use super::escape::escaped;
use crate::ReportError;
use crate::curves;
use crate::figure;
use crate::plot::PAGE;
use crate::record::{self, EvalRecord, Record};
use crate::sample::Sample;
use crate::spectra::{LayerSpectrum, energy_svg, singular_svg};

/// The content between start and end; nothing where there is none.
pub fn within(start: &str, content: impl AsRef<str>, end: &str) -> String {
    let content = content.as_ref();
    if content.is_empty() { String::new() } else { [start, content, end].concat() }
}

/// A text as it is, line for line.
pub fn text(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { preformatted(text) }
}

fn preformatted(text: &str) -> String {
    // HTML passes over a line's end right after the tag; this one, so that none of the text's is.
    format!("<pre dir=\"auto\">\n{}</pre>\n", escaped(text))
}

/// Names and values.
pub fn facts(facts: &[(&str, impl AsRef<str>)]) -> String {
    let rows = facts.iter().map(|(name, value)| {
        let (name, value) = (escaped(name.trim()), escaped(value.as_ref().trim()));
        format!("<dt>{name}</dt><dd dir=\"auto\">{value}</dd>\n")
    });
    within("<dl>\n", rows.collect::<String>(), "</dl>\n")
}

/// The curves of a run, a figure each.
pub fn curves(records: &[Record]) -> Result<String, ReportError> {
    let mut html = String::new();
    for figure in &figure::OF_STEPS {
        if let Some(svg) = curves::svg(figure, records, PAGE)? {
            html += &drawn(&svg, &format!("{}, over steps", figure.caption));
        }
    }
    Ok(html)
}

/// The singular values of an adapter's changes, and what a smaller rank keeps.
pub fn spectra(layers: &[LayerSpectrum<'_>]) -> Result<String, ReportError> {
    let kept = energy_svg(layers, PAGE)?;
    let kept =
        kept.map(|svg| drawn(&svg, "Share of the squared norm that a rank keeps, over ranks"));
    let values = singular_svg(layers, PAGE)?.map(|svg| drawn(&svg, "Singular values, over ranks"));
    Ok([kept, values].into_iter().flatten().collect())
}

/// A plot as a figure.
fn drawn(svg: &str, label: &str) -> String {
    // Inside of HTML an `<svg>` needs no namespace, and the page then holds no address at all.
    let svg = svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
    let label = format!("role=\"img\" aria-label=\"{}\"", escaped(label));
    format!("<figure>\n<div class=\"plot\" {label}>{svg}</div>\n</figure>\n")
}

/// Rows of cells; the first has the columns' names. Nothing where there are no rows below it.
pub fn table(rows: &[Vec<String>]) -> String {
    let cells = |row: &[String], tag: &str| -> String {
        let cell = |text: &String| format!("<{tag}>{}</{tag}>", escaped(text));
        format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>())
    };
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let start = format!(
        "<div class=\"table\" tabindex=\"0\"><table>\n<thead>{}</thead>\n<tbody>\n",
        cells(head, "th")
    );
    let rows: String = rows.iter().map(|row| cells(row, "td")).collect();
    within(&start, rows, "</tbody>\n</table></div>\n")
}

/// What every evaluation measured, a row each.
pub fn evaluations(records: &[Record]) -> String {
    let row = |record: &EvalRecord| {
        let shown =
            figure::ALL.map(|figure| figure.shown(record).unwrap_or_else(|| "–".to_owned()));
        format!("<tr><td>{}</td><td>{}</td></tr>\n", record.step, shown.join("</td><td>"))
    };
    let heads = figure::ALL.map(|figure| figure.name).join("</th><th>");
    let start = format!(
        "<div class=\"table\" tabindex=\"0\"><table>\n\
         <thead><tr><th>step</th><th>{heads}</th></tr></thead>\n<tbody>\n"
    );
    within(
        &start,
        record::evaluations(records).map(row).collect::<String>(),
        "</tbody>\n</table></div>\n",
    )
}

/// Prompts, and side by side what was expected and what the model wrote before and after.
pub fn samples(samples: &[Sample]) -> String {
    let article = |(index, sample): (usize, &Sample)| {
        let exact =
            |text| if sample.is_right(text) { " <span class=\"exact\">exact</span>" } else { "" };
        let before = sample.before.as_deref();
        let sides = [
            side("expected", "", &sample.expected),
            before.map_or_else(String::new, |before| side("before", exact(before), before)),
            side("after", exact(&sample.output), &sample.output),
        ];
        let (number, prompt, sides) = (index + 1, preformatted(&sample.prompt), sides.concat());
        format!(
            "<article>\n<h3>Prompt {number}</h3>\n{prompt}<div class=\"sides\">\n{sides}</div>\n</article>\n"
        )
    };
    samples.iter().enumerate().map(article).collect()
}

fn side(heading: &str, exact: &str, text: &str) -> String {
    format!("<div><h4>{heading}{exact}</h4>\n{}</div>\n", preformatted(text))
}
