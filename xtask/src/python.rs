//! Python, for what only Python has: pip's packages and programs that are not this project's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python that did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// Python is not there.
    #[error("cannot start {program}: {reason}; name another one with --python")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// It began and failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The program and its arguments.
        command: String,
        /// What it printed.
        said: String,
    },
}

/// Runs Python to its end.
///
/// # Errors
///
/// A program that is not there, or that fails.
pub fn python(program: &Path, arguments: &[&str]) -> Result<(), PythonError> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|reason| PythonError::Start { program: program.to_owned(), reason })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(PythonError::Command {
            command: format!("{} {}", program.display(), arguments.join(" ")),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

/// The Python of the virtual environment in `dir`, which has these packages; it is made where it is
/// not there, and asks the package index only for what it lacks.
///
/// # Errors
///
/// A program that is not there or has no `venv`, a pip that fails.
pub fn environment(program: &Path, dir: &Path, packages: &[&str]) -> Result<PathBuf, PythonError> {
    python(program, &["-m", "venv", &dir.display().to_string()])?;
    let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let own = dir.join(inside);
    python(&own, &[&["-m", "pip", "install", "--quiet"][..], packages].concat())?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failing_program_says_is_passed_on() {
        let error = python("python3".as_ref(), &["-c", "raise SystemExit('no wheel')"]);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no wheel") && error.contains("python3 -c"), "{error}");
    }
}
