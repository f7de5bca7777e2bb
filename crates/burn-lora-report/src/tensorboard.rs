//! TensorBoard event files of scalars, written without TensorBoard.
//!
//! An event file is a list of TFRecords, each with one `Event` message: first the file's version, then a value
//! each. [`events`] makes the bytes of a whole history at once, so that no state is kept: at the end of a run and after a
//! resume, the file is what `metrics.jsonl` says.
//!
//! | tag | from |
//! | --- | --- |
//! | `train/loss`, `train/learning_rate`, `train/gradient_norm`, `train/tokens_per_second` | steps |
//! | `eval/loss`, `eval/perplexity`, `eval/accuracy`, `eval/exact_match`, `eval/bleu` | evaluations |
//!
//! Histograms, images, text and hyperparameters are left out.

mod event;
mod tfrecord;

use crate::figure::{ALL, OF_STEPS};
use crate::record::Record;

/// A name for the event file of a run that is written anew each time. TensorBoard takes any file for
/// one whose name has `tfevents` in it.
pub const FILE_NAME: &str = "events.out.tfevents.burn-lora";

/// The bytes of an event file of all records.
///
/// Records do not say when they were made. Their wall time is `start_seconds`, in seconds from 1970
/// (UTC), and the seconds of all steps up to them, so TensorBoard's relative axis shows the time spent on
/// steps.
pub fn events(start_seconds: f64, records: &[Record]) -> Vec<u8> {
    let mut bytes = tfrecord::framed(&event::version(start_seconds));
    let mut wall_time = start_seconds;
    for record in records {
        let values: Vec<(&str, Option<f64>)> = match record {
            Record::Step(step) => {
                wall_time += step.seconds;
                OF_STEPS.iter().map(|figure| (figure.tag, figure.measured(step))).collect()
            }
            Record::Eval(eval) => {
                ALL.iter().map(|figure| (figure.tag, figure.measured(eval))).collect()
            }
        };
        for (tag, value) in values.into_iter().filter_map(|(tag, value)| Some((tag, value?))) {
            let event = event::scalar(tag, record.place().0 as u64, wall_time, value as f32);
            bytes.extend(tfrecord::framed(&event));
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
