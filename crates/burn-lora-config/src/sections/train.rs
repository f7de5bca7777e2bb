//! `[train]` and `[output]`.

use std::path::PathBuf;

use burn_lora_models::Recompute;
use toml::de::DeValue;
use toml::{Spanned, Value};

use crate::allowed::{
    Allowed, above, flag, name, names, number, path_of, two_numbers, whole, word,
};
use crate::keys::{Key, Part, UnwritableError, Written, keys};
use crate::named::named;
use crate::reader::Reader;
use crate::sections::schedule::Schedule;

keys! {
    /// `[train]`: how it is trained.
    pub struct TrainSection in "train" {
        part length: Length, "How long the run is.";

        /// Where to compute.
        device: String = "auto".to_owned(),
            name().called("device such as \"auto\", \"cpu\", \"cuda:0\", \"wgpu\" or \"remote://host:port\""), decides Nothing;
        /// Rows that go through the model at once.
        batch_size: usize = 8, whole(1..);
        /// Batches per optimiser step.
        accumulate: usize = 1, whole(1..=1_000_000);
        /// What of the forward pass is made again in the backward instead of being kept: nothing (but what norms and
        /// gates give), or all inside of each `block` (a layer of a decoder or an encoder), whose input is kept. Memory
        /// for one forward pass more; the gradients are the same, on the CPU bit for bit.
        recompute: Recompute = Recompute::None, word(), decides Nothing;
        /// Highest learning rate.
        learning_rate: f64 = 2e-4, number(above(0.0));
        /// How the learning rate falls after the warm-up, to 0 at the end.
        schedule: Schedule = Schedule::Cosine, word();
        /// Steps in which the learning rate rises from 0.
        warmup: Warmup = Warmup::Share(0.0), warmup();
        /// Largest norm of the whole gradient; 0 does not clip.
        clip: Option<f64> = Some(1.0), number(0.0..).or_off(0.0);
        /// AdamW's weight decay.
        weight_decay: f64 = 0.01, number(0.0..);
        /// LoRA+: how many times the learning rate of A that of B is.
        lora_plus: f64 = 1.0, number(1.0..);
        /// Share of each target's probability that is spread over all classes in training.
        label_smoothing: f64 = 0.0, number(0.0..1.0);
        /// Parameters without weight decay: exact names or endings of them, such as ["bias", "norm.weight"].
        no_decay: Vec<String> = vec![], names("parameter names");
        /// AdamW's decay rates of the two moments.
        betas: [f64; 2] = [0.9, 0.999], two_numbers(0.0..1.0);
        /// AdamW's epsilon.
        epsilon: f64 = 1e-8, number(above(0.0));
        /// Seed of initialisation, shuffling and dropout.
        seed: u64 = 0, whole(0..);
        /// Steps between evaluations; 0 evaluates only before and after.
        eval_every: Option<usize> = None, whole(0..).or_off(0), decides Evaluation;
        /// Steps between checkpoints; 0 saves only at the end.
        save_every: Option<usize> = None, whole(0..).or_off(0), decides Nothing;
        /// Newest checkpoints that are kept.
        keep: usize = 2, whole(1..), decides Nothing;
        /// Threads to compute with on the CPU; 0 takes all.
        threads: Option<usize> = None, whole(0..=1024).or_off(0), decides Nothing;
        /// Generate for every row of `eval` before and after, and count what is exactly right.
        exact_match: bool = false, flag(), decides Evaluation;
        /// Generate for every prompt of `eval` before and after, and score by BLEU with all of its references,
        /// case ignored.
        bleu: bool = false, flag(), decides Evaluation;
        /// Sample outputs shown before and after.
        samples: usize = 3, whole(0..), decides Nothing;
        /// Evaluations without improvement after which the run ends; 0 never ends it.
        early_stopping: Option<usize> = None, whole(0..).or_off(0);
        /// What decides which evaluation is best, for `early_stopping` and `keep_best`.
        metric: Metric = Metric::Loss, word();
        /// Keep the adapter of the best evaluation in `best/` of the run directory.
        keep_best: bool = false, flag();
        /// Batch rows of like lengths.
        group_by_length: bool = true, flag();
        /// A new order of the rows in every epoch; otherwise the order of the file, ungrouped.
        shuffle: bool = true, flag();
    }
}

keys! {
    /// `[output]`: where the results go.
    pub struct OutputSection in "output" {
        /// The run directory; made if it is not there.
        dir: PathBuf, path_of("a directory"), decides Nothing;
    }
}

named! {
    /// A measure of an evaluation.
    pub enum Metric {
        /// Held-out loss; lower is better.
        Loss = "loss",
        /// Share of targets whose likeliest class is right; higher is better.
        Accuracy = "accuracy",
        /// Share of generated texts that are exactly right; higher is better.
        ExactMatch = "exact-match",
        /// BLEU of generated texts; higher is better.
        Bleu = "bleu",
    }
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// This many optimiser steps.
    Steps(usize),
    /// This many passes over the training rows.
    Epochs(f64),
}

keys! {
    /// The keys of a [`Length`], of which one is given.
    pub struct LengthKeys in "train" {
        /// Number of optimiser steps.
        steps: Option<usize> = None => "from `epochs`", whole(1..).optional();
        /// Passes over the training rows; a fraction is allowed.
        epochs: Option<f64> = None => "1, unless `steps` is given", number(above(0.0)).optional();
    }
}

impl Length {
    /// The optimiser steps of a run in which one epoch takes `per_epoch` steps: at least one, a
    /// fraction of a step counting as a whole one.
    pub fn steps(self, per_epoch: usize) -> usize {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => ((epochs * per_epoch as f64).ceil() as usize).max(1),
        }
    }
}

impl Part for Length {
    fn keys() -> Vec<Key> {
        LengthKeys::keys()
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let LengthKeys { steps, epochs } = LengthKeys::read(reader)?;
        Some(steps.map_or_else(|| Self::Epochs(epochs.unwrap_or(1.0)), Self::Steps))
    }

    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
        let (steps, epochs) = match *self {
            Self::Steps(steps) => (Some(steps), None),
            Self::Epochs(epochs) => (None, Some(epochs)),
        };
        LengthKeys { steps, epochs }.write(out)
    }
}

/// The steps in which the learning rate rises from 0 to its highest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// A share of the run's steps, in `[0, 1)`.
    Share(f64),
    /// A number of steps.
    Steps(usize),
}

impl Warmup {
    /// The length of the warm-up in a run of `total` steps; a share need not give a whole number.
    pub fn steps(self, total: usize) -> f64 {
        match self {
            Self::Share(share) => share * total as f64,
            Self::Steps(steps) => steps as f64,
        }
    }
}

/// A float is a share, an integer a number of steps.
fn warmup() -> Allowed<Warmup> {
    let read = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::Float(_) => number(0.0..1.0).read(value).map(Warmup::Share),
        _ => whole(0..).read(value).map(Warmup::Steps),
    };
    let write = |warmup: &Warmup| match *warmup {
        Warmup::Share(share) => Ok(Some(Value::Float(share))),
        Warmup::Steps(steps) => whole(0..).write(&steps),
    };
    Allowed::new_fallible(
        "share of the steps below 1 (as 0.06), or whole number of steps",
        read,
        write,
    )
}
