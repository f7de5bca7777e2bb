//! What a decoder is made of, as data.

use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::ModelError;
use crate::activation::Activation;
use crate::config::{Rotary, Stated};
use crate::decoder::LayerPositions;
use crate::decoder::rope::RopeConfig;
use crate::footprint::ActivationCost;
use crate::fused::{Scores, rms_norm, silu_mul};
use crate::weights::Builder;

/// What a decoder is made of.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Blueprint {
    /// Rows of the embedding and of the head.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub d: usize,
    /// Width inside the gated unit.
    pub inner: usize,
    /// Heads of the queries.
    pub n_heads: usize,
    /// Heads of keys and values; divides the queries'.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The longest sequence, in tokens.
    pub context: usize,
    /// How each block attends, from the first.
    pub layers: Vec<LayerPlan>,
    /// Added under the root of each norm.
    pub epsilon: f64,
    /// What the weights of norms mean.
    pub norm_scale: NormScale,
    /// Where a block has norms.
    pub norms: GatedNorms,
    /// Norms on queries and keys.
    pub head_norms: HeadNorms,
    /// Whether queries, keys and values are one linear, and gate and what it gates another.
    pub fused: bool,
    /// Biases on queries, keys and values.
    pub qkv_bias: bool,
    /// Bias on what comes out of attention.
    pub o_bias: bool,
    /// Biases in the gated unit.
    pub mlp_bias: bool,
    /// What becomes of the gate.
    pub gate: Gate,
    /// Probability of dropping what a half of a block adds to the stream.
    pub residual_dropout: f64,
    /// What embeddings are multiplied with, in the format of their table.
    pub embedding_scale: Option<f64>,
    /// The rotary positions.
    pub rope: RopeConfig,
    /// Those of blocks that go by positions of their own ([`LayerPositions::Local`]).
    pub local_rope: Option<RopeConfig>,
    /// How many numbers of a head turn, from the first.
    pub turned: usize,
    /// Whether the head is the embedding's table.
    pub tied: bool,
    /// The size that no logit exceeds.
    pub logit_cap: Option<f64>,
}

impl Blueprint {
    /// What is computed with, for those who call it otherwise.
    pub(crate) fn stated(&self) -> Stated<'static> {
        let plain = Scores::of_heads(self.head_dim).scale;
        Stated {
            heads: self.n_heads,
            kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            scale: self.layers.first().map_or(plain, |layer| layer.scores.scale),
            epsilon: self.epsilon,
            rms: true,
            norms_first: match self.norms {
                GatedNorms::Before => Some(true),
                GatedNorms::After => Some(false),
                GatedNorms::Around => None,
            },
            activation: match self.gate {
                Gate::Silu => None,
                Gate::Activation(activation) => Some(activation),
            },
            rotary: Some(Rotary { theta: self.rope.theta, turned: self.turned }),
            positions: Rotary::NAMES,
        }
    }
}

/// How a block attends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerPlan {
    /// What becomes of products of queries and keys.
    pub scores: Scores,
    /// Which positions it knows.
    pub positions: LayerPositions,
}

impl LayerPlan {
    /// As most do: `q kᵀ / √head_dim` of all keys, with positions.
    pub fn of_heads(head_dim: usize) -> Self {
        Self { scores: Scores::of_heads(head_dim), positions: LayerPositions::Common }
    }
}

/// What the weight `w` of a norm means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NormScale {
    /// It scales.
    #[default]
    Weight,
    /// `1 + w` scales.
    OnePlusWeight,
}

impl NormScale {
    pub(super) fn build(
        self,
        at: &mut Builder<'_>,
        name: &str,
        d: usize,
        epsilon: f64,
    ) -> Result<RmsNorm, ModelError> {
        match self {
            Self::Weight => at.rms_norm(name, d, epsilon),
            Self::OnePlusWeight => at.centred_rms_norm(name, d, epsilon),
        }
    }

    /// x: `[.., d]`, output alike.
    pub(super) fn normed<const D: usize>(self, norm: &RmsNorm, x: Tensor<D>) -> Tensor<D> {
        let scale = match self {
            Self::Weight => norm.gamma.val(),
            Self::OnePlusWeight => norm.gamma.val().add_scalar(1.0),
        };
        rms_norm(x, scale, norm.epsilon)
    }
}

/// Where a block has norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GatedNorms {
    /// Before its two halves: `x + half(norm(x))`.
    #[default]
    Before,
    /// After them: `x + norm(half(x))`.
    After,
    /// Both: `x + norm(half(norm(x)))`.
    Around,
}

/// Norms on queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadNorms {
    /// None.
    #[default]
    None,
    /// Over each head.
    Each,
    /// Over all heads together.
    Whole,
}

/// What becomes of the gate, before what it gates is multiplied with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// `gate / (1 + e^-gate)`, in one operation with the product.
    #[default]
    Silu,
    /// An activation, and then the product.
    Activation(Activation),
}

impl Gate {
    pub(super) fn apply(self, gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Silu => silu_mul(gate, up),
            Self::Activation(activation) => activation.gated(gate, up),
        }
    }

    /// What it keeps.
    pub(super) fn cost(self) -> ActivationCost {
        match self {
            Self::Silu => ActivationCost { kept: 2, again: true },
            Self::Activation(activation) => activation.gated_cost(),
        }
    }
}
