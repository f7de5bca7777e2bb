//! How a point ended, where its own directory does not say: `points/NAME.json`, beside the directories of the points.
//!
//! A directory tells a finished run from others, but for the number of steps of a run over epochs; why a run failed, and that it was
//! stopped, stands nowhere in it. Whoever ran a point leaves the note, and whoever makes the table reads it; it is taken away while
//! the point runs. No directory of a point is called `points`: names hold a `-`, or are `run`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burn_lora_files::{self as files, IoError};
use serde::{Deserialize, Serialize};

use super::results::{PointResult, PointState};

/// How a point ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum Note {
    /// After so many steps.
    Finished {
        /// Steps taken.
        steps: usize,
    },
    /// With an error.
    Failed {
        /// What it says.
        error: String,
    },
    /// With a checkpoint, before its end.
    Interrupted,
}

impl Note {
    /// What is to be noted of a point, if it has ended.
    pub(super) fn of(row: &PointResult) -> Option<Self> {
        match row.state {
            PointState::Finished => row.steps.map(|steps| Self::Finished { steps }),
            PointState::Failed => Some(Self::Failed { error: row.error.clone()? }),
            PointState::Interrupted => Some(Self::Interrupted),
            PointState::Pending => None,
        }
    }

    /// Reads the note of a point of the sweep in `dir`. One that cannot be read is none: the run's directory decides then, and the run
    /// is gone through again from its last checkpoint.
    pub(super) fn read(dir: &Path, name: &str) -> Option<Self> {
        serde_json::from_str(&files::read_text(&place(dir, name)).ok()?).ok()
    }

    /// Leaves the note.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(super) fn write(&self, dir: &Path, name: &str) -> Result<(), IoError> {
        let path = place(dir, name);
        let mut text =
            serde_json::to_vec(self).map_err(|error| IoError::at("write", &path)(error.into()))?;
        text.push(b'\n');
        files::write(&path, &text)
    }

    /// Takes the note away, if there is one.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub(super) fn forget(dir: &Path, name: &str) -> Result<(), IoError> {
        let path = place(dir, name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(IoError::at("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn place(dir: &Path, name: &str) -> PathBuf {
    dir.join("points").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_none_where_it_is_damaged_or_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let failed = Note::Failed { error: "the loss is NaN".to_owned() };
        for note in [Note::Finished { steps: 3 }, failed, Note::Interrupted] {
            note.write(dir.path(), "rank-4").unwrap();
            assert_eq!(Note::read(dir.path(), "rank-4"), Some(note));
        }
        assert_eq!(Note::read(dir.path(), "rank-8"), None);
        fs::write(dir.path().join("points/rank-4.json"), "{\"state\":\"fini").unwrap();
        assert_eq!(Note::read(dir.path(), "rank-4"), None);
        for _ in 0..2 {
            Note::forget(dir.path(), "rank-4").unwrap();
        }
        assert_eq!(fs::read_dir(dir.path().join("points")).unwrap().count(), 0);
    }
}
