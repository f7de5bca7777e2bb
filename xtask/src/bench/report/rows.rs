//! The rows of results files, whichever kind of line they come from.

use std::collections::BTreeMap;

use burn_lora_models::weights::WeightDtype;

use super::figure::Figure;
use super::row::{Key, Row};
use crate::bench::record::{
    Cell, Line, Measured, Method, Peer, Quality, dtype_label, recompute_label,
};
use crate::bench::statistics::median;

/// The name under which our own processes stand beside other libraries'.
pub const OURS: &str = "burn-lora";

/// All rows of some results: cells from the smallest model to the largest, then libraries, then outcomes. Processes on different
/// processors are never taken together.
pub fn rows<'a>(lines: &'a [Line]) -> Vec<Row<'a>> {
    let places = on_processors(lines);
    let all = |rows: fn(&[&'a Line]) -> Vec<Row<'a>>| {
        let mut all = Vec::new();
        for (processor, lines) in &places {
            for mut row in rows(lines) {
                row.labels.insert(Key::Processor, processor.clone());
                all.push(row);
            }
        }
        all
    };
    let mut cells = all(of_cells);
    put_sizes(&mut cells);
    cells.sort_by(|one, other| {
        let size = |row: &Row<'_>| row.value(Figure::SIZE).unwrap_or(0.0);
        size(one).total_cmp(&size(other))
    });
    [cells, all(of_libraries), all(of_outcomes)].concat()
}

/// The lines of each processor, by its name; without one where all are of one.
fn on_processors(lines: &[Line]) -> BTreeMap<String, Vec<&Line>> {
    let processor = |line: &Line| match line {
        Line::Run(run) => Some(run.machine.processor()),
        _ => None,
    };
    let mut names: Vec<String> = lines.iter().filter_map(processor).collect();
    names.dedup();
    let mut here = String::new();
    let mut places: BTreeMap<String, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        here = processor(line).filter(|_| names.len() > 1).unwrap_or(here);
        places.entry(here.clone()).or_default().push(line);
    }
    places
}

/// What each process of each cell measured. Where a resumed run repeats a process, the last one counts.
pub fn cells<'a>(
    lines: impl IntoIterator<Item = &'a Line>,
) -> BTreeMap<&'a Cell, BTreeMap<usize, &'a Measured>> {
    let mut cells: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for line in lines {
        if let Line::Sample(sample) = line {
            cells.entry(&sample.cell).or_default().insert(sample.repeat, &sample.measured);
        }
    }
    cells
}

fn of_cells<'a>(lines: &[&'a Line]) -> Vec<Row<'a>> {
    let row = |(cell, processes): (&'a Cell, BTreeMap<usize, &'a Measured>)| {
        let kind = if cell.method == Method::Merged { "inference" } else { "training" };
        let mut row = Row::new([
            (Key::Kind, kind.to_owned()),
            (Key::Model, cell.model.clone()),
            (Key::Dtype, dtype_label(cell.dtype).to_owned()),
            (Key::Recompute, recompute_label(cell.recompute).to_owned()),
            (Key::Backend, cell.backend.clone()),
            (Key::Batch, format!("{}x{}", cell.batch, cell.length)),
            (Key::Method, cell.method.name().to_owned()),
            (Key::Rank, rank_label(cell.rank)),
        ]);
        row.processes = processes.into_values().map(|one| (cell, one)).collect();
        row.put_quotient(Figure::ATTACHED_RATIO, Figure::ATTACHED, Figure::BASE);
        row.put_quotient(Figure::MERGED_RATIO, Figure::MERGED, Figure::BASE);
        row.put_quotient(Figure::PLANNED_RATIO, Figure::PLANNED, Figure::PEAK);
        row
    };
    cells(lines.iter().copied()).into_iter().map(row).collect()
}

fn rank_label(rank: Option<usize>) -> String {
    rank.map_or_else(String::new, |rank| format!("r={rank}"))
}

/// The size of each model: the fewest parameters any of its cells counts, for adapters add to them.
fn put_sizes(rows: &mut [Row<'_>]) {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (cell, measured) in rows.iter().flat_map(|row| &row.processes) {
        let size = sizes.entry(cell.model.clone()).or_insert(u64::MAX);
        *size = measured.parameters.min(*size);
    }
    for row in rows {
        let size = sizes.get(row.label(Key::Model)).map(|&size| size as f64);
        row.put(Figure::SIZE, size);
    }
}

fn of_libraries<'a>(lines: &[&'a Line]) -> Vec<Row<'a>> {
    // Of a workload ours first.
    let mut peers: BTreeMap<(&str, bool, &str, WeightDtype), BTreeMap<usize, &Peer>> =
        BTreeMap::new();
    for line in lines {
        if let Line::Peer(peer) = line {
            let library = (&*peer.workload, peer.who != OURS, &*peer.who, peer.dtype);
            peers.entry(library).or_default().insert(peer.repeat, peer);
        }
    }
    let losses = |processes: &BTreeMap<usize, &'a Peer>| {
        processes.values().next().map_or_else(Vec::new, |process| process.losses.clone())
    };
    let mut rows = Vec::new();
    for ((workload, is_other, who, dtype), processes) in &peers {
        let mut row = Row::new([
            (Key::Kind, "peer".to_owned()),
            (Key::Workload, (*workload).to_owned()),
            (Key::Library, (*who).to_owned()),
            (Key::Dtype, dtype_label(*dtype).to_owned()),
        ]);
        let all = || processes.values();
        let speeds =
            all().filter_map(|one| Some(one.tokens as f64 / median(one.step_seconds.clone())?));
        row.put(Figure::TOKENS, speeds);
        row.put(Figure::PEAK, all().map(|one| one.peak_bytes as f64));
        row.put(Figure::FIRST_STEP, all().map(|one| one.first_step_seconds));
        if !is_other {
            // Over another base the losses are others.
            let theirs =
                peers.iter().filter(|(them, _)| them.1 && (them.0, them.3) == (*workload, *dtype));
            let pairs =
                theirs.flat_map(|(_, them)| losses(processes).into_iter().zip(losses(them)));
            let most = pairs.map(|(ours, theirs)| (ours - theirs).abs()).max_by(f64::total_cmp);
            row.put(Figure::LOSS_DIFFERENCE, most);
        }
        rows.push(row);
    }
    rows
}

fn of_outcomes<'a>(lines: &[&'a Line]) -> Vec<Row<'a>> {
    let mut tasks: BTreeMap<String, BTreeMap<(Method, Option<usize>), &Quality>> = BTreeMap::new();
    for line in lines {
        if let Line::Quality(quality) = line {
            let Quality { task, metric, steps, .. } = quality;
            let task = format!("{task}, {steps} steps: {metric}");
            let way = (quality.method, quality.rank);
            tasks.entry(task).or_default().insert(way, quality);
        }
    }
    let mut rows = Vec::new();
    for (task, ways) in tasks {
        let mut add = |method: &str, rank: Option<usize>, figures: &[(Figure, f64)]| {
            let mut row = Row::new([
                (Key::Kind, "outcome".to_owned()),
                (Key::Task, task.clone()),
                (Key::Method, method.to_owned()),
                (Key::Rank, rank_label(rank)),
            ]);
            row.put(Figure::RANK, rank.map(|rank| rank as f64));
            for &(figure, value) in figures {
                row.put(figure, [value]);
            }
            rows.push(row);
        };
        for quality in ways.values() {
            let figures = [
                (Figure::TRAINED, quality.trainable as f64),
                (Figure::RIGHT, quality.after),
                (Figure::EVAL_LOSS, quality.eval_loss),
            ];
            add(quality.method.name(), quality.rank, &figures);
        }
        if let Some(right) = ways.values().find_map(|quality| quality.before) {
            add("untrained", None, &[(Figure::TRAINED, 0.0), (Figure::RIGHT, right)]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Latency;
    use crate::bench::record::tests::{outcome, peer, run, sample};
    use crate::bench::statistics::Spread;

    fn only(lines: &[Line]) -> Row<'_> {
        let [row] = &rows(lines)[..] else { panic!("one row") };
        row.clone()
    }

    #[test]
    fn a_cell_is_the_median_of_the_medians_of_its_processes() {
        let lines = [
            sample(Method::Lora, Some(2), 0, &[2.0, 4.0, 100.0]),
            sample(Method::Lora, Some(2), 1, &[2.0]),
            sample(Method::Lora, Some(2), 2, &[8.0]),
        ];
        let row = only(&lines);
        assert_eq!(row.figure(Figure::STEP), Some(Spread { median: 4.0, least: 2.0, most: 8.0 }));
        assert_eq!(row.figure(Figure::TOKENS), Some(Spread { median: 2.0, least: 1.0, most: 4.0 }));
        // 80 operations and a second of products in the 8 tokens' step.
        let values = [Figure::GRADIENTS, Figure::RATE, Figure::SHARE, Figure::TRAINED_SHARE];
        assert_eq!(values.map(|figure| row.value(figure).unwrap()), [3.0, 20.0, 0.25, 0.1]);
        assert_eq!(row.value(Figure::BASE), None);
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
        let lines = [Line::Sample(one)];
        let row = only(&lines);
        assert_eq!(row.value(Figure::TOKENS), None);
        let values = [Figure::BASE, Figure::ATTACHED_RATIO, Figure::RATE, Figure::SHARE];
        assert_eq!(values.map(|figure| row.value(figure).unwrap()), [3.0, 2.0, 40.0, 0.5]);
    }

    #[test]
    fn what_a_resumed_run_repeats_counts_once_and_other_processors_count_apart() {
        let lines = [sample(Method::Full, None, 0, &[2.0]), sample(Method::Full, None, 0, &[6.0])];
        assert_eq!(only(&lines).value(Figure::STEP), Some(6.0));
        assert_eq!(only(&lines).label(Key::Processor), "");
        let [first, second] = lines;
        let lines = [run("A"), first, run("B"), second];
        let found = rows(&lines);
        let of = |row: &Row<'_>| (row.label(Key::Processor).to_owned(), row.value(Figure::STEP));
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
        let of = |row: &Row<'_>| (row.labels(&[Key::Model, Key::Rank]), row.value(Figure::SIZE));
        let found: Vec<_> = rows(&lines).iter().map(of).collect();
        let expected =
            [("b-1m r=1", 2.0), ("b-1m r=2", 2.0), ("a-11m r=1", 12.0), ("a-11m r=2", 12.0)];
        assert_eq!(found, expected.map(|(name, size)| (name.to_owned(), Some(size))));
    }

    #[test]
    fn libraries_differ_from_ours_and_outcomes_stand_by_rank() {
        let lines = [
            peer("PEFT", &[1.0, 2.0], vec![3.0, 2.5]),
            peer(OURS, &[1.0], vec![3.0, 2.75]),
            outcome(Some(4), 0.1),
            outcome(Some(4), 0.8),
            outcome(None, 0.9),
        ];
        let found = rows(&lines);
        let of = |row: &Row<'_>| row.labels(&[Key::Library, Key::Method, Key::Rank]);
        let names: Vec<String> = found.iter().map(of).collect();
        assert_eq!(names, [OURS, "PEFT", "full", "lora r=4", "untrained"]);
        assert_eq!(found[0].value(Figure::LOSS_DIFFERENCE), Some(0.25));
        let right: Vec<f64> = found[2..].iter().filter_map(|r| r.value(Figure::RIGHT)).collect();
        assert_eq!(right, [0.9, 0.8, 0.25]);
    }
}
