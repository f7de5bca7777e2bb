//! One named adapter of one linear layer: its two factors and what scales them.
//!
//! The factors are a Burn module, so that optimisers, records and device moves see them as they see
//! any parameter. Everything else is plain data that a change replaces.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::{LoraConfig, LoraError, init};

/// The low-rank change of one weight, `multiplier · scale · A B`.
///
/// # Shapes
///
/// - `a`: `[d_in, rank]`
/// - `b`: `[rank, d_out]`
#[derive(Module, Debug)]
pub struct Adapter {
    /// Factor A, `[d_in, rank]`, trainable.
    pub a: Param<Tensor<2>>,
    /// Factor B, `[rank, d_out]`, trainable; starts at zero.
    pub b: Param<Tensor<2>>,
    name: String,
    scale: f64,
    multiplier: f64,
    dropout: f64,
    active: bool,
}

impl Adapter {
    /// A fresh adapter: A drawn as `config.init` says from a generator seeded with `seed`, B zero.
    ///
    /// # Errors
    ///
    /// The first problem of `config`.
    pub fn init(
        name: &str,
        config: &LoraConfig,
        d_in: usize,
        d_out: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self, LoraError> {
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        let a = init::factor_a(config.init, d_in, config.rank, seed, device)?;
        let b = Tensor::zeros([config.rank, d_out], device);
        Self::from_factors(name, a, b, config.scale(), config.dropout)
    }

    /// An adapter with given factors, `a: [d_in, rank]` and `b: [rank, d_out]`, both trainable.
    ///
    /// # Errors
    ///
    /// Factors that do not agree on the rank, a rank of zero, a scale that is not finite, a dropout
    /// outside `[0, 1)`.
    pub fn from_factors(
        name: &str,
        a: Tensor<2>,
        b: Tensor<2>,
        scale: f64,
        dropout: f64,
    ) -> Result<Self, LoraError> {
        let (shape_a, shape_b) = (a.dims(), b.dims());
        if shape_a[1] != shape_b[0] {
            return Err(LoraError::FactorShapes { a: shape_a, b: shape_b });
        }
        if shape_a[1] == 0 {
            return Err(LoraError::Rank { rank: 0 });
        }
        if !scale.is_finite() {
            return Err(LoraError::Scale { scale });
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(LoraError::Dropout { dropout });
        }
        Ok(Self {
            a: Param::from_tensor(a),
            b: Param::from_tensor(b),
            name: name.to_owned(),
            scale,
            multiplier: 1.0,
            dropout,
            active: true,
        })
    }

    /// The name that tells this adapter from others on the same weight; PEFT's is `default`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of columns of A.
    pub fn rank(&self) -> usize {
        self.a.lazy_shape()[1]
    }

    /// `alpha / rank` or `alpha / √rank`, without the multiplier.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// What the scale is multiplied by at run time: 0 gives the base model, 1 the adapter as trained.
    pub fn multiplier(&self) -> f64 {
        self.multiplier
    }

    /// The probability that an element of A's input is zeroed while training.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Whether the adapter takes part in the forward pass.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The same factors with another run-time multiplier.
    pub fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The same factors, taking part in the forward pass or not.
    pub fn with_active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// The scale in force: scale times multiplier, or 0 when inactive.
    pub(crate) fn effective_scale(&self) -> f64 {
        if self.active { self.scale * self.multiplier } else { 0.0 }
    }

    /// The dense change of the weight, `multiplier · scale · A B`, `[d_in, d_out]`.
    ///
    /// For merging only: training and inference through [`LoraForward`](crate::LoraForward) never
    /// form it.
    pub fn delta(&self) -> Tensor<2> {
        self.a.val().matmul(self.b.val()).mul_scalar(self.effective_scale())
    }
}
