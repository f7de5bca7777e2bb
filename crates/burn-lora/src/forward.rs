//! The factored path through `burn::nn::Linear`.
//!
//! `Linear::forward` on an adapted weight is right but slow: it composes the changed weight and
//! backpropagates into it. A model that calls [`LoraForward::lora_forward`] instead gets the adapter's
//! own forward pass ([`lora_linear`](crate::lora_linear) is what they are made of), and the frozen
//! weight's own product where nothing hangs on it.

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::{Adapters, FrozenWeight, product};

/// What model code calls in place of `Linear::forward`.
pub trait LoraForward {
    /// `x W' + b`, where `W'` is the weight with the change of every active adapter.
    ///
    /// Dropout acts only where `x` lives on an autodiff device, as Burn's own `Dropout` does. A
    /// weight that is itself trainable falls back to `Linear::forward`, which gives it its gradient.
    ///
    /// # Shapes
    ///
    /// - x: `[.., d_in]`
    /// - output: `[.., d_out]`
    fn lora_forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

impl LoraForward for Linear {
    fn lora_forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mut shape = x.dims();
        let d_in = shape[D - 1];
        let rows = shape[..D - 1].iter().product();
        // Two dimensions: on batched x Burn may form a weight gradient per batch row.
        let x = x.reshape([rows, d_in]);
        let bias = self.bias.as_ref().map(|bias| bias.val());
        let trained = self.weight.base().is_require_grad();

        let adapted = match self.weight.reparameterization::<Adapters>() {
            Some(set) if !trained => set.forward(&x, &FrozenWeight::of(&self.weight)),
            _ => None,
        };
        let y = match adapted {
            Some(y) => plus(y, bias),
            // `val` and not `base`: what hangs there may be another kind of reparameterization.
            None => match FrozenWeight::from(self.weight.val()) {
                FrozenWeight::Dense(weight) => plus(product(x, weight), bias),
                weight => plus(weight.multiply(x), bias),
            },
        };
        let [_, d_out] = y.dims();
        shape[D - 1] = d_out;
        y.reshape(shape)
    }
}

/// `y + b`, `y: [rows, d_out]`.
fn plus(y: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}
