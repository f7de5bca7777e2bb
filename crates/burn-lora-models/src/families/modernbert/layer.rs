//! One layer: attention and gated unit, each with a norm before it and added to the stream.

// `Wqkv`, `Wi` and `Wo` are Hugging Face's names of fields, and so the modules' paths.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::config::ModernBertConfig;
use crate::ModelError;
use crate::activation::Activation;
use crate::decoder::attention::turned;
use crate::dropout::Dropout;
use crate::encoder::attention;
use crate::fused::Positional;
use crate::weights::Builder;

/// The attention of one layer.
#[derive(Module, Debug)]
pub struct ModernBertAttention {
    /// Queries, keys and values, one after the other, `[hidden, 3 · hidden]`.
    pub Wqkv: Linear,
    /// Back to the residual stream.
    pub Wo: Linear,
    heads: usize,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    out_dropout: Dropout,
}

impl ModernBertAttention {
    fn build(config: &ModernBertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, bias) = (config.hidden_size, config.attention_bias);
        Ok(Self {
            Wqkv: at.linear("Wqkv", d, 3 * d, bias)?,
            Wo: at.linear("Wo", d, d, bias)?,
            heads: config.num_attention_heads,
            dropout: config.dropouts.attention(),
            out_dropout: config.dropouts.residual(),
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        positional: &Positional,
        mask: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let [batch, tokens, d] = x.dims();
        let all = self.Wqkv.lora_forward(x);
        let part = |index: usize| {
            let part = all.clone().narrow(2, index * d, d);
            part.reshape([batch, tokens, self.heads, d / self.heads])
        };
        let (q, k) = (turned(part(0), positional), turned(part(1), positional));
        let qkv = [q, k, part(2)].map(|x| x.swap_dims(1, 2));
        let mixed = self.Wo.lora_forward(attention(qkv, mask, self.dropout));
        self.out_dropout.forward(mixed)
    }
}

/// The gated unit of one layer: `Wo(act(gate) * up)`.
#[derive(Module, Debug)]
pub struct ModernBertMlp {
    /// The gate, then what it gates, `[hidden, 2 · inner]`.
    pub Wi: Linear,
    /// Back to the residual stream, `[inner, hidden]`.
    pub Wo: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    dropout: Dropout,
}

impl ModernBertMlp {
    fn build(config: &ModernBertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        Ok(Self {
            Wi: at.linear("Wi", d, 2 * inner, bias)?,
            Wo: at.linear("Wo", inner, d, bias)?,
            activation: config.activation,
            dropout: config.dropouts.inner(),
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let both = self.Wi.lora_forward(x);
        let inner = both.dims()[2] / 2;
        let (gate, up) = (both.clone().narrow(2, 0, inner), both.narrow(2, inner, inner));
        let gated = self.activation.gated(gate, up);
        self.Wo.lora_forward(self.dropout.forward(gated))
    }
}

/// One layer.
#[derive(Module, Debug)]
pub struct ModernBertLayer {
    /// Before the attention; the first layer has none.
    pub attn_norm: Option<LayerNorm>,
    /// Attention.
    pub attn: ModernBertAttention,
    /// Before the gated unit.
    pub mlp_norm: LayerNorm,
    /// Gated unit.
    pub mlp: ModernBertMlp,
    is_local: bool,
}

impl ModernBertLayer {
    pub(super) fn build(
        config: &ModernBertConfig,
        index: usize,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            attn_norm: match index {
                0 => None,
                _ => Some(config.norm("attn_norm", &mut at)?),
            },
            attn: ModernBertAttention::build(config, at.at("attn"))?,
            mlp_norm: config.norm("mlp_norm", &mut at)?,
            mlp: ModernBertMlp::build(config, at.at("mlp"))?,
            is_local: config.local[index],
        })
    }

    /// Whether it attends to what is near alone.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        positional: &Positional,
        mask: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = x + self.attn.forward(normed, positional, mask);
        x.clone() + self.mlp.forward(self.mlp_norm.forward(x))
    }
}
