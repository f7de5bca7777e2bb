//! Why a sweep cannot start or go on.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use burn_lora_config::ConfigErrors;
use burn_lora_files::IoError;
use burn_lora_report::ReportError;

use super::grid::MAX_POINTS;

/// Why a sweep cannot start or go on. A point that fails is none of these: it becomes a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A bracket or a quote is opened and never closed, so that the values cannot be told apart.
    #[error(
        "`{set}`: a bracket or a quote is never closed, so the values cannot be told apart; close it, or put the value in quotes"
    )]
    Open {
        /// As given.
        set: String,
    },
    /// Nothing stands between two commas.
    #[error(
        "`{set}`: value {position} of {count} is empty; remove a comma, or write \"\" for an empty string"
    )]
    Empty {
        /// As given.
        set: String,
        /// Which value, counted from 1.
        position: usize,
        /// How many there are.
        count: usize,
    },
    /// A key is given twice.
    #[error("`{set}`: `{key}` was set before; give all its values at once")]
    Twice {
        /// The second one, as given.
        set: String,
        /// The key.
        key: String,
    },
    /// The grid is larger than a sweep may be.
    #[error(
        "the grid has {count} points, more than the {MAX_POINTS} of one sweep: give fewer values"
    )]
    TooMany {
        /// The product of all axes.
        count: usize,
    },
    /// The run directories of the points cannot be an axis.
    #[error(
        "output.dir: every point has a directory of its own below one directory, so it cannot have several values; give one"
    )]
    Directories,
    /// Configurations of points have problems.
    #[error("{}", lines(errors))]
    Config {
        /// Those of each point that has any.
        errors: Vec<ConfigErrors>,
    },
    /// Two points have the same configuration.
    #[error(
        "`{first}` and `{second}` are the same run: a value stands twice, or one key takes another's place (`train.steps` and `train.epochs` do)"
    )]
    Same {
        /// The earlier point.
        first: String,
        /// The later one.
        second: String,
    },
    /// Directories of points hold other runs.
    #[error("{}", others(runs))]
    Differs {
        /// Each directory, with `key: then -> now` for each setting that differs.
        runs: Vec<(PathBuf, Vec<String>)>,
    },
    /// Something of somebody's stands where the table goes.
    #[error(
        "`{}` would be written over, and no sweep wrote it: take it away, or give the sweep another directory",
        path.display()
    )]
    NotASweeps {
        /// The file.
        path: PathBuf,
    },
    /// What names no shard.
    #[error(
        "`{text}` is no share of the points: `0/4` is every fourth from the first on, and `3/4` the last of the four"
    )]
    NoShard {
        /// As given.
        text: String,
    },
    /// No point has begun in the directory that was named.
    #[error(
        "no point of this grid has begun in `{}`: give the axes and the directory that the sweep was started with",
        dir.display()
    )]
    NothingToGather {
        /// The directory of the sweep.
        dir: PathBuf,
    },
    /// Options for a scheduler that a shell would not part either.
    #[error("`{text}`: a quote is never closed, so the scheduler's options cannot be told apart")]
    OpenOptions {
        /// As given.
        text: String,
    },
    /// An option for a scheduler that is the sweep's own.
    #[error(
        "`{option}` is set by the sweep, which says itself which tasks there are and what they run: leave it out (`scontrol update JobId=JOB ArrayTaskThrottle=4` lets four run at once)"
    )]
    OwnOption {
        /// As given.
        option: String,
    },
    /// What a task needs is no amount.
    #[error("a task cannot have {amount} {what}: give 0 or more")]
    Amount {
        /// CPUs or GPUs.
        what: &'static str,
        /// As given.
        amount: f64,
    },
    /// A word of a command that no script can hold.
    #[error(
        "`{word}` is no Unicode text, or has a zero byte, and cannot stand in the command of a shard: use a path of plain letters"
    )]
    Word {
        /// What can be shown of it.
        word: String,
    },
    /// A program of the scheduler cannot be started.
    #[error("cannot start `{program}`: {source}; {advice}")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// What the system says.
        source: std::io::Error,
        /// Where it comes from.
        advice: &'static str,
    },
    /// Python has no Ray.
    #[error(
        "`python3` has no Ray ({told}): `pip install ray` brings it, into the environment whose `python3` is first in PATH"
    )]
    NoRay {
        /// What Python says.
        told: String,
    },
    /// No cluster of Ray can be reached.
    #[error(
        "no cluster of Ray is reached: {told}; start one with `ray start --head`, or name one in RAY_ADDRESS"
    )]
    NoCluster {
        /// What Ray says.
        told: String,
    },
    /// The scheduler did not take the points.
    #[error("`{program}` {ended}: {told}")]
    Refused {
        /// The program.
        program: &'static str,
        /// How it ended.
        ended: String,
        /// What it says.
        told: String,
    },
    /// A file of the sweep itself cannot be written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The sweep's plot cannot be drawn.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What is wrong with the file is wrong at every point, and is said once.
fn lines(errors: &[ConfigErrors]) -> String {
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut said = BTreeSet::new();
    let new: Vec<&str> =
        all.iter().flat_map(|text| text.lines()).filter(|line| said.insert(*line)).collect();
    new.join("\n")
}

fn others(runs: &[(PathBuf, Vec<String>)]) -> String {
    let mut text = String::new();
    for (dir, differences) in runs {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "`{}` holds a run of other settings or files: {}",
            dir.display(),
            differences.join(", ")
        );
    }
    text.push_str("set them back, remove these runs, or name another directory");
    text
}

#[cfg(test)]
mod tests {
    use burn_lora_config::RunConfig;

    use super::*;

    #[test]
    fn a_problem_of_the_file_is_said_once_and_each_of_a_point_by_itself() {
        let text = "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nstep = 3\n\
                    [output]\ndir = \"runs\"\n";
        let at = |rank: &str| {
            RunConfig::parse(text, "run.toml", &[format!("adapter.rank={rank}")]).unwrap_err()
        };
        let error = SweepError::Config { errors: vec![at("4"), at("0"), at("-1")] }.to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
        assert!(lines[0].starts_with("run.toml:6: train.step"), "{error}");
        assert!(lines[1].starts_with("override adapter.rank=0: "), "{error}");
        assert!(lines[2].starts_with("override adapter.rank=-1: "), "{error}");
    }
}
