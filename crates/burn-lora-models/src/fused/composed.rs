//! The fused operations made of what every backend has: the default bodies, and the twins that
//! kernels are tested against.
//!
//! Everything that is made here is made on the device: the causal mask by comparing positions there,
//! constants by filling. The targets of the loss are the one thing that comes from the host.
//!
//! Left out: Burn's own `attention`. Of the backends that run these bodies only the Cube ones have it fused, for tensor cores, where it
//! rounds f32 to f16; and it has no backward, which would have to form the scores in another precision than it saw.

use burn::backend::tensor::{BoolTensor, Device, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{IndexingUpdateOp, Shape, Slice, TensorData};
use burn_lora::{Frozen, ProductBackend};

use super::{
    Encoding, FusedBackend, HeadGrads, HeadLayout, Later, LogitsLoss, MASKED, Scores, WeightGrad,
};

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

/// `√(2/π)`.
pub(super) const STEEPNESS: f64 =
    std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// What the cube counts in GELU's approximation.
pub(super) const CUBIC: f64 = 0.044715;

/// `tanh(√(2/π) (x + 0.044715 x³))`, and `x²`.
fn gelu_parts<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let square = B::float_mul(x.clone(), x.clone());
    let inner = B::float_add_scalar(
        B::float_mul_scalar(square.clone(), (STEEPNESS * CUBIC).into()),
        STEEPNESS.into(),
    );
    (B::float_tanh(B::float_mul(inner, x)), square)
}

pub(super) fn gelu_tanh<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let (tanh, _) = gelu_parts::<B>(x.clone());
    B::float_mul(B::float_mul_scalar(x, 0.5.into()), B::float_add_scalar(tanh, 1.0.into()))
}

/// With `t` the hyperbolic tangent and `u` its argument: `dx = dy/2 (1 + t + x (1 - t²) u')`,
/// `u' = √(2/π) (1 + 3 · 0.044715 x²)`.
pub(super) fn gelu_tanh_grad<B: Backend>(x: FloatTensor<B>, dy: FloatTensor<B>) -> FloatTensor<B> {
    let (tanh, square) = gelu_parts::<B>(x.clone());
    let slope = B::float_add_scalar(
        B::float_mul_scalar(square, (3.0 * STEEPNESS * CUBIC).into()),
        STEEPNESS.into(),
    );
    let flat =
        B::float_add_scalar(B::float_neg(B::float_mul(tanh.clone(), tanh.clone())), 1.0.into());
    let along = B::float_mul(B::float_mul(x, flat), slope);
    let total = B::float_add_scalar(B::float_add(tanh, along), 1.0.into());
    B::float_mul(B::float_mul_scalar(dy, 0.5.into()), total)
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) n_kv_heads: usize,
    head_dim: usize,
}

impl Sizes {
    pub(super) fn of<B: Backend>(q: &FloatTensor<B>, k: &FloatTensor<B>) -> Self {
        let (q, k) = (q.shape(), k.shape());
        Self { batch: q[0], tokens: q[1], heads: q[2], n_kv_heads: k[2], head_dim: q[3] }
    }

    /// The rows of queries that meet one head of keys.
    pub(super) fn rows(self) -> usize {
        self.heads / self.n_kv_heads * self.tokens
    }

    /// `[batch, tokens, heads, head_dim]` to `[batch, n_kv_heads, rows, head_dim]`.
    pub(super) fn stack<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        let x = B::float_swap_dims(x, 1, 2);
        B::float_reshape(x, Shape::new([self.batch, self.n_kv_heads, self.rows(), self.head_dim]))
    }

    pub(super) fn unstack<B: Backend>(self, x: FloatTensor<B>) -> FloatTensor<B> {
        let shape = Shape::new([self.batch, self.heads, self.tokens, self.head_dim]);
        B::float_swap_dims(B::float_reshape(x, shape), 1, 2)
    }
}

/// Turns the pairs `(x_i, x_(i + pairs))` that a head begins with. x: `[batch, tokens, heads, head_dim]`.
fn rotate<B: Backend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> FloatTensor<B> {
    let (shape, tokens, head_dim) = (cos.shape(), x.shape()[1], x.shape()[3]);
    let (rows, half) = (shape[0] / tokens.max(1), shape[1]);
    let table = |table| B::float_reshape(table, Shape::new([rows, tokens, 1, half]));
    let (cos, sin) = (table(cos), table(sin));
    let part = |x, from, to| {
        let all = Slice::from(..);
        B::float_slice(x, &[all, all, all, Slice::from(from..to)])
    };
    let first = part(x.clone(), 0, half);
    let second = part(x.clone(), half, 2 * half);
    let turned_first = B::float_sub(
        B::float_mul(first.clone(), cos.clone()),
        B::float_mul(second.clone(), sin.clone()),
    );
    let turned_second = B::float_add(B::float_mul(second, cos), B::float_mul(first, sin));
    let mut parts = vec![turned_first, turned_second];
    if 2 * half < head_dim {
        parts.push(part(x, 2 * half, head_dim));
    }
    B::float_cat(parts, 3)
}

/// Where a token would see one after it, or one that its window has passed, `[batch, heads, tokens, tokens]`: a view
/// of one `[tokens, tokens]`, which is given or compared here, on the device.
fn unseen<B: Backend>(
    later: Later<B>,
    sizes: Sizes,
    scores: Scores,
    device: &Device<B>,
) -> BoolTensor<B> {
    let Sizes { batch, tokens, heads, .. } = sizes;
    let settings = get_or_init_device_settings::<B>(device);
    let positions = || {
        let positions = B::int_arange(0..tokens as i64, device, settings.int_dtype);
        let seeing = B::int_reshape(positions.clone(), Shape::new([tokens, 1]));
        (seeing, B::int_reshape(positions, Shape::new([1, tokens])))
    };
    let mask = match later {
        Later::Mask(mask) => mask,
        Later::Implied => {
            let (seeing, seen) = positions();
            B::int_lower(seeing, seen, settings.bool_dtype)
        }
    };
    let mask = match scores.window_within(tokens) {
        Some(window) => {
            let (seeing, seen) = positions();
            let passed = B::int_sub_scalar(seeing, (window as i64).into());
            B::bool_or(mask, B::int_lower_equal(seen, passed, settings.bool_dtype))
        }
        None => mask,
    };
    let mask = B::bool_reshape(mask, Shape::new([1, 1, tokens, tokens]));
    B::bool_expand(mask, Shape::new([batch, heads, tokens, tokens]))
}

/// Queries or keys as the scores take them.
pub(super) fn placed<B: Backend>(x: FloatTensor<B>, encoding: &Encoding<B>) -> FloatTensor<B> {
    match encoding {
        Encoding::Rotary { cos, sin } => rotate::<B>(x, cos.clone(), sin.clone()),
        Encoding::Embedded | Encoding::Alibi { .. } => x,
    }
}

/// The gradient of queries or keys, given that of what the scores take.
fn placed_grad<B: Backend>(dx: FloatTensor<B>, encoding: &Encoding<B>) -> FloatTensor<B> {
    match encoding {
        Encoding::Rotary { cos, sin } => rotate::<B>(dx, cos.clone(), B::float_neg(sin.clone())),
        Encoding::Embedded | Encoding::Alibi { .. } => dx,
    }
}

/// Scores `[batch, heads, tokens, keys]` with what positions add to them, keys having theirs from 0 on.
pub(super) fn biased<B: Backend>(scores: FloatTensor<B>, encoding: &Encoding<B>) -> FloatTensor<B> {
    let Encoding::Alibi { slopes } = encoding else { return scores };
    let (heads, keys) = (scores.shape()[1], scores.shape()[3]);
    let (device, dtype) = (scores.device(), scores.dtype());
    let settings = get_or_init_device_settings::<B>(&device);
    let positions = B::int_arange(0..keys as i64, &device, settings.int_dtype);
    let positions = B::int_into_float(positions, dtype.into());
    let positions = B::float_reshape(positions, Shape::new([1, 1, 1, keys]));
    let slopes = B::float_reshape(slopes.clone(), Shape::new([1, heads, 1, 1]));
    B::float_add(scores, B::float_mul(slopes, positions))
}

/// `cap · tanh(x / cap)`, where there is a cap.
pub(super) fn capped<B: Backend>(x: FloatTensor<B>, cap: Option<f64>) -> FloatTensor<B> {
    let Some(cap) = cap else { return x };
    let tanh = B::float_tanh(B::float_mul_scalar(x, (1.0 / cap).into()));
    B::float_mul_scalar(tanh, cap.into())
}

/// The slope of [`capped`], of its result: `1 - (y / cap)²`; none without a cap.
fn cap_slope<B: Backend>(y: FloatTensor<B>, cap: Option<f64>) -> Option<FloatTensor<B>> {
    let tanh = B::float_mul_scalar(y, (1.0 / cap?).into());
    Some(B::float_add_scalar(B::float_neg(B::float_mul(tanh.clone(), tanh)), 1.0.into()))
}

/// Queries and keys as they come from their projections, as they are [`scored`]: placed, and the queries scaled.
fn multiplied<B: ProductBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    encoding: &Encoding<B>,
    scores: Scores,
    sizes: Sizes,
) -> [FloatTensor<B>; 2] {
    let q = B::float_mul_scalar(placed::<B>(q, encoding), scores.scale.into());
    [sizes.stack::<B>(q), B::float_swap_dims(placed::<B>(k, encoding), 1, 2)]
}

/// What `[batch, n_kv_heads, rows, head_dim]` and `[batch, n_kv_heads, tokens, head_dim]` score, capped: `[batch,
/// n_kv_heads, rows, tokens]`.
fn scored<B: ProductBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    scores: Scores,
) -> FloatTensor<B> {
    capped::<B>(B::product(q, B::float_swap_dims(k, 2, 3)), scores.cap)
}

/// The causal softmax of what was [`scored`], alike.
fn probabilities<B: ProductBackend>(
    scored: FloatTensor<B>,
    encoding: &Encoding<B>,
    scores: Scores,
    later: Later<B>,
    sizes: Sizes,
) -> FloatTensor<B> {
    let Sizes { batch, tokens, heads, n_kv_heads, .. } = sizes;
    let mask = unseen::<B>(later, sizes, scores, &scored.device());
    let scored = B::float_reshape(scored, Shape::new([batch, heads, tokens, tokens]));
    let scored = biased::<B>(scored, encoding);
    let scored = B::float_mask_fill(scored, mask, MASKED.into());
    let shape = Shape::new([batch, n_kv_heads, sizes.rows(), tokens]);
    B::float_reshape(B::softmax(scored, 3), shape)
}

pub(super) fn causal_attention<B: ProductBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    encoding: Encoding<B>,
    scores: Scores,
    later: Later<B>,
) -> FloatTensor<B> {
    let sizes = Sizes::of::<B>(&q, &k);
    let [q, k] = multiplied::<B>(q, k, &encoding, scores, sizes);
    let scored = scored::<B>(q, k, scores);
    let weights = probabilities::<B>(scored, &encoding, scores, later, sizes);
    sizes.unstack::<B>(B::product(weights, B::float_swap_dims(v, 1, 2)))
}

/// With `P` the probabilities: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P (dP - Σ P dP)`, times the slope of a soft cap,
/// `dQ = dS K`, `dK = dSᵀ Q`, and the rotations backwards.
pub(super) fn causal_attention_grad<B: ProductBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    encoding: Encoding<B>,
    scores: Scores,
    later: Later<B>,
    dy: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let sizes = Sizes::of::<B>(&q, &k);
    let [q, k] = multiplied::<B>(q, k, &encoding, scores, sizes);
    let v = B::float_swap_dims(v, 1, 2);
    let dy = sizes.stack::<B>(dy);
    let scored = scored::<B>(q.clone(), k.clone(), scores);
    let slope = cap_slope::<B>(scored.clone(), scores.cap);
    let weights = probabilities::<B>(scored, &encoding, scores, later, sizes);
    let dv = B::product(B::float_swap_dims(weights.clone(), 2, 3), dy.clone());
    let dweights = B::product(dy, B::float_swap_dims(v, 2, 3));
    let along = B::float_sum_dim(B::float_mul(weights.clone(), dweights.clone()), 3);
    let dscores = B::float_mul(weights, B::float_sub(dweights, along));
    let dscores = match slope {
        Some(slope) => B::float_mul(dscores, slope),
        None => dscores,
    };
    let dq = B::float_mul_scalar(B::product(dscores.clone(), k), scores.scale.into());
    let dk = B::product(B::float_swap_dims(dscores, 2, 3), q);
    (
        placed_grad::<B>(sizes.unstack::<B>(dq), &encoding),
        placed_grad::<B>(B::float_swap_dims(dk, 1, 2), &encoding),
        B::float_swap_dims(dv, 1, 2),
    )
}

/// The targets as a column on the device, `[rows, 1]`.
fn column<B: Backend>(targets: &[i32], device: &Device<B>) -> IntTensor<B> {
    B::int_from_data(TensorData::new(targets.to_vec(), [targets.len(), 1]), device)
}

/// Rows `from..to` of a matrix, as the slices of an operation.
fn span(from: usize, to: usize) -> [Slice; 2] {
    [Slice::from(from..to), Slice::from(..)]
}

/// The ranges that a loss over so many rows is taken in.
fn chunks(rows: usize, at_once: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(at_once).map(move |from| (from, (from + at_once).min(rows)))
}

/// The logits of some rows, `[rows, vocabulary]`.
fn logits<B: FusedBackend>(
    hidden: FloatTensor<B>,
    weight: Frozen<B>,
    layout: HeadLayout,
) -> FloatTensor<B> {
    match layout {
        HeadLayout::Table => weight.multiply_transposed(hidden),
        HeadLayout::Linear => weight.multiply(hidden),
    }
}

/// `-Σ logs[target]`, `[1]`.
fn missing<B: Backend>(logs: FloatTensor<B>, targets: IntTensor<B>) -> FloatTensor<B> {
    B::float_neg(B::float_sum(B::float_gather(1, logs, targets)))
}

pub(super) fn logits_loss<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    cap: Option<f64>,
) -> FloatTensor<B> {
    missing::<B>(B::log_softmax(capped::<B>(logits, cap), 1), targets)
}

/// With `P` the softmax of the logits and `T` one where a target is: `P - T`, times the slope of a soft cap.
pub(super) fn logits_loss_grad<B: Backend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    cap: Option<f64>,
) -> LogitsLoss<B> {
    let (device, dtype, rows) = (logits.device(), logits.dtype(), logits.shape()[0]);
    let logits = capped::<B>(logits, cap);
    let slope = cap_slope::<B>(logits.clone(), cap);
    let logs = B::log_softmax(logits, 1);
    let loss = missing::<B>(logs.clone(), targets.clone());
    let minus_one = B::float_full(Shape::new([rows, 1]), (-1.0_f32).into(), &device, dtype.into());
    let dlogits =
        B::float_scatter(1, B::float_exp(logs), targets, minus_one, IndexingUpdateOp::Add);
    let dlogits = match slope {
        Some(slope) => B::float_mul(dlogits, slope),
        None => dlogits,
    };
    LogitsLoss { loss, dlogits }
}

pub(super) fn head_loss<B: FusedBackend>(
    hidden: FloatTensor<B>,
    weight: Frozen<B>,
    layout: HeadLayout,
    targets: &[i32],
    at_once: usize,
    cap: Option<f64>,
) -> FloatTensor<B> {
    let (device, dtype) = (hidden.device(), hidden.dtype());
    let targets_on_device = column::<B>(targets, &device);
    let loss = B::float_zeros(Shape::new([1]), &device, dtype.into());
    chunks(targets.len(), at_once).fold(loss, |loss, (from, to)| {
        let rows = B::float_slice(hidden.clone(), &span(from, to));
        let targets = B::int_slice(targets_on_device.clone(), &span(from, to));
        B::float_add(loss, B::logits_loss(logits::<B>(rows, weight.clone(), layout), targets, cap))
    })
}

/// With `dS` the gradient of the logits: `dhidden = dS weight`, `dweight = dSᵀ hidden`. A head is its weight, how that lies, and the cap.
pub(super) fn head_loss_grad<B: FusedBackend>(
    hidden: FloatTensor<B>,
    (weight, layout, cap): (Frozen<B>, HeadLayout, Option<f64>),
    targets: &[i32],
    weight_grad: bool,
    at_once: usize,
) -> HeadGrads<B> {
    let (device, dtype) = (hidden.device(), hidden.dtype());
    let targets_on_device = column::<B>(targets, &device);
    let mut loss = B::float_zeros(Shape::new([1]), &device, dtype.into());
    let mut hidden_grads = Vec::new();
    let mut weight_sum = None;
    for (from, to) in chunks(targets.len(), at_once) {
        let rows = B::float_slice(hidden.clone(), &span(from, to));
        let targets = B::int_slice(targets_on_device.clone(), &span(from, to));
        let logits = logits::<B>(rows.clone(), weight.clone(), layout);
        let LogitsLoss { loss: of_rows, dlogits: dscores } =
            B::logits_loss_grad(logits, targets, cap);
        loss = B::float_add(loss, of_rows);
        if weight_grad {
            let of_rows = B::product(B::float_transpose(dscores.clone()), rows);
            weight_sum = Some(match weight_sum {
                Some(sum) => B::float_add(sum, of_rows),
                None => of_rows,
            });
        }
        hidden_grads.push(match layout {
            HeadLayout::Table => weight.clone().multiply(dscores),
            HeadLayout::Linear => weight.clone().multiply_transposed(dscores),
        });
    }
    HeadGrads {
        loss,
        hidden: match hidden_grads.len() {
            0 => hidden,
            1 => hidden_grads.remove(0),
            _ => B::float_cat(hidden_grads, 0),
        },
        weight: match (weight_sum, weight_grad) {
            (Some(sum), _) => WeightGrad::Dense(sum),
            (None, true) => {
                let shape = Shape::new(weight.dims());
                WeightGrad::Dense(B::float_zeros(shape, &device, dtype.into()))
            }
            (None, false) => WeightGrad::Skipped,
        },
    }
}
