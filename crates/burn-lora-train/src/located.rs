//! Where a model lies that a configuration or a command names: a directory, a `.gguf` file, or a model
//! of the Hugging Face hub, which is fetched into the cache that Python shares.
//!
//! A path that exists is that path. Otherwise `org/name` or `org/name@revision` is a model of the hub;
//! what the cache holds of it is taken without a request, so that a run does not change when the hub
//! does. [`download`] asks the hub; [`present`] is for dry runs, which download nothing.

use std::path::{Path, PathBuf};

use burn_lora_files::missing::Missing;
use burn_lora_hub::{Files, Hub, HubError, HubId, HubOptions, Location};
use burn_lora_text::listed;

use crate::TrainError;
use crate::observe::Observer;

/// The directory or file of the model that `text` names.
///
/// # Errors
///
/// What is neither a path nor a model of the hub, or cannot be fetched.
pub fn located(text: &Path, observer: &Observer) -> Result<PathBuf, TrainError> {
    if text.exists() {
        return Ok(text.to_owned());
    }
    let name = text.display().to_string();
    match Location::of(&name)? {
        Location::Path(path) => Ok(path),
        Location::Hub(id) => {
            let options = HubOptions::from_env()?;
            let is_offline = options.offline;
            let hub = Hub::new(options)?;
            match hub.cached(&id, &Files::Safetensors) {
                Ok(directory) => Ok(directory),
                Err(HubError::NotCached { .. }) => {
                    let note = meant(text);
                    // A path was meant, perhaps: what goes over the network for it is told before.
                    if !note.is_empty() && !is_offline {
                        observer.note(format!(
                            "there is no `{name}` here{note}: the hub is asked for it"
                        ));
                    }
                    download(&hub, &id, &Files::Safetensors, observer).map_err(|source| {
                        TrainError::NoSuchModel { note, name, source: Box::new(source) }
                    })
                }
                Err(other) => Err(other.into()),
            }
        }
    }
}

/// Sees to it that [`located`] would download nothing.
///
/// # Errors
///
/// What is neither a path nor a model of the hub, or not in the cache.
pub fn present(text: &Path) -> Result<(), TrainError> {
    if text.exists() {
        return Ok(());
    }
    match Location::of(&text.display().to_string())? {
        Location::Path(_) => Ok(()),
        Location::Hub(id) => {
            match Hub::new(HubOptions::from_env()?)?.cached(&id, &Files::Safetensors) {
                Ok(_) => Ok(()),
                Err(HubError::NotCached { .. }) => {
                    Err(TrainError::NotFetched { name: id.to_string(), note: meant(text) })
                }
                Err(other) => Err(other.into()),
            }
        }
    }
}

/// What of a path that is not there may have been meant, in brackets; nothing, where nothing lies where it leads.
fn meant(path: &Path) -> String {
    // A name of the hub leads nowhere here, mostly, and is like many.
    let Some(dir) = path.parent().filter(|dir| dir.is_dir()) else { return String::new() };
    match Missing::of(path).filter(Missing::is_beside) {
        Some(meant) => format!(" ({meant})"),
        None => {
            let names = burn_lora_files::names(dir).unwrap_or_default();
            let has = if names.is_empty() { "nothing".to_owned() } else { listed(&names) };
            format!(" (`{}` has {has})", dir.display())
        }
    }
}

/// Fetches what the hub has of a model, and tells how far it is.
///
/// # Errors
///
/// What the hub does not have or does not give, a connection that fails.
pub fn download(
    hub: &Hub,
    id: &HubId,
    files: &Files,
    observer: &Observer,
) -> Result<PathBuf, HubError> {
    let mut current = String::new();
    let directory = hub.fetch(id, files, &mut |progress| {
        if progress.file != current {
            current = progress.file.to_owned();
            observer.stage(format!("fetching {current}"));
        }
        observer.progress(progress.done, progress.total);
    })?;
    observer.done();
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_exists_is_itself_and_what_cannot_be_an_id_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let observer = Observer::silent();
        assert_eq!(located(dir.path(), &observer).unwrap(), dir.path());
        let missing = dir.path().join("none");
        let error = located(&missing, &observer).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn a_directory_of_that_name_is_told_of_beside_the_hub() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["base", "rows.jsonl"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let said = |name: &str| meant(&dir.path().join(name));
        assert!(said("zzz").ends_with("has `base`, `rows.jsonl`)"), "{}", said("zzz"));
        assert!(said("bsae").contains("did you mean"), "{}", said("bsae"));
        assert_eq!(said("none/base"), "");
        // `name` alone leads to where the process is, which says nothing.
        assert_eq!(meant(Path::new("org/name")), "");
    }
}
