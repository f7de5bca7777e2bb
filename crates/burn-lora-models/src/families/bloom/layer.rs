//! One block: attention and two products, each normed before and added to the stream.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::config::BloomConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::decoder::attention::LayerAttention;
use crate::dropout::Dropout;
use crate::weights::Builder;

/// The attention of one block.
#[derive(Module, Debug)]
pub struct BloomAttention {
    /// Queries, keys and values, `[hidden, n_head · 3 · head_dim]`.
    pub query_key_value: Linear,
    /// Back to the residual stream, `[hidden, hidden]`.
    pub dense: Linear,
    n_heads: usize,
}

/// The two products of one block, with GELU by its tanh approximation between them.
#[derive(Module, Debug)]
pub struct BloomMlp {
    /// `[hidden, 4 · hidden]`.
    pub dense_h_to_4h: Linear,
    /// `[4 · hidden, hidden]`.
    pub dense_4h_to_h: Linear,
}

/// One block.
#[derive(Module, Debug)]
pub struct BloomBlock {
    /// Before the attention.
    pub input_layernorm: LayerNorm,
    /// Attention.
    pub self_attention: BloomAttention,
    /// Before the two products.
    pub post_attention_layernorm: LayerNorm,
    /// The two products.
    pub mlp: BloomMlp,
    #[module(skip)]
    dropout: Dropout,
}

impl BloomAttention {
    fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let head_dim = d / self.n_heads;
        let qkv = self.query_key_value.lora_forward(x);
        let qkv = qkv.reshape([batch, tokens, self.n_heads, 3 * head_dim]);
        let part = |index: usize| qkv.clone().narrow(3, index * head_dim, head_dim);
        let mixed = attention.of([part(0), part(1), part(2)]);
        self.dense.lora_forward(mixed.reshape([batch, tokens, d]))
    }
}

impl BloomBlock {
    pub(super) fn build(config: &BloomConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, epsilon) = (config.hidden_size, config.layer_norm_epsilon);
        Ok(Self {
            input_layernorm: at.layer_norm("input_layernorm", d, epsilon)?,
            self_attention: BloomAttention {
                query_key_value: at.linear("self_attention.query_key_value", d, 3 * d, true)?,
                dense: at.linear("self_attention.dense", d, d, true)?,
                n_heads: config.n_head,
            },
            post_attention_layernorm: at.layer_norm("post_attention_layernorm", d, epsilon)?,
            mlp: BloomMlp {
                dense_h_to_4h: at.linear("mlp.dense_h_to_4h", d, 4 * d, true)?,
                dense_4h_to_h: at.linear("mlp.dense_4h_to_h", 4 * d, d, true)?,
            },
            dropout: config.dropouts.residual(),
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        let mixed = self.self_attention.forward(normed, attention);
        let x = x + self.dropout.forward(mixed);
        let BloomMlp { dense_h_to_4h, dense_4h_to_h } = &self.mlp;
        let normed = self.post_attention_layernorm.forward(x.clone());
        let wide = Activation::GeluTanh.apply(dense_h_to_4h.lora_forward(normed));
        x + self.dropout.forward(dense_4h_to_h.lora_forward(wide))
    }
}
