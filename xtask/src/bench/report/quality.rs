//! What methods and ranks come to on a task.

use std::collections::BTreeMap;

use super::axis::Scale;
use super::conditions::way;
use super::curves::{Curves, Points, Series};
use super::frame::DrawError;
use super::numbers::{NONE, count, percent};
use super::section::Section;
use super::table::Table;
use crate::bench::record::{Line, Method, Quality};
use crate::bench::statistics::Spread;

const TITLE: &str = "What does it come to?";

/// What must be equal for outcomes to be compared: task, metric and steps.
pub type Task<'a> = (&'a str, &'a str, usize);

/// Outcomes of each task by method and rank; the last one of a kind counts.
pub fn tasks(lines: &[Line]) -> BTreeMap<Task<'_>, Vec<&Quality>> {
    let mut tasks: BTreeMap<Task<'_>, BTreeMap<(Method, Option<usize>), &Quality>> =
        BTreeMap::new();
    for line in lines {
        if let Line::Quality(quality) = line {
            let task = (quality.task.as_str(), quality.metric.as_str(), quality.steps);
            tasks.entry(task).or_default().insert((quality.method, quality.rank), quality);
        }
    }
    tasks.into_iter().map(|(task, ways)| (task, ways.into_values().collect())).collect()
}

/// A table and a plot per task.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(lines: &[Line]) -> Result<Section, DrawError> {
    let tasks = tasks(lines);
    if tasks.is_empty() {
        return Ok(Section::unanswered(TITLE, "No task was trained on in this run."));
    }
    let mut section = Section::new(TITLE);
    for (index, ((task, metric, steps), outcomes)) in tasks.iter().enumerate() {
        section.heading(format!("{task}, {steps} steps"));
        let mut table = Table::new(&[
            "method",
            "trained",
            "before",
            &format!("{metric} after"),
            "held-out loss",
        ]);
        for outcome in outcomes {
            table.row([
                way(outcome.method, outcome.rank),
                count(outcome.trainable),
                outcome.before.map_or_else(|| NONE.to_owned(), percent),
                percent(outcome.after),
                format!("{:.4}", outcome.eval_loss),
            ]);
        }
        section.block(table);
        let plot = Curves {
            title: format!("{metric} over rank: {task}, {steps} steps"),
            x: ("rank", Scale::Log2),
            y: ("right (%)", Scale::Linear),
            series: series(outcomes),
            joined: true,
        };
        section.plot(&format!("quality-{}", index + 1), &plot.title, plot.svg()?);
    }
    Ok(section)
}

/// A line per method with ranks, and levels for full fine-tuning and for no training.
fn series(outcomes: &[&Quality]) -> Vec<Series> {
    let mut lines: BTreeMap<Method, Vec<(f64, Spread)>> = BTreeMap::new();
    let mut series = Vec::new();
    let level = |name: &str, share: f64| Series {
        name: name.to_owned(),
        points: Points::Level(100.0 * share),
    };
    for outcome in outcomes {
        match outcome.rank {
            Some(rank) => {
                let value = 100.0 * outcome.after;
                let spread = Spread { median: value, least: value, most: value };
                lines.entry(outcome.method).or_default().push((rank as f64, spread));
            }
            None => series.push(level("full fine-tuning", outcome.after)),
        }
    }
    if let Some(before) = outcomes.iter().find_map(|outcome| outcome.before) {
        series.push(level("before training", before));
    }
    let curves = lines.into_iter().map(|(method, points)| Series {
        name: method.name().to_owned(),
        points: Points::Over(points),
    });
    curves.chain(series).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An outcome on a task.
    pub fn outcome(rank: Option<usize>, after: f64) -> Line {
        Line::Quality(Quality {
            task: "words".to_owned(),
            metric: "accuracy".to_owned(),
            method: if rank.is_some() { Method::Lora } else { Method::Full },
            rank,
            steps: 20,
            trainable: 1234,
            before: Some(0.25),
            after,
            eval_loss: 0.5,
        })
    }

    #[test]
    fn outcomes_stand_by_rank_and_the_last_of_a_kind_counts() {
        let lines = [
            outcome(Some(4), 0.1),
            outcome(Some(2), 0.7),
            outcome(Some(4), 0.8),
            outcome(None, 0.9),
        ];
        let section = section(&lines).unwrap();
        let text = section.markdown();
        for part in [
            "| lora r=2 | 1,234 | 25.0 % | 70.0 % | 0.5000 |",
            "| lora r=4 | 1,234 | 25.0 % | 80.0 % | 0.5000 |",
            "| full | 1,234 | 25.0 % | 90.0 % | 0.5000 |",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("10.0 %"), "{text}");
        let [(name, svg)] = section.plots() else { panic!("one plot") };
        assert_eq!((name.as_str(), svg.matches("<circle").count()), ("quality-1.svg", 2));
    }
}
