//! Self-attention with rotary positions and shared key-value heads.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use burn_lora::LoraForward;

use super::cache::KvCache;
use super::config::LlamaConfig;
use super::frame::Frame;
use super::rope::rotate;
use crate::ModelError;
use crate::fused::{rms_norm, rotary_attention};
use crate::weights::Builder;

/// The attention of one block.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// Queries.
    pub q_proj: Linear,
    /// Keys.
    pub k_proj: Linear,
    /// Values.
    pub v_proj: Linear,
    /// Back to the residual stream.
    pub o_proj: Linear,
    /// Over each head of the queries (Qwen3).
    pub q_norm: Option<RmsNorm>,
    /// Over each head of the keys (Qwen3).
    pub k_norm: Option<RmsNorm>,
    heads: usize,
    shared: usize,
    width: usize,
}

impl LlamaAttention {
    pub(super) fn build(config: &LlamaConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, width) = (config.hidden_size, config.head_dim);
        let (heads, shared) = (config.num_attention_heads, config.num_key_value_heads);
        let norm = |at: &mut Builder<'_>, name| match config.qk_norm {
            true => at.rms_norm(name, width, config.rms_norm_eps).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            q_proj: at.linear("q_proj", d, heads * width, config.qkv_bias)?,
            k_proj: at.linear("k_proj", d, shared * width, config.qkv_bias)?,
            v_proj: at.linear("v_proj", d, shared * width, config.qkv_bias)?,
            o_proj: at.linear("o_proj", heads * width, d, config.o_bias)?,
            q_norm: norm(&mut at, "q_norm")?,
            k_norm: norm(&mut at, "k_norm")?,
            heads,
            shared,
            width,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        frame: &Frame,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let (heads, shared, width) = (self.heads, self.shared, self.width);
        let q = self.q_proj.lora_forward(x.clone()).reshape([batch, tokens, heads, width]);
        let k = self.k_proj.lora_forward(x.clone()).reshape([batch, tokens, shared, width]);
        let v = self.v_proj.lora_forward(x).reshape([batch, tokens, shared, width]);
        let normed = |norm: &Option<RmsNorm>, x| match norm {
            Some(norm) => rms_norm(x, norm.gamma.val(), norm.epsilon),
            None => x,
        };
        let (q, k) = (normed(&self.q_norm, q), normed(&self.k_norm, k));
        let mixed = match cache {
            None => {
                let table = |table: &Tensor<4>| {
                    let [_, positions, _, half] = table.dims();
                    table.clone().reshape([positions, half])
                };
                let (cos, sin) = (table(&frame.rope.0), table(&frame.rope.1));
                match &frame.apart {
                    None => rotary_attention(q, k, v, cos, sin),
                    Some(apart) => {
                        let [q, k, v] = [q, k, v].map(|x| apart.take_out(x));
                        apart.put_back(rotary_attention(q, k, v, cos, sin), batch)
                    }
                }
            }
            Some((cache, layer)) => self.with_cache([q, k, v], frame, cache, layer),
        };
        self.o_proj.lora_forward(mixed.reshape([batch, tokens, heads * width]))
    }

    /// Attention over what the cache holds and the new tokens, which it takes up.
    ///
    /// q: `[batch, tokens, heads, width]`, k and v: `[batch, tokens, shared, width]`, output as q.
    fn with_cache(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        frame: &Frame,
        cache: &mut KvCache,
        layer: usize,
    ) -> Tensor<4> {
        let [batch, tokens, heads, width] = q.dims();
        let shared = self.shared;
        let q = rotate(q, frame.rope.clone()).swap_dims(1, 2);
        let k = rotate(k, frame.rope.clone()).swap_dims(1, 2);
        let (k, v) = cache.extend(layer, k, v.swap_dims(1, 2));
        // The queries that share a key are stacked as further rows of one product, so that keys
        // and values are not repeated: [batch, shared, group * tokens, ..].
        let rows = heads / shared * tokens;
        let seen = k.dims()[2];
        let q = q.mul_scalar((width as f64).powf(-0.5)).reshape([batch, shared, rows, width]);
        let scores = q.matmul(k.swap_dims(2, 3));
        let scores = match &frame.mask {
            Some(mask) => (scores.reshape([batch, heads, tokens, seen]) + mask.clone())
                .reshape([batch, shared, rows, seen]),
            None => scores,
        };
        softmax(scores, 3).matmul(v).reshape([batch, heads, tokens, width]).swap_dims(1, 2)
    }
}
