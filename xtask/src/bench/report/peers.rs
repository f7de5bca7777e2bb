//! Ours against other libraries on the same weights and batches.

use std::collections::BTreeMap;

use super::bars::Bars;
use super::costs::quotient;
use super::frame::DrawError;
use super::numbers::{memory, or_none, ratio, seconds, with_spread};
use super::section::Section;
use super::table::Table;
use crate::bench::record::{Line, Peer};
use crate::bench::statistics::{Spread, median};

const TITLE: &str = "Against other libraries";

/// The name under which our own processes are written.
const OURS: &str = "burn-lora";

/// The processes of one library on one workload.
struct Library<'a> {
    name: &'a str,
    processes: Vec<&'a Peer>,
}

impl Library<'_> {
    fn spread(&self, figure: impl Fn(&Peer) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.processes.iter().filter_map(|process| figure(process)).collect())
    }

    fn tokens(&self) -> Option<Spread> {
        self.spread(|peer| Some(peer.tokens as f64 / median(peer.step_seconds.clone())?))
    }

    fn peak(&self) -> Option<Spread> {
        self.spread(|peer| Some(peer.peak_bytes as f64))
    }

    fn first_step(&self) -> Option<Spread> {
        self.spread(|peer| Some(peer.first_step_seconds))
    }

    fn losses(&self) -> &[f64] {
        self.processes.first().map_or(&[], |process| &process.losses)
    }
}

/// A table per workload, and a plot of the ratios of all of them.
///
/// # Errors
///
/// What the drawing library says.
pub fn section(lines: &[Line]) -> Result<Section, DrawError> {
    let workloads = workloads(lines);
    if workloads.is_empty() {
        let why = "No other library was measured in this run.";
        return Ok(Section::unanswered(TITLE, why));
    }
    let mut section = Section::new(TITLE);
    section.block(
        "The same weights, adapter and batches, in processes that alternate. Ratios are ours over \
         theirs. Equal losses show that both do the same work.",
    );
    let mut cases = Vec::new();
    for (workload, libraries) in &workloads {
        section.heading(workload);
        let mut table = Table::new(&["", "tokens/s", "peak memory", "time to first step"]);
        for library in libraries {
            let version = library.processes.last().map_or("", |peer| peer.version.as_str());
            table.row([
                format!("{} ({version})", library.name),
                or_none(library.tokens(), |spread| with_spread(&spread)),
                or_none(library.peak(), |spread| memory(spread.median)),
                or_none(library.first_step(), |spread| seconds(spread.median)),
            ]);
        }
        let ours = libraries.iter().find(|library| library.name == OURS);
        let mut notes = Vec::new();
        for theirs in libraries.iter().filter(|library| library.name != OURS) {
            let Some(ours) = ours else { continue };
            let tokens = quotient(ours.tokens(), theirs.tokens());
            let peak = quotient(ours.peak(), theirs.peak());
            let words = |quotient| or_none(quotient, |quotient| ratio(quotient, 1.0));
            table.row([
                format!("ours / {}", theirs.name),
                words(tokens),
                words(peak),
                words(quotient(ours.first_step(), theirs.first_step())),
            ]);
            notes.push(match difference(ours.losses(), theirs.losses()) {
                Some((most, steps)) => format!(
                    "Largest difference from {}'s losses over the first {steps} steps: {most:.1e} \
                     nats.",
                    theirs.name
                ),
                None => format!("{}'s losses are not known.", theirs.name),
            });
            cases.push((format!("{workload} ({})", theirs.name), vec![tokens, peak]));
        }
        if ours.is_none() {
            notes.push(format!("{OURS} was not measured on this workload."));
        }
        section.block(table);
        if !notes.is_empty() {
            section.block(notes.join(" "));
        }
    }
    if !cases.is_empty() {
        let plot = Bars {
            title: "Ours over theirs: more tokens a second and less memory are better".to_owned(),
            axis: "ratio",
            series: vec!["tokens a second".to_owned(), "peak memory".to_owned()],
            cases,
            mark: Some(1.0),
        };
        section.plot("peers", &plot.title, plot.svg()?);
    }
    Ok(section)
}

/// Processes by library and repeat; our own library comes first.
type Libraries<'a> = BTreeMap<(bool, &'a str), BTreeMap<usize, &'a Peer>>;

/// Workloads with their libraries, ours first. Where a resumed run repeats a process, the last one
/// counts.
fn workloads(lines: &[Line]) -> BTreeMap<&str, Vec<Library<'_>>> {
    let mut found: BTreeMap<&str, Libraries<'_>> = BTreeMap::new();
    for line in lines {
        if let Line::Peer(peer) = line {
            let libraries = found.entry(&peer.workload).or_default();
            let processes = libraries.entry((peer.who != OURS, &peer.who)).or_default();
            processes.insert(peer.repeat, peer);
        }
    }
    let library = |((_, name), processes): ((bool, _), BTreeMap<usize, _>)| Library {
        name,
        processes: processes.into_values().collect(),
    };
    found
        .into_iter()
        .map(|(workload, libraries)| (workload, libraries.into_iter().map(library).collect()))
        .collect()
}

/// The largest absolute difference over the steps that both took, and how many these are.
fn difference(ours: &[f64], theirs: &[f64]) -> Option<(f64, usize)> {
    let differences = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs());
    // In total order, NaN is the largest: a loss that is no number must not pass for equal.
    let most = differences.max_by(f64::total_cmp)?;
    Some((most, ours.len().min(theirs.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(who: &str, repeat: usize, step: f64, losses: &[f64]) -> Line {
        Line::Peer(Peer {
            workload: "tiny: LoRA".to_owned(),
            who: who.to_owned(),
            version: "1".to_owned(),
            repeat,
            tokens: 100,
            step_seconds: vec![step, step, 9.0],
            losses: losses.to_vec(),
            peak_bytes: if who == OURS { 1 << 20 } else { 4 << 20 },
            first_step_seconds: if who == OURS { 0.5 } else { 5.0 },
        })
    }

    #[test]
    fn ratios_are_ours_over_theirs_and_the_last_of_a_repeat_counts() {
        let lines = [
            peer("PEFT", 0, 2.0, &[3.0, 2.0]),
            peer(OURS, 0, 8.0, &[9.0]),
            peer(OURS, 0, 1.0, &[3.0, 2.25, 1.0]),
        ];
        let section = section(&lines).unwrap();
        let text = section.markdown();
        for part in [
            "| burn-lora (1) | 100 | 1.00 MiB | 500 ms |",
            "| PEFT (1) | 50.0 | 4.00 MiB | 5.00 s |",
            "| ours / PEFT | 2.00x | 0.250x | 0.100x |",
            "over the first 2 steps: 2.5e-1 nats",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(section.plots().len(), 1);
    }

    #[test]
    fn a_loss_that_is_no_number_is_a_difference() {
        assert!(difference(&[1.0, f64::NAN], &[1.0, 1.0]).unwrap().0.is_nan());
        assert_eq!(difference(&[], &[1.0]), None);
        // Without ours there is nothing to hold theirs against, and no plot.
        let section = section(&[peer("PEFT", 0, 1.0, &[])]).unwrap();
        assert!(section.markdown().contains("burn-lora was not measured"));
        assert!(section.plots().is_empty());
    }
}
