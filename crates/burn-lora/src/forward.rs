//! The factored path through `burn::nn::Linear`.
//!
//! `Linear::forward` on an adapted weight is right but slow: it composes the changed weight and
//! backpropagates into it. A model that calls [`LoraForward::lora_forward`] instead gets the adapter's
//! own forward pass ([`lora_linear`](crate::lora_linear) is what they are made of), and the frozen
//! weight's own product where nothing hangs on it.

use burn::nn::Linear;
use burn::tensor::{DType, FloatDType, Tensor};

use crate::adapters::composed_weight;
use crate::{Adapters, FrozenWeight, inputs, product, rows, view};

/// What model code calls in place of `Linear::forward`.
pub trait LoraForward {
    /// `x W' + b`, where `W'` is the weight with the change of every active adapter.
    ///
    /// Dropout acts only where `x` lives on an autodiff device, as Burn's own `Dropout` does. A
    /// weight that is itself trainable falls back to `Linear::forward`, which gives it its gradient.
    /// Within [`by_row`](crate::by_row) each row has the adapter that it names.
    /// The output is in the number format of `x`; with an adapter the product is made in f32.
    ///
    /// # Shapes
    ///
    /// - x: `[.., d_in]`
    /// - output: `[.., d_out]`
    fn lora_forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

impl LoraForward for Linear {
    fn lora_forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (shape, format) = (x.dims(), x.dtype());
        let trained = self.weight.base().is_require_grad();
        let set = self.weight.reparameterization::<Adapters>();
        let keeps_input = |set: &Adapters| set.effective().any(|one| one.method().keeps_input());
        // Where weights are trained, memory is largest after the backward pass.
        let x = as_rows(x, !trained && set.is_some_and(keeps_input));
        inputs::show(self.weight.id, &x);
        let bias = self.bias.as_ref().map(|bias| bias.val());

        let y = match (set.filter(|set| !trained && !set.is_turned()), rows::named()) {
            (Some(set), Some(named)) => {
                let y = set.forward_by_row(&in_f32(x), &FrozenWeight::of(&self.weight), &named);
                plus(y, bias)
            }
            (Some(set), None) if set.is_merged() => {
                let weight = set.merged().cloned();
                let weight = weight.unwrap_or_else(|| composed_weight(&self.weight));
                plus(times(in_f32(x), weight, bias), set.shift())
            }
            (Some(set), None) if set.is_effective() => {
                let x = in_f32(x);
                let weight = FrozenWeight::of(&self.weight);
                let y = set.forward(&x, &weight).unwrap_or_else(|| weight.multiply(x));
                plus(y, bias)
            }
            // Composed, and not the base: what hangs there may be another kind of reparameterization.
            _ => {
                let y = times(x, composed_weight(&self.weight), bias);
                plus(y, set.and_then(Adapters::shift))
            }
        };
        output(y, shape, format)
    }
}

/// `x` in two dimensions, `[rows, d_in]`: on batched x Burn may form a weight gradient per batch row. `is_kept`: its backward pass needs it.
pub(crate) fn as_rows<const D: usize>(x: Tensor<D>, is_kept: bool) -> Tensor<2> {
    let shape = x.dims();
    let shape = [shape[..D - 1].iter().product(), shape[D - 1]];
    match is_kept {
        true => view(x, shape),
        // What goes into a view is held until the backward pass begins.
        false => x.reshape(shape),
    }
}

/// `y: [rows, d_out]` as the layer gives it for an input of that shape and format.
pub(crate) fn output<const D: usize>(
    y: Tensor<2>,
    mut shape: [usize; D],
    format: DType,
) -> Tensor<D> {
    let y = in_format(y, format);
    let [_, d_out] = y.dims();
    shape[D - 1] = d_out;
    y.reshape(shape)
}

/// `x W + b`, `x: [rows, d_in]`.
fn times(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    match FrozenWeight::from(weight) {
        FrozenWeight::Dense(weight) => plus(product(x, weight), bias),
        weight => plus(weight.multiply(x), bias),
    }
}

/// What multiplies with factors is in f32, as they are.
pub(crate) fn in_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}

/// `y + b`, `y: [rows, d_out]`.
pub(crate) fn plus(y: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    match bias {
        Some(bias) => {
            let bias = in_format(bias, y.dtype());
            y + bias.unsqueeze()
        }
        None => y,
    }
}

/// The tensor in that number format.
pub(crate) fn in_format<const D: usize>(tensor: Tensor<D>, format: DType) -> Tensor<D> {
    if tensor.dtype() == format { tensor } else { tensor.cast(format) }
}
