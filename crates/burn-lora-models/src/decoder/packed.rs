//! Rows that hold several texts.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Segments of rows, taken out of them for attention and put back: each is then a row of its own
/// from position 0 on, padded on the right, which causal attention does not see.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    /// For every token of every segment, padded to the longest, where it stands among all tokens.
    gather: Tensor<1, Int>,
    /// For every token of every row, where it stands among the segments'.
    back: Tensor<1, Int>,
    segments: usize,
    longest: usize,
}

impl Packed {
    pub(super) fn new(segments: &[Vec<usize>], tokens: usize, device: &Device) -> Self {
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

    /// The tokens of the longest segment.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// `[batch, tokens, heads, head_dim]` to `[segments, longest, heads, head_dim]`.
    pub(super) fn take_out(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, tokens, heads, head_dim] = x.dims();
        let flat = x.reshape([batch * tokens, heads * head_dim]);
        let taken = flat.select(0, self.gather.clone());
        taken.reshape([self.segments, self.longest, heads, head_dim])
    }

    /// `[segments, longest, heads, head_dim]` to `[batch, tokens, heads, head_dim]`.
    pub(super) fn put_back(&self, x: Tensor<4>, batch: usize) -> Tensor<4> {
        let [segments, longest, heads, head_dim] = x.dims();
        let flat = x.reshape([segments * longest, heads * head_dim]);
        let rows = flat.select(0, self.back.clone());
        let [all, _] = rows.dims();
        rows.reshape([batch, all / batch.max(1), heads, head_dim])
    }
}
