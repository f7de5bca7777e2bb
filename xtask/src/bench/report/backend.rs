//! Backend against backend, on the same cell.

use std::collections::{BTreeMap, BTreeSet};

use super::bars::Bars;
use super::costs::{self, quotient};
use super::excuses::Excused;
use super::frame::DrawError;
use super::numbers::{or_none, ratio};
use super::section::Section;
use super::table::Table;
use crate::bench::record::Cell;
use crate::bench::statistics::Summary;

const TITLE: &str = "Which backend?";

/// A table of the cells that several backends were measured on, or why there is none.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(found: &[Summary], excused: &[Excused<'_>]) -> Result<Section, DrawError> {
    let mut cells: BTreeMap<Cell, Vec<&Summary>> = BTreeMap::new();
    for summary in found {
        let cell = Cell { backend: String::new(), ..summary.cell.clone() };
        cells.entry(cell).or_default().push(summary);
    }
    cells.retain(|_, group| group.len() > 1);
    let measured: BTreeMap<&str, usize> = found.iter().fold(BTreeMap::new(), |mut all, summary| {
        *all.entry(summary.cell.backend.as_str()).or_insert(0) += 1;
        all
    });
    let mut section = Section::new(TITLE);
    // Ratios are over the backend that most cells were measured on.
    let usual = measured.iter().max_by_key(|(_, cells)| **cells).map(|(name, _)| *name);
    match usual {
        Some(usual) if !cells.is_empty() => {
            section.block(format!("Ratios are over {usual}."));
            let mut table = Table::new(&["cell", "backend", "tokens/s", "ratio", "peak memory"]);
            for (cell, group) in &cells {
                let base = group.iter().find(|summary| summary.cell.backend == usual);
                let base = base.and_then(|base| base.tokens_per_second());
                for summary in group {
                    table.row([
                        name(cell),
                        summary.cell.backend.clone(),
                        costs::tokens(summary),
                        or_none(quotient(summary.tokens_per_second(), base), |q| ratio(q, 1.0)),
                        costs::peak(summary),
                    ]);
                }
            }
            section.block(table);
            section.plot("backend", "Tokens a second by backend", bars(&cells).svg()?);
        }
        Some(_) => {
            let names: Vec<&str> = measured.keys().copied().collect();
            section.block(match &names[..] {
                [one] => format!("Only {one} was measured."),
                several => format!("{} share no cell.", several.join(" and ")),
            });
        }
        None => section.block("No backend was measured."),
    }
    let others: BTreeSet<String> = excused
        .iter()
        .filter(|one| !measured.contains_key(one.excuse.cell.backend.as_str()))
        .map(|one| format!("- {}: {}, {}", one.excuse.cell.backend, one.how, one.reason()))
        .collect();
    if !others.is_empty() {
        section.block("Not measured:");
        section.block(others.into_iter().collect::<Vec<_>>().join("\n"));
    }
    Ok(section)
}

/// The cell without its backend.
fn name(cell: &Cell) -> String {
    let way = super::conditions::way(cell.method, cell.rank);
    format!("{} {way} {}x{}", cell.model, cell.batch, cell.length)
}

fn bars(cells: &BTreeMap<Cell, Vec<&Summary>>) -> Bars {
    let backends: BTreeSet<&str> =
        cells.values().flatten().map(|summary| summary.cell.backend.as_str()).collect();
    let figure = |group: &[&Summary], backend: &str| {
        let summary = group.iter().find(|summary| summary.cell.backend == backend)?;
        Some(summary.tokens_per_second()?.median)
    };
    Bars {
        title: "Tokens a second by backend".to_owned(),
        axis: "tokens a second",
        series: backends.iter().map(|&name| name.to_owned()).collect(),
        cases: cells
            .iter()
            .map(|(cell, group)| {
                (name(cell), backends.iter().map(|backend| figure(group, backend)).collect())
            })
            .collect(),
        mark: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::{Excuse, Line, Method};
    use crate::bench::report::excuses::excused;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    fn on(backend: &str, seconds: f64) -> Line {
        let Line::Sample(mut one) = sample(Method::Full, None, 0, &[seconds]) else {
            panic!("a sample")
        };
        one.cell.backend = backend.to_owned();
        Line::Sample(one)
    }

    #[test]
    fn a_slower_backend_is_a_ratio_below_one() {
        let mut lines = vec![on("flex", 1.0), on("ndarray", 4.0)];
        lines.push(sample(Method::Lora, Some(2), 0, &[1.0]));
        let text = section(&summaries(&lines), &[]).unwrap().markdown();
        assert!(text.contains("Ratios are over flex."), "{text}");
        assert!(text.contains("| tiny full 2x4 | ndarray | 2.00 | 0.250x | 1.00 MiB |"), "{text}");
        // What one backend only was measured on is not compared.
        assert!(!text.contains("lora"), "{text}");
    }

    #[test]
    fn one_backend_is_said_in_a_line_with_the_reasons_of_the_others() {
        let Line::Sample(absent) = on("cuda", 1.0) else { panic!("a sample") };
        let excuse = Excuse { cell: absent.cell, reason: "not compiled in".to_owned() };
        let lines = [on("flex", 1.0), Line::Skipped(excuse)];
        let text = section(&summaries(&lines), &excused(&lines)).unwrap().markdown();
        assert!(text.contains("Only flex was measured."), "{text}");
        assert!(text.contains("- cuda: skipped, not compiled in"), "{text}");
        assert!(!text.contains("| ---"), "{text}");
    }
}
