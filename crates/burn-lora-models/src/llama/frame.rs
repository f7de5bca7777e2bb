//! What all layers of one forward pass share: rotary tables of its positions, and the mask.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::cache::KvCache;
use super::rope::RopeTables;

/// Added to a score that must not count: far below any score, and finite, so that a row of padding
/// with nothing to look at gives numbers (which nobody reads) instead of NaN.
const MASKED: f32 = -1e30;

/// What one forward pass needs beside its input.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Cosines and sines, `[1 or batch, tokens, 1, head_dim / 2]`.
    pub(super) rope: (Tensor<4>, Tensor<4>),
    /// Added to the scores, `[1 or batch, 1, tokens, seen]`; nothing where all may see all, and
    /// without a cache, where the attention is causal by itself.
    pub(super) mask: Option<Tensor<4>>,
    /// Where rows hold several segments that attend to themselves alone.
    pub(super) apart: Option<Apart>,
}

/// Segments of rows, taken out of them for attention and put back: each is then a row of its own
/// from position 0 on, padded on the right, which causal attention does not see.
#[derive(Debug, Clone)]
pub(super) struct Apart {
    /// For every token of every segment, padded to the longest, where it stands among all tokens.
    gather: Tensor<1, Int>,
    /// For every token of every row, where it stands among the segments'.
    back: Tensor<1, Int>,
    segments: usize,
    longest: usize,
}

impl Apart {
    fn new(segments: &[Vec<usize>], tokens: usize, device: &Device) -> Self {
        let longest = segments.iter().flatten().copied().max().unwrap_or(0);
        let count: usize = segments.iter().map(Vec::len).sum();
        // Padding stands for some token: what comes of it goes nowhere.
        let (mut gather, mut back) = (vec![0; count * longest], vec![0; segments.len() * tokens]);
        let mut segment = 0;
        for (row, lengths) in segments.iter().enumerate() {
            let mut at = row * tokens;
            for &length in lengths {
                for offset in 0..length {
                    gather[segment * longest + offset] = at as i32;
                    back[at] = (segment * longest + offset) as i32;
                    at += 1;
                }
                segment += 1;
            }
        }
        let index = |index: Vec<i32>| {
            let length = index.len();
            Tensor::from_data(TensorData::new(index, [length]), device)
        };
        Self { gather: index(gather), back: index(back), segments: count, longest }
    }

    /// The longest segment.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// `[batch, tokens, heads, width]` to `[segments, longest, heads, width]`.
    pub(super) fn take_out(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, tokens, heads, width] = x.dims();
        let flat = x.reshape([batch * tokens, heads * width]);
        let taken = flat.select(0, self.gather.clone());
        taken.reshape([self.segments, self.longest, heads, width])
    }

    /// `[segments, longest, heads, width]` to `[batch, tokens, heads, width]`.
    pub(super) fn put_back(&self, x: Tensor<4>, batch: usize) -> Tensor<4> {
        let [segments, longest, heads, width] = x.dims();
        let flat = x.reshape([segments * longest, heads * width]);
        let rows = flat.select(0, self.back.clone());
        let [all, _] = rows.dims();
        rows.reshape([batch, all / batch.max(1), heads, width])
    }
}

impl Frame {
    /// The frame of `tokens` new columns, of which row `i` has `lengths[i]` tokens, then padding.
    /// The cache is told of them.
    pub(super) fn new(
        tables: &RopeTables,
        tokens: usize,
        lengths: &[usize],
        cache: Option<&mut KvCache>,
        device: &Device,
    ) -> Self {
        // Constants of the pass: nothing of them is differentiated.
        let device = device.clone().without_autodiff();
        let Some(cache) = cache else {
            // Padding is on the right and attention is causal: no token sees padding.
            return Self { rope: tables.range(0, tokens), mask: None, apart: None };
        };
        if cache.rows.is_empty() {
            cache.rows = vec![Vec::new(); lengths.len()];
        }
        let past = cache.len();
        let positions = cache.tokens();
        for (row, &length) in cache.rows.iter_mut().zip(lengths) {
            row.extend((0..tokens).map(|column| column < length));
        }
        let first = positions.first().copied().unwrap_or(0);
        let rope = match positions.iter().all(|&position| position == first) {
            true => tables.range(first, tokens),
            false => {
                // Padding past the table's end gets some position: nobody reads its row.
                let end = tables.positions() - 1;
                let positions: Vec<i32> = positions
                    .iter()
                    .flat_map(|start| (0..tokens).map(move |t| (start + t).min(end) as i32))
                    .collect();
                tables.select(&positions, lengths.len())
            }
        };
        Self { rope, mask: masked(cache, past, tokens, &device), apart: None }
    }

    /// The frame of rows of `tokens` columns that hold segments of these lengths, one after the
    /// other, then padding.
    pub(super) fn packed(
        tables: &RopeTables,
        tokens: usize,
        segments: &[Vec<usize>],
        device: &Device,
    ) -> Self {
        let apart = Apart::new(segments, tokens, device);
        Self { rope: tables.range(0, apart.longest()), mask: None, apart: Some(apart) }
    }
}

/// Token `t` sees the columns up to its own.
fn causal(tokens: usize, device: &Device) -> Option<Tensor<4>> {
    (tokens > 1).then(|| {
        let values: Vec<f32> = (0..tokens)
            .flat_map(|t| (0..tokens).map(move |s| if s <= t { 0.0 } else { MASKED }))
            .collect();
        Tensor::from_data(TensorData::new(values, [1, 1, tokens, tokens]), device)
    })
}

/// Token `t` sees the tokens of its row, not its padding, up to its own column.
fn masked(cache: &KvCache, past: usize, tokens: usize, device: &Device) -> Option<Tensor<4>> {
    if past == 0 {
        return causal(tokens, device);
    }
    let seen = past + tokens;
    if tokens == 1 && cache.rows.iter().flatten().all(|&token| token) {
        return None;
    }
    let mut values = Vec::with_capacity(cache.rows.len() * tokens * seen);
    for row in &cache.rows {
        for t in 0..tokens {
            values.extend(row.iter().enumerate().map(|(s, &token)| match token && s <= past + t {
                true => 0.0,
                false => MASKED,
            }));
        }
    }
    let data = TensorData::new(values, [cache.rows.len(), 1, tokens, seen]);
    Some(Tensor::from_data(data, device))
}
