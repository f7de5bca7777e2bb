//! What tables have rows of: a cell of the matrix, a library on a workload, an outcome on a task. Each has labels that say what it is
//! and figures with their spread, whichever kind of line they come from.

use std::collections::BTreeMap;

use super::figure::Figure;
use crate::bench::record::{Cell, Line, Measured, Method, Peer, Quality, Run, dtype_label};
use crate::bench::statistics::{Spread, median};

/// The name under which our own processes stand beside other libraries'.
pub const OURS: &str = "burn-lora";

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `training`, `inference`, `peer` or `outcome`.
    Kind,
    /// Where it was measured; empty where all lines are of one processor.
    Processor,
    /// The model's name in the matrix file.
    Model,
    /// What the model's matrices are held in; empty for f32.
    Dtype,
    /// The backend's name.
    Backend,
    /// Rows and tokens of a row: `4x64`.
    Batch,
    /// What is trained.
    Method,
    /// `r=16`.
    Rank,
    /// Model, method and batches of a comparison with other libraries.
    Workload,
    /// Whose process it was.
    Library,
    /// Model, data, steps and metric of an outcome.
    Task,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    labels: BTreeMap<Key, String>,
    figures: BTreeMap<Figure, Spread>,
}

impl Row {
    /// A label; empty where there is none.
    pub fn label(&self, key: Key) -> &str {
        self.labels.get(&key).map_or("", String::as_str)
    }

    /// Several labels in words, those that say nothing left out.
    pub fn labels(&self, keys: &[Key]) -> String {
        let labels = keys.iter().map(|&key| self.label(key)).filter(|label| !label.is_empty());
        labels.collect::<Vec<_>>().join(" ")
    }

    /// Whether two rows have these labels in common.
    pub fn agrees(&self, other: &Self, keys: &[Key]) -> bool {
        keys.iter().all(|&key| self.label(key) == other.label(key))
    }

    /// A figure.
    pub fn figure(&self, figure: Figure) -> Option<Spread> {
        self.figures.get(&figure).copied()
    }

    /// The median of a figure.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        Some(self.figure(figure)?.median)
    }

    fn with(mut self, labels: impl IntoIterator<Item = (Key, String)>) -> Self {
        self.labels.extend(labels);
        self
    }

    fn put(&mut self, figure: Figure, spread: Option<Spread>) {
        if let Some(spread) = spread {
            self.figures.insert(figure, spread);
        }
    }

    fn put_values(&mut self, figure: Figure, values: impl IntoIterator<Item = f64>) {
        self.put(figure, Spread::of(values.into_iter().collect()));
    }

    fn put_quotient(&mut self, figure: Figure, of: Figure, over: Figure) {
        if let (Some(of), Some(over)) = (self.value(of), self.value(over)) {
            self.put_values(figure, [of / over]);
        }
    }
}

/// What each method and rank came to on a task.
type Outcomes<'a> = BTreeMap<(Method, Option<usize>), &'a Quality>;

/// All rows of some results: cells from the smallest model to the largest, then libraries, then outcomes.
///
/// A figure of a cell is the median over its processes of each process's own median, with the range over the processes. Where a resumed
/// run repeats a process, the last one counts. Processes on different processors are never taken together.
pub fn rows(lines: &[Line]) -> Vec<Row> {
    let mut cells: BTreeMap<(String, Cell), BTreeMap<usize, &Measured>> = BTreeMap::new();
    let mut peers: BTreeMap<(String, &str, bool, &str), BTreeMap<usize, &Peer>> = BTreeMap::new();
    let mut outcomes: BTreeMap<(String, String), Outcomes<'_>> = BTreeMap::new();
    let mut processors: Vec<String> = processors(lines);
    processors.dedup();
    let mut here = String::new();
    for line in lines {
        match line {
            Line::Run(run) if processors.len() > 1 => here = run.machine.processor(),
            Line::Sample(sample) => {
                let processes = cells.entry((here.clone(), sample.cell.clone())).or_default();
                processes.insert(sample.repeat, &sample.measured);
            }
            Line::Peer(peer) => {
                let library = (here.clone(), &*peer.workload, peer.who != OURS, &*peer.who);
                peers.entry(library).or_default().insert(peer.repeat, peer);
            }
            Line::Quality(quality) => {
                let Quality { task, metric, steps, .. } = quality;
                let task = (here.clone(), format!("{task}, {steps} steps: {metric}"));
                let way = (quality.method, quality.rank);
                outcomes.entry(task).or_default().insert(way, quality);
            }
            Line::Run(_) | Line::Skipped(_) | Line::Failed(_) => {}
        }
    }
    let mut rows: Vec<Row> = cells
        .into_iter()
        .map(|((processor, cell), processes)| {
            of_cell(&cell, processes.into_values()).with([(Key::Processor, processor)])
        })
        .collect();
    put_sizes(&mut rows, lines);
    rows.sort_by(|one, other| {
        let size = |row: &Row| row.value(Figure::Size).unwrap_or(0.0);
        size(one).total_cmp(&size(other))
    });
    let losses = |processes: &BTreeMap<usize, &Peer>| {
        processes.values().next().map_or_else(Vec::new, |process| process.losses.clone())
    };
    for ((processor, workload, other, who), processes) in &peers {
        let theirs = peers.iter().filter(|((on, with, ..), _)| (on, with) == (processor, workload));
        let theirs = theirs.filter(|((.., who), _)| *who != OURS).map(|(_, them)| losses(them));
        let mut row = of_peer(workload, who, processes.values().copied());
        if !other {
            let ours = losses(processes);
            let pairs = theirs.flat_map(|theirs| ours.clone().into_iter().zip(theirs));
            let most = pairs.map(|(ours, theirs)| (ours - theirs).abs()).max_by(f64::total_cmp);
            row.put_values(Figure::LossDifference, most);
        }
        rows.push(row.with([(Key::Processor, processor.clone())]));
    }
    for ((processor, task), ways) in outcomes {
        let untrained = ways.values().find_map(|quality| quality.before);
        let mut add = |row: Row| {
            let labels = [(Key::Processor, processor.clone()), (Key::Task, task.clone())];
            rows.push(row.with(labels));
        };
        ways.into_values().map(of_outcome).for_each(&mut add);
        if let Some(right) = untrained {
            let mut row = Row::default()
                .with([(Key::Kind, "outcome".to_owned()), (Key::Method, "untrained".to_owned())]);
            row.put_values(Figure::Trained, [0.0]);
            row.put_values(Figure::Right, [right]);
            add(row);
        }
    }
    rows
}

/// The processor of each run.
fn processors(lines: &[Line]) -> Vec<String> {
    let run = |line: &Line| match line {
        Line::Run(Run { machine, .. }) => Some(machine.processor()),
        _ => None,
    };
    lines.iter().filter_map(run).collect()
}

fn of_cell<'a>(cell: &Cell, processes: impl Iterator<Item = &'a Measured>) -> Row {
    let kind = if cell.method == Method::Merged { "inference" } else { "training" };
    let mut row = Row::default().with([
        (Key::Kind, kind.to_owned()),
        (Key::Model, cell.model.clone()),
        (Key::Dtype, dtype_label(cell.dtype).to_owned()),
        (Key::Backend, cell.backend.clone()),
        (Key::Batch, format!("{}x{}", cell.batch, cell.length)),
        (Key::Method, cell.method.name().to_owned()),
        (Key::Rank, cell.rank.map_or_else(String::new, |rank| format!("r={rank}"))),
    ]);
    let processes: Vec<&Measured> = processes.collect();
    for figure in Figure::OF_CELLS {
        row.put_values(figure, processes.iter().filter_map(|one| figure.of(cell, one)));
    }
    row.put_quotient(Figure::AttachedRatio, Figure::Attached, Figure::Base);
    row.put_quotient(Figure::MergedRatio, Figure::Merged, Figure::Base);
    row
}

/// The size of each model: the fewest parameters any of its cells counts, for adapters add to them.
fn put_sizes(rows: &mut [Row], lines: &[Line]) {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        if let Line::Sample(sample) = line {
            let size = sizes.entry(&sample.cell.model).or_insert(u64::MAX);
            *size = sample.measured.parameters.min(*size);
        }
    }
    for row in rows {
        let size = sizes.get(row.label(Key::Model)).map(|&size| size as f64);
        row.put_values(Figure::Size, size);
    }
}

fn of_peer<'a>(workload: &str, who: &str, processes: impl Iterator<Item = &'a Peer>) -> Row {
    let mut row = Row::default().with([
        (Key::Kind, "peer".to_owned()),
        (Key::Workload, workload.to_owned()),
        (Key::Library, who.to_owned()),
    ]);
    let processes: Vec<&Peer> = processes.collect();
    let all = || processes.iter();
    row.put_values(
        Figure::Tokens,
        all().filter_map(|p| Some(p.tokens as f64 / median(p.step_seconds.clone())?)),
    );
    row.put_values(Figure::Peak, all().map(|peer| peer.peak_bytes as f64));
    row.put_values(Figure::FirstStep, all().map(|peer| peer.first_step_seconds));
    row
}

fn of_outcome(quality: &Quality) -> Row {
    let mut row = Row::default().with([
        (Key::Kind, "outcome".to_owned()),
        (Key::Method, quality.method.name().to_owned()),
        (Key::Rank, quality.rank.map_or_else(String::new, |rank| format!("r={rank}"))),
    ]);
    row.put_values(Figure::Rank, quality.rank.map(|rank| rank as f64));
    row.put_values(Figure::Trained, [quality.trainable as f64]);
    row.put_values(Figure::Right, [quality.after]);
    row.put_values(Figure::EvalLoss, [quality.eval_loss]);
    row
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::record::Latency;
    use crate::bench::record::tests::{outcome, peer, run, sample};

    fn only(lines: &[Line]) -> Row {
        let [row] = &rows(lines)[..] else { panic!("one row") };
        row.clone()
    }

    #[test]
    fn a_cell_is_the_median_of_the_medians_of_its_processes() {
        let row = only(&[
            sample(Method::Lora, Some(2), 0, &[2.0, 4.0, 100.0]),
            sample(Method::Lora, Some(2), 1, &[2.0]),
            sample(Method::Lora, Some(2), 2, &[8.0]),
        ]);
        assert_eq!(row.figure(Figure::Step), Some(Spread { median: 4.0, least: 2.0, most: 8.0 }));
        assert_eq!(row.figure(Figure::Tokens), Some(Spread { median: 2.0, least: 1.0, most: 4.0 }));
        // 80 operations and a second of products in the 8 tokens' step.
        let values = [Figure::Gradients, Figure::Rate, Figure::Share, Figure::TrainedShare];
        assert_eq!(values.map(|figure| row.value(figure).unwrap()), [3.0, 20.0, 0.25, 0.1]);
        assert_eq!(row.value(Figure::Base), None);
        assert_eq!(
            row.labels(&[Key::Model, Key::Method, Key::Rank, Key::Batch]),
            "tiny lora r=2 2x4"
        );
    }

    #[test]
    fn an_inference_cell_is_held_against_its_merged_passes() {
        let Line::Sample(mut one) = sample(Method::Merged, Some(2), 0, &[]) else {
            panic!("a sample")
        };
        one.measured.latency =
            Some(Latency { base: vec![2.0, 4.0], adapter: vec![6.0], merged: vec![1.0, 2.0, 9.0] });
        let row = only(&[Line::Sample(one)]);
        assert_eq!(row.value(Figure::Tokens), None);
        let values = [Figure::Base, Figure::AttachedRatio, Figure::Rate, Figure::Share];
        assert_eq!(values.map(|figure| row.value(figure).unwrap()), [3.0, 2.0, 40.0, 0.5]);
    }

    #[test]
    fn what_a_resumed_run_repeats_counts_once_and_other_processors_count_apart() {
        let lines = [sample(Method::Full, None, 0, &[2.0]), sample(Method::Full, None, 0, &[6.0])];
        assert_eq!(only(&lines).value(Figure::Step), Some(6.0));
        assert_eq!(only(&lines).label(Key::Processor), "");
        let [first, second] = lines;
        let found = rows(&[run("A"), first, run("B"), second]);
        let of = |row: &Row| (row.label(Key::Processor).to_owned(), row.value(Figure::Step));
        let expected = [("A (AVX2)".to_owned(), Some(2.0)), ("B (AVX2)".to_owned(), Some(6.0))];
        assert_eq!(found.iter().map(of).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn models_are_in_order_of_their_size_which_adapters_do_not_add_to() {
        let mut lines = Vec::new();
        for (model, parameters) in [("a-11m", 11), ("b-1m", 1)] {
            for rank in [1, 2] {
                let Line::Sample(mut one) = sample(Method::Lora, Some(rank), 0, &[1.0]) else {
                    panic!("a sample")
                };
                one.cell.model = model.to_owned();
                one.measured.parameters = parameters + rank as u64;
                lines.push(Line::Sample(one));
            }
        }
        let of = |row: &Row| (row.labels(&[Key::Model, Key::Rank]), row.value(Figure::Size));
        let found: Vec<_> = rows(&lines).iter().map(of).collect();
        let expected =
            [("b-1m r=1", 2.0), ("b-1m r=2", 2.0), ("a-11m r=1", 12.0), ("a-11m r=2", 12.0)];
        assert_eq!(found, expected.map(|(name, size)| (name.to_owned(), Some(size))));
    }

    #[test]
    fn libraries_differ_from_ours_and_outcomes_stand_by_rank() {
        let found = rows(&[
            peer("PEFT", &[1.0, 2.0], vec![3.0, 2.5]),
            peer(OURS, &[1.0], vec![3.0, 2.75]),
            outcome(Some(4), 0.1),
            outcome(Some(4), 0.8),
            outcome(None, 0.9),
        ]);
        let of = |row: &Row| row.labels(&[Key::Library, Key::Method, Key::Rank]);
        let names: Vec<String> = found.iter().map(of).collect();
        assert_eq!(names, [OURS, "PEFT", "full", "lora r=4", "untrained"]);
        assert_eq!(found[0].value(Figure::LossDifference), Some(0.25));
        let right: Vec<f64> = found[2..].iter().filter_map(|r| r.value(Figure::Right)).collect();
        assert_eq!(right, [0.9, 0.8, 0.25]);
    }
}
