//! One layer: attention, then two products, each added to its input and normed after.

// `LayerNorm` is Hugging Face's name of a field, and so the module's path.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::{LoraForward, lora_forward_together};

use super::config::BertConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::dropout::Dropout;
use crate::encoder::attention;
use crate::weights::Builder;

/// Queries, keys and values.
#[derive(Module, Debug)]
pub struct BertSelfAttention {
    /// Queries.
    pub query: Linear,
    /// Keys.
    pub key: Linear,
    /// Values.
    pub value: Linear,
    heads: usize,
    #[module(skip)]
    dropout: Dropout,
}

impl BertSelfAttention {
    fn build(config: &BertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        Ok(Self {
            query: at.linear("query", d, d, true)?,
            key: at.linear("key", d, d, true)?,
            value: at.linear("value", d, d, true)?,
            heads: config.num_attention_heads,
            dropout: config.dropouts.attention(),
        })
    }

    fn forward(&self, x: Tensor<3>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let head_dim = d / self.heads;
        let heads = |y: Tensor<3>| y.reshape([batch, tokens, self.heads, head_dim]).swap_dims(1, 2);
        let qkv = lora_forward_together([&self.query, &self.key, &self.value], x);
        attention(qkv.map(heads), mask, self.dropout)
    }
}

/// A product that is added to the residual stream, and the norm after.
#[derive(Module, Debug)]
pub struct BertResidual {
    /// The product.
    pub dense: Linear,
    /// Over the sum.
    pub LayerNorm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
}

impl BertResidual {
    fn build(config: &BertConfig, d_in: usize, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        Ok(Self {
            dense: at.linear("dense", d_in, d, true)?,
            LayerNorm: at.layer_norm("LayerNorm", d, config.layer_norm_eps)?,
            dropout: config.dropouts.residual(),
        })
    }

    fn forward(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        self.LayerNorm.forward(self.dropout.forward(self.dense.lora_forward(x)) + residual)
    }
}

/// The attention of one layer.
#[derive(Module, Debug)]
pub struct BertAttention {
    /// `self` in Hugging Face's paths, a keyword here.
    pub self_: BertSelfAttention,
    /// Back to the residual stream.
    pub output: BertResidual,
}

/// A product alone.
#[derive(Module, Debug)]
pub struct BertDense {
    /// The product.
    pub dense: Linear,
}

/// One layer.
#[derive(Module, Debug)]
pub struct BertLayer {
    /// Attention.
    pub attention: BertAttention,
    /// The wide product.
    pub intermediate: BertDense,
    /// Back to the residual stream.
    pub output: BertResidual,
    #[module(skip)]
    activation: Activation,
}

impl BertLayer {
    pub(super) fn build(config: &BertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            attention: BertAttention {
                self_: BertSelfAttention::build(config, at.at("attention.self"))?,
                output: BertResidual::build(config, d, at.at("attention.output"))?,
            },
            intermediate: BertDense { dense: at.linear("intermediate.dense", d, inner, true)? },
            output: BertResidual::build(config, inner, at.at("output"))?,
            activation: config.activation,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, mask: Option<&Tensor<4>>) -> Tensor<3> {
        let mixed = self.attention.self_.forward(x.clone(), mask);
        let x = self.attention.output.forward(mixed, x);
        let wide = self.activation.apply(self.intermediate.dense.lora_forward(x.clone()));
        self.output.forward(wide, x)
    }
}
