use super::*;
use crate::record::{EvalRecord, StepRecord};

/// The file that tensorboardX 2.6.5 (with protobuf 7.36.2) writes for the calls in
/// `a_file_is_byte_for_byte_what_tensorboardx_writes`, its clock held at 1700000000. TensorBoard 2.21's own
/// `EventFileLoader` reads the values back from it.
const TENSORBOARDX: &str = "\
    1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d2000000000\
    00000029eda9500900006040fc54d94110012a130a110a0a747261696e2f6c6f7373150000c03f75acc4361d00\
    000000000000602fdf230900007040fc54d9412a120a100a096576616c2f6c6f737315000000001b69968a2a00\
    000000000000ae8d91f50900008040fc54d94110ac022a1c0a1a0a13747261696e2f6c6561726e696e675f7261\
    74651517b7d1383ce552abb500000000000000d59d9511108080808080202aab010aa8010aa001c3a9c3a9c3a9\
    c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
    a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9\
    c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3\
    a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9150000c07f44aefe21";

const START: f64 = 1_700_000_000.0;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of these values: tag, step, wall time and value.
fn file(values: &[(&str, u64, f64, f64)]) -> Vec<u8> {
    let mut bytes = tfrecord::framed(&event::version(START));
    for (tag, step, wall_time, value) in values {
        bytes.extend(tfrecord::framed(&event::scalar(tag, *step, *wall_time, *value as f32)));
    }
    bytes
}

fn step(step: usize, seconds: f64) -> Record {
    Record::Step(StepRecord {
        step,
        loss: 2.5,
        learning_rate: 1e-3,
        gradient_norm: 0.25,
        targets: 10,
        tokens: 20,
        seconds,
        ..StepRecord::default()
    })
}

fn eval(step: usize, exact_match: Option<f64>) -> Record {
    let bleu = exact_match.map(|share| share / 3.0);
    let (eval_loss, perplexity, accuracy) = (2.0, 7.4, 0.5);
    Record::Eval(EvalRecord { step, eval_loss, perplexity, accuracy, exact_match, bleu })
}

#[test]
fn a_file_is_byte_for_byte_what_tensorboardx_writes() {
    let long = "\u{e9}".repeat(80);
    let values = [
        ("train/loss", 1, 1_700_000_001.5, 1.5),
        ("eval/loss", 0, 1_700_000_001.75, 0.0),
        ("train/learning_rate", 300, 1_700_000_002.0, 1e-4),
        (long.as_str(), 1 << 40, 0.0, f64::NAN),
    ];
    assert_eq!(hex(&file(&values)), TENSORBOARDX);
}

#[test]
fn a_history_becomes_its_values_with_the_seconds_of_its_steps_as_time() {
    let expected = file(&[
        ("eval/loss", 0, 1_700_000_000.0, 2.0),
        ("eval/perplexity", 0, 1_700_000_000.0, 7.4),
        ("eval/accuracy", 0, 1_700_000_000.0, 0.5),
        ("train/loss", 1, 1_700_000_000.5, 2.5),
        ("train/learning_rate", 1, 1_700_000_000.5, 1e-3),
        ("train/gradient_norm", 1, 1_700_000_000.5, 0.25),
        ("train/tokens_per_second", 1, 1_700_000_000.5, 40.0),
        ("train/loss", 2, 1_700_000_000.5, 2.5),
        ("train/learning_rate", 2, 1_700_000_000.5, 1e-3),
        ("train/gradient_norm", 2, 1_700_000_000.5, 0.25),
        ("train/loss", 3, 1_700_000_002.5, 2.5),
        ("train/learning_rate", 3, 1_700_000_002.5, 1e-3),
        ("train/gradient_norm", 3, 1_700_000_002.5, 0.25),
        ("train/tokens_per_second", 3, 1_700_000_002.5, 10.0),
        ("eval/loss", 3, 1_700_000_002.5, 2.0),
        ("eval/perplexity", 3, 1_700_000_002.5, 7.4),
        ("eval/accuracy", 3, 1_700_000_002.5, 0.5),
        ("eval/exact_match", 3, 1_700_000_002.5, 0.75),
        ("eval/bleu", 3, 1_700_000_002.5, 0.25),
    ]);
    let records = [eval(0, None), step(1, 0.5), step(2, 0.0), step(3, 2.0), eval(3, Some(0.75))];
    assert_eq!(hex(&events(START, &records)), hex(&expected));
}

#[test]
fn a_longer_history_begins_with_a_shorter_one() {
    let (once, empty) = (events(1.5, &[step(1, 0.5)]), events(1.5, &[]));
    assert!(once.starts_with(&empty));
    // A record has 16 bytes around its event: 9 of the time, 15 of the version.
    assert_eq!(empty.len(), 16 + 9 + 15);
}
