//! One block: attention and two products, each of a norm of the stream, and added to it.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use super::config::GptNeoXConfig;
use crate::ModelError;
use crate::decoder::attention::LayerAttention;
use crate::decoder::megatron::{MegatronAttention, MegatronMlp};
use crate::dropout::Dropout;
use crate::weights::Builder;

/// One block.
#[derive(Module, Debug)]
pub struct GptNeoXLayer {
    /// Before the attention.
    pub input_layernorm: LayerNorm,
    /// Before the two products.
    pub post_attention_layernorm: LayerNorm,
    /// Attention.
    pub attention: MegatronAttention,
    /// The two products.
    pub mlp: MegatronMlp,
    is_parallel: bool,
    #[module(skip)]
    dropout: Dropout,
}

impl GptNeoXLayer {
    pub(super) fn build(config: &GptNeoXConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, epsilon) = (config.hidden_size, config.layer_norm_eps);
        let (heads, bias) = (config.num_attention_heads, config.attention_bias);
        let (inner, activation) = (config.intermediate_size, config.activation);
        Ok(Self {
            input_layernorm: at.layer_norm("input_layernorm", d, epsilon)?,
            post_attention_layernorm: at.layer_norm("post_attention_layernorm", d, epsilon)?,
            attention: MegatronAttention::build([d, heads], bias, at.at("attention"))?,
            mlp: MegatronMlp::build([d, inner], activation, at.at("mlp"))?,
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
