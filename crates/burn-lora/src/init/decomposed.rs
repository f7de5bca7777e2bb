//! Starts from parts of the weight itself.
//!
//! The weight is read as f32 whatever it is held in, and decomposed in f64: in f32 the small singular values of a weight
//! of a few hundred dimensions drown, and with them what is left of it. With `W = U S Vᵀ`, `W: [d_in, d_out]`:
//!
//! ```text
//! PiSSA   A₀ = U_r √(S_r / scale)   B₀ = √(S_r / scale) V_rᵀ     scale · A₀ B₀ is the best W of rank r there is
//! OLoRA   A₀ = W Q_r                B₀ = Q_rᵀ                    A₀ B₀ is W within the outputs of its first r rows
//! ```
//!
//! where `Wᵀ = Q R` and `Q_r` are the first r columns of `Q`; `R_r = Q_rᵀ Wᵀ`, so that the other columns are not
//! needed. The signs of the vectors are free, and the product does not depend on them.

use burn::module::Param;
use burn::tensor::Tensor;
use faer::MatRef;

use super::Values;
use crate::decomposition::{Parts, orthonormal};
use crate::{AdapterConfig, FrozenWeight, Init, LoraError};

/// Both factors of a start that [moves the base](Init::moves_base), of a weight that has as many parts as the rank.
pub(super) fn of(
    weight: &Param<Tensor<2>>,
    config: &AdapterConfig,
    [d_in, d_out]: [usize; 2],
    seed: u64,
) -> Result<Values, LoraError> {
    let (init, rank) = (config.init, config.rank);
    let dense = FrozenWeight::from(weight.base().detach()).dense();
    let values = dense
        .try_into_vec_as::<f32>()
        .map_err(|error| LoraError::Unreadable { init, reason: error.to_string() })?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(LoraError::NotFinite { init });
    }
    let values: Vec<f64> = values.into_iter().map(f64::from).collect();
    let weight = MatRef::from_row_major_slice(&values, d_in, d_out);
    let parts = match init {
        Init::Olora => return Ok(first_outputs(weight, rank)),
        Init::PissaNiter(rounds) => Parts::randomised(weight, rank, rounds, seed),
        _ => Parts::of_matrix(weight),
    };
    let parts = parts.ok_or(LoraError::NoConvergence { init })?;
    Ok(halved(&parts, rank, config.scale()))
}

/// The first `rank` parts over the scale, half of each in either factor.
pub(super) fn halved(parts: &Parts, rank: usize, scale: f64) -> Values {
    let root = |value: f64| (value.max(0.0) / scale).sqrt();
    let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
    Values { a: narrow(parts.left(rank, root)), b: narrow(parts.right(rank, root)) }
}

/// OLoRA's factors.
fn first_outputs(weight: MatRef<'_, f64>, rank: usize) -> Values {
    let q = orthonormal(&weight.subrows(0, rank).transpose().to_owned());
    let a = weight * q.as_ref();
    let (d_in, d_out) = (weight.nrows(), weight.ncols());
    let mut values = Values { a: Vec::with_capacity(d_in * rank), b: Vec::new() };
    for row in 0..d_in {
        // The first rows are those of a triangle: what is beyond it is rounding.
        values.a.extend((0..rank).map(|k| if k > row { 0.0 } else { a[(row, k)] as f32 }));
    }
    values.b = (0..rank * d_out).map(|at| q[(at % d_out, at / d_out)] as f32).collect();
    values
}
