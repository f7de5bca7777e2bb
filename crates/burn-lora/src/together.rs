//! Several linear layers of one input, such as an attention's queries, keys and values or a gated unit's two halves.
//!
//! Each has its own adapter, its own output and its own gradients. What they share, the input and its gradient, is read and written once on
//! CPUs (`op/together.rs`).

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::forward::{in_f32, output, plus};
use crate::op::lora_linears;
use crate::{Adapter, Adapters, FrozenWeight, LoraForward, inputs, rows, view};

/// [`LoraForward::lora_forward`] of each of the layers on the same input.
///
/// Those on which one LoRA adapter is in force are computed together, the others each for itself. The values are those of the layers alone,
/// but for how sums are rounded.
///
/// # Shapes
///
/// - x: `[.., d_in]`
/// - outputs: `[.., d_out]` each
pub fn lora_forward_together<const N: usize, const D: usize>(
    linears: [&Linear; N],
    x: Tensor<D>,
) -> [Tensor<D>; N] {
    let single = linears.map(single);
    if single.iter().flatten().count() < 2 || rows::named().is_some() {
        return linears.map(|linear| linear.lora_forward(x.clone()));
    }
    let (shape, format) = (x.dims(), x.dtype());
    let as_rows = [shape[..D - 1].iter().product(), shape[D - 1]];
    let shared = match single.iter().flatten().any(|adapter| adapter.method().keeps_input()) {
        true => view(x.clone(), as_rows),
        false => x.clone().reshape(as_rows),
    };
    let input = in_f32(shared.clone());
    let layers: Vec<_> = (linears.iter().zip(single))
        .filter_map(|(linear, adapter)| {
            inputs::show(adapter.map(|_| linear.weight.id)?, &shared);
            adapter?.layer(&input, FrozenWeight::of(&linear.weight))
        })
        .collect();
    let mut together = lora_linears(input, layers).into_iter();
    let mut at = single.into_iter();
    linears.map(|linear| match at.next().flatten().and_then(|_| together.next()) {
        Some(y) => output(plus(y, linear.bias.as_ref().map(|bias| bias.val())), shape, format),
        None => linear.lora_forward(x.clone()),
    })
}

/// The adapter of a layer that is computed with others: the only one in force, of a kind whose change is a product of two factors.
fn single(linear: &Linear) -> Option<&Adapter> {
    let set = linear.weight.reparameterization::<Adapters>()?;
    let is_factored = !linear.weight.base().is_require_grad() && !set.is_turned();
    let mut effective = set.effective();
    match (effective.next(), effective.next()) {
        (Some(only), None) => Some(only).filter(|only| is_factored && only.is_low_rank()),
        _ => None,
    }
}
