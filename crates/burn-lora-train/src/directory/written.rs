//! What runs wrote into their directory, in `written`: a line a file, as `sha256sum` prints them. Starting over removes what is still as it
//! was written, and nothing that somebody has changed or put there under a name that runs use.
//!
//! Left out: the files that grow or come and go while a run is on (its lines, its lock, its checkpoints, which have manifests of their own).
//! Those go by their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_files::digest::Digest;

use super::{RunDirectory, layout};
use crate::TrainError;

/// What stands before the name of a place that was to be written. Where the line is left, the write was cut off.
const BEGUN: &str = "# begun: ";

/// The files of a run as they were written, by their paths from its directory.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    hashes: BTreeMap<String, String>,
    /// Places, each a file or a directory, that were to be written and may be anything since.
    begun: BTreeSet<String>,
}

impl Written {
    /// Of a directory; none where runs kept no account of it.
    pub(super) fn of(directory: &RunDirectory) -> Option<Self> {
        Some(Self::parse(&files::read_text(&directory.written()).ok()?))
    }

    fn parse(text: &str) -> Self {
        let mut written = Self::default();
        for line in text.lines() {
            if let Some(place) = line.strip_prefix(BEGUN) {
                written.begun.insert(place.to_owned());
            } else if let Some((hash, name)) = line.split_once("  ") {
                written.hashes.insert(name.to_owned(), hash.to_owned());
            }
        }
        written
    }

    fn text(&self) -> String {
        let begun = self.begun.iter().map(|place| format!("{BEGUN}{place}\n"));
        let hashes = self.hashes.iter().map(|(name, hash)| format!("{hash}  {name}\n"));
        begun.chain(hashes).collect()
    }

    /// Whether the file at `path`, of this name in the directory, is what a run wrote.
    pub(super) fn is(&self, name: &str, path: &Path) -> bool {
        let is_as_written = || {
            let hash = self.hashes.get(name);
            hash.is_some_and(|hash| Digest::of_file(path).is_ok_and(|now| now.sha256 == *hash))
        };
        self.begun.iter().any(|place| is_in(name, place)) || is_as_written()
    }

    /// Forgets what is known of a place.
    fn forget(&mut self, place: &str) {
        self.begun.remove(place);
        self.hashes.retain(|name, _| !is_in(name, place));
    }
}

/// Whether a file is the place, or in it.
fn is_in(name: &str, place: &str) -> bool {
    name.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl RunDirectory {
    /// Lets `write` write a file or a directory of the run's, and keeps account of what is in it then. What lies elsewhere is written and not
    /// counted.
    ///
    /// # Errors
    ///
    /// Those of `write`; the account cannot be kept.
    pub fn writing<T, E: From<TrainError>>(
        &self,
        place: &Path,
        write: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(name) = self.name_of(place).filter(|_| self.keeps_account()) else {
            return write();
        };
        let account = |change: &dyn Fn(&mut Written) -> Result<(), TrainError>| {
            let mut written = Written::of(self).unwrap_or_default();
            written.forget(&name);
            change(&mut written)?;
            Ok(files::write(&self.written(), written.text().as_bytes())?)
        };
        account(&|written| {
            written.begun.insert(name.clone());
            Ok(())
        })?;
        let done = write()?;
        account(&|written| {
            for path in files_of(place)? {
                let within = path.strip_prefix(place).unwrap_or(&path);
                let parts = within.iter().map(|part| part.to_string_lossy());
                let parts: Vec<_> = std::iter::once(name.as_str().into()).chain(parts).collect();
                written.hashes.insert(parts.join("/"), Digest::of_file(&path)?.sha256);
            }
            Ok(())
        })?;
        Ok(done)
    }

    /// Whether there is an account, or none can be missing: that of a run which began without one would lack what is there.
    fn keeps_account(&self) -> bool {
        self.written().exists() || !self.config().exists()
    }

    /// What a place is called from the directory, where it lies in it.
    fn name_of(&self, place: &Path) -> Option<String> {
        let dir = |path: &Path| fs::canonicalize(path).ok();
        let above = dir(files::atomic::parent(place))?;
        let within = above.strip_prefix(dir(self.path())?).ok()?.join(place.file_name()?);
        let name = within.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        layout::is_accounted(&name).then_some(name)
    }
}

/// The place, where it is a file, or the files in it.
fn files_of(place: &Path) -> Result<Vec<PathBuf>, TrainError> {
    if place.is_dir() {
        let names = files::names(place)?;
        return Ok(names.into_iter().map(|name| place.join(name)).collect());
    }
    Ok(place.is_file().then(|| place.to_owned()).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunDirectory) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path());
        (dir, run)
    }

    #[test]
    fn what_was_written_is_told_from_what_was_changed_and_what_was_put_there() {
        let (_dir, run) = run();
        let config = run.config();
        let write = |text: &'static str| {
            move || Ok::<_, TrainError>(files::write(&run.config(), text.as_bytes())?)
        };
        let again = RunDirectory::new(config.parent().unwrap());
        again.writing(&config, write("a = 1\n")).unwrap();
        let is = |name: &str| Written::of(&again).unwrap().is(name, &again.path().join(name));
        assert!(is("config.toml"));
        fs::write(&config, "a = 2\n").unwrap();
        assert!(!is("config.toml"), "somebody changed it");
        again
            .writing(&again.adapter(), || {
                Ok::<_, TrainError>(files::write(
                    &again.adapter().join("adapter_config.json"),
                    b"{}",
                )?)
            })
            .unwrap();
        assert!(is("adapter/adapter_config.json") && !is("config.toml"));
        fs::write(again.adapter().join("adapter_model.safetensors"), "mine").unwrap();
        assert!(!is("adapter/adapter_model.safetensors"));
        // As sha256sum prints them, so that it checks them.
        let text = fs::read_to_string(again.written()).unwrap();
        assert!(
            text.lines()
                .all(|line| line.split_once("  ").is_some_and(|(hash, _)| hash.len() == 64)),
            "{text}"
        );
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_its_place_the_runs_own() {
        let (_dir, run) = run();
        let cut = run.writing(&run.best(), || {
            files::write(&run.best().join("adapter_config.json"), b"half")?;
            Err::<(), _>(TrainError::Vanished { dir: run.path().to_owned() })
        });
        assert!(cut.is_err());
        let written = Written::of(&run).unwrap();
        assert!(written.is("best/adapter_config.json", &run.best().join("adapter_config.json")));
        assert!(!written.is("bestial", &run.path().join("bestial")));
        assert_eq!(Written::parse(&written.text()), written);
    }

    #[test]
    fn a_run_that_began_without_an_account_gets_none() {
        let (_dir, run) = run();
        files::write(&run.config(), b"").unwrap();
        let write = || Ok::<_, TrainError>(files::write(&run.merged().join("config.json"), b"")?);
        run.writing(&run.merged(), write).unwrap();
        assert!(run.merged().exists() && !run.written().exists());
    }

    #[test]
    fn what_lies_elsewhere_is_written_and_not_counted() {
        let (_dir, run) = run();
        let other = tempfile::tempdir().unwrap();
        let place = other.path().join("merged");
        run.writing(&place, || Ok::<_, TrainError>(files::write(&place.join("a"), b"")?)).unwrap();
        assert!(place.join("a").exists() && !run.written().exists());
    }
}
