//! The figures of an evaluation and of a step: what each is called, where it is found and how it is written, a row each.
//!
//! Summaries, pages, model cards, event files and the tables of sweeps take them from here, so that one figure has one
//! name and one number of digits wherever it is met.

use crate::record::{EvalRecord, StepRecord};

/// A figure of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What it is called: `held-out loss`.
    pub name: &'static str,
    /// Its tag in event files.
    pub tag: &'static str,
    /// What is written behind the number; empty where that goes without saying.
    unit: &'static str,
    /// Decimal places.
    places: usize,
    /// Whether it is a share of 0 to 1, which is shown out of 100, and of which more is better.
    is_share: bool,
    found: Found,
}

/// Where a figure is found in a record; some records have it not.
type Found<R = EvalRecord> = fn(&R) -> Option<f64>;

/// Loss per held-out target, in nats.
pub const LOSS: Figure = nats("held-out loss", "eval/loss", 4, |it| Some(it.eval_loss));
/// `exp` of the loss.
pub const PERPLEXITY: Figure = nats("perplexity", "eval/perplexity", 3, |it| Some(it.perplexity));
/// The share of held-out targets predicted exactly.
pub const ACCURACY: Figure = share("accuracy", "eval/accuracy", 1, |it| Some(it.accuracy));
/// The share of generated texts that equal the expected ones.
pub const EXACT_MATCH: Figure = share("exact match", "eval/exact_match", 1, |it| it.exact_match);
/// BLEU of the generated texts, which has no unit.
pub const BLEU: Figure = Figure { unit: "", ..share("BLEU", "eval/bleu", 2, |it| it.bleu) };

/// Every figure, in the order in which they are shown.
pub const ALL: [Figure; 5] = [LOSS, PERPLEXITY, ACCURACY, EXACT_MATCH, BLEU];

const fn nats(name: &'static str, tag: &'static str, places: usize, found: Found) -> Figure {
    Figure { name, tag, unit: "", places, is_share: false, found }
}

const fn share(name: &'static str, tag: &'static str, places: usize, found: Found) -> Figure {
    Figure { name, tag, unit: "%", places, is_share: true, found }
}

/// The figures that say something of a classifier, or of a model that writes; those of generated texts among them,
/// which not every evaluation has.
pub fn telling(classifies: bool) -> [Figure; 4] {
    [LOSS, if classifies { ACCURACY } else { PERPLEXITY }, EXACT_MATCH, BLEU]
}

impl Figure {
    /// As it was measured: nats, or a share of 0 to 1.
    pub fn measured(&self, record: &EvalRecord) -> Option<f64> {
        (self.found)(record)
    }

    /// As it is shown: nats, per cent, or out of 100.
    pub fn value(&self, record: &EvalRecord) -> Option<f64> {
        self.measured(record).map(|value| if self.is_share { 100.0 * value } else { value })
    }

    /// The number without its unit.
    pub fn digits(&self, record: &EvalRecord) -> Option<String> {
        self.value(record).map(|value| format!("{value:.0$}", self.places))
    }

    /// The number with its unit: `51.2 %`.
    pub fn shown(&self, record: &EvalRecord) -> Option<String> {
        self.digits(record).map(|digits| self.with_unit(&digits))
    }

    /// `1.9 % -> 91.5 %`, where both evaluations have it.
    pub fn change(&self, before: &EvalRecord, after: &EvalRecord) -> Option<String> {
        Some(format!("{} -> {}", self.shown(before)?, self.shown(after)?))
    }

    /// The name with the unit, for the head of a column of [`digits`](Self::digits).
    pub fn head(&self) -> String {
        self.with_unit(self.name)
    }

    fn with_unit(&self, text: &str) -> String {
        format!("{text} {}", self.unit).trim_end().to_owned()
    }

    /// What is compared of two evaluations: lower is better, infinite where it was not measured.
    pub fn cost(&self, record: &EvalRecord) -> f64 {
        self.measured(record)
            .map_or(f64::INFINITY, |value| if self.is_share { -value } else { value })
    }
}

/// A figure of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepFigure {
    /// Its tag in event files.
    pub tag: &'static str,
    /// What it is, with its unit.
    pub caption: &'static str,
    /// Whether it goes up and down from step to step, so that it is shown smoothed as well.
    pub noisy: bool,
    found: Found<StepRecord>,
}

/// The figures of a step, in the order in which they are shown.
pub const OF_STEPS: [StepFigure; 4] = [
    noisy("train/loss", "Loss per target, in nats", |it| Some(it.loss)),
    StepFigure {
        noisy: false,
        ..noisy("train/learning_rate", "Learning rate", |it| Some(it.learning_rate))
    },
    noisy("train/gradient_norm", "Gradient norm, before clipping", |it| Some(it.gradient_norm)),
    noisy("train/tokens_per_second", "Tokens a second, padding left out", |it| {
        Some(it.tokens as f64 / it.seconds)
    }),
];

const fn noisy(tag: &'static str, caption: &'static str, found: Found<StepRecord>) -> StepFigure {
    StepFigure { tag, caption, noisy: true, found }
}

impl StepFigure {
    /// The number; none where it is none, as the rate of a step too short for the clock.
    pub fn measured(&self, record: &StepRecord) -> Option<f64> {
        (self.found)(record).filter(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(accuracy: f64, exact_match: Option<f64>) -> EvalRecord {
        let bleu = exact_match.map(|share| share / 2.0);
        EvalRecord { step: 1, eval_loss: 0.5, perplexity: 1.6487, accuracy, exact_match, bleu }
    }

    #[test]
    fn figures_are_written_with_their_digits_and_units() {
        let shown = ALL.map(|figure| figure.shown(&record(0.512, Some(0.25))).unwrap());
        assert_eq!(shown, ["0.5000", "1.649", "51.2 %", "25.0 %", "12.50"]);
        let heads = ALL.map(|figure| figure.head());
        assert_eq!(heads, ["held-out loss", "perplexity", "accuracy %", "exact match %", "BLEU"]);
        let change = ACCURACY.change(&record(0.019, None), &record(0.915, None));
        assert_eq!(change.as_deref(), Some("1.9 % -> 91.5 %"));
        assert_eq!(BLEU.change(&record(0.0, None), &record(0.0, Some(1.0))), None);
    }

    #[test]
    fn shares_of_right_answers_are_better_when_they_are_higher() {
        let (worse, better) = (record(0.5, Some(0.1)), record(0.6, Some(0.2)));
        assert_eq!(LOSS.cost(&worse), 0.5);
        for figure in [ACCURACY, EXACT_MATCH, BLEU] {
            assert!(figure.cost(&better) < figure.cost(&worse), "{}", figure.name);
        }
        assert_eq!(BLEU.cost(&better), -0.1);
        for figure in [EXACT_MATCH, BLEU] {
            assert_eq!(figure.cost(&record(1.0, None)), f64::INFINITY);
        }
    }
}
