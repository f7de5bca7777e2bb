//! The seconds of a step that ranks share: compute, exchange, and waiting for whoever is last.
//!
//! The micro-batches of a step go to the ranks a round at a time, cut first where they are fewer than the ranks, by the trainer's own
//! rule ([`cut`]). A round takes as long as its slowest rank ([`Stragglers`]); then gradients are exchanged, once more after the last
//! round, in as many bytes as the trainer counts ([`bytes_a_step`]).
//!
//! Every rank has a link of its own, which gives and takes at once, and the network between them holds nothing up. Left out: the
//! optimiser, which every rank has for itself; the words that tell what gradients are of; what a GPU loses on smaller micro-batches;
//! reading, evaluations and checkpoints.

use burn_lora_train::exchange::{bytes_a_step, cut};

use super::stragglers::Stragglers;

/// How often a process copies or adds all gradients when ranks give them to each other, beside what the network does: from the device,
/// for going out, by rank, into the sum; and of the whole sum: by rank, out of its frame, as numbers, to the device.
const COPIES: f64 = 4.0;

/// What is trained, and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Values that are trained.
    pub trained: usize,
    /// Seconds of a token on one rank, forward and backward.
    pub seconds_per_token: f64,
}

/// The rows of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Rows of a micro-batch.
    pub batch_size: usize,
    /// Micro-batches.
    pub accumulate: usize,
    /// Tokens of a row.
    pub length: usize,
}

/// What is between the ranks, and what is beside it in each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wire {
    /// Bytes a second of a rank's link, each way.
    pub bandwidth: f64,
    /// Seconds from one rank to another of a message without a length.
    pub latency: f64,
    /// Bytes a second that a process copies.
    pub copying: f64,
}

/// Seconds of a step, by what they go to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Time {
    /// Forward and backward, as if all took the mean.
    pub compute: f64,
    /// Waiting for the slowest rank of every round.
    pub waiting: f64,
    /// Gradients on the wire.
    pub bytes: f64,
    /// Messages, whatever is in them.
    pub messages: f64,
    /// Gradients copied from place to place in a process.
    pub copies: f64,
}

impl Time {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.compute + self.waiting + self.exchange()
    }

    /// What is exchange.
    pub fn exchange(&self) -> f64 {
        self.bytes + self.messages + self.copies
    }

    /// A step on so many ranks; none where it has fewer rows than those.
    pub fn of(
        work: &Work,
        step: &Step,
        wire: &Wire,
        stragglers: &Stragglers,
        ranks: usize,
    ) -> Option<Self> {
        let (rows, parts) = cut(step.batch_size, step.accumulate, ranks)?;
        let batch = work.seconds_per_token * (rows * step.length) as f64;
        let (full, left) = (parts / ranks, parts % ranks);
        let waits = full as f64 * stragglers.wait(ranks) + stragglers.wait(left);
        let compute = parts.div_ceil(ranks) as f64 * batch;
        Some(Self { compute, waiting: batch * waits, ..wire.exchange(work.trained, parts, ranks) })
    }
}

impl Wire {
    /// What so many ranks exchange in a step of so many micro-batches.
    pub fn exchange(&self, trained: usize, micro_batches: usize, ranks: usize) -> Time {
        if ranks < 2 {
            return Time::default();
        }
        let rounds = micro_batches.div_ceil(ranks);
        // A round deals gradients, and in the end the sum is gathered: from each to each other. What is told beside them, its length
        // first, is short, and goes by doubling.
        let carrying = (rounds + 1) as f64;
        let telling = (2 * rounds + 1) as f64;
        let doublings = f64::from(ranks.next_power_of_two().trailing_zeros());
        let messages = carrying * (ranks - 1) as f64 + telling * doublings;
        let copied = COPIES * carrying * gradients(trained);
        Time {
            bytes: bytes_a_step(trained, micro_batches, ranks) as f64 / self.bandwidth,
            messages: self.latency * messages,
            copies: copied / self.copying,
            ..Time::default()
        }
    }
}

/// Bytes of all gradients.
pub fn gradients(trained: usize) -> f64 {
    size_of::<f32>() as f64 * trained as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORK: Work = Work { trained: 1000, seconds_per_token: 0.5 };
    const STEP: Step = Step { batch_size: 2, accumulate: 4, length: 3 };
    const WIRE: Wire = Wire { bandwidth: 100.0, latency: 0.25, copying: 2000.0 };

    fn even() -> Stragglers {
        Stragglers::simulated(0.0, 1, 0)
    }

    #[test]
    fn one_rank_computes_and_does_nothing_else() {
        let uneven = Stragglers::simulated(0.5, 8, 3);
        let time = Time::of(&WORK, &STEP, &WIRE, &uneven, 1).unwrap();
        // 24 tokens.
        assert_eq!(time, Time { compute: 12.0, ..Time::default() });
        assert_eq!(time.total(), 12.0);
    }

    /// Counted by hand.
    #[test]
    fn two_ranks_take_two_rounds_and_exchange_three_times() {
        let time = Time::of(&WORK, &STEP, &WIRE, &even(), 2).unwrap();
        let expected = Time {
            compute: 6.0,
            waiting: 0.0,
            // Half of 4,000 bytes, three times.
            bytes: 60.0,
            // One message a time that carries gradients; two of few bytes a round, and one before the sum is gathered.
            messages: 0.25 * (3.0 + 5.0),
            // Four copies of 4,000 bytes, three times.
            copies: 24.0,
        };
        assert_eq!(time, expected);
        assert_eq!(time.total(), 6.0 + 60.0 + 2.0 + 24.0);
    }

    #[test]
    fn a_round_waits_for_those_that_compute_in_it() {
        let uneven = Stragglers::simulated(0.5, 8, 3);
        // Four micro-batches on three ranks: all three, and then one alone.
        let time = Time::of(&WORK, &STEP, &WIRE, &uneven, 3).unwrap();
        assert_eq!((time.compute, time.waiting), (6.0, 3.0 * uneven.wait(3)));
    }

    #[test]
    fn more_ranks_than_micro_batches_have_smaller_ones_and_more_than_rows_have_none() {
        let time = |ranks| Time::of(&WORK, &STEP, &WIRE, &even(), ranks);
        // Eight rows: one on each rank.
        assert_eq!(time(8).unwrap().compute, 1.5);
        assert_eq!(time(5).unwrap().compute, 3.0);
        assert_eq!(time(9), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_step_follows_what_it_is_made_of(
            trained in 1_usize..1_000_000,
            (batch_size, accumulate) in (1_usize..5, 1_usize..40),
            ranks in 1_usize..40,
            bandwidth in 1e6_f64..1e11,
            latency in 0.0_f64..1e-2,
        ) {
            let work = Work { trained, seconds_per_token: 1e-3 };
            let step = Step { batch_size, accumulate, length: 16 };
            let wire = Wire { bandwidth, latency, copying: 1e10 };
            let stragglers = Stragglers::simulated(0.1, 2, 5);
            let time = |wire: &Wire, ranks| Time::of(&work, &step, wire, &stragglers, ranks);
            let alone = time(&wire, 1).unwrap().compute;
            let Some(here) = time(&wire, ranks) else {
                prop_assert!(ranks > batch_size * accumulate);
                return Ok(());
            };
            // Nobody is faster than all together, nor slower in computing than one alone.
            let slack = 1.0 + 1e-9;
            prop_assert!(here.compute * ranks as f64 * slack >= alone);
            prop_assert!(here.compute <= alone * slack);
            // Parts are whole values: the largest may be one longer than its share.
            let rounds = cut(batch_size, accumulate, ranks).unwrap().1.div_ceil(ranks);
            let most = (rounds + 1) as f64 * (gradients(trained) + 4.0 * ranks as f64) / bandwidth;
            prop_assert!(here.bytes <= most * slack);
            let faster = time(&Wire { bandwidth: 2.0 * bandwidth, ..wire }, ranks).unwrap();
            let later = time(&Wire { latency: 2.0 * latency, ..wire }, ranks).unwrap();
            prop_assert!(faster.total() <= here.total() && here.total() <= later.total());
            if ranks > 1 {
                prop_assert!(faster.bytes < here.bytes);
                prop_assert_eq!(later.messages, 2.0 * here.messages);
            }
        }
    }
}
