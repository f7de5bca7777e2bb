//! The fused operations on Flex: kernels on `f32`; other types take the composed bodies.

mod attention;
mod cached;
mod gate;
mod gelu;
mod loss;
mod norm;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_lora::Frozen;
use burn_lora_kernels::Floats;

use super::cached::{Attended, CacheRows, Held, composed as composed_cached};
use super::{Encoding, FusedBackend, HeadGrads, HeadLayout, Later, Scores, composed};
use loss::Head;

/// The values of all of them in order, or none where one is not `f32`.
fn all<const N: usize>(tensors: [&FloatTensor<Flex>; N]) -> Option<[Floats; N]> {
    let floats: Vec<Floats> =
        tensors.into_iter().map_while(|tensor| Floats::contiguous(tensor.clone())).collect();
    floats.try_into().ok()
}

impl FusedBackend for Flex {
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        match all([&x, &gamma]) {
            Some([x, gamma]) => norm::forward(&x, &gamma, epsilon),
            None => composed::rms_norm::<Self>(x, gamma, epsilon),
        }
    }

    fn rms_norm_grad(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        match all([&x, &gamma, &dy]) {
            Some([x, gamma, dy]) => norm::backward(&x, &gamma, &dy, epsilon),
            None => composed::rms_norm_grad::<Self>(x, gamma, dy, epsilon),
        }
    }

    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&gate, &up]) {
            Some([gate, up]) => gate::forward(&gate, &up),
            None => composed::silu_mul::<Self>(gate, up),
        }
    }

    fn silu_mul_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match all([&gate, &up, &dy]) {
            Some([gate, up, dy]) => gate::backward(&gate, &up, &dy),
            None => composed::silu_mul_grad::<Self>(gate, up, dy),
        }
    }

    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&x]) {
            Some([x]) => gelu::forward(&x),
            None => composed::gelu_tanh::<Self>(x),
        }
    }

    fn gelu_tanh_grad(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&x, &dy]) {
            Some([x, dy]) => gelu::backward(&x, &dy),
            None => composed::gelu_tanh_grad::<Self>(x, dy),
        }
    }

    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        encoding: Encoding<Self>,
        scores: Scores,
        later: Later<Self>,
    ) -> FloatTensor<Self> {
        match (all([&q, &k, &v]), attention::Positions::of(&encoding)) {
            (Some(inputs), Some(positions)) => attention::forward(&inputs, &positions, scores),
            _ => composed::causal_attention::<Self>(q, k, v, encoding, scores, later),
        }
    }

    fn causal_attention_grad(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        encoding: Encoding<Self>,
        scores: Scores,
        later: Later<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        match (all([&q, &k, &v, &dy]), attention::Positions::of(&encoding)) {
            (Some([q, k, v, dy]), Some(positions)) => {
                attention::backward(&[q, k, v], &positions, scores, &dy)
            }
            _ => composed::causal_attention_grad::<Self>(q, k, v, encoding, scores, later, dy),
        }
    }

    fn cached_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        held: Held<Self>,
        encoding: Encoding<Self>,
        scores: Scores,
        later: Later<Self>,
        rows: CacheRows,
    ) -> Attended<Self> {
        let inputs = (all([&q, &k, &v]), attention::Positions::of(&encoding));
        let is_f32 = [&held.keys, &held.values].iter().all(|cache| cache.dtype() == DType::F32);
        match inputs {
            (Some(inputs), Some(positions)) if is_f32 => {
                // Moved, so that they are nobody else's and are written where they lie.
                let Held { keys, values } = held;
                match [keys, values].map(Floats::contiguous) {
                    [Some(keys), Some(values)] => {
                        cached::forward(&inputs, [keys, values], &positions, scores, &rows)
                    }
                    _ => unreachable!("both are of f32"),
                }
            }
            _ => composed_cached::<Self>([q, k, v], held, &encoding, scores, later, &rows),
        }
    }

    fn head_loss(
        hidden: FloatTensor<Self>,
        weight: Frozen<Self>,
        layout: HeadLayout,
        targets: Vec<i32>,
        _: bool,
        cap: Option<f64>,
        at_once: usize,
    ) -> FloatTensor<Self> {
        match (Floats::contiguous(hidden.clone()), Head::new(&weight, layout, cap)) {
            (Some(hidden), Some(head)) => loss::forward(&hidden, &head, &targets),
            _ => composed::head_loss::<Self>(hidden, weight, layout, &targets, at_once, cap),
        }
    }

    fn head_loss_grad(
        hidden: FloatTensor<Self>,
        weight: Frozen<Self>,
        layout: HeadLayout,
        targets: Vec<i32>,
        weight_grad: bool,
        cap: Option<f64>,
        at_once: usize,
    ) -> HeadGrads<Self> {
        match (Floats::contiguous(hidden.clone()), Head::new(&weight, layout, cap)) {
            (Some(hidden), Some(head)) => loss::backward(&hidden, &head, &targets, weight_grad),
            _ => {
                let head = (weight, layout, cap);
                composed::head_loss_grad::<Self>(hidden, head, &targets, weight_grad, at_once)
            }
        }
    }
}
