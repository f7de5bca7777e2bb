//! Gradient clipping by the global norm, as `torch.nn.utils.clip_grad_norm_` does it.
//!
//! Burn clips each tensor by itself, which turns the direction of the step; here one factor scales
//! all gradients.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorReadError};
use burn_lora::device::is_cpu;

use crate::optimizer::StepFactor;

#[cfg(feature = "cube")]
mod cube;

/// The square of the Euclidean norm of all gradients together, `[1]`, before they are scaled down to `limit` where the norm is larger
/// (`limit` 0: never). None where there is no gradient.
///
/// On a CPU, where a number is read at once, gradients that are small enough are left alone. Elsewhere the norm stays on the device, and
/// a factor of 1 is one too.
///
/// # Errors
///
/// The norm cannot be read on a CPU.
pub fn clip_by_global_norm<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    limit: f64,
) -> Result<Option<Tensor<1>>, TensorReadError> {
    let Some((square, by)) = measured(model, grads, limit)? else { return Ok(None) };
    if let Some(by) = by {
        model.visit(&mut Scale { grads, by });
    }
    Ok(Some(square))
}

/// [`clip_by_global_norm`] of a step whose optimiser multiplies by a factor on a device itself.
pub(crate) fn clip_at_step<M: Module>(
    model: &M,
    grads: &mut GradientsParams,
    limit: f64,
    at_step: &StepFactor,
) -> Result<Option<Tensor<1>>, TensorReadError> {
    let measured = measured(model, grads, limit)?;
    let (square, by) = measured.unzip();
    at_step.set(match by.flatten() {
        Some(Factor::OnDevice(by)) => Some(by),
        Some(by) => {
            model.visit(&mut Scale { grads, by });
            None
        }
        // Made once, where the optimiser would make one for each parameter.
        None => square.as_ref().filter(|square| !is_cpu(&square.device())).map(Tensor::ones_like),
    });
    Ok(square)
}

/// The square of the norm, and what brings gradients down to the limit.
fn measured<M: Module>(
    model: &M,
    grads: &GradientsParams,
    limit: f64,
) -> Result<Option<(Tensor<1>, Option<Factor>)>, TensorReadError> {
    let mut squares = Squares { grads, sum: None };
    model.visit(&mut squares);
    let Some(square) = squares.sum else { return Ok(None) };
    // torch divides by norm + 1e-6, which is kept so that curves agree.
    let by = if limit <= 0.0 {
        None
    } else if is_cpu(&square.device()) {
        let norm = f64::from(square.clone().try_into_scalar::<f32>()?).sqrt();
        (norm > limit).then(|| Factor::Read(limit / (norm + 1e-6)))
    } else {
        let norm = square.clone().sqrt().add_scalar(1e-6);
        Some(Factor::OnDevice(norm.recip().mul_scalar(limit).clamp_max(1.0)))
    };
    Ok(Some((square, by)))
}

/// What gradients are multiplied by.
#[allow(clippy::large_enum_variant, reason = "a step has one")]
enum Factor {
    Read(f64),
    /// `[1]`.
    OnDevice(Tensor<1>),
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sum = Some(with_squares(grad, self.sum.take()));
        }
    }
}

/// The sum so far and the squares of a gradient, `[1]`.
fn with_squares<const D: usize>(grad: Tensor<D>, sum: Option<Tensor<1>>) -> Tensor<1> {
    #[cfg(feature = "cube")]
    if cube::takes(&grad) {
        return cube::with_squares(grad, sum);
    }
    let square = grad.powf_scalar(2.0).sum();
    match sum {
        Some(sum) => sum + square,
        None => square,
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    by: Factor,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let scaled = match &self.by {
                Factor::Read(by) => grad.mul_scalar(*by),
                Factor::OnDevice(by) => grad * by.clone().reshape([1; D]),
            };
            self.grads.register(param.id, scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    /// The norm before clipping, as it is told.
    fn clipped(model: &Linear, grads: &mut GradientsParams, limit: f64) -> f32 {
        let square = clip_by_global_norm(model, grads, limit).unwrap().unwrap();
        square.into_scalar::<f32>().sqrt()
    }

    fn gradients(model: &Linear, weight: [[f32; 2]; 2], bias: [f32; 2]) -> GradientsParams {
        let device = burn_lora::device::parse("cpu").unwrap();
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, Tensor::<2>::from_data(weight, &device));
        let id = model.bias.as_ref().unwrap().id;
        grads.register(id, Tensor::<1>::from_data(bias, &device));
        grads
    }

    fn values(model: &Linear, grads: &GradientsParams) -> Vec<f32> {
        let weight = grads.get::<2>(model.weight.id).unwrap().into_data();
        let bias = grads.get::<1>(model.bias.as_ref().unwrap().id).unwrap().into_data();
        [weight.try_to_vec::<f32>().unwrap(), bias.try_to_vec::<f32>().unwrap()].concat()
    }

    #[test]
    fn one_factor_scales_all_gradients() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let model = LinearConfig::new(2, 2).init(&device);
        // 4 + 4 + 4 + 4 + 9 + 0 = 25: the norm is 5.
        let mut grads = gradients(&model, [[2.0, 2.0], [2.0, 2.0]], [3.0, 0.0]);
        assert_eq!(clipped(&model, &mut grads, 1.0), 5.0);
        for (got, expected) in values(&model, &grads).iter().zip([0.4, 0.4, 0.4, 0.4, 0.6, 0.0]) {
            // torch's 1e-6 in the divisor is 2e-7 of the norm.
            assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
        }
    }

    #[test]
    fn small_gradients_and_a_limit_of_zero_change_nothing() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let model = LinearConfig::new(2, 2).init(&device);
        for limit in [5.0, 0.0] {
            let mut grads = gradients(&model, [[2.0, 2.0], [2.0, 2.0]], [3.0, 0.0]);
            assert_eq!(clipped(&model, &mut grads, limit), 5.0);
            assert_eq!(values(&model, &grads), [2.0, 2.0, 2.0, 2.0, 3.0, 0.0]);
        }
    }
}
