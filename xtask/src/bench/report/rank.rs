//! What rank costs: cells of LoRA that differ in nothing else.

use super::axis::Scale;
use super::conditions::by_conditions;
use super::costs::{self, Figure, mebibytes};
use super::curves::{Curves, Points, Series};
use super::frame::DrawError;
use super::numbers::{count, memory, or_none};
use super::section::Section;
use super::table::Table;
use crate::bench::record::Method;
use crate::bench::statistics::Summary;

const TITLE: &str = "What does rank cost?";

/// A table and two plots per conditions under which several ranks were measured.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(found: &[Summary]) -> Result<Section, DrawError> {
    let mut section = Section::new(TITLE);
    let mut plots = 0;
    for (conditions, group) in by_conditions(found) {
        let of = |method| group.iter().copied().filter(move |s| s.cell.method == method);
        let ranks: Vec<&Summary> = of(Method::Lora).collect();
        if ranks.len() < 2 {
            continue;
        }
        let full = of(Method::Full).next();
        section.heading(&conditions);
        section.block(table(ranks.iter().copied().chain(full)));
        plots += 1;
        let figures: [(&str, &str, Figure); 2] = [
            ("tokens", "tokens a second", Summary::tokens_per_second),
            ("memory", "peak memory (MiB)", mebibytes),
        ];
        for (stem, label, figure) in figures {
            let points = ranks
                .iter()
                .filter_map(|summary| Some((summary.cell.rank? as f64, figure(summary)?)))
                .collect();
            let mut series = vec![Series { name: "lora".to_owned(), points: Points::Over(points) }];
            if let Some(level) = full.and_then(figure) {
                let points = Points::Level(level.median);
                series.push(Series { name: "full fine-tuning".to_owned(), points });
            }
            let plot = Curves {
                title: format!("{label} over rank: {conditions}"),
                x: ("rank", Scale::Log2),
                y: (label, Scale::Linear),
                series,
                joined: true,
            };
            section.plot(&format!("rank-{stem}-{plots}"), &plot.title, plot.svg()?);
        }
    }
    match plots {
        0 => Ok(Section::unanswered(TITLE, "No two cells of LoRA differ only in their rank.")),
        _ => Ok(section),
    }
}

fn table<'a>(rows: impl Iterator<Item = &'a Summary>) -> Table {
    let mut table = Table::new(&[
        "rank",
        "tokens/s",
        "forward",
        "backward",
        "optimizer",
        "peak memory",
        "trained",
        "adapter",
        "checkpoint",
    ]);
    for summary in rows {
        let any = summary.any();
        table.row([
            summary.cell.rank.map_or_else(|| "full".to_owned(), |rank| rank.to_string()),
            costs::tokens(summary),
            costs::part(summary, |step| step.forward),
            costs::part(summary, |step| step.backward),
            costs::part(summary, |step| step.optimizer),
            costs::peak(summary),
            or_none(any, |any| count(any.trainable)),
            or_none(any.and_then(|any| any.adapter_bytes), |bytes| memory(bytes as f64)),
            or_none(any, |any| memory(any.checkpoint_bytes as f64)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn ranks_stand_below_one_another_with_their_costs() {
        let lines = [
            sample(Method::Lora, Some(1), 0, &[1.0]),
            sample(Method::Lora, Some(2), 0, &[2.0]),
            sample(Method::Lora, Some(2), 1, &[4.0]),
            sample(Method::Full, None, 0, &[4.0]),
        ];
        let section = section(&summaries(&lines)).unwrap();
        let text = section.markdown();
        // 8 tokens in 2 and in 4 seconds: 4 and 2 a second, half the range is a third.
        for row in [
            "| 1 | 8.00 | 500 ms | 250 ms | 250 ms | 1.00 MiB | 100 |",
            "| 2 | 3.00 ± 33.3 % | 1.50 s | 750 ms | 750 ms | 1.00 MiB | 100 |",
            "| full | 2.00 |",
            "![tokens a second over rank: tiny flex 2x4](rank-tokens-1.svg)",
        ] {
            assert!(text.contains(row), "{row} is not in {text}");
        }
        assert_eq!(section.plots().len(), 2);
    }

    #[test]
    fn one_rank_is_no_question() {
        let lines = [sample(Method::Lora, Some(1), 0, &[1.0])];
        let text = section(&summaries(&lines)).unwrap().markdown();
        assert!(text.contains("differ only in their rank") && !text.contains('|'), "{text}");
    }
}
