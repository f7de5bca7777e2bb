//! One block: attention and gated unit, each normed before and added to the stream.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use burn_lora::LoraForward;

use super::attention::LlamaAttention;
use super::config::LlamaConfig;
use crate::ModelError;
use crate::decoder::attention::LayerAttention;
use crate::fused::{rms_norm, silu_mul};
use crate::weights::Builder;

/// The gated linear unit of one block: `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// The gate.
    pub gate_proj: Linear,
    /// What is gated.
    pub up_proj: Linear,
    /// Back to the residual stream.
    pub down_proj: Linear,
}

impl LlamaMlp {
    fn build(config: &LlamaConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias());
        Ok(Self {
            gate_proj: at.linear("gate_proj", d, inner, bias)?,
            up_proj: at.linear("up_proj", d, inner, bias)?,
            down_proj: at.linear("down_proj", inner, d, bias)?,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.lora_forward(x.clone());
        self.down_proj.lora_forward(silu_mul(gate, self.up_proj.lora_forward(x)))
    }
}

/// One block.
#[derive(Module, Debug)]
pub struct LlamaDecoderLayer {
    /// Attention.
    pub self_attn: LlamaAttention,
    /// Gated unit.
    pub mlp: LlamaMlp,
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// Before the gated unit.
    pub post_attention_layernorm: RmsNorm,
}

impl LlamaDecoderLayer {
    pub(super) fn build(config: &LlamaConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, epsilon) = (config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            self_attn: LlamaAttention::build(config, at.at("self_attn"))?,
            mlp: LlamaMlp::build(config, at.at("mlp"))?,
            input_layernorm: at.rms_norm("input_layernorm", d, epsilon)?,
            post_attention_layernorm: at.rms_norm("post_attention_layernorm", d, epsilon)?,
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let normed =
            |norm: &RmsNorm, x: &Tensor<3>| rms_norm(x.clone(), norm.gamma.val(), norm.epsilon);
        let mixed = self.self_attn.forward(normed(&self.input_layernorm, &x), attention);
        let x = x + mixed;
        let gated = self.mlp.forward(normed(&self.post_attention_layernorm, &x));
        x + gated
    }
}
