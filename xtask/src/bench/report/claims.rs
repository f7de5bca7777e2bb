//! What others published, and what was measured or counted here beside it. Another claim is an entry of [`CLAIMS`].

use burn_lora_text::{grouped, significant};

use super::figure::Figure;
use super::markdown::{Section, Table};
use super::numbers::{memory, percent, ratio};
use super::question::Pair;
use super::questions::{DORA, FULL, INFERENCE};
use super::row::{Key, Row};
use crate::bench::counted::{self, Counted};

/// A published figure, by whom, and what there is to put beside it.
struct Claim(&'static str, &'static str, fn(&[Row<'_>]) -> Option<String>);

const CLAIMS: [Claim; 11] = [
    Claim(
        "BLOOM-560m, r=8 on query_key_value: 786,432 of 560,001,024 parameters are trained",
        "PEFT documentation",
        |_| counts(&counted::BLOOM_560M),
    ),
    Claim(
        "GPT-2 M, r=4 on q and v: 0.35 M of 354.92 M parameters are trained",
        "LoRA paper",
        |_| gpt2(&counted::GPT2_MEDIUM, 354.92e6, 0.35),
    ),
    Claim(
        "GPT-2 L, r=4 on q and v: 0.77 M of 774.03 M parameters are trained",
        "LoRA paper",
        |_| gpt2(&counted::GPT2_LARGE, 774.03e6, 0.77),
    ),
    Claim(
        "checkpoint of GPT-3: from 350 GB to 35 MB, 10,000 times smaller",
        "LoRA paper",
        checkpoint,
    ),
    Claim("memory in training: a third of full fine-tuning's", "LoRA paper", |rows| {
        let pair = largest(FULL.pairs(rows))?;
        Some(format!("{} ({})", ratio(pair.ratio(Figure::PEAK)?), name(pair.row)))
    }),
    Claim("throughput over full fine-tuning: +25 % to +33 %", "LoRA paper", faster),
    Claim(
        "throughput over full fine-tuning: 2.28 times (Llama-3.2-3B)",
        "PEFT's MetaMathQA comparison",
        faster,
    ),
    Claim("DoRA over LoRA: +26 % time, +10 % memory", "PEFT's MetaMathQA comparison", |rows| {
        let pair = largest(DORA.pairs(rows))?;
        let time = 1.0 / pair.ratio(Figure::TOKENS)?;
        let memory = pair.ratio(Figure::PEAK)?;
        Some(format!("{} time, {} memory ({})", change(time), change(memory), name(pair.row)))
    }),
    Claim("no latency is added after a merge", "LoRA paper", |rows| {
        let row = largest(INFERENCE.pairs(rows))?.row;
        let ratio = ratio(row.value(Figure::MERGED_RATIO)?);
        Some(format!("merged / base {ratio} ({})", name(row)))
    }),
    Claim("quality on a par with full fine-tuning or better", "LoRA paper", quality),
    Claim(
        "the adapter's file: 175 times smaller than the model's",
        "PEFT's MetaMathQA comparison",
        |rows| {
            let row = largest(FULL.pairs(rows))?.row;
            let times = 4.0 * row.value(Figure::SIZE)? / row.value(Figure::ADAPTER)?;
            Some(format!("{} times smaller ({})", significant(times), name(row)))
        },
    ),
];

/// All of them in a table.
pub fn section(rows: &[Row<'_>]) -> Section {
    let mut table = Table::new(["published", "by", "here"]);
    for Claim(claim, by, here) in CLAIMS {
        let here = here(rows).unwrap_or_else(|| "not measured in this run".to_owned());
        table.row([claim.to_owned(), by.to_owned(), here]);
    }
    let mut section = Section::new("Published figures beside ours");
    section.block(
        "Counts are of the published models' shapes. What is measured is of other models on other \
         machines: the direction compares, the size does not. Ours are of the largest model that \
         was measured both ways.",
    );
    section.block(table);
    section
}

/// The pair of the largest model, and of its pairs the one with the most tokens a step.
fn largest(pairs: Vec<Pair<'_>>) -> Option<Pair<'_>> {
    let key = |pair: &Pair<'_>| {
        let value = |figure| pair.row.value(figure).unwrap_or(0.0);
        (value(Figure::SIZE), value(Figure::BATCH_TOKENS))
    };
    pairs.into_iter().max_by(|one, other| {
        let (one, other) = (key(one), key(other));
        one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1))
    })
}

/// The model, its conditions and the rank.
fn name(row: &Row<'_>) -> String {
    let conditions =
        row.labels(&[Key::Model, Key::Dtype, Key::Backend, Key::Batch, Key::Processor]);
    format!("{conditions}, {}", row.label(Key::Rank))
}

/// `+25.0 %` of 1.25.
fn change(ratio: f64) -> String {
    let sign = if ratio < 1.0 { '-' } else { '+' };
    format!("{sign}{}", percent((ratio - 1.0).abs()))
}

fn counts(published: &Counted) -> Option<String> {
    let (trained, total) = published.counts().ok()?;
    Some(format!("{} of {}", grouped(trained as usize), grouped(total as usize)))
}

/// The paper trains q and v with factors of their own, `2 · (4 d + 4 d)` a layer; the fused projection takes one pair of factors,
/// `4 d + 4 · 3 d`, which is as many.
fn gpt2(published: &Counted, size: f64, millions: f64) -> Option<String> {
    let (trained, total) = published.counts().ok()?;
    let all = total - trained;
    Some(format!(
        "{} ({:.2} M) of {}: on the fused c_attn, whose one pair of factors holds as many as two \
         pairs on q and v; the paper's {millions} M is {:.1} % of the {:.2} M that it gives for \
         the model, which has {} parameters here",
        grouped(trained as usize),
        trained as f64 / 1e6,
        grouped(total as usize),
        100.0 * millions * 1e6 / size,
        size / 1e6,
        grouped(all as usize),
    ))
}

fn faster(rows: &[Row<'_>]) -> Option<String> {
    let pair = largest(FULL.pairs(rows))?;
    let ratio = pair.ratio(Figure::TOKENS)?;
    Some(format!("{}, {} times ({})", change(ratio), significant(ratio), name(pair.row)))
}

/// Full fine-tuning's checkpoint over that of LoRA's smallest rank.
fn checkpoint(rows: &[Row<'_>]) -> Option<String> {
    let full = largest(FULL.pairs(rows))?.base?;
    let smallest = rows
        .iter()
        .filter(|row| row.label(Key::Method) == "lora" && row.agrees(full, &[Key::Model]))
        .min_by(|one, other| {
            let rank = |row: &Row<'_>| row.value(Figure::RANK).unwrap_or(f64::INFINITY);
            rank(one).total_cmp(&rank(other))
        })?;
    let (large, small) = (full.value(Figure::CHECKPOINT)?, smallest.value(Figure::CHECKPOINT)?);
    Some(format!(
        "from {} to {}, {} times smaller ({}, {}, with AdamW's moments)",
        memory(large),
        memory(small),
        significant(large / small),
        full.label(Key::Model),
        smallest.label(Key::Rank),
    ))
}

/// LoRA's best rank beside full fine-tuning, task by task.
fn quality(rows: &[Row<'_>]) -> Option<String> {
    let right = |row: &Row<'_>| row.value(Figure::RIGHT).unwrap_or(0.0);
    let outcomes = |method: &'static str| {
        let of = move |row: &&Row<'_>| {
            row.label(Key::Kind) == "outcome" && row.label(Key::Method) == method
        };
        rows.iter().filter(of)
    };
    let words: Vec<String> = outcomes("full")
        .filter_map(|full| {
            let best = outcomes("lora")
                .filter(|row| row.agrees(full, &[Key::Task, Key::Processor]))
                .max_by(|one, other| right(one).total_cmp(&right(other)))?;
            Some(format!(
                "{}: {} at {}, full {}",
                full.label(Key::Task),
                percent(right(best)),
                best.label(Key::Rank),
                percent(right(full)),
            ))
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::{outcome, sample};
    use crate::bench::record::{Line, Method};
    use crate::bench::report::rows::rows;

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
        let text = section(&rows(&lines)).markdown();
        for part in [
            "| +150 %, 2.50 times (tiny flex 2x4, r=2) |",
            "| from 0.0114 MiB to 0.00114 MiB, 10.0 times smaller (tiny, r=2",
            "| 1.00x (tiny flex 2x4, r=2) |",
            "| words, 20 steps: accuracy: 80.0 % at r=2, full 75.0 % |",
            "| no latency is added after a merge | LoRA paper | not measured in this run |",
            "| 786,432 of 560,001,024 |",
            "| 393,216 (0.39 M) of 355,216,384: on the fused c_attn",
            "the paper's 0.35 M is 0.1 % of the 354.92 M",
            "| 737,280 (0.74 M) of 774,767,360: ",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn slower_is_said_with_a_minus() {
        assert_eq!([0.75, 1.25].map(change), ["-25.0 %", "+25.0 %"]);
    }
}
