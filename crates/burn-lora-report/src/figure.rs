//! The figures of an evaluation and of a step: what each is called, where it is found and how it is written.
//!
//! Summaries, pages, model cards, event files and the tables of sweeps take them from here, so that one figure has one
//! name and one number of digits wherever it is met.

use crate::record::{EvalRecord, StepRecord};

/// A figure of an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// What it is called: `held-out loss`.
    pub name: &'static str,
    /// Its tag in event files, behind `eval/`.
    pub tag: &'static str,
    /// What it is measured in, written behind the number; empty where that goes without saying.
    pub unit: &'static str,
    /// Decimal places.
    pub places: usize,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// What it is multiplied with to be shown: shares are, by 100.
    scale: f64,
    found: fn(&EvalRecord) -> Option<f64>,
}

/// Loss per held-out target, in nats.
pub const LOSS: Figure = Figure {
    name: "held-out loss",
    tag: "loss",
    unit: "",
    places: 4,
    more_is_better: false,
    scale: 1.0,
    found: |record| Some(record.eval_loss),
};

/// `exp` of the loss.
pub const PERPLEXITY: Figure = Figure {
    name: "perplexity",
    tag: "perplexity",
    places: 3,
    found: |record| Some(record.perplexity),
    ..LOSS
};

/// The share of held-out targets predicted exactly.
pub const ACCURACY: Figure = Figure {
    name: "accuracy",
    tag: "accuracy",
    unit: "%",
    places: 1,
    more_is_better: true,
    scale: 100.0,
    found: |record| Some(record.accuracy),
};

/// The share of generated texts that equal the expected ones.
pub const EXACT_MATCH: Figure = Figure {
    name: "exact match",
    tag: "exact_match",
    found: |record| record.exact_match,
    ..ACCURACY
};

/// BLEU of the generated texts, out of 100.
pub const BLEU: Figure = Figure {
    name: "BLEU",
    tag: "bleu",
    unit: "",
    places: 2,
    found: |record| record.bleu,
    ..ACCURACY
};

/// Every figure, in the order in which they are shown.
pub const ALL: [Figure; 5] = [LOSS, PERPLEXITY, ACCURACY, EXACT_MATCH, BLEU];

/// The figures that say something of a classifier, or of a model that writes; those of generated texts among them,
/// which not every evaluation has.
pub fn telling(classifies: bool) -> [Figure; 4] {
    [LOSS, if classifies { ACCURACY } else { PERPLEXITY }, EXACT_MATCH, BLEU]
}

/// A figure of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepFigure {
    /// Its tag in event files, behind `train/`.
    pub tag: &'static str,
    /// What it is, with its unit.
    pub caption: &'static str,
    /// Whether it goes up and down from step to step, so that it is shown smoothed as well.
    pub noisy: bool,
    found: fn(&StepRecord) -> f64,
}

impl StepFigure {
    /// The number; none where it is none, as the rate of a step too short for the clock.
    pub fn measured(&self, record: &StepRecord) -> Option<f64> {
        Some((self.found)(record)).filter(|value| value.is_finite())
    }
}

/// The figures of a step, in the order in which they are shown.
pub const OF_STEPS: [StepFigure; 4] = [
    StepFigure {
        tag: "loss",
        caption: "Loss per target, in nats",
        noisy: true,
        found: |record| record.loss,
    },
    StepFigure {
        tag: "learning_rate",
        caption: "Learning rate",
        noisy: false,
        found: |record| record.learning_rate,
    },
    StepFigure {
        tag: "gradient_norm",
        caption: "Gradient norm, before clipping",
        noisy: true,
        found: |record| record.gradient_norm,
    },
    StepFigure {
        tag: "tokens_per_second",
        caption: "Tokens a second, padding left out",
        noisy: true,
        found: |record| record.tokens as f64 / record.seconds,
    },
];

impl Figure {
    /// As it was measured: nats, or a share of 0 to 1.
    pub fn measured(&self, record: &EvalRecord) -> Option<f64> {
        (self.found)(record)
    }

    /// As it is shown: nats, per cent, or out of 100.
    pub fn value(&self, record: &EvalRecord) -> Option<f64> {
        self.measured(record).map(|value| self.scale * value)
    }

    /// The number without its unit.
    pub fn digits(&self, record: &EvalRecord) -> Option<String> {
        self.value(record).map(|value| format!("{value:.0$}", self.places))
    }

    /// The number with its unit: `51.2 %`.
    pub fn shown(&self, record: &EvalRecord) -> Option<String> {
        let space = if self.unit.is_empty() { "" } else { " " };
        self.digits(record).map(|digits| format!("{digits}{space}{}", self.unit))
    }

    /// `1.9 % -> 91.5 %`, where both evaluations have it.
    pub fn change(&self, before: &EvalRecord, after: &EvalRecord) -> Option<String> {
        Some(format!("{} -> {}", self.shown(before)?, self.shown(after)?))
    }

    /// The name with the unit, for the head of a column of [`digits`](Self::digits).
    pub fn head(&self) -> String {
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{}{space}{}", self.name, self.unit)
    }

    /// What is compared of two evaluations: lower is better, infinite where it was not measured.
    pub fn cost(&self, record: &EvalRecord) -> f64 {
        let sign = if self.more_is_better { -1.0 } else { 1.0 };
        self.measured(record).map_or(f64::INFINITY, |value| sign * value)
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
