//! A run directory: what lies where, and whose run it holds.

pub(crate) mod instead;
mod layout;
mod origin;
mod written;

use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_files::lock::{Asked, Lock};
use burn_lora_patch::peft;

use crate::TrainError;
use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::run::RunOptions;
use burn_lora_config::{AdapterSection, Decides, Difference, ModelSource, RunConfig};

/// The directory of one run.
#[derive(Debug, Clone)]
pub struct RunDirectory(PathBuf);

/// A method for each place in the directory, by its name there.
macro_rules! places {
    ($($(#[$about:meta])* $visible:vis $method:ident: $NAME:ident;)+) => {
        impl RunDirectory {
            $($(#[$about])*
            $visible fn $method(&self) -> PathBuf {
                self.0.join(layout::$NAME)
            })+
        }
    };
}

places! {
    /// The resolved configuration.
    pub config: CONFIG;
    /// From where the run's relative paths lead.
    origin: ORIGIN;
    /// The trained adapter, a PEFT directory.
    pub adapter: ADAPTER;
    /// The trained model of `method = "full"`, a Hugging Face directory.
    pub model: MODEL;
    /// Base and adapter as one model, where a merge puts it unless told otherwise.
    pub merged: MERGED;
    /// The checkpoints.
    pub checkpoints: CHECKPOINTS;
    /// A line a step.
    pub metrics: METRICS;
    /// The loss over the steps.
    pub loss_plot: LOSS_PLOT;
    /// The run as one page.
    pub report: REPORT;
    /// The run's curves for TensorBoard.
    pub events: EVENTS;
    /// What runs wrote here, file by file.
    written: WRITTEN;
    /// Who runs here; its presence says that a run of this program made the directory its own.
    pub lock: LOCK;
    /// The adapter of the best evaluation, a PEFT directory.
    pub best: BEST;
}

impl RunDirectory {
    /// The run directory at `path`, whether it exists yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration that the run was started with, as it was written.
    ///
    /// # Errors
    ///
    /// No run is here, or its configuration is damaged.
    pub fn written_config(&self) -> Result<RunConfig, TrainError> {
        self.config_with(&[])
    }

    /// The configuration that the run was started with, with overrides laid over it, to be used here: a relative path of the
    /// run leads where it led when the run was made, as far as anything lies there; one of an override leads from here.
    ///
    /// # Errors
    ///
    /// No run is here, or its configuration is damaged.
    pub fn read_config(&self, overrides: &[String]) -> Result<RunConfig, TrainError> {
        let mut config = self.config_with(overrides)?;
        origin::resolve(&mut config, &self.origin(), overrides);
        Ok(config)
    }

    fn config_with(&self, overrides: &[String]) -> Result<RunConfig, TrainError> {
        if !self.config().is_file() {
            return Err(TrainError::Unfinished { dir: self.0.clone(), missing: layout::CONFIG });
        }
        Ok(RunConfig::read(self.config(), overrides)?)
    }

    /// The directory of what the run trained: its adapter, or the model of `method = "full"`.
    ///
    /// # Errors
    ///
    /// The run has not come to its end: what it trained is not there.
    pub fn result(&self, config: &RunConfig) -> Result<PathBuf, TrainError> {
        let missing = match config.adapter {
            AdapterSection::Lora(_) => layout::ADAPTER,
            AdapterSection::Full => layout::MODEL,
        };
        let place = self.0.join(missing);
        match place.is_dir() {
            true => Ok(place),
            false => Err(TrainError::Unfinished { dir: self.0.clone(), missing }),
        }
    }

    /// The [result](Self::result) as it is used: an adapter, beside the base that the configuration names; or none, and the
    /// configuration is made to name the model.
    ///
    /// # Errors
    ///
    /// Those of [`result`](Self::result).
    pub fn trained(&self, config: &mut RunConfig) -> Result<Option<PathBuf>, TrainError> {
        let place = self.result(config)?;
        Ok(match config.adapter {
            AdapterSection::Lora(_) => Some(place),
            AdapterSection::Full => {
                config.model.source = ModelSource::Pretrained(place);
                None
            }
        })
    }

    /// Writes the resolved configuration, and from where its relative paths lead.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn write_config(&self, config: &RunConfig) -> Result<(), TrainError> {
        self.writing(&self.origin(), || origin::write(&self.origin()))?;
        let text = config.to_toml()?;
        self.writing(&self.config(), || Ok(files::write(&self.config(), text.as_bytes())?))
    }

    /// Checks that a run of this configuration may use the directory, and gives the checkpoint to go on
    /// from, if any. Changes nothing.
    pub(crate) fn check(
        &self,
        config: &RunConfig,
        options: &RunOptions,
    ) -> Result<Option<Checkpoint>, TrainError> {
        self.check_as(self.lock().is_file(), config, options)
    }

    /// [`Self::check`], where the directory is known to be that of a run, or not to be.
    fn check_as(
        &self,
        of_a_run: bool,
        config: &RunConfig,
        options: &RunOptions,
    ) -> Result<Option<Checkpoint>, TrainError> {
        let there = self.0.ancestors().find(|path| path.exists());
        if let Some(file) = there.filter(|path| !path.is_dir()) {
            return Err(TrainError::NoDirectory { dir: file.to_owned() });
        }
        let newest = || Checkpoints::new(self.checkpoints(), 1).newest();
        if options.resume {
            let newest =
                newest()?.ok_or_else(|| TrainError::NothingToResume { dir: self.0.clone() })?;
            if !self.config().is_file() {
                return Err(TrainError::NoConfig { dir: self.0.clone() });
            }
            let mut differences = config.differences(&self.written_config()?, Decides::Training)?;
            differences.retain(|difference| !(options.extend && difference.is_length()));
            if !differences.is_empty() {
                return Err(TrainError::ResumeDiffers {
                    dir: self.0.clone(),
                    lengths_only: differences.iter().all(Difference::is_length),
                    differences: differences.iter().map(ToString::to_string).collect(),
                });
            }
            return Ok(Some(newest));
        }
        let foreign = layout::foreign(self, of_a_run)?;
        if of_a_run && self.holds_a_run() && !options.overwrite {
            let resumable = !Checkpoints::new(self.checkpoints(), 1).list().is_empty();
            let removable = foreign.is_empty();
            return Err(TrainError::Exists { dir: self.0.clone(), resumable, removable });
        }
        if !foreign.is_empty() {
            return Err(TrainError::Foreign { dir: self.0.clone(), files: foreign });
        }
        Ok(None)
    }

    /// Makes the directory this run's for as long as what is returned lives, after [`Self::check`]; a run that it holds is removed
    /// if the options say so.
    pub(crate) fn claim(
        &self,
        config: &RunConfig,
        options: &RunOptions,
    ) -> Result<(Option<Checkpoint>, Lock), TrainError> {
        let of_a_run = self.lock().is_file();
        // A refusal leaves nothing. A directory to go on from is there, and its checkpoint is read through once, under the lock.
        if !options.resume {
            self.check_as(of_a_run, config, options)?;
        }
        files::create_dir(&self.0)?;
        let lock = match Lock::ask(&self.lock())? {
            Asked::Held(lock) => lock,
            Asked::Taken(owner) => {
                return Err(TrainError::Running { dir: self.0.clone(), owner });
            }
        };
        // Another run may have begun or ended here before the lock was this one's.
        let newest = self.check_as(of_a_run || self.config().exists(), config, options)?;
        layout::remove_left_over(self)?;
        if newest.is_none() && self.holds_a_run() {
            layout::remove(self)?;
        }
        Ok((newest, lock))
    }

    /// Whether a run has left something here that another would write over.
    fn holds_a_run(&self) -> bool {
        let results = [self.adapter().join(peft::CONFIG_FILE), self.model().join("config.json")];
        self.config().exists()
            || results.iter().any(|place| place.exists())
            || !Checkpoints::new(self.checkpoints(), 1).list().is_empty()
    }

    /// Sees to it that the directory is still the one that was claimed.
    pub(crate) fn is_there(&self) -> Result<(), TrainError> {
        match self.config().is_file() && self.lock().is_file() {
            true => Ok(()),
            false => Err(TrainError::Vanished { dir: self.0.clone() }),
        }
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

    fn fresh() -> RunOptions {
        RunOptions::default()
    }

    fn over() -> RunOptions {
        RunOptions { overwrite: true, ..fresh() }
    }

    fn taken(
        run: &RunDirectory,
        config: &RunConfig,
        options: &RunOptions,
    ) -> Result<(), TrainError> {
        run.claim(config, options).map(|(checkpoint, _lock)| assert_eq!(checkpoint, None))
    }

    #[test]
    fn a_directory_that_holds_a_run_is_not_taken_by_accident() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        taken(&run, &config, &fresh()).unwrap();
        run.write_config(&config).unwrap();
        let exists = taken(&run, &config, &fresh());
        assert!(matches!(
            exists,
            Err(TrainError::Exists { resumable: false, removable: true, .. })
        ));
        // What a merge made of it goes with it.
        let merged =
            || Ok::<_, TrainError>(files::write(&run.merged().join("model.safetensors"), b"")?);
        run.writing(&run.merged(), merged).unwrap();
        taken(&run, &config, &over()).unwrap();
        assert!(!run.config().exists() && !run.merged().exists());
    }

    #[test]
    fn starting_over_removes_nothing_that_no_run_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        taken(&run, &config, &fresh()).unwrap();
        run.write_config(&config).unwrap();
        for mine in ["notes.txt", "adapter/thesis.txt", "checkpoints/step-000003/x", "model/w.bin"]
        {
            let path = dir.path().join(mine);
            files::write(&path, b"mine").unwrap();
            match taken(&run, &config, &over()) {
                Err(TrainError::Foreign { files, .. }) => assert_eq!(files, [mine]),
                other => panic!("{mine}: {other:?}"),
            }
            // Nobody is told to start over where that would be refused.
            match taken(&run, &config, &fresh()) {
                Err(TrainError::Exists { removable: false, .. }) => {}
                other => panic!("{mine}: {other:?}"),
            }
            assert_eq!(std::fs::read(&path).unwrap(), b"mine");
            std::fs::remove_file(&path).unwrap();
        }
        taken(&run, &config, &over()).unwrap();
    }

    /// What was lost before: notes in a configuration, a page of the same name, a model that somebody put where merges go.
    #[test]
    fn starting_over_removes_nothing_that_was_changed_or_bears_a_runs_name() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        taken(&run, &config, &fresh()).unwrap();
        run.write_config(&config).unwrap();
        let own = files::read_text(&run.config()).unwrap();
        for mine in [
            "config.toml",
            "report.html",
            "merged/model.safetensors",
            "adapter/adapter_config.json",
        ] {
            let path = dir.path().join(mine);
            files::write(&path, format!("{own}# mine\n").as_bytes()).unwrap();
            match taken(&run, &config, &over()) {
                Err(TrainError::Foreign { files, .. }) => assert_eq!(files, [mine]),
                other => panic!("{mine}: {other:?}"),
            }
            assert!(files::read_text(&path).unwrap().ends_with("# mine\n"));
            match mine {
                "config.toml" => files::write(&path, own.as_bytes()).unwrap(),
                _ => std::fs::remove_file(&path).unwrap(),
            }
        }
        taken(&run, &config, &over()).unwrap();
        assert!(!run.written().exists());
    }

    #[test]
    fn files_named_as_a_run_names_them_are_somebodys_until_a_run_was_there() {
        for mine in ["config.toml", "adapter/adapter_model.safetensors", "metrics.jsonl"] {
            let dir = tempfile::tempdir().unwrap();
            let run = RunDirectory::new(dir.path());
            let config = config(dir.path(), "");
            files::write(&dir.path().join("README.md"), b"a directory may hold other things")
                .unwrap();
            files::write(&dir.path().join(mine), b"mine").unwrap();
            for options in [fresh(), over()] {
                match taken(&run, &config, &options) {
                    Err(TrainError::Foreign { files, .. }) => assert_eq!(files, [mine]),
                    other => panic!("{mine}: {other:?}"),
                }
            }
            assert_eq!(std::fs::read(dir.path().join(mine)).unwrap(), b"mine");
            assert!(!run.lock().exists(), "a refusal leaves nothing");
        }
    }

    #[test]
    fn a_run_may_begin_among_other_files_and_then_never_removes_them() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        files::write(&dir.path().join("adapter/thesis.txt"), b"mine").unwrap();
        files::write(&dir.path().join("Cargo.toml"), b"mine").unwrap();
        taken(&run, &config, &fresh()).unwrap();
        run.write_config(&config).unwrap();
        match taken(&run, &config, &over()) {
            Err(TrainError::Foreign { files, .. }) => {
                assert_eq!(files, ["Cargo.toml", "adapter/thesis.txt"]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hidden_files_of_somebodys_are_no_left_overs() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let mine = dir.path().join(".backup.tmp");
        files::write(&mine, b"mine").unwrap();
        taken(&run, &config(dir.path(), ""), &fresh()).unwrap();
        assert!(mine.exists());
    }

    /// Its checkpoints would have been taken for the run's, and the run's own removed as the oldest.
    #[test]
    fn no_run_begins_among_checkpoints_of_somebodys() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        let mine = "checkpoints/step-000900/model.pt";
        files::write(&dir.path().join(mine), b"mine").unwrap();
        match taken(&run, &config, &fresh()) {
            Err(TrainError::Foreign { files, .. }) => assert_eq!(files, [mine]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_that_lost_its_configuration_is_not_written_over_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        taken(&run, &config, &fresh()).unwrap();
        run.write_config(&config).unwrap();
        let adapter = run.adapter().join("adapter_config.json");
        run.writing(&run.adapter(), || Ok::<_, TrainError>(files::write(&adapter, b"{}")?))
            .unwrap();
        std::fs::remove_file(run.config()).unwrap();
        let exists = taken(&run, &config, &fresh());
        assert!(matches!(exists, Err(TrainError::Exists { .. })), "{exists:?}");
        assert!(adapter.exists());
        taken(&run, &config, &over()).unwrap();
        assert!(!adapter.exists());
    }

    #[test]
    fn a_second_process_is_refused_by_the_name_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        let (_, lock) = run.claim(&config, &fresh()).unwrap();
        match taken(&run, &config, &over()) {
            Err(TrainError::Running { owner: Some(owner), .. }) => {
                assert_eq!(owner.pid, std::process::id());
            }
            other => panic!("{other:?}"),
        }
        drop(lock);
        taken(&run, &config, &over()).unwrap();
    }

    #[test]
    fn what_a_killed_save_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let config = config(dir.path(), "");
        taken(&run, &config, &fresh()).unwrap();
        let left = [
            ".burn-lora-a1B2c3.tmp",
            "checkpoints/.burn-lora-xYz123.tmp/optimizer.bpk",
            "adapter/.burn-lora-qqqqqq.tmp",
        ];
        for left in left {
            files::write(&dir.path().join(left), b"half").unwrap();
        }
        taken(&run, &config, &fresh()).unwrap();
        for left in left {
            assert!(!dir.path().join(left).exists(), "{left}");
        }
    }

    #[test]
    fn resuming_needs_a_checkpoint_and_the_same_settings() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        let first = config(dir.path(), "");
        run.write_config(&first).unwrap();
        let resume = |extend| RunOptions { resume: true, extend, ..fresh() };
        let nothing = run.claim(&first, &resume(false));
        assert!(matches!(nothing, Err(TrainError::NothingToResume { .. })));

        let checkpoint = crate::checkpoint::of_nothing(&run.checkpoints(), 2);
        let without = || {
            std::fs::remove_file(run.config()).unwrap();
            let resumed = run.claim(&first, &resume(false));
            run.write_config(&first).unwrap();
            resumed.map(|_| ()).unwrap_err()
        };
        let error = without();
        assert!(matches!(error, TrainError::NoConfig { .. }), "{error}");
        let found = |config: &RunConfig, extend| {
            run.claim(config, &resume(extend)).map(|(found, _)| found.unwrap().path)
        };
        let watched = config(dir.path(), "save_every = 1\nsamples = 0");
        assert_eq!(found(&watched, false).unwrap(), checkpoint);

        let other = config(dir.path(), "batch_size = 3\nseed = 9");
        let error = found(&other, true).unwrap_err().to_string();
        assert!(error.contains("train.batch_size: 8 -> 3"), "{error}");
        assert!(error.contains("train.seed: 0 -> 9"), "{error}");

        let text = first.to_toml().unwrap().replace("steps = 3\n", "steps = 30\n");
        let longer = RunConfig::parse(&text, "run.toml", &[]).unwrap();
        let error = found(&longer, false).unwrap_err().to_string();
        assert!(error.contains("train.steps: 3 -> 30"), "{error}");
        assert_eq!(found(&longer, true).unwrap(), checkpoint, "a longer run is a choice");
    }
}
