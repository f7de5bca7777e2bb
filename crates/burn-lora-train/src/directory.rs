//! A run directory: what lies where, and whose run it holds.

use std::fs;
use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_report::tensorboard;

use crate::TrainError;
use crate::checkpoint::Checkpoints;
use crate::config::{AdapterSection, Decides, ModelSource, RunConfig};

/// The directory of one run.
#[derive(Debug, Clone)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// The run directory at `path`, whether it exists yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The trained adapter, a PEFT directory.
    pub fn adapter(&self) -> PathBuf {
        self.0.join("adapter")
    }

    /// The trained model of `method = "full"`, a Hugging Face directory.
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// A line a step.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// The loss over the steps.
    pub fn loss_plot(&self) -> PathBuf {
        self.0.join("loss.svg")
    }

    /// The run as one page.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// The run's curves for TensorBoard.
    pub fn events(&self) -> PathBuf {
        self.0.join(tensorboard::FILE_NAME)
    }

    /// The adapter of the best evaluation, a PEFT directory.
    pub fn best(&self) -> PathBuf {
        self.0.join("best")
    }

    /// The configuration that the run was started with, with overrides laid over it.
    ///
    /// # Errors
    ///
    /// No run is here, or its configuration is damaged.
    pub fn read_config(&self, overrides: &[String]) -> Result<RunConfig, TrainError> {
        if !self.config().is_file() {
            return Err(TrainError::Unfinished { dir: self.0.clone(), missing: "config.toml" });
        }
        Ok(RunConfig::read(self.config(), overrides)?)
    }

    /// Where what the run trained lies: its adapter, beside the base that the configuration names; or,
    /// after `method = "full"`, its model, which the configuration is made to name.
    pub fn trained(&self, config: &mut RunConfig) -> Option<PathBuf> {
        match config.adapter {
            AdapterSection::Lora(_) => Some(self.adapter()),
            AdapterSection::Full => {
                config.model.source = ModelSource::Pretrained(self.model());
                None
            }
        }
    }

    /// Writes the resolved configuration.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_config(&self, config: &RunConfig) -> Result<(), TrainError> {
        Ok(files::write(&self.config(), config.to_toml()?.as_bytes())?)
    }

    /// Checks that a run of this configuration may use the directory, and gives the checkpoint to go on
    /// from, if any. Changes nothing.
    pub(crate) fn check(
        &self,
        config: &RunConfig,
        resume: bool,
        overwrite: bool,
    ) -> Result<Option<PathBuf>, TrainError> {
        if resume {
            let newest = Checkpoints::new(self.checkpoints(), 1).list().pop();
            let newest =
                newest.ok_or_else(|| TrainError::NothingToResume { dir: self.0.clone() })?;
            let then = self.read_config(&[])?;
            let differences = config.differences(&then, Decides::Training)?;
            if !differences.is_empty() {
                return Err(TrainError::ResumeDiffers { dir: self.0.clone(), differences });
            }
            return Ok(Some(newest));
        }
        if self.config().exists() && !overwrite {
            return Err(TrainError::Exists { dir: self.0.clone() });
        }
        Ok(None)
    }

    /// Makes the directory this run's, after [`Self::check`]; a run that it holds is removed if
    /// `overwrite` says so.
    pub(crate) fn claim(
        &self,
        config: &RunConfig,
        resume: bool,
        overwrite: bool,
    ) -> Result<Option<PathBuf>, TrainError> {
        let newest = self.check(config, resume, overwrite)?;
        if newest.is_some() {
            return Ok(newest);
        }
        if self.config().exists() {
            // Only what a run writes is removed; whatever else lies there is somebody's.
            for dir in [self.adapter(), self.best(), self.model(), self.checkpoints()] {
                if dir.exists() {
                    fs::remove_dir_all(&dir).map_err(TrainError::io("remove", &dir))?;
                }
            }
            for file in
                [self.config(), self.metrics(), self.loss_plot(), self.report(), self.events()]
            {
                if file.exists() {
                    fs::remove_file(&file).map_err(TrainError::io("remove", &file))?;
                }
            }
        }
        files::create_dir(&self.0)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, more: &str) -> RunConfig {
        let text = format!(
            "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nsteps = 3\n{more}\n\
             [output]\ndir = {:?}\n",
            dir.display().to_string()
        );
        RunConfig::parse(&text, "run.toml", &[]).unwrap()
    }

    #[test]
    fn a_directory_that_holds_a_run_is_not_taken_by_accident() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        assert_eq!(run.claim(&config, false, false).unwrap(), None);
        run.write_config(&config).unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        assert!(matches!(run.claim(&config, false, false), Err(TrainError::Exists { .. })));
        assert_eq!(run.claim(&config, false, true).unwrap(), None);
        assert!(!run.config().exists() && dir.path().join("notes.txt").exists());
    }

    #[test]
    fn resuming_needs_a_checkpoint_and_the_same_settings() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let first = config(dir.path(), "");
        run.write_config(&first).unwrap();
        let nothing = run.claim(&first, true, false);
        assert!(matches!(nothing, Err(TrainError::NothingToResume { .. })));

        let checkpoint = run.checkpoints().join("step-000002");
        fs::create_dir_all(&checkpoint).unwrap();
        fs::write(checkpoint.join("state.json"), "{}").unwrap();
        let watched = config(dir.path(), "save_every = 1\nsamples = 0");
        assert_eq!(run.claim(&watched, true, false).unwrap(), Some(checkpoint));

        let other = config(dir.path(), "batch_size = 3\nseed = 9");
        let error = run.claim(&other, true, false).unwrap_err().to_string();
        assert!(error.contains("train.batch_size: 8 -> 3"), "{error}");
        assert!(error.contains("train.seed: 0 -> 9"), "{error}");
    }
}
