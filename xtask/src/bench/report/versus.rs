//! LoRA against another method under equal conditions: full fine-tuning, and Burn's composed path.

use super::bars::Bars;
use super::conditions::{Conditions, Pair, with_composed, with_full};
use super::costs::{self, quotient};
use super::frame::DrawError;
use super::numbers::{NONE, memory, percent, ratio};
use super::section::Section;
use super::table::Table;
use crate::bench::statistics::Summary;

/// LoRA against full fine-tuning.
///
/// # Errors
///
/// What the drawing library says.
pub fn full(found: &[Summary]) -> Result<Section, DrawError> {
    let title = "What does full fine-tuning cost?";
    let pairs = with_full(found);
    if pairs.is_empty() {
        let why = "No conditions under which both LoRA and full fine-tuning were measured.";
        return Ok(Section::unanswered(title, why));
    }
    let mut section = Section::new(title);
    section.block(
        "Ratios are LoRA's figure over full fine-tuning's. A checkpoint holds what is trained and \
         AdamW's two moments, in f32.",
    );
    let mut table = Table::new(&[
        "model, backend, batch",
        "rank",
        "tokens/s: full",
        "LoRA",
        "ratio",
        "peak memory: full",
        "LoRA",
        "ratio",
        "checkpoint: full",
        "LoRA",
        "ratio",
        "trained",
    ]);
    for Pair { lora, other } in &pairs {
        let checkpoint = |summary: &Summary| summary.any().map(|any| any.checkpoint_bytes as f64);
        let (small, large) = (checkpoint(lora), checkpoint(other));
        table.row([
            Conditions::of(&lora.cell).to_string(),
            lora.cell.rank.map_or_else(String::new, |rank| rank.to_string()),
            costs::tokens(other),
            costs::tokens(lora),
            speedup(lora, other),
            costs::peak(other),
            costs::peak(lora),
            memory_ratio(lora, other),
            large.map_or_else(|| NONE.to_owned(), memory),
            small.map_or_else(|| NONE.to_owned(), memory),
            small.zip(large).map_or_else(|| NONE.to_owned(), |(small, large)| ratio(small, large)),
            trained(lora),
        ]);
    }
    section.block(table);
    let name = |pair: &Pair<'_>| Conditions::of(&pair.lora.cell).to_string();
    let title = "LoRA over full fine-tuning";
    section.plot("full", title, bars(title, &pairs, name).svg()?);
    Ok(section)
}

/// The factored path against the composed one.
///
/// # Errors
///
/// What the drawing library says.
pub fn composed(found: &[Summary]) -> Result<Section, DrawError> {
    let title = "What does the composed path cost?";
    let pairs = with_composed(found);
    if pairs.is_empty() {
        let why = "No cell of LoRA was measured through Burn's composed path too.";
        return Ok(Section::unanswered(title, why));
    }
    let mut section = Section::new(title);
    section.block(
        "Burn's `apply_lora` multiplies with `W + scale · A B`; the factored path never makes that \
         matrix. Ratios are the factored path's figure over the composed one's.",
    );
    let mut table = Table::new(&[
        "model, backend, batch",
        "rank",
        "tokens/s: composed",
        "factored",
        "ratio",
        "peak memory: composed",
        "factored",
        "ratio",
    ]);
    for Pair { lora, other } in &pairs {
        table.row([
            Conditions::of(&lora.cell).to_string(),
            lora.cell.rank.map_or_else(String::new, |rank| rank.to_string()),
            costs::tokens(other),
            costs::tokens(lora),
            speedup(lora, other),
            costs::peak(other),
            costs::peak(lora),
            memory_ratio(lora, other),
        ]);
    }
    section.block(table);
    let title = "Factored over composed";
    let name = |pair: &Pair<'_>| {
        let rank = pair.lora.cell.rank.map_or_else(String::new, |rank| format!(" r={rank}"));
        format!("{}{rank}", Conditions::of(&pair.lora.cell))
    };
    section.plot("composed", title, bars(title, &pairs, name).svg()?);
    Ok(section)
}

/// Tokens a second of the one over the other's.
pub fn speedup(one: &Summary, other: &Summary) -> String {
    words(quotient(one.tokens_per_second(), other.tokens_per_second()))
}

/// Peak memory of the one over the other's.
pub fn memory_ratio(one: &Summary, other: &Summary) -> String {
    words(quotient(one.peak(), other.peak()))
}

fn words(quotient: Option<f64>) -> String {
    quotient.map_or_else(|| NONE.to_owned(), |quotient| ratio(quotient, 1.0))
}

fn trained(summary: &Summary) -> String {
    summary.any().map_or_else(
        || NONE.to_owned(),
        |any| percent(any.trainable as f64 / any.parameters as f64),
    )
}

fn bars(title: &str, pairs: &[Pair<'_>], name: impl Fn(&Pair<'_>) -> String) -> Bars {
    let cases = pairs
        .iter()
        .map(|pair| {
            let Pair { lora, other } = pair;
            let tokens = quotient(lora.tokens_per_second(), other.tokens_per_second());
            (name(pair), vec![tokens, quotient(lora.peak(), other.peak())])
        })
        .collect();
    Bars {
        title: format!("{title}: more tokens a second and less memory are better"),
        axis: "ratio",
        series: vec!["tokens a second".to_owned(), "peak memory".to_owned()],
        cases,
        mark: Some(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Method;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn ratios_are_those_of_the_medians() {
        let lines = [
            sample(Method::Lora, Some(2), 0, &[2.0]),
            sample(Method::Full, None, 0, &[5.0]),
            sample(Method::Composed, Some(2), 0, &[3.0]),
        ];
        let found = summaries(&lines);
        let text = full(&found).unwrap().markdown();
        // 8 tokens in 5 and in 2 seconds; equal memory; 1200 bytes of 12,000; 100 of 1000.
        assert!(text.contains("| 2 | 1.60 | 4.00 | 2.50x |"), "{text}");
        assert!(text.contains("| 1.00 MiB | 1.00 MiB | 1.00x |"), "{text}");
        assert!(text.contains("| 0.0114 MiB | 0.00114 MiB | 0.100x | 10.0 % |"), "{text}");
        let text = composed(&found).unwrap().markdown();
        assert!(text.contains("| 2 | 2.67 | 4.00 | 1.50x |"), "{text}");
    }

    #[test]
    fn nothing_to_compare_with_is_one_line() {
        let found = summaries(&[sample(Method::Lora, Some(2), 0, &[2.0])]);
        for section in [full(&found).unwrap(), composed(&found).unwrap()] {
            assert!(!section.markdown().contains('|') && section.plots().is_empty());
        }
    }
}
