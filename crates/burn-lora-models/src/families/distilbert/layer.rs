//! One layer: attention, then two products, each added to its input and normed after.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::{LoraForward, lora_forward_together};

use super::EPSILON;
use super::config::DistilBertConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::dropout::Dropout;
use crate::encoder::attention;
use crate::weights::Builder;

/// The attention of one layer.
#[derive(Module, Debug)]
pub struct DistilBertAttention {
    /// Queries.
    pub q_lin: Linear,
    /// Keys.
    pub k_lin: Linear,
    /// Values.
    pub v_lin: Linear,
    /// Back to the residual stream.
    pub out_lin: Linear,
    heads: usize,
    #[module(skip)]
    dropout: Dropout,
}

impl DistilBertAttention {
    fn build(config: &DistilBertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.dim;
        Ok(Self {
            q_lin: at.linear("q_lin", d, d, true)?,
            k_lin: at.linear("k_lin", d, d, true)?,
            v_lin: at.linear("v_lin", d, d, true)?,
            out_lin: at.linear("out_lin", d, d, true)?,
            heads: config.n_heads,
            dropout: config.dropouts.attention(),
        })
    }

    fn forward(&self, x: Tensor<3>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let heads =
            |y: Tensor<3>| y.reshape([batch, tokens, self.heads, d / self.heads]).swap_dims(1, 2);
        let qkv = lora_forward_together([&self.q_lin, &self.k_lin, &self.v_lin], x).map(heads);
        self.out_lin.lora_forward(attention(qkv, mask, self.dropout))
    }
}

/// The two products of one layer.
#[derive(Module, Debug)]
pub struct DistilBertFfn {
    /// The wide product.
    pub lin1: Linear,
    /// Back to the residual stream.
    pub lin2: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: Dropout,
}

/// One layer.
#[derive(Module, Debug)]
pub struct DistilBertLayer {
    /// Attention.
    pub attention: DistilBertAttention,
    /// Over what attention gave and its input.
    pub sa_layer_norm: LayerNorm,
    /// The two products.
    pub ffn: DistilBertFfn,
    /// Over what they gave and their input.
    pub output_layer_norm: LayerNorm,
}

impl DistilBertLayer {
    pub(super) fn build(
        config: &DistilBertConfig,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        let (d, inner) = (config.dim, config.hidden_dim);
        Ok(Self {
            attention: DistilBertAttention::build(config, at.at("attention"))?,
            sa_layer_norm: at.layer_norm("sa_layer_norm", d, EPSILON)?,
            ffn: DistilBertFfn {
                lin1: at.linear("ffn.lin1", d, inner, true)?,
                lin2: at.linear("ffn.lin2", inner, d, true)?,
                activation: config.act,
                dropout: config.dropouts.residual(),
            },
            output_layer_norm: at.layer_norm("output_layer_norm", d, EPSILON)?,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let mixed = self.attention.forward(x.clone(), mask);
        let x = self.sa_layer_norm.forward(mixed + x);
        let DistilBertFfn { lin1, lin2, activation, dropout } = &self.ffn;
        let wide = activation.apply(lin1.lora_forward(x.clone()));
        self.output_layer_norm.forward(dropout.forward(lin2.lora_forward(wide)) + x)
    }
}
