//! Where the points of a sweep run: here, or where the scheduler of a cluster has room.
//!
//! A cluster's scheduler starts processes of this program, each of which does a [`Shard`]. They and whoever gathers share nothing but
//! the directory of the sweep, the program, and what the configuration names, all under the same paths on every machine (a file
//! system that the cluster shares). What dies is started again, and goes on from its checkpoint. The configuration is copied into
//! the directory, so that a file that changes meanwhile changes no point that has not begun.
//!
//! Nothing here places, watches or restarts a process: that is what the scheduler is for.

pub mod ray;
pub mod slurm;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use burn_lora_files::{self as files, IoError, lossy};
use burn_lora_train::observe::Observer;
use burn_train::Interrupter;
use serde::Serialize;

use super::found::Found;
use super::{Results, Shard, Sweep, SweepError};

/// How often a shard that dies is started again.
const RETRIES: usize = 3;

/// Who runs the points of a sweep.
pub trait Scheduler {
    /// Sees to it that the points run that are not finished.
    ///
    /// # Errors
    ///
    /// Those of [`Sweep::run`]; the scheduler is not there, or takes no points.
    fn run(
        &self,
        sweep: &Sweep,
        interrupter: &Interrupter,
        observer: &Observer,
    ) -> Result<Outcome, SweepError>;
}

/// What came of handing a sweep to a scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done with the points, and this is what they came to.
    Results(Results),
    /// It has them.
    Submitted(Submitted),
}

/// What a scheduler took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Submitted {
    /// The scheduler.
    pub scheduler: &'static str,
    /// What it calls the work.
    pub job: String,
    /// What it is to run.
    pub shards: Vec<Shard>,
    /// Where the shards write what they print.
    #[serde(serialize_with = "lossy")]
    pub logs: PathBuf,
}

/// The job, how many tasks it has, and where to look.
impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (job, count) = (&self.job, self.shards.len());
        let tasks = if count == 1 { "task" } else { "tasks" };
        let (scheduler, logs) = (self.scheduler, self.logs.display());
        write!(f, "job {job} of {scheduler}: {count} {tasks}, which write to `{logs}`")
    }
}

/// This process, one point after the other.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Scheduler for Here {
    fn run(
        &self,
        sweep: &Sweep,
        interrupter: &Interrupter,
        observer: &Observer,
    ) -> Result<Outcome, SweepError> {
        sweep.run(interrupter, observer).map(Outcome::Results)
    }
}

/// The command by which another process does a shard of the same sweep, in the directory that this one is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program, by its full path.
    pub program: PathBuf,
    /// Its arguments up to where a shard, `i/n`, is named. They name [`Sweep::copied_configuration`] as the configuration.
    pub arguments: Vec<OsString>,
}

impl Launch {
    /// Program and arguments as text.
    fn words(&self) -> Result<Vec<&str>, SweepError> {
        let words = std::iter::once(self.program.as_os_str());
        let words = words.chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| word.to_str().ok_or_else(|| unwritable(&word.to_string_lossy()))).collect()
    }
}

/// The error of a word that no script can hold.
fn unwritable(word: &str) -> SweepError {
    SweepError::Word { word: word.to_owned() }
}

impl Sweep {
    /// Where a copy of the configuration file lies for shards that other processes run.
    pub fn copied_configuration(&self) -> PathBuf {
        self.dir.join("sweep.toml")
    }

    fn copy_configuration(&self) -> Result<(), SweepError> {
        Ok(files::write(&self.copied_configuration(), self.text.as_bytes())?)
    }

    /// The shards of `count` with points that are not finished.
    fn unfinished(&self, count: usize) -> Result<Vec<Shard>, SweepError> {
        let all = self.look()?;
        let left =
            |shard: &Shard| shard.of(&all).any(|(_, found)| !matches!(found, Ok(Found::Finished)));
        Ok(Shard::all(count).filter(left).collect())
    }
}

/// The directory that this process is in, as text, and a directory of the sweep by its full path.
fn places(dir: &Path) -> Result<(String, PathBuf), SweepError> {
    let here = std::env::current_dir().map_err(IoError::at("find", "."))?;
    let text = here.to_str().ok_or_else(|| unwritable(&here.to_string_lossy()))?;
    Ok((text.to_owned(), here.join(dir)))
}

/// A program of the scheduler, with nothing on its standard input.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}
