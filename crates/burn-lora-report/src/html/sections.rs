//! The parts of a page that are text: each gives HTML with everything escaped, or nothing where there is
//! nothing to show.

use super::escape::escaped;
use crate::ReportError;
use crate::curves::{Chart, charts};
use crate::figure;
use crate::plot::PAGE;
use crate::record::{self, Record};
use crate::sample::Sample;

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
    if facts.is_empty() {
        return String::new();
    }
    let rows = facts.iter().map(|(name, value)| {
        let (name, value) = (escaped(name.trim()), escaped(value.as_ref().trim()));
        format!("<dt>{name}</dt><dd dir=\"auto\">{value}</dd>\n")
    });
    format!("<dl>\n{}</dl>\n", rows.collect::<String>())
}

/// The curves of a run, a figure each.
pub fn curves(records: &[Record]) -> Result<String, ReportError> {
    let figure = |chart: Chart| {
        // Inside of HTML an `<svg>` needs no namespace, and the page then holds no address at all.
        let svg = chart.svg(PAGE)?.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
        let label = format!("role=\"img\" aria-label=\"{}, over steps\"", chart.caption);
        Ok(format!("<figure>\n<div class=\"plot\" {label}>{svg}</div>\n</figure>\n"))
    };
    charts(records).into_iter().map(figure).collect()
}

/// What every evaluation measured, a row each.
pub fn evaluations(records: &[Record]) -> String {
    let cells: String = record::evaluations(records)
        .map(|record| {
            let figures = figure::ALL.map(|figure| figure.shown(record));
            let cells =
                figures.map(|shown| format!("<td>{}</td>", shown.as_deref().unwrap_or("–")));
            format!("<tr><td>{}</td>{}</tr>\n", record.step, cells.concat())
        })
        .collect();
    if cells.is_empty() {
        return cells;
    }
    let heads = figure::ALL.map(|figure| format!("<th>{}</th>", figure.name)).concat();
    format!(
        "<div class=\"table\" tabindex=\"0\"><table>\n<thead><tr><th>step</th>{heads}</tr></thead>\n\
         <tbody>\n{cells}</tbody>\n</table></div>\n"
    )
}

/// Prompts, and side by side what was expected and what the model wrote before and after.
pub fn samples(samples: &[(Option<Sample>, Sample)]) -> String {
    let mut html = String::new();
    for (index, (before, after)) in samples.iter().enumerate() {
        let number = index + 1;
        html += &format!("<article>\n<h3>Prompt {number}</h3>\n{}", preformatted(&after.prompt));
        html += "<div class=\"sides\">\n";
        html += &side("expected", &after.expected, false);
        if let Some(before) = before {
            html += &side("before", &before.output, before.is_exact());
        }
        html += &side("after", &after.output, after.is_exact());
        html += "</div>\n</article>\n";
    }
    html
}

fn side(heading: &str, text: &str, is_exact: bool) -> String {
    let mut html = format!("<div><h4>{heading}");
    if is_exact {
        html += " <span class=\"exact\">exact</span>";
    }
    html + "</h4>\n" + &preformatted(text) + "</div>\n"
}
