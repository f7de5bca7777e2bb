//! Causal self-attention of one pass, whatever the family: over whole rows, over packed segments, or over
//! a cache.
//!
//! Whole rows run fused (see [`crate::fused`]); over a cache, and where probabilities are dropped in
//! training, it is composed.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use super::cache::KvCache;
use super::placement::{Placement, causal};
use crate::dropout::Dropout;
use crate::fused::rotary_attention;

/// What all layers of one pass share.
#[derive(Debug, Clone)]
pub(crate) struct Attention<'a> {
    placement: &'a Placement,
    encoding: Encoding,
    dropout: Dropout,
}

/// How positions enter the scores.
#[derive(Debug, Clone)]
pub(crate) enum Encoding {
    /// Pairs of queries and keys turn: cosines and sines, `[1 or batch, tokens, head_dim / 2]`
    /// (Su et al. 2021).
    Rotary {
        /// Cosines.
        cos: Tensor<3>,
        /// Sines.
        sin: Tensor<3>,
    },
}

impl<'a> Attention<'a> {
    /// For a pass whose tokens stand where `placement` says.
    pub(crate) fn new(placement: &'a Placement, encoding: Encoding) -> Self {
        Self { placement, encoding, dropout: Dropout::default() }
    }

    /// Drops the probabilities of keys so in training.
    pub(crate) fn with_dropout(self, dropout: Dropout) -> Self {
        Self { dropout, ..self }
    }

    /// `softmax(q kᵀ / √head_dim) v`, causal; with a cache, over what it holds of the layer and the new
    /// tokens, which it takes up.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, tokens, n_heads, head_dim]`, and the output
    /// - k and v: `[batch, tokens, n_kv_heads, head_dim]`
    pub(crate) fn of(
        &self,
        qkv: [Tensor<4>; 3],
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<4> {
        let [batch, ..] = qkv[0].dims();
        match (cache, self.placement.segments()) {
            (Some((cache, layer)), _) => self.cached(qkv, cache, layer),
            (None, None) => self.whole(qkv),
            (None, Some(packed)) => {
                packed.put_back(self.whole(qkv.map(|x| packed.take_out(x))), batch)
            }
        }
    }

    fn whole(&self, [q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
        if self.dropout.acts_on(&q) {
            let mask = causal(q.dims()[1], &q.device().without_autodiff());
            let [q, k] = [q, k].map(|x| self.turned(x).swap_dims(1, 2));
            return self.composed([q, k, v.swap_dims(1, 2)], mask.as_ref());
        }
        let Encoding::Rotary { cos, sin } = &self.encoding;
        rotary_attention(q, k, v, cos.clone().squeeze_dim(0), sin.clone().squeeze_dim(0))
    }

    fn cached(&self, [q, k, v]: [Tensor<4>; 3], cache: &mut KvCache, layer: usize) -> Tensor<4> {
        let [q, k] = [q, k].map(|x| self.turned(x).swap_dims(1, 2));
        let (k, v) = cache.extend(layer, k, v.swap_dims(1, 2));
        self.composed([q, k, v], self.placement.mask())
    }

    /// x: `[batch, tokens, heads, head_dim]`, output alike.
    fn turned(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.encoding {
            Encoding::Rotary { cos, sin } => rotate(x, cos.clone(), sin.clone()),
        }
    }

    /// Attention of queries and keys that were turned, over the keys that `mask` lets them see.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, n_heads, tokens, head_dim]`
    /// - k and v: `[batch, n_kv_heads, seen, head_dim]`
    /// - mask, added to the scores: `[1 or batch, 1, tokens, seen]`
    /// - output: `[batch, tokens, n_heads, head_dim]`
    fn composed(&self, [q, k, v]: [Tensor<4>; 3], mask: Option<&Tensor<4>>) -> Tensor<4> {
        let [batch, heads, tokens, head_dim] = q.dims();
        let [_, kv_heads, seen, _] = k.dims();
        // The queries that share a key are stacked as further rows of one product, so that keys
        // and values are not repeated: [batch, kv_heads, group * tokens, ..].
        let rows = heads / kv_heads * tokens;
        let q = q.mul_scalar((head_dim as f64).powf(-0.5));
        let scores = q.reshape([batch, kv_heads, rows, head_dim]).matmul(k.swap_dims(2, 3));
        let scores = match mask {
            Some(mask) => (scores.reshape([batch, heads, tokens, seen]) + mask.clone())
                .reshape([batch, kv_heads, rows, seen]),
            None => scores,
        };
        let probabilities = self.dropout.forward(softmax(scores, 3));
        probabilities.matmul(v).reshape([batch, heads, tokens, head_dim]).swap_dims(1, 2)
    }
}

/// Turns the pairs `(x_i, x_(i + head_dim / 2))` of each head. x: `[batch, tokens, heads, head_dim]`.
fn rotate(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let half = x.dims()[3] / 2;
    let table = |table: Tensor<3>| table.unsqueeze_dim::<4>(2);
    let (cos, sin) = (table(cos), table(sin));
    let first = x.clone().narrow(3, 0, half);
    let second = x.narrow(3, half, half);
    let turned_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let turned_second = second * cos + first * sin;
    Tensor::cat(vec![turned_first, turned_second], 3)
}
