//! What a run would do, with nothing written.
//!
//! [`dry_run`] is a run up to its first step: configuration, run directory, device, tokenizer, rows and targets are
//! checked as a run checks them, and its memory and time are planned ([`crate::plan`]). Left out: the base model's weights, which are not
//! read.

use std::fmt;
use std::path::PathBuf;

use burn_lora_files::{lossy, lossy_option};
use serde::Serialize;

use crate::TrainError;
use crate::directory::RunDirectory;
use crate::exchange::{Ranks, seat};
use crate::observe::Observer;
use crate::plan::{Plan, Shared, plan_shared};
use crate::run::RunOptions;
use burn_lora_config::RunConfig;

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    /// The run directory.
    #[serde(serialize_with = "lossy")]
    pub dir: PathBuf,
    /// The checkpoint that it would go on from.
    #[serde(serialize_with = "lossy_option")]
    pub resumes_from: Option<PathBuf>,
    /// Whether the directory holds a run that would be removed.
    pub overwrites: bool,
    /// What it would need.
    #[serde(flatten)]
    pub plan: Plan,
}

/// Checks and plans the run that [`train`](crate::run::train) would start with the same arguments.
///
/// # Errors
///
/// What `train` says before its first step, but for the base model's weights; a run that does not fit
/// into memory among it, unless the options let it start.
pub fn dry_run(
    config: RunConfig,
    options: &RunOptions,
    observer: &Observer,
) -> Result<DryRun, TrainError> {
    let ranks = Ranks::new(options.exchange.clone());
    ranks.close(of_rank(&ranks, config, options, observer))
}

fn of_rank(
    ranks: &Ranks,
    mut config: RunConfig,
    options: &RunOptions,
    observer: &Observer,
) -> Result<DryRun, TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    let seat = seat(ranks, &mut config, (&directory, options.resume), observer)?;
    let resumes_from = match ranks.is_first() {
        true => directory.check(&config, options)?.map(|checkpoint| checkpoint.path),
        false => None,
    };
    let accumulate = config.train.accumulate;
    let shared = Shared { ranks: ranks.size(), neighbours: seat.neighbours };
    let mut plan = plan_shared(config, shared, observer)?;
    if !options.no_memory_check {
        plan.admit()?;
    }
    plan.exchange = plan.exchanging(ranks, accumulate)?;
    let overwrites = resumes_from.is_none() && directory.config().exists();
    Ok(DryRun { dir: directory.path().to_owned(), resumes_from, overwrites, plan })
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        match &self.resumes_from {
            Some(checkpoint) => writeln!(f, "would go on from {}", checkpoint.display())?,
            None if self.overwrites => writeln!(f, "would replace the run in {dir}")?,
            None => writeln!(f, "would train into {dir}")?,
        }
        write!(f, "{}", self.plan)
    }
}
