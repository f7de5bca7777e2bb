//! Several linear layers of one input, such as an attention's queries, keys and values or a gated unit's two halves.
//!
//! Each has its own adapter, its own output and its own gradients. What they share, the input and its gradient, is read and written once on
//! CPUs (`op/together.rs`).

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::forward::{as_rows, in_f32, output, plus};
use crate::op::{Layer, LowRank, lora_linears};
use crate::{Adapter, Adapters, FrozenWeight, LoraForward, inputs, rows};

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
    let singles = linears.map(single);
    if singles.iter().flatten().count() < 2 || rows::named().is_some() {
        return linears.map(|linear| linear.lora_forward(x.clone()));
    }
    let (shape, format) = (x.dims(), x.dtype());
    let is_kept = singles.iter().flatten().any(|(adapter, _)| adapter.method().keeps_input());
    let shared = as_rows(x.clone(), is_kept);
    let input = in_f32(shared.clone());
    let is_single = singles.each_ref().map(Option::is_some);
    let layers = linears.iter().zip(singles).filter_map(|(linear, single)| {
        let (of, adapter) = single?;
        inputs::show(linear.weight.id, &shared);
        Some(Layer { weight: FrozenWeight::of(&linear.weight), adapter, mask: of.mask(&input) })
    });
    let layers: Vec<_> = layers.collect();
    let mut together = lora_linears(input, layers).into_iter();
    std::array::from_fn(|at| match is_single[at].then(|| together.next()).flatten() {
        Some(y) => {
            let bias = linears[at].bias.as_ref().map(|bias| bias.val());
            output(plus(y, bias), shape, format)
        }
        None => linears[at].lora_forward(x.clone()),
    })
}

/// The adapter of a layer that is computed with others, the only one in force, and the two factors whose product is its change.
fn single(linear: &Linear) -> Option<(&Adapter, LowRank)> {
    let set = linear.weight.reparameterization::<Adapters>()?;
    let is_factored = !linear.weight.base().is_require_grad() && !set.is_turned();
    let mut effective = set.effective();
    match (effective.next(), effective.next()) {
        (Some(only), None) if is_factored => Some((only, only.factored()?)),
        _ => None,
    }
}
