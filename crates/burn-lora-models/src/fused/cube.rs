//! The fused operations on the Cube backends (wgpu, CUDA): kernels on `f32`; other types, soft-capped scores and slopes of positions take
//! the composed bodies.
//!
//! What they save is kernels: a training step on a GPU takes the time of starting them long before that of computing. Products are
//! `burn_lora`'s (`ProductBackend`); what lies between them is here, a cube of units for each row that is summed up and a unit for each
//! element elsewhere. All tensors are made contiguous, so that rows are reshaped without a copy.

mod attention;
mod gate;
mod gelu;
mod loss;
mod norm;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel;

use super::{Encoding, FusedBackend, Later, LogitsLoss, Scores, composed};

/// All of them contiguous, or none where one is not `f32` or has no elements.
fn all<const N: usize>(tensors: [&CubeTensor; N]) -> Option<[CubeTensor; N]> {
    let fits = |tensor: &&CubeTensor| tensor.dtype == DType::F32 && tensor.meta.num_elements() > 0;
    tensors.iter().all(fits).then(|| tensors.map(|tensor| into_contiguous(tensor.clone())))
}

/// Memory for a tensor of f32 on the device of another, contiguous.
fn fresh(like: &CubeTensor, shape: Shape) -> CubeTensor {
    kernel::fresh(like, shape, DType::F32)
}

impl FusedBackend for CubeBackend {
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        match all([&x, &gamma]) {
            Some([x, gamma]) => norm::forward(x, gamma, epsilon),
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
            Some([x, gamma, dy]) => norm::backward(x, gamma, dy, epsilon),
            None => composed::rms_norm_grad::<Self>(x, gamma, dy, epsilon),
        }
    }

    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&gate, &up]) {
            Some([gate, up]) => gate::forward(gate, up),
            None => composed::silu_mul::<Self>(gate, up),
        }
    }

    fn silu_mul_grad(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match all([&gate, &up, &dy]) {
            Some([gate, up, dy]) => gate::backward(gate, up, dy),
            None => composed::silu_mul_grad::<Self>(gate, up, dy),
        }
    }

    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&x]) {
            Some([x]) => gelu::forward(x),
            None => composed::gelu_tanh::<Self>(x),
        }
    }

    fn gelu_tanh_grad(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self> {
        match all([&x, &dy]) {
            Some([x, dy]) => gelu::backward(x, dy),
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
            (Some(inputs), Some(positions)) if scores.cap.is_none() => {
                attention::forward(inputs, &positions, scores)
            }
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
            (Some([q, k, v, dy]), Some(positions)) if scores.cap.is_none() => {
                attention::backward([q, k, v], &positions, scores, dy)
            }
            _ => composed::causal_attention_grad::<Self>(q, k, v, encoding, scores, later, dy),
        }
    }

    fn logits_loss(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        cap: Option<f64>,
    ) -> FloatTensor<Self> {
        match (all([&logits]), targets.dtype) {
            (Some([logits]), DType::I32) => loss::forward(logits, targets, cap),
            _ => composed::logits_loss::<Self>(logits, targets, cap),
        }
    }

    fn logits_loss_grad(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        cap: Option<f64>,
    ) -> LogitsLoss<Self> {
        let fits = logits.dtype == DType::F32 && logits.meta.num_elements() > 0;
        match targets.dtype {
            // Moved, so that it is nobody else's.
            DType::I32 if fits => loss::backward(into_contiguous(logits), targets, cap),
            _ => composed::logits_loss_grad::<Self>(logits, targets, cap),
        }
    }
}
