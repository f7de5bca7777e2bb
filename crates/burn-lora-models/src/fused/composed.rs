//! The fused operations made of what every backend has: the default bodies, and the twins that
//! kernels are tested against.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{DType, IndexingUpdateOp, Shape, Slice, TensorData};
use burn_lora::Frozen;

use super::{FusedBackend, HeadGrads, HeadLayout, TableGrad};

/// Added to a score that must not count: far below any score, and finite.
const MASKED: f32 = -1e30;

fn root_mean_square<B: Backend>(x: FloatTensor<B>, epsilon: f64) -> FloatTensor<B> {
    let mean = B::float_mean_dim(B::float_mul(x.clone(), x), 1);
    B::float_sqrt(B::float_add_scalar(mean, epsilon.into()))
}

fn as_row<B: Backend>(gamma: FloatTensor<B>) -> FloatTensor<B> {
    let width = gamma.shape()[0];
    B::float_reshape(gamma, Shape::new([1, width]))
}

pub(super) fn rms_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let rms = root_mean_square::<B>(x.clone(), epsilon);
    B::float_mul(B::float_div(x, rms), as_row::<B>(gamma))
}

/// With `n = x / rms` and `g = dy · gamma`: `dx = (g - n · mean(g · n)) / rms`.
pub(super) fn rms_norm_grad<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    dy: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let rms = root_mean_square::<B>(x.clone(), epsilon);
    let normed = B::float_div(x, rms.clone());
    let g = B::float_mul(dy, as_row::<B>(gamma));
    let along = B::float_mean_dim(B::float_mul(g.clone(), normed.clone()), 1);
    B::float_div(B::float_sub(g, B::float_mul(normed, along)), rms)
}

/// `dgamma = Σ dy · x / rms` over the rows, `[d]`.
pub(super) fn rms_norm_gamma_grad<B: Backend>(
    x: FloatTensor<B>,
    dy: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let width = x.shape()[1];
    let normed = B::float_div(x.clone(), root_mean_square::<B>(x, epsilon));
    let sum = B::float_sum_dim(B::float_mul(dy, normed), 0);
    B::float_reshape(sum, Shape::new([width]))
}

pub(super) fn silu_mul<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let silu = B::float_mul(B::sigmoid(gate.clone()), gate);
    B::float_mul(silu, up)
}

/// With `s = sigmoid(gate)`: `dgate = dy · up · s (1 + gate (1 - s))`, `dup = dy · gate · s`.
pub(super) fn silu_mul_grad<B: Backend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    dy: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let s = B::sigmoid(gate.clone());
    let silu = B::float_mul(gate, s.clone());
    let slope = B::float_sub(B::float_add(s.clone(), silu.clone()), B::float_mul(silu.clone(), s));
    let dgate = B::float_mul(B::float_mul(dy.clone(), up), slope);
    (dgate, B::float_mul(dy, silu))
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    tokens: usize,
    heads: usize,
    shared: usize,
    width: usize,
}

impl Sizes {
    fn of<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>) -> Self {
        let (q, k) = (q.shape(), k.shape());
        Self { batch: q[0], tokens: q[1], heads: q[2], shared: k[2], width: q[3] }
    }

    fn scale(self) -> f64 {
        (self.width as f64).powf(-0.5)
    }

    /// The rows of queries that meet one head of keys.
    fn rows(self) -> usize {
        self.heads / self.shared * self.tokens
    }

    /// `[batch, tokens, heads, width]` to `[batch, shared, rows, width]`.
    fn stack<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        let x = B::float_swap_dims(x, 1, 2);
        B::float_reshape(x, Shape::new([self.batch, self.shared, self.rows(), self.width]))
    }

    fn unstack<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        let shape = Shape::new([self.batch, self.heads, self.tokens, self.width]);
        B::float_swap_dims(B::float_reshape(x, shape), 1, 2)
    }
}

/// Turns the pairs `(x_i, x_(i + width / 2))`. x: `[batch, tokens, heads, width]`.
fn rotate<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> FloatTensor<B> {
    let shape = cos.shape();
    let (tokens, half) = (shape[0], shape[1]);
    let table = |table| B::float_reshape(table, Shape::new([1, tokens, 1, half]));
    let (cos, sin) = (table(cos), table(sin));
    let part = |x, from, to| {
        let all = Slice::from(..);
        B::float_slice(x, &[all, all, all, Slice::from(from..to)])
    };
    let first = part(x.clone(), 0, half);
    let second = part(x, half, 2 * half);
    let turned_first = B::float_sub(
        B::float_mul(first.clone(), cos.clone()),
        B::float_mul(second.clone(), sin.clone()),
    );
    let turned_second = B::float_add(B::float_mul(second, cos), B::float_mul(first, sin));
    B::float_cat(vec![turned_first, turned_second], 3)
}

/// The causal softmax of `[batch, shared, rows, width]` against `[batch, shared, tokens, width]`.
fn probabilities<B: Backend>(q: FloatTensor<B>, k: FloatTensor<B>, sizes: Sizes) -> FloatTensor<B> {
    let Sizes { batch, tokens, heads, shared, .. } = sizes;
    let mask: Vec<f32> = (0..tokens)
        .flat_map(|t| (0..tokens).map(move |s| if s <= t { 0.0 } else { MASKED }))
        .collect();
    let mask = TensorData::new(mask, [1, 1, tokens, tokens]);
    let mask = B::float_from_data(mask.convert_dtype(q.dtype()), &q.device());
    let scores = B::float_matmul(q, B::float_swap_dims(k, 2, 3));
    let scores = B::float_reshape(scores, Shape::new([batch, heads, tokens, tokens]));
    let shape = Shape::new([batch, shared, sizes.rows(), tokens]);
    B::float_reshape(B::softmax(B::float_add(scores, mask), 3), shape)
}

pub(super) fn rotary_attention<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> FloatTensor<B> {
    let sizes = Sizes::of::<B>(&q, &k);
    let q = B::float_mul_scalar(rotate::<B>(q, cos.clone(), sin.clone()), sizes.scale().into());
    let k = B::float_swap_dims(rotate::<B>(k, cos, sin), 1, 2);
    let weights = probabilities::<B>(sizes.stack::<B>(q), k, sizes);
    sizes.unstack::<B>(B::float_matmul(weights, B::float_swap_dims(v, 1, 2)))
}

/// With `P` the probabilities: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P (dP - Σ P dP)`, `dQ = dS K`,
/// `dK = dSᵀ Q`, and the rotations backwards.
pub(super) fn rotary_attention_grad<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
    dy: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let sizes = Sizes::of::<B>(&q, &k);
    let q = B::float_mul_scalar(rotate::<B>(q, cos.clone(), sin.clone()), sizes.scale().into());
    let q = sizes.stack::<B>(q);
    let k = B::float_swap_dims(rotate::<B>(k, cos.clone(), sin.clone()), 1, 2);
    let v = B::float_swap_dims(v, 1, 2);
    let dy = sizes.stack::<B>(dy);
    let weights = probabilities::<B>(q.clone(), k.clone(), sizes);
    let dv = B::float_matmul(B::float_swap_dims(weights.clone(), 2, 3), dy.clone());
    let dweights = B::float_matmul(dy, B::float_swap_dims(v, 2, 3));
    let along = B::float_sum_dim(B::float_mul(weights.clone(), dweights.clone()), 3);
    let dscores = B::float_mul(weights, B::float_sub(dweights, along));
    let dq = B::float_mul_scalar(B::float_matmul(dscores.clone(), k), sizes.scale().into());
    let dk = B::float_matmul(B::float_swap_dims(dscores, 2, 3), q);
    let back = B::float_neg(sin);
    (
        rotate::<B>(sizes.unstack::<B>(dq), cos.clone(), back.clone()),
        rotate::<B>(B::float_swap_dims(dk, 1, 2), cos, back),
        B::float_swap_dims(dv, 1, 2),
    )
}

fn column<B: Backend>(targets: &[i32], device: &burn::backend::tensor::Device<B>) -> IntTensor<B> {
    let data = TensorData::new(targets.to_vec(), [targets.len(), 1]);
    B::int_from_data(data, device)
}

/// The scores of every row, `[rows, vocabulary]`.
fn scores<B: FusedBackend>(
    hidden: FloatTensor<B>,
    weight: Frozen<B>,
    layout: HeadLayout,
) -> FloatTensor<B> {
    match layout {
        HeadLayout::Table => weight.multiply_transposed(hidden),
        HeadLayout::Linear => weight.multiply(hidden),
    }
}

pub(super) fn head_loss<B: FusedBackend>(
    hidden: FloatTensor<B>,
    weight: Frozen<B>,
    layout: HeadLayout,
    targets: &[i32],
) -> FloatTensor<B> {
    let targets = column::<B>(targets, &hidden.device());
    let logits = scores(hidden, weight, layout);
    let right = B::float_gather(1, B::log_softmax(logits, 1), targets);
    B::float_neg(B::float_sum(right))
}

/// With `P` the softmax of the scores and `T` one where a target is: `dS = P - T`,
/// `dhidden = dS table`, `dtable = dSᵀ hidden`.
pub(super) fn head_loss_grad<B: FusedBackend>(
    hidden: FloatTensor<B>,
    weight: Frozen<B>,
    layout: HeadLayout,
    targets: &[i32],
    table_grad: bool,
) -> HeadGrads<B> {
    let rows = targets.len();
    let (device, dtype) = (hidden.device(), hidden.dtype());
    let targets = column::<B>(targets, &device);
    let logits = scores(hidden.clone(), weight.clone(), layout);
    let logs = B::log_softmax(logits, 1);
    let right = B::float_gather(1, logs.clone(), targets.clone());
    let minus_one = minus_ones::<B>(rows, dtype, &device);
    let dscores =
        B::float_scatter(1, B::float_exp(logs), targets, minus_one, IndexingUpdateOp::Add);
    let grad = match table_grad {
        true => TableGrad::Dense(B::float_matmul(B::float_transpose(dscores.clone()), hidden)),
        false => TableGrad::Skipped,
    };
    HeadGrads {
        loss: B::float_neg(B::float_sum(right)),
        hidden: match layout {
            HeadLayout::Table => weight.multiply(dscores),
            HeadLayout::Linear => weight.multiply_transposed(dscores),
        },
        table: grad,
    }
}

fn minus_ones<B: Backend>(
    rows: usize,
    dtype: DType,
    device: &burn::backend::tensor::Device<B>,
) -> FloatTensor<B> {
    let data = TensorData::new(vec![-1.0_f32; rows], [rows, 1]);
    B::float_from_data(data.convert_dtype(dtype), device)
}
