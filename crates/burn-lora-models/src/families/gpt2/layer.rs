//! One block: attention and two products, each normed before and added to the stream.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::config::Gpt2Config;
use crate::ModelError;
use crate::activation::Activation;
use crate::decoder::attention::LayerAttention;
use crate::dropout::Dropout;
use crate::weights::Builder;

/// The attention of one block.
#[derive(Module, Debug)]
pub struct Gpt2Attention {
    /// Queries, keys and values, `[hidden, 3 · hidden]`.
    pub c_attn: Linear,
    /// Back to the residual stream, `[hidden, hidden]`.
    pub c_proj: Linear,
    n_heads: usize,
}

/// The two products of one block.
#[derive(Module, Debug)]
pub struct Gpt2Mlp {
    /// `[hidden, inner]`.
    pub c_fc: Linear,
    /// `[inner, hidden]`.
    pub c_proj: Linear,
    #[module(skip)]
    activation: Activation,
}

/// One block.
#[derive(Module, Debug)]
pub struct Gpt2Block {
    /// Before the attention.
    pub ln_1: LayerNorm,
    /// Attention.
    pub attn: Gpt2Attention,
    /// Before the two products.
    pub ln_2: LayerNorm,
    /// The two products.
    pub mlp: Gpt2Mlp,
    #[module(skip)]
    dropout: Dropout,
}

impl Gpt2Attention {
    fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let qkv = self.c_attn.lora_forward(x);
        let part = |index: usize| {
            let part = qkv.clone().narrow(2, index * d, d);
            part.reshape([batch, tokens, self.n_heads, d / self.n_heads])
        };
        let mixed = attention.of([part(0), part(1), part(2)]);
        self.c_proj.lora_forward(mixed.reshape([batch, tokens, d]))
    }
}

impl Gpt2Block {
    pub(super) fn build(config: &Gpt2Config, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, inner, epsilon) = (config.n_embd, config.inner(), config.layer_norm_epsilon);
        Ok(Self {
            ln_1: at.layer_norm("ln_1", d, epsilon)?,
            attn: Gpt2Attention {
                c_attn: at.conv1d("attn.c_attn", d, 3 * d)?,
                c_proj: at.conv1d("attn.c_proj", d, d)?,
                n_heads: config.n_head,
            },
            ln_2: at.layer_norm("ln_2", d, epsilon)?,
            mlp: Gpt2Mlp {
                c_fc: at.conv1d("mlp.c_fc", d, inner)?,
                c_proj: at.conv1d("mlp.c_proj", inner, d)?,
                activation: config.activation,
            },
            dropout: config.dropouts.residual(),
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let mixed = self.attn.forward(self.ln_1.forward(x.clone()), attention);
        let x = x + self.dropout.forward(mixed);
        let Gpt2Mlp { c_fc, c_proj, activation } = &self.mlp;
        let wide = activation.apply(c_fc.lora_forward(self.ln_2.forward(x.clone())));
        x + self.dropout.forward(c_proj.lora_forward(wide))
    }
}
