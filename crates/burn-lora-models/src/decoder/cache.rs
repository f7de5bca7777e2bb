//! Keys and values of the tokens that a decoder has seen.

use burn::tensor::Tensor;

/// Grows with every call of [`Decoder::hidden`](super::Decoder::hidden) that it is given to.
///
/// Rows of a batch may differ in length: the padding of earlier calls stays in it, is masked, and
/// takes no position.
#[derive(Debug, Clone, Default)]
pub struct KvCache {
    /// Per layer: keys and values, `[batch, heads, seen, head_dim]`.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// Per row and column: whether it is a token (not padding).
    rows: Vec<Vec<bool>>,
}

impl KvCache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many columns it holds, padding included.
    pub fn len(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens of each row it holds: the next token's position.
    pub fn tokens(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.iter().filter(|&&token| token).count()).collect()
    }

    /// Per row and column: whether it is a token.
    pub(super) fn rows(&self) -> &[Vec<bool>] {
        &self.rows
    }

    /// Takes up `columns` new columns, of which row `i` has `lengths[i]` tokens, then padding.
    pub(super) fn grow(&mut self, columns: usize, lengths: &[usize]) {
        if self.rows.is_empty() {
            self.rows = vec![Vec::new(); lengths.len()];
        }
        assert_eq!(self.rows.len(), lengths.len(), "the cache has other rows");
        for (row, &length) in self.rows.iter_mut().zip(lengths) {
            row.extend((0..columns).map(|column| column < length));
        }
    }

    /// Appends a layer's new keys and values and gives back all of them.
    pub(super) fn extend(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let Some((old_keys, old_values)) = self.layers.get_mut(layer) else {
            self.layers.push((keys.clone(), values.clone()));
            return (keys, values);
        };
        *old_keys = Tensor::cat(vec![old_keys.clone(), keys], 2);
        *old_values = Tensor::cat(vec![old_values.clone(), values], 2);
        (old_keys.clone(), old_values.clone())
    }
}
