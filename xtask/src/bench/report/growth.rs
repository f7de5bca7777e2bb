//! How cost grows, with the model and with the tokens of a step.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::Scale;
use super::conditions::{sizes, way};
use super::costs::{self, Figure, mebibytes};
use super::curves::{Curves, Points, Series};
use super::frame::DrawError;
use super::numbers::count;
use super::section::Section;
use super::table::Table;
use crate::bench::record::Method;
use crate::bench::statistics::Summary;

/// Cells in the order of what grows: its value, and the cell.
type Row<'a> = Vec<(f64, &'a Summary)>;

/// A method and a rank, each with its cells.
type Ways<'a> = BTreeMap<(Method, Option<usize>), Row<'a>>;

/// A figure drawn over what grows.
struct Drawn {
    stem: &'static str,
    label: &'static str,
    figure: Figure,
    scale: Scale,
}

/// With the model: equal backend, batch and length.
///
/// # Errors
///
/// What the drawing library says.
pub fn with_size(found: &[Summary]) -> Result<Section, DrawError> {
    let title = "How does cost grow with the model?";
    let sizes = sizes(found);
    let groups = grouped(found, |summary| {
        let cell = &summary.cell;
        let size = *sizes.get(cell.model.as_str())?;
        let equal = format!("{} {}x{}", cell.backend, cell.batch, cell.length);
        Some((equal, size as f64))
    });
    let drawn = [
        Drawn {
            stem: "size-tokens",
            label: "tokens a second",
            figure: Summary::tokens_per_second,
            scale: Scale::Log10,
        },
        Drawn {
            stem: "size-memory",
            label: "peak memory (MiB)",
            figure: mebibytes,
            scale: Scale::Log10,
        },
    ];
    let x = ("parameters of the model", Scale::Log10);
    let none = "No method was measured on several models under equal conditions.";
    section(title, none, &groups, x, &drawn, |size, summary| {
        format!("{} ({})", summary.cell.model, count(size as u64))
    })
}

/// With the tokens of a step: equal model and backend.
///
/// # Errors
///
/// What the drawing library says.
pub fn with_tokens(found: &[Summary]) -> Result<Section, DrawError> {
    let title = "How does cost grow with tokens?";
    let groups = grouped(found, |summary| {
        let equal = format!("{} {}", summary.cell.model, summary.cell.backend);
        Some((equal, summary.cell.tokens() as f64))
    });
    let drawn = [
        Drawn {
            stem: "tokens-tokens",
            label: "tokens a second",
            figure: Summary::tokens_per_second,
            scale: Scale::Linear,
        },
        Drawn {
            stem: "tokens-memory",
            label: "peak memory (MiB)",
            figure: mebibytes,
            scale: Scale::Linear,
        },
    ];
    let x = ("tokens of a step (batch x length)", Scale::Log2);
    let none = "No method was measured with several numbers of tokens on one model and backend.";
    section(title, none, &groups, x, &drawn, |tokens, summary| {
        format!("{tokens} ({}x{})", summary.cell.batch, summary.cell.length)
    })
}

/// Training cells by what is equal, then by method and rank; only what grows somewhere.
fn grouped<'a>(
    found: &'a [Summary],
    place: impl Fn(&Summary) -> Option<(String, f64)>,
) -> BTreeMap<String, Ways<'a>> {
    let mut groups: BTreeMap<String, Ways<'a>> = BTreeMap::new();
    for summary in found.iter().filter(|summary| summary.cell.method != Method::Merged) {
        if let Some((equal, grows)) = place(summary) {
            let ways = groups.entry(equal).or_default();
            let row = ways.entry((summary.cell.method, summary.cell.rank)).or_default();
            row.push((grows, summary));
        }
    }
    for ways in groups.values_mut() {
        for row in ways.values_mut() {
            row.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        ways.retain(|_, row| {
            row.iter().map(|(grows, _)| grows.to_bits()).collect::<BTreeSet<_>>().len() > 1
        });
    }
    groups.retain(|_, ways| !ways.is_empty());
    groups
}

fn section(
    title: &str,
    none: &str,
    groups: &BTreeMap<String, Ways<'_>>,
    x: (&'static str, Scale),
    drawn: &[Drawn],
    name: impl Fn(f64, &Summary) -> String,
) -> Result<Section, DrawError> {
    if groups.is_empty() {
        return Ok(Section::unanswered(title, none));
    }
    let mut section = Section::new(title);
    for (index, (equal, ways)) in groups.iter().enumerate() {
        section.heading(equal);
        let mut table = Table::new(&["method", x.0, "tokens/s", "step", "peak memory"]);
        for (&(method, rank), row) in ways {
            for &(grows, summary) in row {
                table.row([
                    way(method, rank),
                    name(grows, summary),
                    costs::tokens(summary),
                    costs::step(summary),
                    costs::peak(summary),
                ]);
            }
        }
        section.block(table);
        for Drawn { stem, label, figure, scale } in drawn {
            let series = ways
                .iter()
                .map(|(&(method, rank), row)| Series {
                    name: way(method, rank),
                    points: Points::Over(
                        row.iter().filter_map(|&(x, s)| Some((x, figure(s)?))).collect(),
                    ),
                })
                .collect();
            let plot = Curves {
                title: format!("{label} over {}: {equal}", x.0),
                x,
                y: (*label, *scale),
                series,
                joined: true,
            };
            section.plot(&format!("{stem}-{}", index + 1), &plot.title, plot.svg()?);
        }
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Line;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    fn full(model: &str, parameters: u64, length: usize, seconds: f64) -> Line {
        let Line::Sample(mut one) = sample(Method::Full, None, 0, &[seconds]) else {
            panic!("a sample")
        };
        one.cell.model = model.to_owned();
        one.cell.length = length;
        one.measured.parameters = parameters;
        Line::Sample(one)
    }

    #[test]
    fn models_are_in_order_of_their_size_not_their_name() {
        let lines = [full("a", 2_000_000, 4, 4.0), full("b", 1_000_000, 4, 2.0)];
        let found = summaries(&lines);
        let section = with_size(&found).unwrap();
        let text = section.markdown();
        let small = text.find("| full | b (1,000,000) | 4.00 | 2.00 s | 1.00 MiB |").unwrap();
        let large = text.find("| full | a (2,000,000) | 2.00 | 4.00 s | 1.00 MiB |").unwrap();
        assert!(small < large);
        assert_eq!(section.plots().len(), 2);
        // Different models are no growth with tokens.
        assert!(with_tokens(&found).unwrap().plots().is_empty());
    }

    #[test]
    fn tokens_are_rows_times_length() {
        let found = summaries(&[full("a", 10, 4, 1.0), full("a", 10, 16, 2.0)]);
        let text = with_tokens(&found).unwrap().markdown();
        assert!(text.contains("| full | 8 (2x4) | 8.00 | 1.00 s |"), "{text}");
        assert!(text.contains("| full | 32 (2x16) | 16.0 | 2.00 s |"), "{text}");
        assert!(!with_size(&found).unwrap().markdown().contains('|'));
    }
}
