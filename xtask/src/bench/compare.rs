//! Two results files, cell by cell: what became worse by more than the spread.
//!
//! A figure of a cell is an interval: from the smallest to the largest over its processes, each of
//! them with its own median over its steps. It is worse where the new interval lies wholly on the
//! bad side of the old one and the medians differ by more than 2 % of the old one, and better where
//! the same holds for the good side. One process has no spread: its interval is its value and 10 %
//! to both sides.
//!
//! Figures are tokens a second, latencies (base, with adapter, merged), peak memory and the time to
//! the first step. A cell that was measured and now fails is a regression too. Cells that are in
//! one file only are listed, for a filtered run has few.

use std::collections::BTreeMap;
use std::fmt;

use super::record::{Cell, Line, Measured, Run};
use super::report::excused;
use super::report::figure::Figure;
use super::report::markdown::Table;
use super::report::numbers::ratio;
use super::report::rows::cells;
use super::statistics::Spread;

/// The share of the old median that a median must differ by.
const LEAST: f64 = 0.02;
/// What one process's value is widened by, as a share of it.
const ALONE: f64 = 0.10;

/// What the new side came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Beyond the spread, for the better.
    Better,
    /// Within it.
    Same,
    /// Beyond it, for the worse.
    Worse,
}

/// A figure of a cell on both sides.
#[derive(Debug, Clone)]
pub struct Change {
    /// The cell.
    pub cell: Cell,
    /// The figure.
    pub figure: Figure,
    /// What it was.
    pub old: Spread,
    /// What it is.
    pub new: Spread,
    /// What that says.
    pub verdict: Verdict,
}

/// What two results files say about one another.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Circumstances that differ, a line each.
    pub circumstances: Vec<String>,
    /// Every figure of every cell that both have.
    pub changes: Vec<Change>,
    /// Cells that were measured and now fail, and how.
    pub broken: Vec<(Cell, String)>,
    /// Other cells that the old file only has.
    pub gone: Vec<Cell>,
    /// Cells that the new file only has.
    pub added: Vec<Cell>,
}

/// What is compared, and whether more of it is better.
const FIGURES: [(Figure, bool); 6] = [
    (Figure::TOKENS, true),
    (Figure::BASE, false),
    (Figure::ATTACHED, false),
    (Figure::MERGED, false),
    (Figure::PEAK, false),
    (Figure::FIRST_STEP, false),
];

/// Holds the new lines against the old ones.
pub fn compare(old: &[Line], new: &[Line]) -> Comparison {
    let (before, after) = (cells(old), cells(new));
    let failed: BTreeMap<&Cell, String> = excused(new)
        .into_iter()
        .filter(|one| one.how == "failed")
        .map(|one| (one.cell, one.reason))
        .collect();
    let mut found = Comparison {
        circumstances: circumstances(old, new),
        changes: Vec::new(),
        broken: Vec::new(),
        gone: Vec::new(),
        added: after.keys().filter(|cell| !before.contains_key(*cell)).copied().cloned().collect(),
    };
    for (&cell, old) in &before {
        if let Some(reason) = failed.get(cell) {
            found.broken.push((cell.clone(), reason.clone()));
        }
        match after.get(cell) {
            Some(new) => found.changes.extend(changes(cell, old, new)),
            None if failed.contains_key(cell) => {}
            None => found.gone.push(cell.clone()),
        }
    }
    found
}

fn changes(
    cell: &Cell,
    old: &BTreeMap<usize, &Measured>,
    new: &BTreeMap<usize, &Measured>,
) -> Vec<Change> {
    let change = |(figure, more_is_better): (Figure, bool)| {
        let spread = |processes: &BTreeMap<usize, &Measured>| {
            Spread::of(processes.values().filter_map(|one| figure.of(cell, one)).collect())
        };
        let (before, after) = (spread(old)?, spread(new)?);
        let (was, is) = (interval(before, old.len()), interval(after, new.len()));
        let verdict = verdict(was, is, more_is_better);
        Some(Change { cell: cell.clone(), figure, old: before, new: after, verdict })
    };
    FIGURES.into_iter().filter_map(change).collect()
}

/// What is known of a figure that so many processes measured.
fn interval(spread: Spread, processes: usize) -> Spread {
    match processes {
        0 | 1 => Spread {
            median: spread.median,
            least: spread.median * (1.0 - ALONE),
            most: spread.median * (1.0 + ALONE),
        },
        _ => spread,
    }
}

fn verdict(old: Spread, new: Spread, more_is_better: bool) -> Verdict {
    let far = (new.median - old.median).abs() > LEAST * old.median;
    let (above, below) = (new.least > old.most, new.most < old.least);
    match (far, above, below) {
        (true, true, _) if more_is_better => Verdict::Better,
        (true, true, _) => Verdict::Worse,
        (true, _, true) if more_is_better => Verdict::Worse,
        (true, _, true) => Verdict::Better,
        _ => Verdict::Same,
    }
}

/// A circumstance: what it is called, and how it is found.
type Circumstance = (&'static str, fn(&Run) -> String);

/// What differs between the machines and programs of two files.
fn circumstances(old: &[Line], new: &[Line]) -> Vec<String> {
    let last = |lines: &[Line]| {
        lines.iter().rev().find_map(|line| match line {
            Line::Run(run) => Some(run.clone()),
            _ => None,
        })
    };
    let (Some(old), Some(new)) = (last(old), last(new)) else {
        return vec!["A file does not say on what machine it was taken.".to_owned()];
    };
    let values: [Circumstance; 4] = [
        ("different machines: processor", |run| run.machine.processor()),
        ("different machines: logical processors", |run| run.machine.processors.to_string()),
        ("versions", |run| format!("{:?}", run.versions)),
        ("commit", |run| run.commit.clone()),
    ];
    values
        .iter()
        .map(|(name, value)| (name, value(&old), value(&new)))
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name}: {old} -> {new}"))
        .collect()
}

impl Comparison {
    /// How many figures became worse beyond the spread, and cells fail that did not.
    pub fn regressions(&self) -> usize {
        let worse = self.changes.iter().filter(|change| change.verdict == Verdict::Worse);
        worse.count() + self.broken.len()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.circumstances {
            writeln!(f, "{line}")?;
        }
        let mut table = Table::new(["cell", "figure", "old", "new", "new / old", ""]);
        for change in &self.changes {
            let verdict = match change.verdict {
                Verdict::Better => "better",
                Verdict::Same => "",
                Verdict::Worse => "WORSE",
            };
            let side = |Spread { median, least, most }: Spread| {
                let words = |value| change.figure.words(value);
                match least < most {
                    true => format!("{} ({} to {})", words(median), words(least), words(most)),
                    false => words(median),
                }
            };
            table.row([
                change.cell.to_string(),
                change.figure.name.to_owned(),
                side(change.old),
                side(change.new),
                ratio(change.new.median / change.old.median),
                verdict.to_owned(),
            ]);
        }
        match table.is_empty() {
            true => writeln!(f, "No cell is in both files.")?,
            false => writeln!(f, "\n{table}")?,
        }
        for (cell, reason) in &self.broken {
            writeln!(f, "fails now: {cell}: {reason}")?;
        }
        for cell in &self.gone {
            writeln!(f, "in the old file only: {cell}")?;
        }
        for cell in &self.added {
            writeln!(f, "in the new file only: {cell}")?;
        }
        let better = self.changes.iter().filter(|change| change.verdict == Verdict::Better).count();
        write!(f, "{} worse, {better} better, of {}", self.regressions(), self.changes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{run, sample};
    use super::super::record::{Excuse, Latency, Method};
    use super::*;

    /// A cell of full fine-tuning whose processes take these seconds a step.
    fn full(steps: &[f64]) -> Vec<Line> {
        let samples = steps.iter().enumerate();
        samples.map(|(repeat, step)| sample(Method::Full, None, repeat, &[*step])).collect()
    }

    fn tokens(old: &[f64], new: &[f64]) -> Verdict {
        compare(&full(old), &full(new)).changes[0].verdict
    }

    #[test]
    fn worse_is_beyond_the_spread_of_both_sides() {
        // 8 tokens: a longer step is fewer tokens a second.
        assert_eq!(tokens(&[1.0, 1.1, 1.2], &[1.3, 1.4, 1.5]), Verdict::Worse);
        assert_eq!(tokens(&[1.3, 1.4, 1.5], &[1.0, 1.1, 1.2]), Verdict::Better);
        // The intervals touch.
        assert_eq!(tokens(&[1.0, 1.1, 1.2], &[1.2, 1.4, 1.5]), Verdict::Same);
        // They do not, but the medians are within 2 %.
        assert_eq!(tokens(&[1.0, 1.001], &[1.01, 1.011]), Verdict::Same);
        assert_eq!(tokens(&[1.0, 1.001], &[1.03, 1.031]), Verdict::Worse);
    }

    #[test]
    fn one_process_is_given_a_tenth_to_both_sides() {
        assert_eq!(tokens(&[1.0], &[1.15]), Verdict::Same);
        assert_eq!(tokens(&[1.0], &[1.5]), Verdict::Worse);
    }

    #[test]
    fn memory_and_latency_are_better_when_smaller() {
        let merged = |seconds: f64, peak: u64| -> Vec<Line> {
            let repeat = |repeat| {
                let Line::Sample(mut one) = sample(Method::Merged, Some(2), repeat, &[]) else {
                    panic!("a sample")
                };
                let times = vec![seconds];
                one.measured.latency =
                    Some(Latency { base: times.clone(), adapter: times.clone(), merged: times });
                one.measured.peak_bytes = peak;
                Line::Sample(one)
            };
            vec![repeat(0), repeat(1)]
        };
        let found = compare(&merged(1.0, 200), &merged(1.5, 100));
        let verdicts: Vec<(&str, Verdict)> =
            found.changes.iter().map(|change| (change.figure.name, change.verdict)).collect();
        assert_eq!(
            verdicts,
            [
                ("latency, base", Verdict::Worse),
                ("latency, adapter", Verdict::Worse),
                ("latency, merged", Verdict::Worse),
                ("peak memory", Verdict::Better),
                ("first step", Verdict::Same),
            ]
        );
        assert_eq!(found.regressions(), 3);
        let text = found.to_string();
        let row = "| latency, merged | 1.00 s | 1.50 s | 1.50x | WORSE |";
        assert!(text.contains(row) && text.ends_with("3 worse, 1 better, of 5"), "{text}");
    }

    #[test]
    fn cells_of_one_file_are_listed_and_what_fails_now_is_a_regression() {
        let lora = sample(Method::Lora, Some(2), 0, &[1.0]);
        let composed = sample(Method::Composed, Some(2), 0, &[1.0]);
        let Line::Sample(one) = &lora else { panic!("a sample") };
        let failed = Line::Failed(Excuse { cell: one.cell.clone(), reason: "no memory".into() });
        let old = [full(&[1.0]), vec![lora.clone()]].concat();
        let found = compare(&old, &[composed, failed]);
        assert_eq!((found.gone.len(), found.added.len(), found.broken.len()), (1, 1, 1));
        assert_eq!(found.regressions(), 1);
        let text = found.to_string();
        for part in [
            "No cell is in both files.",
            "fails now: tiny lora r=2 flex 2x4: no memory",
            "in the old file only: tiny full flex 2x4",
            "in the new file only: tiny composed r=2 flex 2x4",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn different_machines_are_said_on_top() {
        let text = compare(&[run("A")], &[run("B")]).to_string();
        assert!(text.starts_with("different machines: processor: A (AVX2) -> B (AVX2)"), "{text}");
        assert!(compare(&[run("A")], &[run("A")]).circumstances.is_empty());
    }
}
