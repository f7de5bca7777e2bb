//! Where a run went wrong: the rows that it was reading, and what it had saved by then.
//!
//! The loop knows the step and the batch. Which rows those are, only their order and the data files tell, which the loop does not know:
//! whoever has both completes the error.

use std::fmt;
use std::path::PathBuf;

use burn_lora_data::{Draw, Rows};

use crate::TrainError;
use crate::checkpoint::Checkpoints;

/// Rows that are named one by one.
const NAMED: usize = 8;

/// What is known of the place where something went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scene {
    /// Which batch of the step, or of the evaluation, counted from 0; none where it may be any of them.
    pub batch: Option<usize>,
    /// Its rows, `file:line`.
    pub rows: Vec<String>,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl Scene {
    /// In that batch.
    pub(crate) fn in_batch(batch: Option<usize>) -> Self {
        Self { batch, ..Self::default() }
    }
}

/// `; its rows are a.jsonl:3 and …; the newest checkpoint is …`, or as much of it as is known.
impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            let named = &self.rows[..self.rows.len().min(NAMED)];
            write!(f, "; its rows are {}", named.join(", "))?;
            if self.rows.len() > NAMED {
                write!(f, " and {} more", self.rows.len() - NAMED)?;
            }
        }
        match &self.checkpoint {
            Some(path) => write!(f, "; the newest checkpoint is `{}`", path.display()),
            None => Ok(()),
        }
    }
}

/// The rows of a run in their order, and its checkpoints.
pub(crate) struct Surroundings<'a, B> {
    pub train: &'a Rows<B>,
    pub draw: Draw,
    pub held_out: Option<&'a Rows<B>>,
    pub checkpoints: Option<&'a Checkpoints>,
}

impl<B: 'static> Surroundings<'_, B> {
    /// The error with all that is known of its place.
    pub fn tell(&self, mut error: TrainError) -> TrainError {
        match &mut error {
            TrainError::NotFinite { step, scene, .. }
            | TrainError::NothingToLearn { step, scene } => {
                let batches = self.train.places_of_step(self.draw, step.saturating_sub(1));
                scene.rows = match scene.batch.and_then(|batch| batches.get(batch)) {
                    Some(of_batch) => of_batch.clone(),
                    None => batches.concat(),
                };
                scene.checkpoint = self.newest();
            }
            TrainError::EvaluationNotFinite { scene, .. } => {
                if let (Some(rows), Some(batch)) = (self.held_out, scene.batch) {
                    scene.rows = rows.places_of_evaluation(self.draw.batch_size, batch);
                }
                scene.checkpoint = self.newest();
            }
            _ => {}
        }
        error
    }

    fn newest(&self) -> Option<PathBuf> {
        self.checkpoints.and_then(|checkpoints| checkpoints.list().pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_rows_are_counted_and_what_is_not_known_is_not_said() {
        let of = |rows: usize, checkpoint: Option<&str>| {
            let rows = (1..=rows).map(|line| format!("a:{line}")).collect();
            Scene { batch: None, rows, checkpoint: checkpoint.map(PathBuf::from) }.to_string()
        };
        assert_eq!(of(0, None), "");
        assert_eq!(of(2, Some("c")), "; its rows are a:1, a:2; the newest checkpoint is `c`");
        assert!(of(11, None).ends_with("a:7, a:8 and 3 more"), "{}", of(11, None));
    }
}
