//! Everything that goes to standard output and standard error.
//!
//! Lines may hold what data, models and servers say: control characters in them are written out ([`printable`]), so that nobody moves
//! the cursor of whoever looks on. Of addresses in messages, users and passwords are left out. JSON is for programs and stays as it is.
//!
//! Results are for programs, too: what cannot be written is an error, but for a pipe that nobody reads any more, which
//! ends quietly (`burn-lora check run.toml | head -1`). Progress and lines of a run are for whoever looks: that nobody
//! does, or that a disk is full, is no reason to end a run.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use burn_lora_app::AppError;
use burn_lora_files::IoError;
use burn_lora_text::{printable, printable_styled, without_passwords};
use serde::Serialize;

/// Writes a result as one JSON object; a number that is not finite is `null`.
pub fn json(result: &impl Serialize) -> Result<(), AppError> {
    let mut text = serde_json::to_vec_pretty(result).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    bytes(&text)
}

/// Writes what a dry run found: as lines, or as one JSON object with `"dry_run": true` at its head.
pub fn dry_run(found: &(impl Serialize + Display), as_json: bool) -> Result<(), AppError> {
    #[derive(Serialize)]
    struct DryRun<'a, T> {
        dry_run: bool,
        #[serde(flatten)]
        found: &'a T,
    }
    match as_json {
        true => json(&DryRun { dry_run: true, found }),
        false => line(found),
    }
}

/// Writes a result: as lines, or as one JSON object.
pub fn told(result: &(impl Serialize + Display), as_json: bool) -> Result<(), AppError> {
    if as_json { json(result) } else { line(result) }
}

/// Writes a line of a result.
pub fn line(text: &(impl Display + ?Sized)) -> Result<(), AppError> {
    shown(&format!("{text}\n"))
}

/// Writes text of a result.
pub fn shown(text: &str) -> Result<(), AppError> {
    bytes(printable(text).as_bytes())
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), AppError> {
    result(&mut io::stdout().lock(), bytes).map_err(failed)
}

/// A line to whoever looks on, on standard output.
pub fn progress(text: &str) {
    // Nobody has to.
    let text = format!("{}\n", printable(text));
    let _ = result(&mut io::stdout().lock(), text.as_bytes());
}

/// A line to whoever looks on, on standard error.
pub fn note(text: &str) {
    prompt(&format!("{text}\n"));
}

/// Text on standard error without a line's end.
pub fn prompt(text: &str) {
    // Where even this cannot be said, nothing can.
    let text = without_passwords(text);
    let _ = result(&mut io::stderr().lock(), printable(&text).as_bytes());
}

/// A report with colours of its own, to whoever looks on, on standard error.
pub fn report(text: &str) {
    let text = format!("{}\n", printable_styled(&without_passwords(text)));
    let _ = result(&mut io::stderr().lock(), text.as_bytes());
}

/// A piece of text on standard output, at once; whether anybody reads it.
pub fn piece(text: &str) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn result(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// What could not be written.
pub fn failed(source: io::Error) -> AppError {
    IoError::at("write", "standard output")(source).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_error_and_a_full_disk_is_one() {
        assert!(result(&mut Refusing(ErrorKind::BrokenPipe), b"a").is_ok());
        assert!(result(&mut Refusing(ErrorKind::StorageFull), b"a").is_err());
    }
}
