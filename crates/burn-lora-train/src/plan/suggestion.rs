//! Settings with which a run that is too large would fit.

use std::fmt;

use burn_lora_models::footprint::BatchShape;
use burn_lora_text::and;
use serde::Serialize;

use burn_lora_config::{RunConfig, TrainSection};

/// The shortest rows that are suggested, in tokens.
const SHORTEST: usize = 16;

/// Settings with which a run fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// `[train] batch_size`.
    pub batch_size: usize,
    /// `[train] accumulate`, so that a step sees as many rows as before.
    pub accumulate: usize,
    /// `[data] max_length`, where a smaller batch alone is not enough.
    pub max_length: Option<usize>,
}

impl Suggestion {
    /// The settings as overrides of a configuration, `section.key=value`.
    pub fn overrides(&self) -> Vec<String> {
        let length = self.max_length.map(|length| format!("data.max_length={length}"));
        let (batch_size, accumulate) = (self.batch_size, self.accumulate);
        [format!("train.batch_size={batch_size}"), format!("train.accumulate={accumulate}")]
            .into_iter()
            .chain(length)
            .collect()
    }
}

/// `` `train.batch_size=2`, `train.accumulate=8` and `data.max_length=64` ``
impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&and(&self.overrides()))
    }
}

/// The largest batch of the configured one's halves that fits, with as many rows a step; where a single
/// row does not fit, one of half the length, and so on. `largest` is the batch that needs most now.
pub(super) fn suggestion(
    config: &RunConfig,
    largest: &BatchShape,
    fits: impl Fn(&BatchShape, &TrainSection) -> bool,
) -> Option<Suggestion> {
    let (batch_size, accumulate) = (config.train.batch_size, config.train.accumulate);
    let per_step = batch_size.saturating_mul(accumulate);
    let mut train = config.train.clone();
    let mut attempt = |size: usize, width: usize| {
        train.batch_size = size;
        train.accumulate = per_step.div_ceil(size);
        fits(&resized(largest, size.min(largest.rows), width), &train).then_some(train.accumulate)
    };
    let mut size = batch_size;
    while size > 1 {
        size = size.div_ceil(2);
        if let Some(accumulate) = attempt(size, largest.width) {
            return Some(Suggestion { batch_size: size, accumulate, max_length: None });
        }
    }
    let mut width = largest.width;
    while width / 2 >= SHORTEST {
        width /= 2;
        if let Some(accumulate) = attempt(1, width) {
            return Some(Suggestion { batch_size: 1, accumulate, max_length: Some(width) });
        }
    }
    None
}

/// The batch with other rows and another width, its texts and targets in proportion.
pub(super) fn resized(batch: &BatchShape, rows: usize, width: usize) -> BatchShape {
    let tokens = batch.tokens().max(1);
    let share = |count: usize| (count * rows * width).div_ceil(tokens);
    BatchShape {
        rows,
        width,
        segments: batch.segments.map(|(count, longest)| {
            let longest = longest.min(width);
            (share(count).max((rows * width).div_ceil(longest.max(1))), longest)
        }),
        targets: share(batch.targets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: BatchShape = BatchShape { rows: 12, width: 100, segments: None, targets: 600 };

    /// The suggestion for a run of batches of 12 where as many tokens as `room` fit, whose rows
    /// then are as many a step as before or just above.
    fn check_suggestion(room: usize, expected: Option<(usize, usize, Option<usize>)>) {
        let text = "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nsteps = 1\n\
                    batch_size = 12\naccumulate = 2\n[output]\ndir = \"o\"\n";
        let config = RunConfig::parse(text, "run.toml", &[]).unwrap();
        let fits = |shape: &BatchShape, train: &TrainSection| {
            assert!(train.batch_size * train.accumulate >= 24);
            assert!(train.batch_size * (train.accumulate - 1) < 24);
            assert_eq!(shape.targets, (600 * shape.tokens()).div_ceil(1200));
            shape.tokens() <= room
        };
        let found = suggestion(&config, &LARGEST, fits);
        let found = found.map(|found| (found.batch_size, found.accumulate, found.max_length));
        assert_eq!(found, expected, "{room}");
    }

    #[test]
    fn the_batch_is_halved_first_and_then_the_rows() {
        check_suggestion(1100, Some((6, 4, None)));
        check_suggestion(599, Some((3, 8, None)));
        check_suggestion(250, Some((2, 12, None)));
        check_suggestion(100, Some((1, 24, None)));
        check_suggestion(99, Some((1, 24, Some(50))));
        check_suggestion(25, Some((1, 24, Some(25))));
        check_suggestion(24, None);
    }

    #[test]
    fn it_is_written_as_keys_and_values() {
        let suggestion = Suggestion { batch_size: 2, accumulate: 8, max_length: Some(64) };
        assert_eq!(
            suggestion.to_string(),
            "`train.batch_size=2`, `train.accumulate=8` and `data.max_length=64`"
        );
    }

    #[test]
    fn packed_rows_hold_as_many_texts_as_their_tokens_need() {
        let packed = BatchShape { segments: Some((30, 60)), ..LARGEST };
        assert_eq!(resized(&packed, 6, 100).segments, Some((15, 60)));
        assert_eq!(resized(&packed, 1, 50).segments, Some((2, 50)));
    }
}
