//! What is at a place that should be a finished run, and what to name.

use std::path::{Path, PathBuf};

use burn_lora_files::missing;
use burn_lora_patch::peft;

use super::layout::CONFIG;

/// Why the place is no finished run, with what to do. `lacks` is the file that is not there.
pub(crate) fn reason(dir: &Path, lacks: &str) -> String {
    let above = dir.ancestors().skip(1).find(|above| is_run(above));
    if let Some(run) = above.filter(|run| !run.as_os_str().is_empty()) {
        let there = if dir.exists() { "it lies in one" } else { "there is no such directory" };
        return format!("{there}; `{}` is a run: name that", run.display());
    }
    if !dir.exists() {
        return format!("there is no such directory{}", missing::note(dir));
    }
    if dir.is_file() {
        return "it is a file: name the `[output] dir` of a run".to_owned();
    }
    if let Some(run) = run_below(dir) {
        return format!("it has no `{lacks}`; `{}` in it is a run: name that", run.display());
    }
    let is = match dir.join(peft::CONFIG_FILE).is_file() {
        true => ", and is an adapter by itself",
        false => "",
    };
    format!("it has no `{lacks}`{is}; name the `[output] dir` of a run that has come to its end")
}

/// Whether a run wrote its configuration there.
fn is_run(dir: &Path) -> bool {
    dir.join(CONFIG).is_file()
}

/// A run in the directory, as a sweep leaves them; the last by name.
fn run_below(dir: &Path) -> Option<PathBuf> {
    let names = burn_lora_files::names(dir).ok()?;
    names.into_iter().map(|name| dir.join(name)).rfind(|below| is_run(below))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_run_is_told_by_the_run_that_was_meant() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        for dir in ["runs/first/adapter", "other"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        fs::write(at("runs/first").join(CONFIG), "").unwrap();
        let said =
            |path: &str| reason(&at(path), CONFIG).replace(&temp.path().display().to_string(), "D");
        assert_eq!(
            said("runs/first/adapter"),
            "it lies in one; `D/runs/first` is a run: name that"
        );
        assert!(said("runs/first/adaptr").ends_with("`D/runs/first` is a run: name that"));
        assert_eq!(said("runs/frist"), "there is no such directory: did you mean `D/runs/first`?");
        assert_eq!(said("rusn/first"), "there is no such directory: did you mean `D/runs/first`?");
        assert!(said("runs").contains("`D/runs/first` in it is a run: name that"));
        assert!(said("other").starts_with("it has no `config.toml`; name the `[output] dir`"));
        fs::write(at("other").join(peft::CONFIG_FILE), "{}").unwrap();
        assert!(said("other").contains("an adapter by itself"));
        // A run whose adapter is not there is told by what it lacks.
        assert!(reason(&at("runs/first"), "adapter").starts_with("it has no `adapter`"));
    }
}
