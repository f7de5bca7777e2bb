//! What others published, and what was measured here beside it.

use super::conditions::{Conditions, Pair, sizes, with_full};
use super::costs::quotient;
use super::inference::latencies;
use super::numbers::{memory, percent, ratio};
use super::quality::tasks;
use super::section::Section;
use super::table::Table;
use crate::bench::record::{Line, Method};
use crate::bench::statistics::Summary;

/// A published figure and ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What was said.
    pub claim: String,
    /// By whom.
    pub source: String,
    /// What we have to put beside it.
    pub ours: String,
}

impl Claim {
    fn new(claim: &str, source: &str, ours: Option<String>) -> Self {
        Self {
            claim: claim.to_owned(),
            source: source.to_owned(),
            ours: ours.unwrap_or_else(|| "not measured in this run".to_owned()),
        }
    }
}

/// The table: what the results answer, and the rows that are handed in.
pub fn section(found: &[Summary], lines: &[Line], given: &[Claim]) -> Section {
    let mut table = Table::new(&["published", "by", "here"]);
    for Claim { claim, source, ours } in computed(found, lines).iter().chain(given) {
        table.row([claim.clone(), source.clone(), ours.clone()]);
    }
    let mut section = Section::new("Published figures beside ours");
    section.block(
        "Other models on other machines: the direction compares, the size does not. Ours are of \
         the largest model that was measured both ways.",
    );
    section.block(table);
    section
}

fn computed(found: &[Summary], lines: &[Line]) -> Vec<Claim> {
    let (lora, peft) = ("LoRA paper", "PEFT documentation");
    let largest = largest(found);
    let faster = largest.and_then(|Pair { lora, other }| {
        let ratio = quotient(lora.tokens_per_second(), other.tokens_per_second())?;
        let change = percent((ratio - 1.0).abs());
        let sign = if ratio < 1.0 { '-' } else { '+' };
        Some(format!(
            "{sign}{change}, {} times ({})",
            super::numbers::significant(ratio),
            name(lora)
        ))
    });
    let smaller = largest.and_then(|Pair { lora, other }| {
        let quotient = quotient(lora.peak(), other.peak())?;
        Some(format!("{} ({})", ratio(quotient, 1.0), name(lora)))
    });
    let missing = |model: &str| Some(format!("{model} is not among the architectures here yet"));
    vec![
        Claim::new(
            "BLOOM-560m, r=8 on query_key_value: 786,432 of 560,001,024 parameters are trained",
            peft,
            missing("BLOOM"),
        ),
        Claim::new(
            "GPT-2 M, r=4 on q and v: 0.35 M parameters are trained",
            lora,
            missing("GPT-2"),
        ),
        Claim::new(
            "checkpoint of GPT-3: from 350 GB to 35 MB, 10,000 times smaller",
            lora,
            checkpoint(found),
        ),
        Claim::new("memory in training: a third of full fine-tuning's", lora, smaller),
        Claim::new("throughput over full fine-tuning: +25 % to +33 %", lora, faster.clone()),
        Claim::new(
            "throughput over full fine-tuning: 2.28 times (Llama-3.2-3B)",
            "PEFT's MetaMathQA comparison",
            faster,
        ),
        Claim::new("no latency is added after a merge", lora, merged(found)),
        Claim::new("quality on a par with full fine-tuning or better", lora, quality(lines)),
    ]
}

/// The pair of the largest model, and of its pairs the one with the most tokens a step.
fn largest(found: &[Summary]) -> Option<Pair<'_>> {
    let sizes = sizes(found);
    with_full(found).into_iter().max_by_key(|pair| {
        let cell = &pair.lora.cell;
        (sizes.get(cell.model.as_str()).copied(), cell.tokens())
    })
}

/// The model, its conditions, and the rank.
fn name(summary: &Summary) -> String {
    let rank = summary.cell.rank.map_or_else(String::new, |rank| format!(", r={rank}"));
    format!("{}{rank}", Conditions::of(&summary.cell))
}

/// Full fine-tuning's checkpoint over that of the smallest rank.
fn checkpoint(found: &[Summary]) -> Option<String> {
    let full = largest(found)?.other;
    let of_model = |summary: &&Summary| {
        summary.cell.model == full.cell.model && summary.cell.method == Method::Lora
    };
    let smallest = found.iter().filter(of_model).min_by_key(|summary| summary.cell.rank)?;
    let bytes = |summary: &Summary| Some(summary.any()?.checkpoint_bytes as f64);
    let (large, small) = (bytes(full)?, bytes(smallest)?);
    let rank = smallest.cell.rank?;
    let times = super::numbers::significant(large / small);
    Some(format!(
        "from {} to {}, {times} times smaller ({}, r={rank}, with AdamW's moments)",
        memory(large),
        memory(small),
        full.cell.model
    ))
}

/// Merged latency over the base model's, on the largest model.
fn merged(found: &[Summary]) -> Option<String> {
    let sizes = sizes(found);
    let measured = found.iter().filter(|summary| summary.cell.method == Method::Merged);
    let summary = measured.max_by_key(|summary| {
        (sizes.get(summary.cell.model.as_str()).copied(), summary.cell.tokens())
    })?;
    let [base, _, merged] = latencies(summary);
    let quotient = quotient(merged, base)?;
    Some(format!("merged / base {} ({})", ratio(quotient, 1.0), name(summary)))
}

/// LoRA's best rank beside full fine-tuning, task by task.
fn quality(lines: &[Line]) -> Option<String> {
    let tasks = tasks(lines);
    let words: Vec<String> = tasks
        .iter()
        .filter_map(|((task, metric, _), outcomes)| {
            let full = outcomes.iter().find(|outcome| outcome.method == Method::Full)?;
            let best = outcomes
                .iter()
                .filter(|outcome| outcome.method == Method::Lora)
                .max_by(|one, other| one.after.total_cmp(&other.after))?;
            let rank = best.rank.map_or_else(String::new, |rank| format!(" at r={rank}"));
            let (best, full) = (percent(best.after), percent(full.after));
            Some(format!("{task}: {metric} {best}{rank}, full {full}"))
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::quality::tests::outcome;
    use crate::bench::statistics::summaries;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn our_figures_are_those_of_the_largest_model() {
        let mut lines = vec![
            sample(Method::Lora, Some(2), 0, &[2.0]),
            sample(Method::Full, None, 0, &[5.0]),
            outcome(Some(2), 0.8),
            outcome(Some(4), 0.7),
            outcome(None, 0.75),
        ];
        // A smaller model, on which LoRA is slower.
        for line in
            [sample(Method::Lora, Some(2), 0, &[9.0]), sample(Method::Full, None, 0, &[1.0])]
        {
            let Line::Sample(mut small) = line else { panic!("a sample") };
            small.cell.model = "tinier".to_owned();
            small.measured.parameters = 10;
            lines.push(Line::Sample(small));
        }
        let given = Claim::new("a", "b", Some("c".to_owned()));
        let text = section(&summaries(&lines), &lines, &[given]).markdown();
        for part in [
            "| +150 %, 2.50 times (tiny flex 2x4, r=2) |",
            "| from 0.0114 MiB to 0.00114 MiB, 10.0 times smaller (tiny, r=2",
            "| 1.00x (tiny flex 2x4, r=2) |",
            "| words: accuracy 80.0 % at r=2, full 75.0 % |",
            "| no latency is added after a merge | LoRA paper | not measured in this run |",
            "BLOOM is not among the architectures here yet",
            "| a | b | c |",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn slower_is_said_with_a_minus() {
        let lines =
            [sample(Method::Lora, Some(2), 0, &[4.0]), sample(Method::Full, None, 0, &[3.0])];
        let text = section(&summaries(&lines), &lines, &[]).markdown();
        assert!(text.contains("| -25.0 %, 0.750 times"), "{text}");
    }
}
