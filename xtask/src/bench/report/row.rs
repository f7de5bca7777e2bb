//! What tables have rows of: a cell of the matrix, a library on a workload, an outcome on a task. Each has labels that say what it is
//! and figures with their spread, whichever kind of line they come from.

use std::collections::BTreeMap;

use super::figure::Figure;
use crate::bench::record::{Cell, Measured};
use crate::bench::statistics::Spread;

/// What a label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `training`, `inference`, `peer` or `outcome`.
    Kind,
    /// Where it was measured; empty where all lines are of one processor.
    Processor,
    /// The model's name in the matrix file.
    Model,
    /// What the model's matrices are held in; empty for f32.
    Dtype,
    /// Whether blocks are recomputed; empty where all is kept.
    Recompute,
    /// The backend's name.
    Backend,
    /// Rows and tokens of a row: `4x64`.
    Batch,
    /// What is trained.
    Method,
    /// `r=16`.
    Rank,
    /// Model, method and batches of a comparison with other libraries.
    Workload,
    /// Whose process it was.
    Library,
    /// Model, data, steps and metric of an outcome.
    Task,
}

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct Row<'a> {
    pub(super) labels: BTreeMap<Key, String>,
    /// Of a cell: each measures what its figures are taken from.
    pub(super) processes: Vec<(&'a Cell, &'a Measured)>,
    /// Other figures, by their names.
    figures: BTreeMap<&'static str, Spread>,
}

impl Row<'_> {
    pub(super) fn new(labels: impl IntoIterator<Item = (Key, String)>) -> Self {
        Self { labels: labels.into_iter().collect(), ..Self::default() }
    }

    /// A label; empty where there is none.
    pub fn label(&self, key: Key) -> &str {
        self.labels.get(&key).map_or("", String::as_str)
    }

    /// Several labels in words, those that say nothing left out.
    pub fn labels(&self, keys: &[Key]) -> String {
        let labels = keys.iter().map(|&key| self.label(key)).filter(|label| !label.is_empty());
        labels.collect::<Vec<_>>().join(" ")
    }

    /// Whether two rows have these labels in common.
    pub fn agrees(&self, other: &Row<'_>, keys: &[Key]) -> bool {
        keys.iter().all(|&key| self.label(key) == other.label(key))
    }

    /// Whether two rows have all labels but these in common.
    pub fn agrees_but(&self, other: &Row<'_>, keys: &[Key]) -> bool {
        let others = |row: &Row<'_>| {
            let mut labels = row.labels.clone();
            labels.retain(|key, label| !keys.contains(key) && !label.is_empty());
            labels
        };
        others(self) == others(other)
    }

    /// A figure. Of a cell it is the median over its processes of each process's own median, with the range over the processes.
    pub fn figure(&self, figure: Figure) -> Option<Spread> {
        let processes = self.processes.iter();
        let measured = processes.filter_map(|(cell, one)| figure.of(cell, one)).collect();
        Spread::of(measured).or_else(|| self.figures.get(figure.name).copied())
    }

    /// The median of a figure.
    pub fn value(&self, figure: Figure) -> Option<f64> {
        Some(self.figure(figure)?.median)
    }

    pub(super) fn put(&mut self, figure: Figure, values: impl IntoIterator<Item = f64>) {
        let spread = Spread::of(values.into_iter().collect());
        self.figures.extend(spread.map(|spread| (figure.name, spread)));
    }

    pub(super) fn put_quotient(&mut self, figure: Figure, of: Figure, over: Figure) {
        let quotient = self.value(of).zip(self.value(over)).map(|(of, over)| of / over);
        self.put(figure, quotient);
    }
}
