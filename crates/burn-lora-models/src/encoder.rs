//! What encoders share: attention of whole rows both ways, and what of them is not seen.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::product;

use crate::dropout::Dropout;
use crate::fused::MASKED;

/// What is added to scores so that no token sees padding, nor, with a window, a token further away than that, before it
/// or behind it. Row `i` has `lengths[i]` tokens, then padding. None where all see all. A constant of the pass, to
/// tensors with and without autodiff.
///
/// # Shapes
///
/// - output: `[batch, 1, 1 or tokens, tokens]`, or with `1` for the batch where no row has padding
pub(crate) fn unseen(
    tokens: usize,
    lengths: &[usize],
    window: Option<usize>,
    device: &Device,
) -> Option<Tensor<4>> {
    let device = device.clone().without_autodiff();
    let padded = lengths.iter().any(|&length| length < tokens);
    let score = |seen: bool| if seen { 0.0 } else { MASKED };
    let padding = padded.then(|| {
        let row = |&length: &usize| (0..tokens).map(move |key| score(key < length));
        let values: Vec<f32> = lengths.iter().flat_map(row).collect();
        Tensor::<4>::from_data(TensorData::new(values, [lengths.len(), 1, 1, tokens]), &device)
    });
    let Some(window) = window.filter(|&window| window + 1 < tokens) else { return padding };
    let row = |query: usize| (0..tokens).map(move |key| score(query.abs_diff(key) <= window));
    let values: Vec<f32> = (0..tokens).flat_map(row).collect();
    let far = Tensor::<4>::from_data(TensorData::new(values, [1, 1, tokens, tokens]), &device);
    // Twice what must not count is still a number.
    Some(match padding {
        Some(padding) => padding + far,
        None => far,
    })
}

/// `softmax(q kᵀ / √head_dim + mask) v`, of all heads.
///
/// # Shapes
///
/// - q, k and v: `[batch, heads, tokens, head_dim]`
/// - mask: as [`unseen`] gives it
/// - output: `[batch, tokens, heads · head_dim]`
pub(crate) fn attention(
    [q, k, v]: [Tensor<4>; 3],
    mask: Option<&Tensor<4>>,
    dropout: Dropout,
) -> Tensor<3> {
    let [batch, heads, tokens, head_dim] = q.dims();
    let scores = product(q.mul_scalar((head_dim as f64).powf(-0.5)), k.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    let probabilities = dropout.forward(softmax(scores, 3));
    product(probabilities, v).swap_dims(1, 2).reshape([batch, tokens, heads * head_dim])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_sees_what_is_near_and_no_padding() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let seen = |lengths: &[usize], window| {
            let mask = unseen(3, lengths, window, &device)?;
            let values: Vec<f32> = mask.clone().into_data().try_to_vec().unwrap();
            let seen: Vec<u8> = values.iter().map(|&value| u8::from(value == 0.0)).collect();
            Some((mask.dims(), seen))
        };
        assert_eq!(seen(&[3, 3], None), None);
        assert_eq!(seen(&[3, 3], Some(2)), None);
        assert_eq!(seen(&[3, 2], None), Some(([2, 1, 1, 3], vec![1, 1, 1, 1, 1, 0])));
        let near = vec![1, 1, 0, 1, 1, 1, 0, 1, 1];
        assert_eq!(seen(&[3, 3], Some(1)), Some(([1, 1, 3, 3], near.clone())));
        let both = [near, vec![1, 1, 0, 1, 1, 0, 0, 1, 0]].concat();
        assert_eq!(seen(&[3, 2], Some(1)), Some(([2, 1, 3, 3], both)));
        assert_eq!(seen(&[3, 3], Some(0)).unwrap().1, [1, 0, 0, 0, 1, 0, 0, 0, 1]);
    }
}
