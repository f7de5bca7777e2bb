//! What an adapter costs in inference: forward passes without it, with it, and after merging it.

use super::bars::Bars;
use super::costs::quotient;
use super::frame::DrawError;
use super::numbers::{or_none, ratio, seconds};
use super::section::Section;
use super::table::Table;
use crate::bench::record::Latency;
use crate::bench::statistics::{Spread, Summary};

const TITLE: &str = "What does an adapter cost in inference?";

/// Latencies and their ratios over the base model's.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(found: &[Summary]) -> Result<Section, DrawError> {
    let cells: Vec<(&Summary, [Option<Spread>; 3])> = found
        .iter()
        .map(|summary| (summary, latencies(summary)))
        .filter(|(_, latencies)| latencies.iter().any(Option::is_some))
        .collect();
    if cells.is_empty() {
        return Ok(Section::unanswered(TITLE, "No inference was measured."));
    }
    let mut section = Section::new(TITLE);
    section.block(
        "The three alternate in one process. A merged model computes the base model's products \
         and no others, so that its ratio shows the noise.",
    );
    let mut table =
        Table::new(&["cell", "base", "with adapter", "merged", "adapter / base", "merged / base"]);
    let words = |spread: Option<Spread>| or_none(spread, |spread| seconds(spread.median));
    let over = |value, of| or_none(quotient(value, of), |quotient| ratio(quotient, 1.0));
    for &(summary, [base, adapter, merged]) in &cells {
        table.row([
            summary.cell.to_string(),
            words(base),
            words(adapter),
            words(merged),
            over(adapter, base),
            over(merged, base),
        ]);
    }
    section.block(table);
    let plot = Bars {
        title: "Latency over the base model's".to_owned(),
        axis: "ratio",
        series: vec!["with adapter".to_owned(), "merged".to_owned()],
        cases: cells
            .iter()
            .map(|&(summary, [base, adapter, merged])| {
                (summary.cell.to_string(), vec![quotient(adapter, base), quotient(merged, base)])
            })
            .collect(),
        mark: Some(1.0),
    };
    section.plot("inference", &plot.title, plot.svg()?);
    Ok(section)
}

/// Of the base model, with the adapter, merged.
pub fn latencies(summary: &Summary) -> [Option<Spread>; 3] {
    let parts: [fn(&Latency) -> &Vec<f64>; 3] =
        [|latency| &latency.base, |latency| &latency.adapter, |latency| &latency.merged];
    parts.map(|part| summary.latency(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::{Line, Method};
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn latencies_are_ratios_over_the_base() {
        let Line::Sample(mut one) = sample(Method::Merged, Some(2), 0, &[]) else {
            panic!("a sample")
        };
        one.measured.latency =
            Some(Latency { base: vec![0.1], adapter: vec![0.12], merged: vec![0.099] });
        let text = section(&summaries(&[Line::Sample(one)])).unwrap().markdown();
        let row = "| 100 ms | 120 ms | 99.0 ms | 1.20x | 0.990x |";
        assert!(text.contains(row), "{text}");
        let training = summaries(&[sample(Method::Full, None, 0, &[1.0])]);
        assert!(!section(&training).unwrap().markdown().contains('|'));
    }
}
