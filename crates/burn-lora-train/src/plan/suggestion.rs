//! Settings with which a run that is too large would fit.

use std::{fmt, iter};

use burn_lora_models::Recompute;
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
    /// `[train] recompute = "block"`, where a smaller batch alone is not enough.
    pub recompute: bool,
    /// `[data] max_length`, where that is not enough either.
    pub max_length: Option<usize>,
}

impl Suggestion {
    /// The settings as overrides of a configuration, `section.key=value`.
    pub fn overrides(&self) -> Vec<String> {
        let length = self.max_length.map(|length| format!("data.max_length={length}"));
        let (batch_size, accumulate) = (self.batch_size, self.accumulate);
        let recompute = Recompute::Block.name();
        let recompute = self.recompute.then(|| format!("train.recompute={recompute}"));
        [format!("train.batch_size={batch_size}"), format!("train.accumulate={accumulate}")]
            .into_iter()
            .chain(recompute)
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
/// row does not fit, the largest that does with its blocks recomputed, whole or halved; where none does, a row
/// of half the length, and so on. `largest` is the batch that needs most now.
pub(super) fn suggestion(
    config: &RunConfig,
    largest: &BatchShape,
    fits: impl Fn(&BatchShape, &TrainSection) -> bool,
) -> Option<Suggestion> {
    let (batch_size, accumulate) = (config.train.batch_size, config.train.accumulate);
    let per_step = batch_size.saturating_mul(accumulate);
    let mut train = config.train.clone();
    let configured = config.train.recompute;
    let mut attempt = |batch_size: usize, width: usize, recompute: Recompute| {
        train.batch_size = batch_size;
        train.accumulate = per_step.div_ceil(batch_size);
        train.recompute = recompute;
        let shape = resized(largest, batch_size.min(largest.rows), width);
        fits(&shape, &train).then_some(Suggestion {
            batch_size,
            accumulate: train.accumulate,
            recompute: recompute != configured,
            max_length: (width < largest.width).then_some(width),
        })
    };
    let halves = iter::successors(Some(batch_size), |&size| (size > 1).then(|| size.div_ceil(2)));
    let widths = iter::successors(Some(largest.width / 2), |&width| Some(width / 2))
        .take_while(|&width| width >= SHORTEST);
    let kept = halves.clone().skip(1).map(|size| (size, largest.width, configured));
    let recomputed = halves.map(|size| (size, largest.width, Recompute::Block));
    let shorter = widths.map(|width| (1, width, Recompute::Block));
    let mut all = kept.chain(recomputed).chain(shorter);
    all.find_map(|(size, width, recompute)| attempt(size, width, recompute))
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
    fn check_suggestion(room: usize, expected: Option<(usize, usize, bool, Option<usize>)>) {
        let found = suggested(room, "none");
        let found = found
            .map(|found| (found.batch_size, found.accumulate, found.recompute, found.max_length));
        assert_eq!(found, expected, "{room}");
    }

    /// A token takes a fifth of the room where blocks are recomputed.
    fn suggested(room: usize, recompute: &str) -> Option<Suggestion> {
        let text = format!(
            "[model]\npath = \"m\"\n[data]\ntrain = \"t.jsonl\"\n[train]\nsteps = 1\n\
             batch_size = 12\naccumulate = 2\nrecompute = {recompute:?}\n[output]\ndir = \"o\"\n"
        );
        let config = RunConfig::parse(&text, "run.toml", &[]).unwrap();
        let fits = |shape: &BatchShape, train: &TrainSection| {
            assert!(train.batch_size * train.accumulate >= 24);
            assert!(train.batch_size * (train.accumulate - 1) < 24);
            assert_eq!(shape.targets, (600 * shape.tokens()).div_ceil(1200));
            let tokens = match train.recompute {
                Recompute::None => shape.tokens(),
                Recompute::Block => shape.tokens().div_ceil(5),
            };
            tokens <= room
        };
        suggestion(&config, &LARGEST, fits)
    }

    #[test]
    fn the_batch_is_halved_first_then_blocks_are_recomputed_and_then_the_rows_halved() {
        check_suggestion(1100, Some((6, 4, false, None)));
        check_suggestion(599, Some((3, 8, false, None)));
        check_suggestion(250, Some((2, 12, false, None)));
        check_suggestion(100, Some((1, 24, false, None)));
        check_suggestion(99, Some((3, 8, true, None)));
        check_suggestion(20, Some((1, 24, true, None)));
        check_suggestion(19, Some((1, 24, true, Some(50))));
        check_suggestion(5, Some((1, 24, true, Some(25))));
        check_suggestion(4, None);
        // What is configured already is not suggested.
        let found = suggested(10, "block").unwrap();
        assert_eq!((found.recompute, found.max_length), (false, Some(50)));
    }

    #[test]
    fn it_is_written_as_keys_and_values() {
        let mut suggestion =
            Suggestion { batch_size: 2, accumulate: 8, recompute: false, max_length: Some(64) };
        assert_eq!(
            suggestion.to_string(),
            "`train.batch_size=2`, `train.accumulate=8` and `data.max_length=64`"
        );
        suggestion = Suggestion { recompute: true, max_length: None, ..suggestion };
        assert_eq!(
            suggestion.to_string(),
            "`train.batch_size=2`, `train.accumulate=8` and `train.recompute=block`"
        );
    }

    #[test]
    fn packed_rows_hold_as_many_texts_as_their_tokens_need() {
        let packed = BatchShape { segments: Some((30, 60)), ..LARGEST };
        assert_eq!(resized(&packed, 6, 100).segments, Some((15, 60)));
        assert_eq!(resized(&packed, 1, 50).segments, Some((2, 50)));
    }
}
