//! When a verb may time. `run.sh` starts every part at once, so that kernels are compiled on all cores, and then
//! lets one after the other time alone: a part says that it is ready, and waits for its turn.

use std::path::PathBuf;
use std::time::Duration;

/// Waits for other programs before anything is timed
#[derive(clap::Args, Default)]
pub struct Turn {
    /// Compile everything first, write FILE.ready, and time only when FILE is there
    #[arg(long, value_name = "FILE")]
    wait_for: Option<PathBuf>,
}

impl Turn {
    /// Whether there is nothing to wait for any more.
    pub fn has_come(&self) -> bool {
        self.wait_for.as_ref().is_none_or(|file| file.exists())
    }

    /// Says that everything is compiled, and waits.
    ///
    /// # Errors
    ///
    /// The file beside it cannot be written.
    pub fn wait(&self) -> super::Done {
        let Some(file) = &self.wait_for else { return Ok(()) };
        let ready = file.with_added_extension("ready");
        burn_lora_files::write(&ready, b"")?;
        while !file.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_waits_says_so_first_and_goes_on_when_its_file_is_there() {
        assert!(Turn::default().has_come());
        Turn::default().wait().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cells.go");
        let turn = Turn { wait_for: Some(file.clone()) };
        assert!(!turn.has_come());
        let ready = dir.path().join("cells.go.ready");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turn.wait().is_ok());
            while !ready.exists() {
                std::thread::yield_now();
            }
            assert!(!waits.is_finished());
            std::fs::write(&file, "").unwrap();
            assert!(waits.join().unwrap());
        });
        assert!(turn.has_come());
    }
}
