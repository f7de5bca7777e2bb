//! One block: attention and gated unit, each with norms and added to the stream.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;
use burn_lora::{LoraForward, lora_forward_together};

use super::attention::GatedAttention;
use super::blueprint::{Blueprint, Gate, GatedNorms, LayerPlan, NormScale};
use crate::ModelError;
use crate::decoder::attention::LayerAttention;
use crate::dropout::{Dropout, Dropouts};
use crate::weights::Builder;

/// The gated linear unit of one block: `down(gate(x) * up(x))`. The gate and what it gates have a linear each, or one
/// together.
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// The gate, `[hidden, inner]`.
    pub gate_proj: Option<Linear>,
    /// What is gated, `[hidden, inner]`.
    pub up_proj: Option<Linear>,
    /// The gate, then what is gated, in place of the two.
    pub gate_up_proj: Option<Linear>,
    /// Back to the residual stream, `[inner, hidden]`.
    pub down_proj: Linear,
    #[module(skip)]
    gate: Gate,
}

impl GatedMlp {
    fn build(blueprint: &Blueprint, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let &Blueprint { d, inner, fused, mlp_bias: bias, gate, .. } = blueprint;
        let linear = |at: &mut Builder<'_>, name, d_out, is_there| match is_there {
            true => at.linear(name, d, d_out, bias).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            gate_proj: linear(&mut at, "gate_proj", inner, !fused)?,
            up_proj: linear(&mut at, "up_proj", inner, !fused)?,
            gate_up_proj: linear(&mut at, "gate_up_proj", 2 * inner, fused)?,
            down_proj: at.linear("down_proj", inner, d, bias)?,
            gate,
        })
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [gate, up] = match (&self.gate_proj, &self.up_proj, &self.gate_up_proj) {
            (Some(gate), Some(up), _) => lora_forward_together([gate, up], x),
            (_, _, Some(both)) => {
                let both = both.lora_forward(x);
                let inner = both.dims()[2] / 2;
                [both.clone().narrow(2, 0, inner), both.narrow(2, inner, inner)]
            }
            _ => unreachable!("a gated unit is built with its projections"),
        };
        self.down_proj.lora_forward(self.gate.apply(gate, up))
    }
}

/// One block. Which norms it has, its family's [`GatedNorms`] say.
#[derive(Module, Debug)]
pub struct GatedLayer {
    /// Attention.
    pub self_attn: GatedAttention,
    /// Gated unit.
    pub mlp: GatedMlp,
    /// Before the attention.
    pub input_layernorm: Option<RmsNorm>,
    /// After the attention; of blocks with norms before their halves alone, before the gated unit.
    pub post_attention_layernorm: RmsNorm,
    /// Before the gated unit, where there is one after the attention too.
    pub pre_feedforward_layernorm: Option<RmsNorm>,
    /// After the gated unit.
    pub post_feedforward_layernorm: Option<RmsNorm>,
    #[module(skip)]
    norms: GatedNorms,
    #[module(skip)]
    norm_scale: NormScale,
    #[module(skip)]
    dropout: Dropout,
}

impl GatedLayer {
    pub(super) fn build(
        blueprint: &Blueprint,
        plan: LayerPlan,
        dropouts: Dropouts,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        let &Blueprint { d, epsilon, norms, norm_scale, .. } = blueprint;
        let norm = |at: &mut Builder<'_>, name, of: &[GatedNorms]| match of.contains(&norms) {
            true => norm_scale.build(at, name, d, epsilon).map(Some),
            false => Ok(None),
        };
        let (before, after) = (GatedNorms::Before, GatedNorms::After);
        let around = GatedNorms::Around;
        Ok(Self {
            self_attn: GatedAttention::build(blueprint, plan, at.at("self_attn"))?,
            mlp: GatedMlp::build(blueprint, at.at("mlp"))?,
            input_layernorm: norm(&mut at, "input_layernorm", &[before, around])?,
            post_attention_layernorm: norm_scale.build(
                &mut at,
                "post_attention_layernorm",
                d,
                epsilon,
            )?,
            pre_feedforward_layernorm: norm(&mut at, "pre_feedforward_layernorm", &[around])?,
            post_feedforward_layernorm: norm(
                &mut at,
                "post_feedforward_layernorm",
                &[after, around],
            )?,
            norms,
            norm_scale,
            dropout: dropouts.residual(),
        })
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let post_attention = Some(&self.post_attention_layernorm);
        let (after_attention, before_mlp) = match self.norms {
            GatedNorms::Before => (None, post_attention),
            GatedNorms::After | GatedNorms::Around => {
                (post_attention, self.pre_feedforward_layernorm.as_ref())
            }
        };
        let normed = |norm: Option<&RmsNorm>, x: Tensor<3>| match norm {
            Some(norm) => self.norm_scale.normed(norm, x),
            None => x,
        };
        let mixed = normed(self.input_layernorm.as_ref(), x.clone());
        let mixed = normed(after_attention, self.self_attn.forward(mixed, attention));
        let x = x + self.dropout.forward(mixed);
        let gated = self.mlp.forward(normed(before_mlp, x.clone()));
        let gated = normed(self.post_feedforward_layernorm.as_ref(), gated);
        x + self.dropout.forward(gated)
    }
}
