//! Rows padded to a common width, as plain numbers that become tensors elsewhere.

use crate::example::{LabelExample, TokenExample};
use crate::pack::Packed;

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
    /// The lengths of the examples in each row, one after the other; they add up to the row's
    /// length. One where rows are not packed.
    pub segments: Vec<Vec<usize>>,
}

impl TokenBatch {
    /// Pads examples, each a row, with `pad` to the length of the longest.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a TokenExample>, pad: u32) -> Self {
        let rows: Vec<_> = examples.into_iter().map(std::slice::from_ref).collect();
        Self::of_rows(&rows, pad)
    }

    /// Pads packs, each a row, with `pad` to the length of the longest. Nothing is predicted from
    /// the last token of an example, whatever stands behind it.
    pub fn packed<'a>(packs: impl IntoIterator<Item = &'a Packed>, pad: u32) -> Self {
        let rows: Vec<_> = packs.into_iter().map(|pack| pack.examples.as_slice()).collect();
        Self::of_rows(&rows, pad)
    }

    fn of_rows(rows: &[&[TokenExample]], pad: u32) -> Self {
        let segments: Vec<Vec<usize>> =
            rows.iter().map(|row| row.iter().map(|e| e.ids.len()).collect()).collect();
        let lengths: Vec<usize> = segments.iter().map(|row| row.iter().sum()).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * width);
        let mut targets = Vec::new();
        for (row, examples) in rows.iter().enumerate() {
            for example in *examples {
                let start = ids.len();
                ids.extend_from_slice(&example.ids);
                // What follows the last token of an example that shares its row is another's.
                let last = if examples.len() > 1 { example.ids.len() } else { usize::MAX };
                let within = example.targets.iter().take(last.saturating_sub(1)).enumerate();
                targets.extend(within.filter_map(|(at, id)| Some((start + at, (*id)?))));
            }
            ids.resize((row + 1) * width, pad);
        }
        Self { ids, rows: rows.len(), lengths, width, targets, segments }
    }

    /// Whether any row holds more than one example.
    pub fn is_packed(&self) -> bool {
        self.segments.iter().any(|row| row.len() > 1)
    }

    /// The position of each token in its example, `[rows, width]` row by row: from 0 on in every
    /// segment, and on in the padding.
    pub fn positions(&self) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.ids.len());
        for (row, segments) in self.segments.iter().enumerate() {
            for length in segments {
                positions.extend((0..).take(*length));
            }
            let padding = ((row + 1) * self.width).saturating_sub(positions.len());
            let last = segments.last().map_or(0, |length| *length as u32);
            positions.extend((last..).take(padding));
        }
        positions
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
