//! Throughput against what the machine could do: the products of a step alone.

use std::collections::BTreeMap;

use super::axis::Scale;
use super::curves::{Curves, Points, Series};
use super::frame::DrawError;
use super::numbers::{or_none, percent, seconds, significant};
use super::section::Section;
use super::table::Table;
use crate::bench::statistics::{Spread, Summary};

const TITLE: &str = "How close is it to the machine's limit?";

/// A row per cell, and a plot of the share over the work of a step.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(found: &[Summary]) -> Result<Section, DrawError> {
    let held: Vec<(&Summary, Spread)> = found
        .iter()
        .filter_map(|summary| Some((summary, summary.share_of_limit()?)))
        .filter(|(_, share)| share.median > 0.0)
        .collect();
    if held.is_empty() {
        return Ok(Section::unanswered(TITLE, "No products were measured."));
    }
    let mut section = Section::new(TITLE);
    section.block(
        "The share is the time of a step's products alone over the time of the step. What is \
         missing to 100 % is everything else: attention, norms, activations, the loss, AdamW, and \
         memory traffic between them. Of an inference cell it is a forward pass of the merged \
         model.",
    );
    let mut table =
        Table::new(&["cell", "GFLOP", "GFLOP/s", "products alone", "whole step", "share"]);
    for &(summary, share) in &held {
        let busy = summary.busy_seconds();
        table.row([
            summary.cell.to_string(),
            or_none(summary.any(), |any| significant(any.flops / 1e9)),
            or_none(summary.flops_per_second(), |spread| significant(spread.median / 1e9)),
            or_none(busy, |busy| seconds(busy.median * share.median)),
            or_none(busy, |busy| seconds(busy.median)),
            percent(share.median),
        ]);
    }
    section.block(table);
    let mut methods: BTreeMap<&str, Vec<(f64, Spread)>> = BTreeMap::new();
    for &(summary, Spread { median, least, most }) in &held {
        if let Some(any) = summary.any() {
            let share = Spread { median: 100.0 * median, least: 100.0 * least, most: 100.0 * most };
            methods.entry(summary.cell.method.name()).or_default().push((any.flops / 1e9, share));
        }
    }
    let plot = Curves {
        title: "Share of the machine's limit".to_owned(),
        x: ("GFLOP of a step", Scale::Log10),
        y: ("share of the limit (%)", Scale::Linear),
        series: methods
            .into_iter()
            .map(|(name, points)| Series { name: name.to_owned(), points: Points::Over(points) })
            .collect(),
        joined: false,
    };
    section.plot("limit", &plot.title, plot.svg()?);
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Method;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn the_share_is_the_products_time_over_the_steps() {
        // 80 operations, 1 second of products, steps of 4 seconds.
        let found = summaries(&[sample(Method::Full, None, 0, &[4.0])]);
        let text = section(&found).unwrap().markdown();
        assert!(text.contains("| 1.00 s | 4.00 s | 25.0 % |"), "{text}");
        assert!(!section(&[]).unwrap().markdown().contains('|'));
    }
}
