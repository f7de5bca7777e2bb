//! What a run left: the manifest of a checkpoint, `metrics.jsonl`.

use burn_lora_files::digest::Digest;
use burn_lora_report::curves::loss_svg;
use burn_lora_report::summary::Summary;
use burn_lora_report::tensorboard;
use burn_lora_train::checkpoint::Checkpoints;
use burn_lora_train::history::{Covered, History};

use super::told;
use crate::scratch::directory;

/// A checkpoint's `manifest.json`.
pub fn manifest(bytes: &[u8]) {
    let state = ("state.json", &b"{}"[..]);
    let dir = directory("run/step-000001", &[state], &[("manifest.json", bytes)]);
    let checkpoints = dir.parent().map(|dir| Checkpoints::new(dir, 1));
    if let Some(checkpoints) = checkpoints {
        told(checkpoints.newest());
    }
}

/// A `metrics.jsonl`: read as it is, gone on with, and drawn.
pub fn metrics(bytes: &[u8]) {
    let path = directory("metrics", &[], &[("metrics.jsonl", bytes)]).join("metrics.jsonl");
    // It is not what was written, whatever it is: the line is looked for.
    told(History::resume(&path, &Covered { lines: 2, content: Digest::of(b"other") }));
    let Some(records) = told(History::read(&path)) else { return };
    told(loss_svg(&records));
    let _ = (Summary::of(&records, true).to_string(), tensorboard::events(0.0, &records));
    if let Some(left) = told(History::salvage(&path, 3)) {
        assert!(left.records().iter().all(|record| record.place().0 <= 3));
    }
}
