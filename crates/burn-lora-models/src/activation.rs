//! What stands between the two products of a layer without a gate.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, relu};

use crate::fused::gelu_tanh;

/// What stands between the two products of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// GELU, exact.
    #[default]
    Gelu,
    /// GELU by its tanh approximation: `gelu_new`, `gelu_fast`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// The larger of x and 0.
    Relu,
}

impl Activation {
    /// From the value of a key of a `config.json`.
    pub(crate) fn parse(key: &str, name: &str) -> Result<Self, Vec<String>> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            other => Err(vec![format!(
                "`{key}` is `{other}`: supported are `gelu`, `gelu_new`, `gelu_fast`, \
                 `gelu_pytorch_tanh`, `relu`"
            )]),
        }
    }

    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_tanh(x),
            Self::Relu => relu(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_activation(name: &str, definition: fn(f64) -> f64) {
        let device = burn_lora::device::parse("cpu").unwrap();
        let inputs: Vec<f32> = (-40..=40).map(|step| step as f32 / 8.0).collect();
        let x = Tensor::<1>::from_floats(inputs.as_slice(), &device);
        let outputs: Vec<f32> = Activation::parse("hidden_act", name)
            .unwrap()
            .apply(x)
            .into_data()
            .try_to_vec()
            .unwrap();
        for (x, y) in inputs.into_iter().zip(outputs) {
            let expected = definition(f64::from(x));
            // Outputs of size 5 in f32, after a handful of operations.
            assert!((f64::from(y) - expected).abs() < 5e-6, "{name}({x}) = {y}, not {expected}");
        }
    }

    #[test]
    fn activations_are_those_of_their_names() {
        let tanh_approximation = |x: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        };
        check_activation("gelu_new", tanh_approximation);
        check_activation("gelu_fast", tanh_approximation);
        check_activation("gelu_pytorch_tanh", tanh_approximation);
        check_activation("relu", |x| x.max(0.0));
        // x Φ(x), the normal distribution integrated by Simpson's rule from 0 in 1000 steps.
        check_activation("gelu", |x| {
            let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let step = x / 1000.0;
            let weight = |i: i32| match i {
                0 | 1000 => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let integral =
                (0..=1000).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>();
            x * (0.5 + integral * step / 3.0)
        });
    }
}
