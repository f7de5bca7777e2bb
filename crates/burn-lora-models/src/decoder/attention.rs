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
use super::placement::{Cached, Placement, causal};
use crate::dropout::Dropout;
use crate::fused::{CacheRows, Positional, cached_attention, causal_attention, later};
use crate::recompute;

/// What all layers of one pass share.
#[derive(Debug, Clone)]
pub(crate) struct Attention<'a> {
    placement: Cow<'a, Placement>,
    positional: Positional,
    dropout: Dropout,
    /// Added to composed scores, `[1, 1 or n_heads, 1 or tokens, tokens]`: what must not be seen, and what
    /// positions add.
    bias: Option<Tensor<4>>,
    /// What whole rows must not see, where the fused attention wants to be told.
    later: Option<Tensor<2, Bool>>,
}

impl<'a> Attention<'a> {
    /// For a pass whose tokens stand where `placement` says; in training, probabilities of keys drop out.
    pub(crate) fn new(placement: &'a Placement, positional: Positional, dropout: Dropout) -> Self {
        let (tokens, device) = (placement.attended().columns(), placement.device());
        let placement = Cow::Borrowed(placement);
        if placement.cached().is_some() {
            return Self { placement, positional, dropout, bias: None, later: None };
        }
        let later = later(tokens, device);
        if !dropout.is_on() {
            return Self { placement, positional, dropout, bias: None, later };
        }
        let mask = causal(tokens, device);
        let bias = match &positional {
            Positional::Alibi { slopes } => {
                let keys = Tensor::<1, Int>::arange(0..tokens as i64, device);
                let keys = keys.float().reshape([1, 1, 1, tokens]);
                let bias = slopes.clone().reshape([1, -1, 1, 1]) * keys;
                Some(match mask {
                    Some(mask) => bias + mask,
                    None => bias,
                })
            }
            _ => mask,
        };
        Self { placement, positional, dropout, bias, later }
    }

    /// The same, which outlives what it was made of.
    fn owned(&self) -> Attention<'static> {
        let placement = Cow::Owned(Placement::clone(&self.placement));
        let (positional, later) = (self.positional.clone(), self.later.clone());
        let (dropout, bias) = (self.dropout, self.bias.clone());
        Attention { placement, positional, dropout, bias, later }
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

    fn whole(&self, [q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
        if self.dropout.acts_on(&q) {
            let [q, k] = [q, k].map(|x| self.turned(x).swap_dims(1, 2));
            return self.composed([q, k, v.swap_dims(1, 2)]);
        }
        causal_attention(q, k, v, self.positional.clone(), self.later.clone())
    }

    fn over(
        &self,
        qkv: [Tensor<4>; 3],
        of: &Cached,
        cache: &mut KvCache,
        layer: usize,
    ) -> Tensor<4> {
        let like = qkv[1].clone();
        cache.lend(layer, &like, |held, first| {
            let unseen = of.unseen.clone();
            let rows = CacheRows { first, rows: of.rows.clone() };
            cached_attention(qkv, held, self.positional.clone(), unseen, rows)
        })
    }

    /// x: `[batch, tokens, heads, head_dim]`, output alike.
    fn turned(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.positional {
            Positional::Rotary { cos, sin } => rotate(x, cos.clone(), sin.clone()),
            Positional::Embedded | Positional::Alibi { .. } => x,
        }
    }

    /// Attention of queries and keys that were turned, over the keys that `bias` lets them see.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, n_heads, tokens, head_dim]`
    /// - k and v: `[batch, n_kv_heads, seen, head_dim]`
    /// - output: `[batch, tokens, n_heads, head_dim]`
    fn composed(&self, [q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
        let [batch, heads, tokens, head_dim] = q.dims();
        let [_, kv_heads, seen, _] = k.dims();
        // The queries that share a key are stacked as further rows of one product, so that keys
        // and values are not repeated: [batch, kv_heads, group * tokens, ..].
        let rows = heads / kv_heads * tokens;
        let q = q.mul_scalar((head_dim as f64).powf(-0.5));
        let scores = product(q.reshape([batch, kv_heads, rows, head_dim]), k.swap_dims(2, 3));
        let scores = match &self.bias {
            Some(bias) => (scores.reshape([batch, heads, tokens, seen]) + bias.clone())
                .reshape([batch, kv_heads, rows, seen]),
            None => scores,
        };
        let probabilities = self.dropout.forward(softmax(scores, 3));
        product(probabilities, v).reshape([batch, heads, tokens, head_dim]).swap_dims(1, 2)
    }
}

/// The attention of one layer in a pass.
pub(crate) struct LayerAttention<'a> {
    pass: &'a Attention<'a>,
    cache: Option<(&'a mut KvCache, usize)>,
}

impl LayerAttention<'_> {
    /// `softmax(q kᵀ / √head_dim) v`, causal; with a cache, over what it holds of the layer and the new
    /// tokens, which it takes up.
    ///
    /// # Shapes
    ///
    /// - q: `[batch, tokens, n_heads, head_dim]`, and the output
    /// - k and v: `[batch, tokens, n_kv_heads, head_dim]`
    pub(crate) fn of(self, qkv: [Tensor<4>; 3]) -> Tensor<4> {
        let Self { pass, cache } = self;
        let [batch, ..] = qkv[0].dims();
        match (cache, pass.placement.cached(), pass.placement.segments()) {
            (Some((cache, layer)), Some(of), _) => pass.over(qkv, of, cache, layer),
            (_, _, None) => pass.whole(qkv),
            (_, _, Some(packed)) => {
                packed.put_back(pass.whole(qkv.map(|x| packed.take_out(x))), batch)
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
