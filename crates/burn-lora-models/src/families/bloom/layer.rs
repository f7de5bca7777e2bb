//! One block: attention and two products, each normed before and added to the stream.

use burn::module::Module;
use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use super::config::BloomConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::decoder::attention::LayerAttention;
use crate::decoder::megatron::{MegatronAttention, MegatronMlp};
use crate::dropout::Dropout;
use crate::weights::Builder;

/// One block.
#[derive(Module, Debug)]
pub struct BloomBlock {
    /// Before the attention.
    pub input_layernorm: LayerNorm,
    /// Attention.
    pub self_attention: MegatronAttention,
    /// Before the two products.
    pub post_attention_layernorm: LayerNorm,
    /// The two products, with GELU by its tanh approximation between them.
    pub mlp: MegatronMlp,
    #[module(skip)]
    dropout: Dropout,
}

impl BloomBlock {
    pub(super) fn build(config: &BloomConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, heads, epsilon) = (config.hidden_size, config.n_head, config.layer_norm_epsilon);
        let activation = Activation::GeluTanh;
        Ok(Self {
            input_layernorm: at.layer_norm("input_layernorm", d, epsilon)?,
            self_attention: MegatronAttention::build([d, heads], true, at.at("self_attention"))?,
            post_attention_layernorm: at.layer_norm("post_attention_layernorm", d, epsilon)?,
            mlp: MegatronMlp::build([d, 4 * d], activation, at.at("mlp"))?,
            dropout: config.dropouts.residual(),
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        let mixed = self.self_attention.forward(normed, attention);
        let x = x + self.dropout.forward(mixed);
        let wide = self.mlp.forward(self.post_attention_layernorm.forward(x.clone()));
        x + self.dropout.forward(wide)
    }
}
