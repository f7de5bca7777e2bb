//! `cargo xtask quickstart data`: writes the rows as JSONL.

use std::path::Path;

use super::row::Row;
use super::{QuickstartError, sets, write};

/// Writes `train.jsonl` and `eval.jsonl` of the fine-tuning to the folder, and those of the
/// pre-training to `pretrain/` in it.
pub fn run(out: &Path, seed: u64) -> Result<(), QuickstartError> {
    let base = sets::pretraining(seed, sets::PRETRAINING_ROWS)?;
    let new = sets::fine_tuning(seed, sets::FINE_TUNING_ROWS)?;
    for (folder, sets) in [(out.join("pretrain"), base), (out.to_path_buf(), new)] {
        for (name, rows) in [("train.jsonl", &sets.train), ("eval.jsonl", &sets.eval)] {
            write(
                &folder.join(name),
                rows.iter().map(Row::to_line).collect::<String>().as_bytes(),
            )?;
        }
    }
    Ok(())
}
