//! What `benches/scaling.sh` measured, beside what the model makes of the machine's own figures.
//!
//! The folder has a run directory `on<ranks>-<repeat>` for every process count and repeat, the dry runs `exchange<ranks>-<repeat>.json`,
//! and `processors`. The seconds of a micro-batch, and their spread, come from the runs of one rank; those of the exchange from the dry
//! runs, which measure it with zeros between ranks that compute nothing. Ranks that are more than the processors take turns on them, so
//! that all compute longer; the first step of a run is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_config::{ConfigErrors, RunConfig};
use burn_lora_files::IoError;
use burn_lora_report::record::{Record, StepRecord, steps};
use burn_lora_text::{grouped, significant};
use serde_json::Value;

use super::stragglers::Stragglers;
use crate::bench::{Table, median};

/// A folder that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum MeasuredError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] IoError),
    /// A run's configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A file is not what the script writes.
    #[error("{}: {reason}; let benches/scaling.sh write the folder anew", path.display())]
    Strange {
        /// The file, or the folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whatever is drawn for the stragglers.
const SEED: u64 = 0;

/// What a machine does alone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Own {
    /// Seconds of a micro-batch.
    batch: f64,
    /// The standard deviation of a micro-batch's seconds, as a share of them.
    spread: f64,
    /// Micro-batches of a step.
    accumulate: usize,
    /// Processors.
    processors: usize,
}

/// What a step on some ranks took, or is to take.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Took {
    /// All of it.
    seconds: f64,
    /// Those in the exchange, waiting for others included.
    exchange: f64,
}

impl Own {
    /// Of the steps of one rank, a list for each repeat.
    fn of(repeats: &[Vec<StepRecord>], accumulate: usize, processors: usize) -> Option<Self> {
        let all = || repeats.iter().flatten().map(|step| step.seconds);
        let count = all().count() as f64;
        let mean = all().map(f64::ln).sum::<f64>() / count;
        let variance = all().map(|seconds| (seconds.ln() - mean).powi(2)).sum::<f64>() / count;
        let batch = medians(repeats, |step| step.seconds)?.0 / accumulate as f64;
        // A step is a sum of micro-batches, whose spreads even out.
        Some(Self { batch, spread: (variance * accumulate as f64).sqrt(), accumulate, processors })
    }

    /// A step on so many ranks whose exchange takes so long where nobody computes.
    fn predicted(&self, ranks: usize, exchange: f64) -> Took {
        let turns = (ranks as f64 / self.processors as f64).max(1.0);
        let compute = self.batch * self.accumulate.div_ceil(ranks) as f64 * turns;
        let waiting = compute * Stragglers::simulated(self.spread, ranks, SEED).wait(ranks);
        Took { seconds: compute + waiting + exchange, exchange: waiting + exchange }
    }
}

/// The median over the repeats of each repeat's median, with the least and the most of those; none of nothing.
fn medians(
    repeats: &[Vec<StepRecord>],
    of: impl Fn(&StepRecord) -> f64,
) -> Option<(f64, f64, f64)> {
    let each: Vec<f64> =
        repeats.iter().filter_map(|steps| median(steps.iter().map(&of).collect())).collect();
    let least = each.iter().copied().min_by(f64::total_cmp)?;
    let most = each.iter().copied().max_by(f64::total_cmp)?;
    Some((median(each)?, least, most))
}

/// The table of a folder.
///
/// # Errors
///
/// A file that cannot be read, or is not what the script writes.
pub fn compared(dir: &Path) -> Result<String, MeasuredError> {
    let strange = |path: &Path, reason: &str| MeasuredError::Strange {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let mut runs: BTreeMap<usize, Vec<Vec<StepRecord>>> = BTreeMap::new();
    let mut exchanges: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut accumulate = None;
    for name in burn_lora_files::names(dir)? {
        let path = dir.join(&name);
        if let Some(ranks) = numbered(&name, "on", "") {
            let config = RunConfig::read(path.join("config.toml"), &[])?;
            accumulate = Some(config.train.accumulate);
            runs.entry(ranks).or_default().push(taken(&path.join("metrics.jsonl"))?);
        } else if let Some(ranks) = numbered(&name, "exchange", ".json") {
            let dry: Value = serde_json::from_str(&burn_lora_files::read_text(&path)?)
                .map_err(|error| strange(&path, &error.to_string()))?;
            // One rank exchanges nothing.
            exchanges.entry(ranks).or_default().extend(dry["exchange"]["seconds"].as_f64());
        }
    }
    let path = dir.join("processors");
    let processors = burn_lora_files::read_text(&path)?.trim().parse::<usize>();
    let processors = processors.map_err(|_| strange(&path, "it holds no number"))?;
    let alone = runs.get(&1).zip(accumulate);
    let own = alone.and_then(|(alone, accumulate)| Own::of(alone, accumulate, processors));
    let own = own.ok_or_else(|| strange(dir, "it has no steps of one rank"))?;
    let mut table = Table::new([
        "ranks",
        "seconds a step (least to most of repeats)",
        "of them in the exchange",
        "bytes a step from rank 0",
        "the model: seconds a step",
        "of them in the exchange",
    ]);
    for (ranks, repeats) in &runs {
        let exchange = exchanges.get(ranks).and_then(|all| median(all.clone())).unwrap_or(0.0);
        let predicted = own.predicted(*ranks, exchange);
        let Some((seconds, least, most)) = medians(repeats, |step| step.seconds) else { continue };
        let exchanged = medians(repeats, |step| step.exchange_seconds.unwrap_or(0.0));
        let bytes = medians(repeats, |step| step.exchange_bytes.unwrap_or(0) as f64);
        let middle = |found: Option<(f64, f64, f64)>| found.map_or(0.0, |(middle, ..)| middle);
        table.row([
            ranks.to_string(),
            format!("{} ({} to {})", significant(seconds), significant(least), significant(most)),
            significant(middle(exchanged)),
            grouped(middle(bytes) as usize),
            significant(predicted.seconds),
            significant(predicted.exchange),
        ]);
    }
    let (batch, spread) = (significant(own.batch), significant(100.0 * own.spread));
    Ok(format!(
        "{processors} processors; a micro-batch takes {batch} s on one rank, with a spread of {spread} %.\n\n{table}"
    ))
}

/// The ranks of a name such as `on2-1`.
fn numbered(name: &str, before: &str, after: &str) -> Option<usize> {
    let (ranks, repeat) = name.strip_prefix(before)?.strip_suffix(after)?.split_once('-')?;
    repeat.parse::<usize>().ok()?;
    ranks.parse().ok()
}

/// The steps of a run but for the first.
fn taken(path: &Path) -> Result<Vec<StepRecord>, MeasuredError> {
    let text = burn_lora_files::read_text(path)?;
    let record = |line: &str| {
        serde_json::from_str(line).map_err(|error: serde_json::Error| MeasuredError::Strange {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    };
    let records = text.lines().map(record).collect::<Result<Vec<Record>, _>>()?;
    Ok(steps(&records).filter(|step| step.step > 1).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(seconds: f64) -> StepRecord {
        StepRecord { seconds, ..StepRecord::default() }
    }

    /// By hand: four micro-batches of a second each, on two processors.
    #[test]
    fn ranks_beyond_the_processors_take_turns_on_them() {
        let own = Own { batch: 1.0, spread: 0.0, accumulate: 4, processors: 2 };
        let seconds = |ranks, exchange| own.predicted(ranks, exchange).seconds;
        assert_eq!(seconds(1, 0.0), 4.0);
        assert_eq!(seconds(2, 0.5), 2.5);
        // One micro-batch each, at half the pace.
        assert_eq!(seconds(4, 0.5), 2.5);
        assert_eq!(own.predicted(4, 0.5).exchange, 0.5);
        let uneven = Own { spread: 0.1, ..own }.predicted(2, 0.0);
        assert!(uneven.exchange > 0.0 && uneven.seconds == 2.0 + uneven.exchange);
    }

    #[test]
    fn a_machines_figures_are_medians_of_its_repeats_and_the_spread_of_its_steps() {
        let e = std::f64::consts::E;
        // Logarithms of 0 and 2: one on either side of their mean.
        let own = Own::of(&[vec![step(1.0), step(e * e)]], 4, 2).unwrap();
        assert!((own.spread - 2.0).abs() < 1e-12, "{own:?}");
        let repeats = [vec![step(8.0)], vec![step(4.0), step(4.0)], vec![step(2.0)]];
        assert_eq!(Own::of(&repeats, 4, 2).unwrap().batch, 1.0);
        assert_eq!(medians(&repeats, |step| step.seconds), Some((4.0, 2.0, 8.0)));
        assert_eq!(Own::of(&[], 4, 2), None);
    }

    #[test]
    fn a_folder_is_read_whole_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| {
            burn_lora_files::write(&at(name), text.as_bytes()).unwrap();
        };
        let missing = compared(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("processors"), "{missing}");
        write("processors", "2\n");
        let missing = compared(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("no steps of one rank"), "{missing}");
        let config = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\nsteps = 3\naccumulate = 4\n[output]\ndir = 'o'\n";
        let line = |step: usize, more: &str| {
            format!(
                "{{\"step\":{step},\"loss\":1.0,\"learning_rate\":0.1,\"gradient_norm\":1.0,\"targets\":1,\"tokens\":1,{more}}}\n"
            )
        };
        write("on1-1/config.toml", config);
        // The first step is none that counts.
        let alone = line(1, "\"seconds\":100.0") + &line(2, "\"seconds\":4.0");
        write("on1-1/metrics.jsonl", &alone);
        write("on2-1/config.toml", config);
        let shared = "\"seconds\":2.5,\"exchange_bytes\":12345,\"exchange_seconds\":0.25";
        write("on2-1/metrics.jsonl", &line(2, shared));
        write(
            "exchange2-1.json",
            "{\"exchange\": {\"ranks\": 2, \"bytes\": 12000, \"seconds\": 0.5}}",
        );
        let text = compared(dir.path()).unwrap();
        assert!(text.contains("| 1 | 4.00 (4.00 to 4.00) | 0 | 0 | 4.00 | 0 |"), "{text}");
        assert!(
            text.contains("| 2 | 2.50 (2.50 to 2.50) | 0.250 | 12,345 | 2.50 | 0.500 |"),
            "{text}"
        );
        write("exchange4-1.json", "no JSON");
        let strange = compared(dir.path()).unwrap_err().to_string();
        assert!(strange.contains("exchange4-1.json"), "{strange}");
    }
}
