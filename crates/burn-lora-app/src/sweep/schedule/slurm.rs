//! SLURM: the shards as tasks of one job array.
//!
//! The array's script (`slurm/job.sh` in the sweep's directory) is the same whatever is finished; which tasks there are is said when it
//! is submitted. A task is one point, or several where the cluster allows fewer tasks than there are points. A task is requeued by
//! SLURM when its node is lost or somebody preempts it, and by its script when the shard is killed ([`script`]).
//!
//! What a task may use (partition, time, GPUs) is said in options of `sbatch`, in its own words.

mod script;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use burn_lora_files as files;
use burn_lora_train::observe::Observer;
use burn_train::Interrupter;

use super::{Launch, Outcome, Scheduler, Submitted, command, places, unwritable};
use crate::sweep::{Shard, Sweep, SweepError};

/// Where to find SLURM's commands.
const ADVICE: &str = "SLURM's commands are on the cluster's login nodes";

/// A sweep as a job array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slurm {
    /// How a task does its shard.
    pub launch: Launch,
    /// Further options of `sbatch`, parted as a shell parts them.
    pub options: String,
    /// Stay until all tasks have ended.
    pub wait: bool,
}

impl Scheduler for Slurm {
    fn run(
        &self,
        sweep: &Sweep,
        _: &Interrupter,
        observer: &Observer,
    ) -> Result<Outcome, SweepError> {
        let options = options(&self.options)?;
        let count = sweep.plans.len().min(most_tasks().unwrap_or(usize::MAX));
        let shards = sweep.unfinished(count)?;
        if shards.is_empty() {
            return sweep.gather().map(Outcome::Results);
        }
        let (here, logs) = places(&sweep.dir().join("slurm"))?;
        let script = logs.join("job.sh");
        sweep.copy_configuration()?;
        files::write(&script, script::script(&self.launch.words()?, &here, count)?.as_bytes())?;

        let mut sbatch = command("sbatch");
        sbatch.args(["--parsable", &format!("--array={}", array(&shards))]);
        // A per cent sign stands for something in the name of a log.
        let log = logs.to_str().ok_or_else(|| unwritable(&logs.to_string_lossy()))?;
        sbatch.arg(format!("--output={}/shard-%a.log", log.replace('%', "%%")));
        if self.wait {
            sbatch.arg("--wait");
        }
        sbatch.args(options).arg(&script);
        let mut submitted = Submitted { scheduler: "SLURM", job: String::new(), shards, logs };
        let told = submit(sbatch, |job| {
            submitted.job = job;
            if self.wait {
                observer.line(submitted.to_string());
            }
        })?;
        if !told.is_empty() {
            observer.note(told);
        }
        match self.wait {
            true => sweep.gather().map(Outcome::Results),
            false => Ok(Outcome::Submitted(submitted)),
        }
    }
}

/// Runs `sbatch`, says which job it made as soon as it tells, and returns what it says beside.
fn submit(mut sbatch: Command, job: impl FnOnce(String)) -> Result<String, SweepError> {
    let program = "sbatch";
    let failed = |source| SweepError::NoProgram { program, source, advice: ADVICE };
    let mut child = sbatch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        stdout.read_line(&mut line).map_err(failed)?;
        if let Some(number) = job_of(&line) {
            job(number);
        }
        // What comes after it, with a wait, is for nobody.
        stdout.read_to_end(&mut Vec::new()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match job_of(&line) {
        // With a wait, the exit status is that of the tasks.
        Some(_) => Ok(told),
        None => Err(SweepError::Refused {
            program,
            ended: format!("made no job ({})", output.status),
            told: if told.is_empty() { line.trim().to_owned() } else { told },
        }),
    }
}

/// The job in what `sbatch --parsable` prints: `123`, or `123;cluster`.
fn job_of(line: &str) -> Option<String> {
    let job = line.trim().split(';').next()?;
    let number = !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| job.to_owned())
}

/// Options of `sbatch`, of which some are the sweep's own.
fn options(text: &str) -> Result<Vec<String>, SweepError> {
    const OWN: [&str; 3] = ["--array", "--wait", "--wrap"];
    let options =
        shlex::split(text).ok_or_else(|| SweepError::OpenOptions { text: text.to_owned() })?;
    for option in &options {
        let name = option.split('=').next().unwrap_or(option);
        // `sbatch` takes the beginning of a name for the name.
        let long = name.len() > 3 && OWN.iter().any(|own| own.starts_with(name));
        if long || name.starts_with("-a") || name == "-W" {
            return Err(SweepError::OwnOption { option: option.clone() });
        }
    }
    Ok(options)
}

/// The tasks of an array as SLURM writes them: `0-2,5`.
fn array(shards: &[Shard]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for index in shards.iter().map(|shard| shard.index()) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// How many tasks an array of this cluster may have, where it tells.
fn most_tasks() -> Option<usize> {
    let output = command("scontrol").args(["show", "config"]).output().ok()?;
    most_tasks_of(&String::from_utf8_lossy(&output.stdout))
}

/// `MaxArraySize` is one more than the highest number of a task; at 0 there are no arrays, and `sbatch` says so.
fn most_tasks_of(config: &str) -> Option<usize> {
    let line = config.lines().find_map(|line| line.trim().strip_prefix("MaxArraySize"))?;
    let most: usize = line.split_once('=')?.1.trim().parse().ok()?;
    (most > 0).then_some(most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_are_parted_as_a_shell_does_and_the_sweeps_own_are_refused() {
        let parted = options("--partition=gpu -t 1:00:00 --comment='two words'").unwrap();
        assert_eq!(parted, ["--partition=gpu", "-t", "1:00:00", "--comment=two words"]);
        assert!(options("").unwrap().is_empty());
        assert!(matches!(options("--comment='x"), Err(SweepError::OpenOptions { .. })));
        let own = ["--array=0-3", "--arr 1", "-a0", "-a 0", "--wrap=ls", "--wait", "-W", "--wai"];
        for text in own {
            let refused = options(&format!("--qos=low {text}"));
            assert!(matches!(refused, Err(SweepError::OwnOption { .. })), "{text}");
        }
        for text in ["--wait-all-nodes=1", "-A me", "--account=me", "-w node1"] {
            assert!(options(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_job_is_what_sbatch_prints_alone() {
        assert_eq!(job_of("123\n").as_deref(), Some("123"));
        assert_eq!(job_of("123;cluster\n").as_deref(), Some("123"));
        for line in ["", "\n", "Submitted batch job 123\n", ";cluster"] {
            assert_eq!(job_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_size_of_an_array_is_read_from_the_clusters_configuration() {
        let config =
            "Configuration data as of today\nMaxArraySize            = 1001\nMaxDBDMsgs = 20\n";
        assert_eq!(most_tasks_of(config), Some(1001));
        for config in ["", "MaxArraySize = 0\n", "MaxArraySize = many\n", "MaxJobCount = 3\n"] {
            assert_eq!(most_tasks_of(config), None, "{config}");
        }
    }

    proptest! {
        #[test]
        fn an_array_has_the_tasks_of_the_shards_and_no_others(left in prop::collection::vec(any::<bool>(), 1..80)) {
            let shards: Vec<Shard> =
                Shard::all(left.len()).filter(|shard| left[shard.index()]).collect();
            let text = array(&shards);
            let read = |range: &str| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse::<usize>().unwrap()..=last.parse::<usize>().unwrap()
            };
            let tasks: Vec<usize> =
                text.split(',').filter(|range| !range.is_empty()).flat_map(read).collect();
            let expected: Vec<usize> = shards.iter().map(|shard| shard.index()).collect();
            prop_assert_eq!(tasks, expected);
            // Neighbours are one range.
            let runs = left.iter().zip(std::iter::once(&false).chain(&left));
            let ranges = runs.filter(|(now, before)| **now && !**before).count();
            prop_assert_eq!(text.split(',').filter(|range| !range.is_empty()).count(), ranges);
        }
    }
}
