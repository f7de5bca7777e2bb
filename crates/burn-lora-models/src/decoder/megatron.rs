//! The two halves of a block under Megatron's names, which several families took over: one linear gives queries, keys and
//! values, interleaved head by head, and an activation stands between two products.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::attention::LayerAttention;
use crate::ModelError;
use crate::activation::Activation;
use crate::weights::Builder;

/// The attention of one block.
#[derive(Module, Debug)]
pub struct MegatronAttention {
    /// Queries, keys and values, `[hidden, n_heads · 3 · head_dim]`.
    pub query_key_value: Linear,
    /// Back to the residual stream, `[hidden, hidden]`.
    pub dense: Linear,
    n_heads: usize,
}

/// The two products of one block.
#[derive(Module, Debug)]
pub struct MegatronMlp {
    /// `[hidden, inner]`.
    pub dense_h_to_4h: Linear,
    /// `[inner, hidden]`.
    pub dense_4h_to_h: Linear,
    #[module(skip)]
    activation: Activation,
}

impl MegatronAttention {
    pub(crate) fn build(
        [d, n_heads]: [usize; 2],
        bias: bool,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            query_key_value: at.linear("query_key_value", d, 3 * d, bias)?,
            dense: at.linear("dense", d, d, bias)?,
            n_heads,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(crate) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let head_dim = d / self.n_heads;
        let qkv = self.query_key_value.lora_forward(x);
        let qkv = qkv.reshape([batch, tokens, self.n_heads, 3 * head_dim]);
        let part = |index: usize| qkv.clone().narrow(3, index * head_dim, head_dim);
        let mixed = attention.of([part(0), part(1), part(2)]);
        self.dense.lora_forward(mixed.reshape([batch, tokens, d]))
    }
}

impl MegatronMlp {
    pub(crate) fn build(
        [d, inner]: [usize; 2],
        activation: Activation,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            dense_h_to_4h: at.linear("dense_h_to_4h", d, inner, true)?,
            dense_4h_to_h: at.linear("dense_4h_to_h", inner, d, true)?,
            activation,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let wide = self.activation.apply(self.dense_h_to_4h.lora_forward(x));
        self.dense_4h_to_h.lora_forward(wide)
    }
}
