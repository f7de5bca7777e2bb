//! One block: attention and two products, each of a norm of the stream, and added to it.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::config::GptNeoXConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::decoder::attention::LayerAttention;
use crate::dropout::Dropout;
use crate::weights::Builder;

/// The attention of one block.
#[derive(Module, Debug)]
pub struct GptNeoXAttention {
    /// Queries, keys and values, `[hidden, num_attention_heads · 3 · head_dim]`.
    pub query_key_value: Linear,
    /// Back to the residual stream, `[hidden, hidden]`.
    pub dense: Linear,
    n_heads: usize,
}

/// The two products of one block.
#[derive(Module, Debug)]
pub struct GptNeoXMlp {
    /// `[hidden, inner]`.
    pub dense_h_to_4h: Linear,
    /// `[inner, hidden]`.
    pub dense_4h_to_h: Linear,
    #[module(skip)]
    activation: Activation,
}

/// One block.
#[derive(Module, Debug)]
pub struct GptNeoXLayer {
    /// Before the attention.
    pub input_layernorm: LayerNorm,
    /// Before the two products.
    pub post_attention_layernorm: LayerNorm,
    /// Attention.
    pub attention: GptNeoXAttention,
    /// The two products.
    pub mlp: GptNeoXMlp,
    is_parallel: bool,
    #[module(skip)]
    dropout: Dropout,
}

impl GptNeoXAttention {
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

impl GptNeoXMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let wide = self.activation.apply(self.dense_h_to_4h.lora_forward(x));
        self.dense_4h_to_h.lora_forward(wide)
    }
}

impl GptNeoXLayer {
    pub(super) fn build(config: &GptNeoXConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, inner, epsilon) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let bias = config.attention_bias;
        Ok(Self {
            input_layernorm: at.layer_norm("input_layernorm", d, epsilon)?,
            post_attention_layernorm: at.layer_norm("post_attention_layernorm", d, epsilon)?,
            attention: GptNeoXAttention {
                query_key_value: at.linear("attention.query_key_value", d, 3 * d, bias)?,
                dense: at.linear("attention.dense", d, d, bias)?,
                n_heads: config.num_attention_heads,
            },
            mlp: GptNeoXMlp {
                dense_h_to_4h: at.linear("mlp.dense_h_to_4h", d, inner, true)?,
                dense_4h_to_h: at.linear("mlp.dense_4h_to_h", inner, d, true)?,
                activation: config.activation,
            },
            is_parallel: config.use_parallel_residual,
            dropout: config.dropouts.residual(),
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let mixed = self.attention.forward(self.input_layernorm.forward(x.clone()), attention);
        let mixed = x.clone() + self.dropout.forward(mixed);
        let read = if self.is_parallel { x } else { mixed.clone() };
        let wide = self.mlp.forward(self.post_attention_layernorm.forward(read));
        mixed + self.dropout.forward(wide)
    }
}
