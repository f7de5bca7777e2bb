//! Self-attention with rotary positions and shared key-value heads.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::config::LlamaConfig;
use crate::ModelError;
use crate::decoder::attention::LayerAttention;
use crate::fused::rms_norm;
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
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl LlamaAttention {
    pub(super) fn build(config: &LlamaConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, head_dim) = (config.hidden_size, config.head_dim());
        let (n_heads, n_kv_heads) = (config.num_attention_heads, config.n_kv_heads());
        let norm = |at: &mut Builder<'_>, name| match config.qk_norm() {
            true => at.rms_norm(name, head_dim, config.rms_norm_eps).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            q_proj: at.linear("q_proj", d, n_heads * head_dim, config.qkv_bias())?,
            k_proj: at.linear("k_proj", d, n_kv_heads * head_dim, config.qkv_bias())?,
            v_proj: at.linear("v_proj", d, n_kv_heads * head_dim, config.qkv_bias())?,
            o_proj: at.linear("o_proj", n_heads * head_dim, d, config.o_bias())?,
            q_norm: norm(&mut at, "q_norm")?,
            k_norm: norm(&mut at, "k_norm")?,
            n_heads,
            n_kv_heads,
            head_dim,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let Self { n_heads, n_kv_heads, head_dim, .. } = *self;
        let heads = |linear: &Linear, x: Tensor<3>, n_heads| {
            linear.lora_forward(x).reshape([batch, tokens, n_heads, head_dim])
        };
        let normed = |norm: &Option<RmsNorm>, x| match norm {
            Some(norm) => rms_norm(x, norm.gamma.val(), norm.epsilon),
            None => x,
        };
        let q = normed(&self.q_norm, heads(&self.q_proj, x.clone(), n_heads));
        let k = normed(&self.k_norm, heads(&self.k_proj, x.clone(), n_kv_heads));
        let v = heads(&self.v_proj, x, n_kv_heads);
        let mixed = attention.of([q, k, v]);
        self.o_proj.lora_forward(mixed.reshape([batch, tokens, n_heads * head_dim]))
    }
}
