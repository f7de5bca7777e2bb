//! The factored path through `burn::nn::Linear`.
//!
//! `Linear::forward` on an adapted weight is right but slow: it composes `W + scale · A B` and
//! backpropagates into it. A model that calls [`LoraForward::lora_forward`] instead gets
//! [`lora_linear`], and the frozen weight's own product where nothing hangs on it.

use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{Distribution, Tensor};

use crate::{Adapter, Adapters, FrozenWeight, lora_linear};

/// What model code calls in place of `Linear::forward`.
pub trait LoraForward {
    /// `x W + b + Σ scale · (dropout(x) A) B` over the active adapters of the weight.
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
        let base = self.weight.base();
        let bias = || self.bias.as_ref().map(|bias| bias.val());

        let mut effective =
            self.weight.reparameterization::<Adapters>().into_iter().flat_map(Adapters::effective);
        let y = match effective.next() {
            // `val` and not `base`: what hangs there may be another kind of reparameterization.
            _ if base.is_require_grad() => linear(x, self.weight.val(), bias()),
            None => match FrozenWeight::from(self.weight.val()) {
                FrozenWeight::Dense(weight) => linear(x, weight, bias()),
                weight => plus(weight.multiply(x), bias()),
            },
            Some(first) => {
                let mut y = branch(&x, FrozenWeight::of(&self.weight), first);
                for adapter in effective {
                    let input = match dropout_mask(&x, adapter) {
                        Some(mask) => x.clone() * mask,
                        None => x.clone(),
                    };
                    let low = input.matmul(adapter.a.val()).mul_scalar(adapter.effective_scale());
                    y = y + low.matmul(adapter.b.val());
                }
                plus(y, bias())
            }
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

/// `x W + scale · (dropout(x) A) B`, `x: [rows, d_in]`.
fn branch(x: &Tensor<2>, base: FrozenWeight, adapter: &Adapter) -> Tensor<2> {
    lora_linear(
        x.clone(),
        base,
        adapter.a.val(),
        adapter.b.val(),
        adapter.effective_scale(),
        dropout_mask(x, adapter),
    )
}

/// Zeros with the adapter's dropout probability `p`, `1 / (1 - p)` elsewhere, `[rows, d_in]`.
fn dropout_mask(x: &Tensor<2>, adapter: &Adapter) -> Option<Tensor<2>> {
    let dropout = adapter.dropout();
    if dropout == 0.0 || !x.device().is_autodiff() {
        return None;
    }
    let keep = 1.0 - dropout;
    Some(x.random_like(Distribution::Bernoulli(keep)).detach().div_scalar(keep))
}
