//! Rows padded to a common width, as plain numbers that become tensors elsewhere.

use super::example::{LabelExample, TokenExample};

/// A batch for language modelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Token ids, `[rows, width]` row by row, padded on the right.
    pub ids: Vec<u32>,
    /// How many ids of each row are no padding, `[rows]`.
    pub lengths: Vec<usize>,
    /// Rows.
    pub rows: usize,
    /// Tokens of the longest row.
    pub width: usize,
    /// What is to be predicted: the position in `ids` to predict from (`row · width + column`) and
    /// the token that follows there, in rising order of position.
    pub targets: Vec<(usize, u32)>,
}

impl TokenBatch {
    /// Pads examples with `pad` to the length of the longest.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a TokenExample>, pad: u32) -> Self {
        let examples: Vec<_> = examples.into_iter().collect();
        let Padded { ids, lengths, width } = padded(examples.iter().map(|e| &*e.ids), pad);
        let mut targets = Vec::new();
        for (row, example) in examples.iter().enumerate() {
            let of_row = example.targets.iter().enumerate();
            targets.extend(of_row.filter_map(|(at, id)| Some((row * width + at, (*id)?))));
        }
        Self { ids, rows: lengths.len(), lengths, width, targets }
    }

    /// How many tokens carry loss.
    pub fn target_tokens(&self) -> usize {
        self.targets.len()
    }

    /// How many tokens are no padding.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

/// A batch for classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelBatch {
    /// Token ids, `[rows, width]` row by row, padded on the right.
    pub ids: Vec<u32>,
    /// How many ids of each row are no padding, `[rows]`.
    pub lengths: Vec<usize>,
    /// Rows.
    pub rows: usize,
    /// Tokens of the longest row.
    pub width: usize,
    /// The class of each row, `[rows]`.
    pub labels: Vec<usize>,
}

impl LabelBatch {
    /// Pads examples with `pad` to the length of the longest.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a LabelExample>, pad: u32) -> Self {
        let examples: Vec<_> = examples.into_iter().collect();
        let Padded { ids, lengths, width } = padded(examples.iter().map(|e| &*e.ids), pad);
        let labels = examples.iter().map(|example| example.label).collect();
        Self { ids, rows: lengths.len(), lengths, width, labels }
    }

    /// How many tokens are no padding.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

struct Padded {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    width: usize,
}

fn padded<'a>(rows: impl Iterator<Item = &'a [u32]> + Clone, pad: u32) -> Padded {
    let lengths: Vec<_> = rows.clone().map(<[u32]>::len).collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = Vec::with_capacity(lengths.len() * width);
    for row in rows {
        ids.extend_from_slice(row);
        ids.extend(std::iter::repeat_n(pad, width - row.len()));
    }
    Padded { ids, lengths, width }
}
