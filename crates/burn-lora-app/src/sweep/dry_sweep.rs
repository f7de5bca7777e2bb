//! What a sweep would do, for its dry run.

use std::fmt;
use std::path::PathBuf;

use burn_lora_files::lossy;
use burn_lora_train::TrainError;
use serde::Serialize;

use super::found::Found;
use super::grid::Axis;

/// What a sweep would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrySweep {
    /// The directory of the sweep.
    #[serde(serialize_with = "lossy")]
    pub dir: PathBuf,
    /// The axes of the grid.
    pub axes: Vec<Axis>,
    /// Every point, in the order in which they run.
    pub points: Vec<DryPoint>,
}

/// What would become of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryPoint {
    /// Its name.
    pub name: String,
    /// Its run directory.
    #[serde(serialize_with = "lossy")]
    pub dir: PathBuf,
    /// What is laid over the configuration file.
    pub overrides: Vec<String>,
    /// Its value on each axis.
    pub values: Vec<String>,
    /// What the sweep would do with it.
    pub action: Action,
    /// Why it would fail, where its directory cannot be read.
    pub error: Option<String>,
}

/// What a sweep would do with a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: it is finished.
    PassOver,
    /// Run it from its start.
    Start,
    /// Go on from its newest checkpoint.
    Resume,
    /// Run it from its start, over what a run without a checkpoint left.
    StartOver,
    /// Fail: its directory cannot be read.
    Fail,
}

impl Action {
    pub(super) fn of(found: &Result<Found, TrainError>) -> Self {
        match found {
            Ok(Found::Finished) => Self::PassOver,
            Ok(Found::Checkpoint) => Self::Resume,
            Ok(Found::Abandoned) => Self::StartOver,
            Ok(Found::Nothing) => Self::Start,
            // A run of other settings stops the sweep before it comes to this.
            Ok(Found::Other(_)) | Err(_) => Self::Fail,
        }
    }

    fn says(self) -> &'static str {
        match self {
            Self::PassOver => "is finished and would be passed over",
            Self::Start => "would start",
            Self::Resume => "would go on from its checkpoint",
            Self::StartOver => "would start over, what is there has no checkpoint",
            Self::Fail => "would fail",
        }
    }
}

impl DrySweep {
    /// How many points would run.
    pub fn to_run(&self) -> usize {
        let runs = |point: &&DryPoint| {
            matches!(point.action, Action::Start | Action::Resume | Action::StartOver)
        };
        self.points.iter().filter(runs).count()
    }
}

/// How many points would run, and a line for each point.
impl fmt::Display for DrySweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "would run {} of {} points", self.to_run(), self.points.len())?;
        let dirs: Vec<String> =
            self.points.iter().map(|point| point.dir.display().to_string()).collect();
        let width = dirs.iter().map(String::len).max().unwrap_or(0);
        for (point, dir) in self.points.iter().zip(dirs) {
            write!(f, "\n  {dir:width$}  {}", point.action.says())?;
            if let Some(error) = &point.error {
                write!(f, ": {error}")?;
            }
        }
        Ok(())
    }
}
