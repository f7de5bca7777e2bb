//! A start in what the held weight has lost (LoftQ, arXiv 2310.08659): `scale · A₀ B₀` is the best of its rank of `W − Q`, for a
//! weight `W` that is held as `Q`, so that the adapted layer begins nearer to what it was than `Q` is.
//!
//! The paper takes turns: `Q` is quantised anew of `W − scale · A₀ B₀`, and the factors of what that has lost. After one round
//! ([`Adapter::init_residual`]) `Q` is the weight as it is held anyhow. More rounds ([`loftq`]) hold another one, which an adapter
//! of theirs is for.
//!
//! PEFT leaves the scale out, so that its start is the best one where `alpha` is the rank alone; here it is for every scale.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use faer::MatRef;

use super::Values;
use super::decomposed::halved;
use crate::adapter::start_at;
use crate::decomposition::Parts;
use crate::{Adapter, AdapterConfig, FrozenWeight, LoraError};

impl Adapter {
    /// A fresh adapter for `weight: [d_in, d_out]` as it is held, of which `dense` is what it was, row by row: the factors
    /// start at what of it is lost.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init); a kind whose change is no product of factors; a wrong number of values.
    pub fn init_residual(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        dense: &[f32],
    ) -> Result<Self, LoraError> {
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        if !config.method.subtracts() {
            return Err(LoraError::DenseMethod { init: config.init, method: config.method });
        }
        let shape = weight.lazy_shape();
        let sizes = [shape[0], shape[1]];
        let held = values(&FrozenWeight::from(weight.base().detach()), config)?;
        let Values { a, b } = of(config, dense, &held, sizes)?;
        // Magnitudes are those of the weight that the layer begins with.
        let norms = norms(&held, &a, &b, config, sizes);
        Self::from_values(name, config, weight, |factor| start_at(factor, &a, &b, &norms))
    }
}

/// The weight to hold for the best start of an adapter, after so many rounds of quantising what the factors leave of `dense:
/// [d_in, d_out]`; `quantise` gives what a format makes of a matrix, or nothing. [`Adapter::init_residual`] for that weight gives the
/// factors. One round is `quantise(dense)`.
///
/// # Errors
///
/// No round; a matrix that the format cannot hold; as [`Adapter::init_residual`].
pub fn loftq(
    dense: &Tensor<2>,
    config: &AdapterConfig,
    rounds: usize,
    mut quantise: impl FnMut(Tensor<2>) -> Option<FrozenWeight>,
) -> Result<FrozenWeight, LoraError> {
    let (sizes, device) = (dense.dims(), dense.device());
    let own = values(&FrozenWeight::from(dense.clone()), config)?;
    let mut left = dense.clone();
    for round in 1.. {
        let held = quantise(left).ok_or(LoraError::Unheld { round })?;
        if round >= rounds {
            return Ok(held);
        }
        let Values { a, b } = of(config, &own, &values(&held, config)?, sizes)?;
        let [d_in, d_out] = sizes;
        let a = Tensor::<2>::from_data(TensorData::new(a, [d_in, config.rank]), &device);
        let b = Tensor::<2>::from_data(TensorData::new(b, [config.rank, d_out]), &device);
        left = dense.clone() - crate::product(a, b).mul_scalar(config.scale());
    }
    Err(LoraError::Unheld { round: 0 })
}

fn values(weight: &FrozenWeight, config: &AdapterConfig) -> Result<Vec<f32>, LoraError> {
    let read = weight.dense().try_into_vec_as::<f32>();
    read.map_err(|error| LoraError::Unreadable { init: config.init, reason: error.to_string() })
}

/// The factors of what is lost between two matrices `[d_in, d_out]`.
fn of(
    config: &AdapterConfig,
    dense: &[f32],
    held: &[f32],
    [d_in, d_out]: [usize; 2],
) -> Result<Values, LoraError> {
    if dense.len() != d_in * d_out {
        return Err(LoraError::DenseValues { d_in, d_out, count: dense.len() });
    }
    if !dense.iter().all(|value| value.is_finite()) {
        return Err(LoraError::NotFinite { init: config.init });
    }
    let lost: Vec<f64> =
        dense.iter().zip(held).map(|(w, q)| f64::from(*w) - f64::from(*q)).collect();
    let parts = Parts::of_matrix(MatRef::from_row_major_slice(&lost, d_in, d_out));
    let parts = parts.ok_or(LoraError::NoConvergence { init: config.init })?;
    Ok(halved(&parts, config.rank, config.scale()))
}

/// The norms of the columns of `Q + scale · A B`.
fn norms(
    held: &[f32],
    a: &[f32],
    b: &[f32],
    config: &AdapterConfig,
    [_, d_out]: [usize; 2],
) -> Vec<f32> {
    let (rank, scale) = (config.rank, config.scale());
    let mut squares = vec![0.0_f64; d_out];
    let mut row = vec![0.0_f64; d_out];
    for (held, a) in held.chunks_exact(d_out).zip(a.chunks_exact(rank)) {
        row.iter_mut().zip(held).for_each(|(entry, held)| *entry = f64::from(*held));
        for (a, b) in a.iter().zip(b.chunks_exact(d_out)) {
            let a = scale * f64::from(*a);
            row.iter_mut().zip(b).for_each(|(entry, b)| *entry += a * f64::from(*b));
        }
        squares.iter_mut().zip(&row).for_each(|(sum, entry)| *sum += entry * entry);
    }
    squares.into_iter().map(|square| square.sqrt() as f32).collect()
}
