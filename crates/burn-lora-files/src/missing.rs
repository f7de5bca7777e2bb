//! What is said of a path at which nothing is: the name that may have been meant, or what of it is not there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use burn_lora_text::{listed, nearest};

/// What to say behind a path at which nothing is; nothing, where nothing helps.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("rows.jsonl"), "")?;
/// let note = burn_lora_files::missing::note(&dir.path().join("rosw.jsonl"));
/// assert!(note.contains("did you mean") && note.contains("rows.jsonl"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn note(path: &Path) -> String {
    Missing::of(path).map_or_else(String::new, |missing| format!(": {missing}"))
}

/// Why nothing is at a path, where that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// It is a link to a place at which nothing is.
    Link(PathBuf),
    /// It is no path but an address.
    Address,
    /// It is a pattern of names.
    Pattern,
    /// It begins with a variable, or the home of somebody.
    Variable,
    /// What is there has nearly this name, or a directory above it has.
    Meant(PathBuf),
    /// A directory has others that are numbered as it is.
    Numbered {
        /// The directory.
        dir: PathBuf,
        /// Their names, sorted.
        names: Vec<String>,
    },
    /// What should be a directory above it is a file.
    File(PathBuf),
    /// A directory above it is not there.
    Above(PathBuf),
}

impl Missing {
    /// What is told of the path; nothing, where something is there or nothing helps.
    pub fn of(path: &Path) -> Option<Self> {
        if path.exists() {
            return None;
        }
        if let Ok(target) = fs::read_link(path) {
            return Some(Self::Link(target));
        }
        let text = path.display().to_string();
        if text.contains("://") {
            return Some(Self::Address);
        }
        if text.contains(['*', '?']) {
            return Some(Self::Pattern);
        }
        if text.starts_with(['$', '~', '%']) {
            return Some(Self::Variable);
        }
        let first = first_missing(path)?;
        if let Some(near) = near(&first) {
            // What was misspelt may be a directory above.
            let whole = near.join(path.strip_prefix(&first).unwrap_or(Path::new("")));
            return Some(Self::Meant(if whole.exists() { whole } else { near }));
        }
        if let Some(file) = first.parent().filter(|parent| parent.is_file()) {
            return Some(Self::File(file.to_owned()));
        }
        if let Some((dir, names)) = numbered(&first) {
            return Some(Self::Numbered { dir, names });
        }
        (first != path).then_some(Self::Above(first))
    }
}

impl Missing {
    /// Whether it tells of what lies where the path leads, so that a path was meant, whatever else has the form of one.
    pub fn is_beside(&self) -> bool {
        matches!(self, Self::Meant(_) | Self::Numbered { .. } | Self::File(_))
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(target) => {
                write!(f, "it is a link to `{}`, which is not there", target.display())
            }
            Self::Address => {
                f.write_str("addresses are not fetched here: download it, and name where it lies")
            }
            Self::Variable => f.write_str(
                "of variables, `$HOME` and `~` alone are replaced here: write the path out",
            ),
            Self::Pattern => f.write_str("patterns are not expanded: name each file"),
            Self::Meant(path) => write!(f, "did you mean `{}`?", shown(path)),
            Self::Numbered { dir, names } => {
                write!(f, "`{}` has {}", shown(dir), listed(names))
            }
            Self::File(path) => write!(f, "`{}` is a file and no directory", path.display()),
            Self::Above(dir) => write!(f, "`{}` is not there either", dir.display()),
        }
    }
}

/// The topmost directory of a path that is not there, or the path itself.
fn first_missing(path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> =
        path.ancestors().filter(|above| !above.as_os_str().is_empty()).collect();
    above.reverse();
    above.into_iter().find(|above| !above.exists()).map(Path::to_owned)
}

/// What lies beside a path that is not there and has a name like its own: the same but for zeros before its numbers, or a near one.
fn near(path: &Path) -> Option<PathBuf> {
    let (name, dir) = (path.file_name()?.to_str()?, directory(path)?);
    let names = crate::names(&dir).ok()?;
    let plain = without_zeros(name);
    let same = names.iter().map(String::as_str).find(|it| without_zeros(it) == plain);
    let name = same.or_else(|| nearest(name, names.iter().map(String::as_str)))?;
    Some(path.parent()?.join(name))
}

/// The directory in which a path should lie.
fn directory(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }.to_owned())
}

/// A name without the zeros that fill up its numbers.
fn without_zeros(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for (at, letter) in name.char_indices() {
        let next = name[at + letter.len_utf8()..].starts_with(|next: char| next.is_ascii_digit());
        // What stands behind a point is a fraction, whose zeros count.
        let in_number = plain.ends_with(|last: char| last.is_ascii_digit() || last == '.');
        if letter != '0' || in_number || !next {
            plain.push(letter);
        }
    }
    plain
}

/// What lies beside a path with a number in its name and begins as it does before the number, as checkpoints do.
fn numbered(path: &Path) -> Option<(PathBuf, Vec<String>)> {
    let name = path.file_name()?.to_str()?;
    let start = &name[..name.find(|letter: char| letter.is_ascii_digit())?];
    let is_like = |it: &String| {
        let rest = it.strip_prefix(start);
        rest.is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
    };
    let dir = directory(path)?;
    let names: Vec<String> = crate::names(&dir).ok()?.into_iter().filter(is_like).collect();
    (!start.is_empty() && !names.is_empty()).then_some((dir, names))
}

/// A path without the separator that joining nothing leaves at its end.
fn shown(path: &Path) -> String {
    path.components().collect::<PathBuf>().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_path_is_met_by_the_one_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("models/base")).unwrap();
        let said = |path: &str| note(&at(path)).replace(&dir.path().display().to_string(), "D");
        assert_eq!(said("models/bsae"), ": did you mean `D/models/base`?");
        assert_eq!(said("modles/base"), ": did you mean `D/models/base`?");
        assert_eq!(said("modles/zzz"), ": did you mean `D/models`?");
        assert_eq!(said("runs/a/b"), ": `D/runs` is not there either");
        assert_eq!(said("zzz"), "");
        fs::create_dir_all(at("steps/step-000010")).unwrap();
        fs::create_dir_all(at("steps/step-000020")).unwrap();
        assert_eq!(said("steps/step-10"), ": did you mean `D/steps/step-000010`?");
        assert_eq!(said("steps/step-00020"), ": did you mean `D/steps/step-000020`?");
        assert_eq!(said("steps/step-3"), ": `D/steps` has `step-000010`, `step-000020`");
        assert_eq!(said("steps/step-10x/adapter"), ": `D/steps` has `step-000010`, `step-000020`");
        assert_eq!(said("steps/other-3"), "");
        assert_eq!(said("models"), "", "it is there");
        assert!(note(Path::new("https://example.com/a.json")).contains("download it"));
        fs::write(at("held.json"), "").unwrap();
        assert_eq!(said("held.json/adapter"), ": `D/held.json` is a file and no directory");
        for path in ["$DATA/rows.jsonl", "~somebody/rows.jsonl", "%USERPROFILE%\\rows.jsonl"] {
            assert!(note(Path::new(path)).contains("write the path out"), "{path}");
        }
        assert_eq!(said("*.json"), ": patterns are not expanded: name each file");
    }

    #[test]
    fn zeros_that_fill_up_a_number_are_no_part_of_a_name() {
        for (name, plain) in [
            ("step-000010", "step-10"),
            ("step-10", "step-10"),
            ("step-0", "step-0"),
            ("step-000", "step-0"),
            ("a0b007c", "a0b7c"),
            ("ép-01", "ép-1"),
            ("rate-0.05", "rate-0.05"),
        ] {
            assert_eq!(without_zeros(name), plain, "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_told_by_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/no/such/place", &link).unwrap();
        assert_eq!(note(&link), ": it is a link to `/no/such/place`, which is not there");
    }
}
