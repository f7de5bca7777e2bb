//! What a run writes into its directory, by name: all that starting over may remove.

use std::fs;
use std::path::Path;

use burn_lora_files::atomic::is_scratch;
use burn_lora_patch::peft;

use super::RunDirectory;
use super::written::Written;
use crate::TrainError;
use crate::checkpoint;

/// A place in a run directory.
enum Place {
    /// A file that a run writes.
    File,
    /// A directory that a run makes.
    Directory,
    /// What a write that was cut off left.
    LeftOver,
    /// Somebody's.
    Foreign,
}

/// What is at this path, relative to the run directory.
fn place(names: &[&str]) -> Place {
    let known = |known: &[&str], name: &str| match known.contains(&name) {
        true => Place::File,
        false => Place::Foreign,
    };
    if names.last().is_some_and(|name| is_scratch(name)) {
        return Place::LeftOver;
    }
    let adapter = [peft::CONFIG_FILE, peft::TENSORS_FILE];
    match names {
        [name] if DIRECTORIES.contains(name) => Place::Directory,
        [ADAPTER | BEST, name] => known(&adapter, name),
        [MODEL | MERGED, name] => match is_of_a_model(name) {
            true => Place::File,
            false => Place::Foreign,
        },
        [CHECKPOINTS, step] if is_step(step) => Place::Directory,
        [CHECKPOINTS, step, name] if is_step(step) => {
            known(&[&adapter[..], &checkpoint::FILES].concat(), name)
        }
        [name] => known(&TOP, name),
        _ => Place::Foreign,
    }
}

pub(super) const CONFIG: &str = "config.toml";
pub(super) const ORIGIN: &str = "made_in";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const LOSS_PLOT: &str = "loss.svg";
pub(super) const REPORT: &str = "report.html";
pub(super) const EVENTS: &str = burn_lora_report::tensorboard::FILE_NAME;
pub(super) const WRITTEN: &str = "written";
pub(super) const LOCK: &str = "run.lock";
pub(super) const ADAPTER: &str = "adapter";
pub(super) const BEST: &str = "best";
pub(super) const MODEL: &str = "model";
pub(super) const MERGED: &str = "merged";
pub(super) const CHECKPOINTS: &str = "checkpoints";

/// The files beside the directories.
const TOP: [&str; 8] = [CONFIG, ORIGIN, METRICS, LOSS_PLOT, REPORT, EVENTS, WRITTEN, LOCK];

/// What grows or changes while a run is on, beside checkpoints, and goes by its name.
const UNACCOUNTED: [&str; 4] = [METRICS, WRITTEN, LOCK, CHECKPOINTS];

/// Whether runs keep account of what they write at this path.
pub(super) fn is_accounted(name: &str) -> bool {
    let place = name.split('/').next().unwrap_or(name);
    let is_place = TOP.contains(&place) || DIRECTORIES.contains(&place);
    is_place && !UNACCOUNTED.contains(&place)
}

/// The directories, each after what lies in it.
const DIRECTORIES: [&str; 5] = [ADAPTER, BEST, MODEL, MERGED, CHECKPOINTS];

fn is_step(name: &str) -> bool {
    name.strip_prefix("step-").is_some_and(|step| step.parse::<usize>().is_ok())
}

/// A Hugging Face directory as a run or the merging of one writes it, the tokenizer's files among it.
fn is_of_a_model(name: &str) -> bool {
    burn_lora_models::tokenizer::FILES.contains(&name)
        || matches!(name, "config.json" | "generation_config.json" | "model.safetensors.index.json")
        || (name.starts_with("model") && name.ends_with(".safetensors"))
}

/// Is shown a path, its names within the run directory and what it is.
type Visit<'a> = dyn FnMut(&Path, &[String], Place) -> std::io::Result<()> + 'a;

/// Calls `visit` with every path in the directory that is no directory of a run's, and its names.
fn walk(dir: &Path, names: &mut Vec<String>, visit: &mut Visit<'_>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        names.push(entry.file_name().to_string_lossy().into_owned());
        let place = place(&names.iter().map(String::as_str).collect::<Vec<_>>());
        // A link is somebody's, wherever it leads.
        match place {
            Place::Directory if entry.file_type()?.is_dir() => walk(&entry.path(), names, visit)?,
            Place::Directory => visit(&entry.path(), names, Place::Foreign)?,
            place => visit(&entry.path(), names, place)?,
        }
        names.pop();
    }
    Ok(())
}

fn walked(
    directory: &RunDirectory,
    mut visit: impl FnMut(&Path, &[String], Place) -> std::io::Result<()>,
) -> Result<(), TrainError> {
    let dir = directory.path();
    match walk(dir, &mut Vec::new(), &mut visit) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !dir.exists() => Ok(()),
        walked => walked.map_err(TrainError::io("use", dir)),
    }
}

/// What a run that begins here would write over or lie among, and that no run wrote: in the directory of a run, every file that runs do
/// not write, and every one that is not as they wrote it, where they kept account; elsewhere, every file that is named as a run would name its own.
pub(super) fn foreign(directory: &RunDirectory, of_a_run: bool) -> Result<Vec<String>, TrainError> {
    let lock = directory.lock();
    let written = Written::of(directory).filter(|_| of_a_run);
    let changed = |path: &Path, name: &str| {
        let written = written.as_ref().filter(|_| is_accounted(name));
        written.is_some_and(|written| !written.is(name, path))
    };
    let mut found = Vec::new();
    walked(directory, |path, names, place| {
        let foreign = match place {
            // A run tells its checkpoints by their names, and removes the oldest; a link that leads nowhere is in the way of what is
            // written in the end.
            Place::Foreign => {
                let blocks = || names.len() == 1 && !path.exists();
                of_a_run
                    || match names.first().map(String::as_str) {
                        Some(CHECKPOINTS) => true,
                        Some(ADAPTER | BEST | MODEL) => blocks(),
                        _ => false,
                    }
            }
            Place::File if of_a_run => changed(path, &names.join("/")),
            // A directory in the place of a file costs that file; without an account no run goes on.
            Place::File => path != lock && (path.is_file() || path == directory.written()),
            Place::Directory | Place::LeftOver => false,
        };
        if foreign {
            found.push(names.join("/"));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Removes what writes that were cut off left.
pub(super) fn remove_left_over(directory: &RunDirectory) -> Result<(), TrainError> {
    walked(directory, |path, _, place| match place {
        Place::LeftOver if path.is_dir() => fs::remove_dir_all(path),
        Place::LeftOver => fs::remove_file(path),
        _ => Ok(()),
    })
}

/// Removes the run that the directory holds, but for its lock.
pub(super) fn remove(directory: &RunDirectory) -> Result<(), TrainError> {
    let lock = directory.lock();
    walked(directory, |path, _, place| match place {
        Place::File if path != lock && !path.is_dir() => fs::remove_file(path),
        _ => Ok(()),
    })?;
    // Only what is empty now goes.
    for step in crate::checkpoint::Checkpoints::new(directory.checkpoints(), 1).list() {
        fs::remove_dir(&step).map_err(TrainError::io("remove", step))?;
    }
    for dir in DIRECTORIES.map(|name| directory.path().join(name)) {
        if dir.is_dir() {
            fs::remove_dir(&dir).map_err(TrainError::io("remove", dir))?;
        }
    }
    Ok(())
}
