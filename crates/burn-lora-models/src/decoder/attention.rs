//! Causal self-attention of one pass, whatever the family: over whole rows, over packed segments, or over
//! a cache.
//!
//! All of it runs fused (see [`crate::fused`]), but for probabilities that are dropped in training: then it is
//! composed, of whole rows. Over a cache nothing is dropped.

use std::borrow::Cow;

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use burn_lora::product;

use super::cache::KvCache;
use super::placement::{Cached, LayerPositions, Placement, causal};
use crate::dropout::Dropout;
use crate::fused::{CacheRows, Positional, Scores, cached_attention, causal_attention, later};
use crate::recompute;

/// What all layers of one pass share.
#[derive(Debug, Clone)]
pub(crate) struct Attention<'a> {
    placement: Cow<'a, Placement>,
    positional: Positional,
    /// Of blocks with positions of their own.
    local: Positional,
    dropout: Dropout,
    /// Added to composed scores without a window, `[1, 1, tokens, tokens]`: what must not be seen.
    mask: Option<Tensor<4>>,
    /// What whole rows must not see, where the fused attention wants to be told.
    later: Option<Tensor<2, Bool>>,
}

impl<'a> Attention<'a> {
    /// For a pass whose tokens stand where `placement` says; in training, probabilities of keys drop out.
    pub(crate) fn new(placement: &'a Placement, positional: Positional, dropout: Dropout) -> Self {
        let (tokens, device) = (placement.attended().columns(), placement.device());
        let placement = Cow::Borrowed(placement);
        let local = positional.clone();
        if placement.cached().is_some() {
            return Self { placement, positional, local, dropout, mask: None, later: None };
        }
        let later = later(tokens, device);
        let mask = dropout.is_on().then(|| causal(tokens, None, device));
        Self { placement, positional, local, dropout, mask, later }
    }

    /// The same, whose blocks with a window go by these positions.
    pub(crate) fn with_local(self, local: Positional) -> Self {
        Self { local, ..self }
    }

    /// Added to composed scores, `[1, 1 or n_heads, tokens, tokens]`: what must not be seen, and what positions add.
    fn bias(&self, positional: &Positional, scores: Scores) -> Tensor<4> {
        let (tokens, device) = (self.placement.attended().columns(), self.placement.device());
        let mask = match (&self.mask, scores.window_within(tokens)) {
            (Some(mask), None) => mask.clone(),
            (_, window) => causal(tokens, window, device),
        };
        let Positional::Alibi { slopes } = positional else { return mask };
        let keys = Tensor::<1, Int>::arange(0..tokens as i64, device);
        let keys = keys.float().reshape([1, 1, 1, tokens]);
        slopes.clone().reshape([1, -1, 1, 1]) * keys + mask
    }

    /// The same, which outlives what it was made of.
    fn owned(&self) -> Attention<'static> {
        let placement = Cow::Owned(Placement::clone(&self.placement));
        let (positional, local) = (self.positional.clone(), self.local.clone());
        let (dropout, mask, later) = (self.dropout, self.mask.clone(), self.later.clone());
        Attention { placement, positional, local, dropout, mask, later }
    }

    /// The stream `x: [batch, tokens, hidden]` through all layers, output alike.
    pub(crate) fn through<L: Module + 'static>(
        &self,
        layers: &[L],
        x: Tensor<3>,
        mut cache: Option<&mut KvCache>,
        forward: impl Fn(&L, Tensor<3>, LayerAttention<'_>) -> Tensor<3> + 'static,
    ) -> Tensor<3> {
        if cache.is_none() && recompute::is_recording() {
            let pass = self.owned();
            return recompute::through(layers, x, move |layer, x| {
                forward(layer, x, LayerAttention { pass: &pass, cache: None })
            });
        }
        layers.iter().enumerate().fold(x, |x, (index, layer)| {
            let cache = cache.as_deref_mut().map(|cache| (cache, index));
            forward(layer, x, LayerAttention { pass: self, cache })
        })
    }

    fn whole(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        positional: Positional,
        scores: Scores,
    ) -> Tensor<4> {
        if self.dropout.acts_on(&q) {
            let [q, k] = [q, k].map(|x| turned(x, &positional).swap_dims(1, 2));
            let bias = self.bias(&positional, scores);
            return self.composed([q, k, v.swap_dims(1, 2)], scores, bias);
        }
        causal_attention(q, k, v, positional, scores, self.later.clone())
    }

    fn over(
        &self,
        qkv: [Tensor<4>; 3],
        (positional, scores): (Positional, Scores),
        of: &Cached,
        (cache, layer): (&mut KvCache, usize),
    ) -> Tensor<4> {
        let like = qkv[1].clone();
        cache.lend(layer, &like, |held, first| {
            let unseen = of.unseen.clone();
            let rows = CacheRows { first, rows: of.rows.clone() };
            cached_attention(qkv, held, positional, scores, unseen, rows)
        })
    }

    /// Attention of queries and keys that were turned, over the keys that `bias` lets them see.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, n_heads, tokens, head_dim]`
    /// - k and v: `[batch, n_kv_heads, seen, head_dim]`
    /// - bias: `[1, 1 or n_heads, tokens, seen]`
    /// - output: `[batch, tokens, n_heads, head_dim]`
    fn composed(&self, [q, k, v]: [Tensor<4>; 3], scores: Scores, bias: Tensor<4>) -> Tensor<4> {
        let [batch, heads, tokens, head_dim] = q.dims();
        let [_, kv_heads, seen, _] = k.dims();
        // The queries that share a key are stacked as further rows of one product, so that keys
        // and values are not repeated: [batch, kv_heads, group * tokens, ..].
        let rows = heads / kv_heads * tokens;
        let q = q.mul_scalar(scores.scale);
        let scored = product(q.reshape([batch, kv_heads, rows, head_dim]), k.swap_dims(2, 3));
        let scored = capped(scored, scores.cap).reshape([batch, heads, tokens, seen]) + bias;
        let scored = scored.reshape([batch, kv_heads, rows, seen]);
        let probabilities = self.dropout.forward(softmax(scored, 3));
        product(probabilities, v).reshape([batch, heads, tokens, head_dim]).swap_dims(1, 2)
    }
}

/// The attention of one layer in a pass.
pub(crate) struct LayerAttention<'a> {
    pass: &'a Attention<'a>,
    cache: Option<(&'a mut KvCache, usize)>,
}

impl LayerAttention<'_> {
    /// `softmax(q kᵀ / √head_dim) v`, causal, with the positions of the pass; with a cache, over what it holds of the
    /// layer and the new tokens, which it takes up.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, tokens, n_heads, head_dim]`, and the output
    /// - k and v: `[batch, tokens, n_kv_heads, head_dim]`
    pub(crate) fn of(self, qkv: [Tensor<4>; 3]) -> Tensor<4> {
        let scores = Scores::of_heads(qkv[0].dims()[3]);
        self.scored(qkv, scores, LayerPositions::Common)
    }

    /// [`Self::of`] with other scores, by the positions that the layer knows.
    pub(crate) fn scored(
        self,
        qkv: [Tensor<4>; 3],
        scores: Scores,
        positions: LayerPositions,
    ) -> Tensor<4> {
        let Self { pass, cache } = self;
        let [batch, ..] = qkv[0].dims();
        let positional = match positions {
            LayerPositions::Common => pass.positional.clone(),
            LayerPositions::Local => pass.local.clone(),
            LayerPositions::Unknown => Positional::Embedded,
        };
        match (cache, pass.placement.cached(), pass.placement.segments()) {
            (Some(cache), Some(of), _) => pass.over(qkv, (positional, scores), of, cache),
            (_, _, None) => pass.whole(qkv, positional, scores),
            (_, _, Some(packed)) => {
                let taken = qkv.map(|x| packed.take_out(x));
                packed.put_back(pass.whole(taken, positional, scores), batch)
            }
        }
    }
}

/// The slopes of ALiBi's heads, `[n_heads]`, constants on the device: a geometric series from
/// `2^(-8 / n)` for `n` heads, a power of two; for other numbers, those of the power of two below, and
/// every other one of the next power's.
pub(crate) fn alibi(n_heads: usize, device: &Device) -> Positional {
    let slopes: Vec<f32> = slopes(n_heads).into_iter().map(|slope| slope as f32).collect();
    let data = TensorData::new(slopes, [n_heads]);
    Positional::Alibi { slopes: Tensor::from_data(data, &device.clone().without_autodiff()) }
}

fn slopes(n_heads: usize) -> Vec<f64> {
    let power = 1 << n_heads.max(1).ilog2();
    let series = |of: usize, every: usize, count: usize| {
        (0..count).map(move |k| 2_f64.powf(-8.0 * (every * k + 1) as f64 / of as f64))
    };
    series(power, 1, power).chain(series(2 * power, 2, n_heads - power)).collect()
}

/// `cap · tanh(x / cap)`, where there is a cap.
pub(crate) fn capped<const D: usize>(x: Tensor<D>, cap: Option<f64>) -> Tensor<D> {
    match cap {
        Some(cap) => x.div_scalar(cap).tanh().mul_scalar(cap),
        None => x,
    }
}

/// With positions that turn it. x: `[batch, tokens, heads, head_dim]`, output alike.
pub(crate) fn turned(x: Tensor<4>, positional: &Positional) -> Tensor<4> {
    match positional {
        Positional::Rotary { cos, sin } => rotate(x, cos.clone(), sin.clone()),
        Positional::Embedded | Positional::Alibi { .. } => x,
    }
}

/// Turns the pairs `(x_i, x_(i + pairs))` that each head begins with. x: `[batch, tokens, heads, head_dim]`.
fn rotate(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let (half, head_dim) = (cos.dims()[2], x.dims()[3]);
    let table = |table: Tensor<3>| table.unsqueeze_dim::<4>(2);
    let (cos, sin) = (table(cos), table(sin));
    let first = x.clone().narrow(3, 0, half);
    let second = x.clone().narrow(3, half, half);
    let turned_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let turned_second = second * cos + first * sin;
    let mut parts = vec![turned_first, turned_second];
    if 2 * half < head_dim {
        parts.push(x.narrow(3, 2 * half, head_dim - 2 * half));
    }
    Tensor::cat(parts, 3)
}

#[cfg(test)]
mod tests {
    use super::slopes;

    /// Press et al. 2022, section 3: 8 heads are 1/2, 1/4, … 1/256, and 16 heads go by square roots.
    #[test]
    fn slopes_are_those_of_the_paper() {
        assert_eq!(slopes(8), (1..=8).map(|k| 0.5_f64.powi(k)).collect::<Vec<_>>());
        let sixteen = slopes(16);
        for (k, slope) in sixteen.iter().enumerate() {
            assert!((slope - 0.5_f64.powf((k + 1) as f64 / 2.0)).abs() < 1e-15);
        }
        // Twelve: the eight, and four of the sixteen.
        let expected = [&slopes(8)[..], &[sixteen[0], sixteen[2], sixteen[4], sixteen[6]]].concat();
        assert_eq!(slopes(12), expected);
        assert_eq!(slopes(1), [2_f64.powi(-8)]);
    }
}
