//! Where each rank computes: its device, its share of the processors, its share of a step.
//!
//! Ranks of one machine are told by its name, and those that share processors by the set that each may run on: a launcher that binds
//! every rank to processors of its own has shared them out already.

use burn_lora_config::RunConfig;
use serde::{Deserialize, Serialize};

use super::Ranks;
use super::cut::cut;
use super::told::all;
use crate::TrainError;
use crate::directory::RunDirectory;
use crate::observe::Observer;

/// What a rank has of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Threads to compute with, where the configuration leaves that open and the processors are shared.
    pub threads: Option<usize>,
    /// How many ranks the machine has, this one among them.
    pub neighbours: usize,
}

/// Where a rank is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Whereabouts {
    machine: String,
    /// The processors that it may run on, as the kernel writes them.
    processors: String,
}

impl Whereabouts {
    fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Self {
            machine: read("/proc/sys/kernel/hostname").trim().to_owned(),
            processors: allowed.unwrap_or_default().trim().to_owned(),
        }
    }
}

/// Gives this rank its place: the configuration names its device, and a step has a micro-batch for every rank.
///
/// # Errors
///
/// A step has fewer rows than there are ranks; a rank has ended, or is gone.
pub(crate) fn seat(
    ranks: &Ranks,
    config: &mut RunConfig,
    (directory, resumes): (&RunDirectory, bool),
    observer: &Observer,
) -> Result<Seat, TrainError> {
    if ranks.are_one() {
        return Ok(Seat { threads: None, neighbours: 1 });
    }
    let everywhere = all(ranks, &Whereabouts::here())?;
    let place = Place::of(ranks.rank(), &everywhere);
    share(ranks, config, (directory, resumes), observer)?;
    config.train.device = on_machine(&config.train.device, place.index);
    let threads = (place.sharing > 1).then(|| {
        let there = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (there / place.sharing).max(1)
    });
    let threads = threads.filter(|_| config.train.threads.is_none());
    Ok(Seat { threads, neighbours: place.neighbours })
}

/// Cuts the rows of a step for the ranks; a run that goes on keeps what it was cut into, if the rows of a step are as many.
fn share(
    ranks: &Ranks,
    config: &mut RunConfig,
    (directory, resumes): (&RunDirectory, bool),
    observer: &Observer,
) -> Result<(), TrainError> {
    let train = &config.train;
    let rows = train.batch_size.saturating_mul(train.accumulate);
    // A run that cannot be read is told of where it is checked.
    let written = (resumes && ranks.is_first())
        .then(|| directory.written_config().ok())
        .flatten()
        .map(|written| (written.train.batch_size, written.train.accumulate));
    let written = all(ranks, &written)?.into_iter().next().flatten();
    let before = (train.batch_size, train.accumulate);
    let kept = written.filter(|(batch_size, accumulate)| batch_size * accumulate == rows);
    let (batch_size, accumulate) = match kept {
        Some(kept) => kept,
        None => cut(before.0, before.1, ranks.size())
            .ok_or(TrainError::TooManyRanks { ranks: ranks.size(), rows })?,
    };
    (config.train.batch_size, config.train.accumulate) = (batch_size, accumulate);
    let mut line = format!("{} ranks", ranks.size());
    if (batch_size, accumulate) != before {
        line += &format!(
            "; the {rows} rows of a step go as `batch_size = {batch_size}` and `accumulate = {accumulate}`"
        );
    }
    let left = accumulate % ranks.size();
    if left != 0 {
        let idle = ranks.size() - left;
        line += &format!("; with {accumulate} batches a step, {idle} of them wait once a step");
    }
    observer.line(line);
    Ok(())
}

/// Where a rank is among those of its machine.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// How many ranks of the machine come before it.
    index: usize,
    /// How many ranks the machine has.
    neighbours: usize,
    /// How many of them may run on the same processors.
    sharing: usize,
}

impl Place {
    fn of(rank: usize, everywhere: &[Whereabouts]) -> Self {
        let Some(here) = everywhere.get(rank) else {
            return Self { index: 0, neighbours: 1, sharing: 1 };
        };
        let on_machine = |there: &&Whereabouts| there.machine == here.machine;
        Self {
            index: everywhere[..rank].iter().filter(on_machine).count(),
            neighbours: everywhere.iter().filter(on_machine).count(),
            sharing: everywhere.iter().filter(|there| *there == here).count(),
        }
    }
}

/// The device for the `index`th rank of a machine: of several GPUs that one, or another where there are fewer; a device with a number,
/// and a CPU, for all.
fn on_machine(device: &str, index: usize) -> String {
    let there = |name: &str| burn_lora::device::parse(name).is_ok();
    let kind = match device {
        "auto" => ["cuda", "wgpu"].into_iter().find(|kind| there(kind)),
        "cuda" | "wgpu" => Some(device),
        _ => None,
    };
    // The first has what it has alone, and its configuration is the one that is written.
    let Some(kind) = kind.filter(|_| index > 0) else { return device.to_owned() };
    let numbered = |index: usize| format!("{kind}:{index}");
    let count = (0..=index).take_while(|&index| there(&numbered(index))).count();
    match count {
        0 => device.to_owned(),
        count => numbered(index % count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::ranks::tests::on_ranks;

    fn at(machine: &str, processors: &str) -> Whereabouts {
        Whereabouts { machine: machine.to_owned(), processors: processors.to_owned() }
    }

    #[test]
    fn ranks_are_counted_by_machine_and_share_what_they_may_run_on() {
        let everywhere = [at("a", "0-7"), at("b", "0-3"), at("a", "0-7"), at("b", "4-7")];
        let place = |rank| Place::of(rank, &everywhere);
        assert_eq!(place(0), Place { index: 0, neighbours: 2, sharing: 2 });
        assert_eq!(place(2), Place { index: 1, neighbours: 2, sharing: 2 });
        assert_eq!(place(3), Place { index: 1, neighbours: 2, sharing: 1 });
    }

    #[test]
    fn a_cpu_and_a_numbered_device_are_everybodys() {
        for device in ["cpu", "flex", "cuda:3", "nonsense"] {
            assert_eq!(on_machine(device, 2), device);
        }
        assert_eq!(on_machine("cuda", 0), "cuda");
    }

    fn config(dir: &std::path::Path, more: &str) -> RunConfig {
        let text = format!(
            "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\nsteps = 3\n{more}\n[output]\ndir = {:?}\n",
            dir.display().to_string()
        );
        RunConfig::parse(&text, "run.toml", &[]).unwrap()
    }

    #[test]
    fn a_run_that_goes_on_keeps_its_micro_batches_whatever_the_number_of_ranks() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let shared = |size, more: &str, resumes| -> Vec<(usize, usize)> {
            on_ranks(size, |ranks| {
                let mut config = config(dir.path(), more);
                seat(&ranks, &mut config, (&run, resumes), &Observer::silent()).unwrap();
                (config.train.batch_size, config.train.accumulate)
            })
        };
        assert_eq!(shared(2, "batch_size = 8", false), [(4, 2); 2]);
        run.write_config(&config(dir.path(), "batch_size = 2\naccumulate = 4")).unwrap();
        assert_eq!(shared(2, "batch_size = 8", true), [(2, 4); 2]);
        assert_eq!(shared(3, "batch_size = 8", true), [(2, 4); 3]);
        assert_eq!(
            shared(2, "batch_size = 6", true),
            [(3, 2); 2],
            "another run's rows are not these"
        );
        assert_eq!(shared(2, "batch_size = 8", false), [(4, 2); 2]);
    }

    #[test]
    fn more_ranks_than_rows_are_refused_with_both_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        for refused in on_ranks(3, |ranks| {
            let mut config = config(dir.path(), "batch_size = 2");
            seat(&ranks, &mut config, (&run, false), &Observer::silent())
        }) {
            assert!(matches!(refused, Err(TrainError::TooManyRanks { ranks: 3, rows: 2 })));
        }
    }
}
