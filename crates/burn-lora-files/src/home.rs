//! `~` and `$HOME` at the start of a path: home, wherever the path was written. A shell expands them in its own words
//! only, not in files, in variables, or behind an `=`.

use std::path::{Component, Path, PathBuf};

/// The path with the home directory in the place of a leading `~`, `$HOME` or `${HOME}`; as it is, where it begins with
/// something else, or there is no home directory.
pub fn expanded(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    within(path, std::env::home_dir().as_deref()).unwrap_or_else(|| path.to_owned())
}

/// [`expanded`] with that home directory; nothing where there is none and one is needed.
///
/// ```
/// use std::path::Path;
/// use burn_lora_files::home::within;
///
/// let home = Some(Path::new("/home/ada"));
/// assert_eq!(within("~/models".as_ref(), home).as_deref(), Some(Path::new("/home/ada/models")));
/// assert_eq!(within("~ada/models".as_ref(), home).as_deref(), Some(Path::new("~ada/models")));
/// assert_eq!(within("$HOME".as_ref(), None), None);
/// ```
pub fn within(path: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let mut parts = path.components();
    match parts.next() {
        Some(Component::Normal(first))
            if ["~", "$HOME", "${HOME}"].iter().any(|it| first == *it) =>
        {
            home.map(|home| home.join(parts.as_path()))
        }
        _ => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_meant_at_the_start_of_a_path_and_nowhere_else() {
        let of = |path: &str| within(Path::new(path), Some(Path::new("/h"))).unwrap();
        for (path, expected) in [
            ("~", "/h"),
            ("~/", "/h"),
            ("~/a/b", "/h/a/b"),
            ("$HOME/a", "/h/a"),
            ("${HOME}/a", "/h/a"),
            ("a/~/b", "a/~/b"),
            ("./~", "./~"),
            ("/~/a", "/~/a"),
            ("~a", "~a"),
            ("$HOMER/a", "$HOMER/a"),
            ("", ""),
        ] {
            assert_eq!(of(path), Path::new(expected), "{path}");
        }
    }
}
