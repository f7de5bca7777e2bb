//! Self-attention with rotary positions and shared key-value heads.

use burn::module::Module;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{DType, Tensor};
use burn_lora::{FrozenWeight, LoraForward, lora_forward_together};

use super::blueprint::{Blueprint, HeadNorms, LayerPlan, NormScale};
use crate::ModelError;
use crate::decoder::attention::LayerAttention;
use crate::fused::Scores;
use crate::weights::Builder;

/// The attention of one block. Queries, keys and values have a linear each, or one together.
#[derive(Module, Debug)]
pub struct GatedAttention {
    /// Queries, `[hidden, n_heads · head_dim]`.
    pub q_proj: Option<Linear>,
    /// Keys, `[hidden, n_kv_heads · head_dim]`.
    pub k_proj: Option<Linear>,
    /// Values, as keys.
    pub v_proj: Option<Linear>,
    /// Queries, keys and values, one after the other, in place of the three.
    pub qkv_proj: Option<Linear>,
    /// Back to the residual stream.
    pub o_proj: Linear,
    /// Over the queries: each head, or all together.
    pub q_norm: Option<RmsNorm>,
    /// Over the keys, alike.
    pub k_norm: Option<RmsNorm>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    #[module(skip)]
    norm_scale: NormScale,
    #[module(skip)]
    plan: LayerPlan,
}

impl GatedAttention {
    pub(super) fn build(
        blueprint: &Blueprint,
        plan: LayerPlan,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        let &Blueprint { d, n_heads, n_kv_heads, head_dim, norm_scale, fused, .. } = blueprint;
        let (wide, narrow) = (n_heads * head_dim, n_kv_heads * head_dim);
        let linear = |at: &mut Builder<'_>, name, d_out, is_there| match is_there {
            true => at.linear(name, d, d_out, blueprint.qkv_bias).map(Some),
            false => Ok(None),
        };
        let norm = |at: &mut Builder<'_>, name, all| {
            let width = match blueprint.head_norms {
                HeadNorms::None => return Ok(None),
                HeadNorms::Each => head_dim,
                HeadNorms::Whole => all,
            };
            norm_scale.build(at, name, width, blueprint.epsilon).map(Some)
        };
        Ok(Self {
            q_proj: linear(&mut at, "q_proj", wide, !fused)?,
            k_proj: linear(&mut at, "k_proj", narrow, !fused)?,
            v_proj: linear(&mut at, "v_proj", narrow, !fused)?,
            qkv_proj: linear(&mut at, "qkv_proj", wide + 2 * narrow, fused)?,
            o_proj: at.linear("o_proj", wide, d, blueprint.o_bias)?,
            q_norm: norm(&mut at, "q_norm", wide)?,
            k_norm: norm(&mut at, "k_norm", narrow)?,
            n_heads,
            n_kv_heads,
            head_dim,
            norm_scale,
            plan,
        })
    }

    /// Queries, keys and values of x: `[batch, tokens, hidden]`, `[batch, tokens, heads · head_dim]` each.
    fn projected(&self, x: Tensor<3>) -> [Tensor<3>; 3] {
        let [wide, narrow] = [self.n_heads, self.n_kv_heads].map(|heads| heads * self.head_dim);
        match (&self.q_proj, &self.k_proj, &self.v_proj, &self.qkv_proj) {
            (Some(q), Some(k), Some(v), _) => lora_forward_together([q, k, v], x),
            (_, _, _, Some(all)) => {
                let all = all.lora_forward(x);
                let part = |from, width| all.clone().narrow(2, from, width);
                [part(0, wide), part(wide, narrow), part(wide + narrow, narrow)]
            }
            _ => unreachable!("an attention is built with its projections"),
        }
    }

    /// x: `[batch, tokens, hidden]`, output alike.
    pub(super) fn forward(&self, x: Tensor<3>, attention: LayerAttention<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.dims();
        let Self { n_heads, n_kv_heads, head_dim, .. } = *self;
        let heads = |x: Tensor<3>, norm: &Option<RmsNorm>, n_heads: usize| {
            let x = match norm {
                Some(norm) => {
                    let [width] = norm.gamma.dims();
                    let norms = n_heads * head_dim / width;
                    let x = x.reshape([batch, tokens, norms, width]);
                    self.norm_scale.normed(norm, x).reshape([batch, tokens, n_heads * head_dim])
                }
                None => x,
            };
            x.reshape([batch, tokens, n_heads, head_dim])
        };
        let [q, k, v] = self.projected(x);
        let (q, k) = (heads(q, &self.q_norm, n_heads), heads(k, &self.k_norm, n_kv_heads));
        let qkv = [q, k, heads(v, &None, n_kv_heads)];
        let format = match FrozenWeight::of(&self.o_proj.weight).dtype() {
            DType::BF16 => DType::BF16,
            _ => DType::F32,
        };
        let scores = Scores { format, ..self.plan.scores };
        let mixed = attention.scored(qkv, scores, self.plan.positions);
        self.o_proj.lora_forward(mixed.reshape([batch, tokens, n_heads * head_dim]))
    }
}
