//! Causal attention: two batched products, and between them a kernel that masks and normalises a row of scores.
//!
//! Of a base held in bf16 the products are bf16's with sums in f32, and probabilities and their gradients are rounded to it as they are
//! written; scores, softmax and everything else is f32.
//!
//! Queries and keys are turned by their positions while they are laid out head by head, gradients while they are laid back. Scores exist
//! whole, `[batch, heads, tokens, tokens]`, one tensor at a time forward and three backward.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use burn_lora::{ProductBackend, half_matrices, kernel};
use cubecl::prelude::*;

use super::super::{Encoding, Scores};
use super::fresh;

/// How positions enter, where a kernel does it.
pub(super) enum Positions {
    /// Not at all.
    Embedded,
    /// Cosines and sines, `[rows, pairs]`; rows are those of one sequence or of all of them.
    Rotary { cos: CubeTensor, sin: CubeTensor },
}

impl Positions {
    pub(super) fn of(encoding: &Encoding<CubeBackend>) -> Option<Self> {
        match encoding {
            Encoding::Embedded => Some(Self::Embedded),
            Encoding::Rotary { cos, sin } => {
                let [cos, sin] = super::all([cos, sin])?;
                Some(Self::Rotary { cos, sin })
            }
            Encoding::Alibi { .. } => None,
        }
    }

    /// `scale · x`, each pair turned, into `y` in its format; both `[batch, tokens, heads, head_dim]`, with any strides. `back` turns the
    /// other way.
    fn lay(&self, x: CubeTensor, y: CubeTensor, scale: f64, back: bool) {
        let (client, count) = (x.client.clone(), x.meta.num_elements());
        let (cubes, units) = kernel::elements(&x, count);
        let format = dtype_to_storage_type(y.dtype);
        let (x, y) = (x.into_tensor_arg(), y.into_tensor_arg());
        let scale = scale as f32;
        match self {
            Self::Embedded => lay_kernel::launch(&client, cubes, units, x, y, scale, format),
            Self::Rotary { cos, sin } => {
                let turn = if back { -1.0f32 } else { 1.0 };
                let [cos, sin] = [cos, sin].map(|table| table.clone().into_tensor_arg());
                turn_kernel::launch(&client, cubes, units, x, cos, sin, y, scale, turn, format);
            }
        }
    }

    /// `[batch, tokens, heads, head_dim]` laid out as `[batch, heads, tokens, head_dim]`.
    fn by_head(&self, x: CubeTensor, scale: f64, format: DType) -> CubeTensor {
        let [batch, tokens, heads, head_dim] = x.meta.shape().dims();
        let y = kernel::fresh(&x, Shape::new([batch, heads, tokens, head_dim]), format);
        self.lay(x, CubeBackend::float_swap_dims(y.clone(), 1, 2), scale, false);
        y
    }

    /// The way back of what [`by_head`](Self::by_head) laid out, of a gradient.
    fn by_token(&self, y: CubeTensor, scale: f64) -> CubeTensor {
        let [batch, heads, tokens, head_dim] = y.meta.shape().dims();
        let x = fresh(&y, Shape::new([batch, tokens, heads, head_dim]));
        self.lay(CubeBackend::float_swap_dims(y, 1, 2), x.clone(), scale, true);
        x
    }
}

/// In f32 as f32, of 16 bits with sums in f32; the output is f32.
fn product(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    match lhs.dtype {
        DType::F32 => CubeBackend::product(lhs, rhs),
        _ => half_matrices(lhs, rhs),
    }
}

/// Heads of queries that share one of keys, as more rows of it: `[batch, heads, tokens, n]` to `[batch, n_kv_heads, rows, n]`, a view.
fn grouped(x: CubeTensor, n_kv_heads: usize) -> CubeTensor {
    let [batch, heads, tokens, n] = x.meta.shape().dims();
    let rows = heads / n_kv_heads * tokens;
    CubeBackend::float_reshape(x, Shape::new([batch, n_kv_heads, rows, n]))
}

/// The way back of [`grouped`], a view.
fn ungrouped(x: CubeTensor, heads: usize) -> CubeTensor {
    let [batch, n_kv_heads, rows, n] = x.meta.shape().dims();
    let tokens = n_kv_heads * rows / heads;
    CubeBackend::float_reshape(x, Shape::new([batch, heads, tokens, n]))
}

/// What both passes begin with: queries, scaled, and keys and values, head by head; and the probabilities.
struct Begun {
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    weights: CubeTensor,
}

fn begin([q, k, v]: [CubeTensor; 3], positions: &Positions, scores: Scores) -> Begun {
    let n_kv_heads = k.meta.shape()[2];
    let q = grouped(positions.by_head(q, scores.scale, scores.format), n_kv_heads);
    let k = positions.by_head(k, 1.0, scores.format);
    let v = Positions::Embedded.by_head(v, 1.0, scores.format);
    let scored = product(q.clone(), CubeBackend::float_swap_dims(k.clone(), 2, 3));
    let weights = softmax(scored, k.meta.shape()[2], scores);
    Begun { q, k, v, weights }
}

/// q: `[batch, tokens, heads, head_dim]`, k and v: `[batch, tokens, n_kv_heads, head_dim]`; output as q.
pub(super) fn forward(
    inputs: [CubeTensor; 3],
    positions: &Positions,
    scores: Scores,
) -> CubeTensor {
    let heads = inputs[0].meta.shape()[2];
    let Begun { v, weights, .. } = begin(inputs, positions, scores);
    let y = ungrouped(product(weights, v), heads);
    Positions::Embedded.by_token(y, 1.0)
}

/// With `P` the probabilities: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P (dP - Σ P dP)`, `dQ = dS K`, `dK = dSᵀ Q`, and the
/// rotations backwards.
pub(super) fn backward(
    inputs: [CubeTensor; 3],
    positions: &Positions,
    scores: Scores,
    dy: CubeTensor,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let swapped = |x: &CubeTensor| CubeBackend::float_swap_dims(x.clone(), 2, 3);
    let [heads, n_kv_heads] = [0, 1].map(|of| inputs[of].meta.shape()[2]);
    let Begun { q, k, v, weights } = begin(inputs, positions, scores);
    let dy = grouped(Positions::Embedded.by_head(dy, 1.0, scores.format), n_kv_heads);
    let dv = product(swapped(&weights), dy.clone());
    let dweights = product(dy, swapped(&v));
    let dscores = softmax_grad(weights, dweights, k.meta.shape()[2], scores);
    let dk = product(swapped(&dscores), q);
    let dq = ungrouped(product(dscores, k), heads);
    (
        positions.by_token(dq, scores.scale),
        positions.by_token(dk, 1.0),
        Positions::Embedded.by_token(dv, 1.0),
    )
}

/// The probabilities of scores `[.., rows, tokens]`, whose rows are those of `tokens` queries again and again.
fn softmax(scored: CubeTensor, tokens: usize, scores: Scores) -> CubeTensor {
    let weights = kernel::fresh(&scored, scored.meta.shape().clone(), scores.format);
    let format = dtype_to_storage_type(scores.format);
    let (client, (cubes, units)) =
        (scored.client.clone(), kernel::rows(scored.meta.num_elements() / tokens));
    let window = scores.window_within(tokens).unwrap_or(tokens);
    let [scored, to] = [scored, weights.clone()].map(CubeTensor::into_tensor_arg);
    softmax_kernel::launch(&client, cubes, units, scored, to, tokens, window, format);
    weights
}

/// `P (dP - Σ P dP)`, zeros where nothing is seen.
fn softmax_grad(
    weights: CubeTensor,
    dweights: CubeTensor,
    tokens: usize,
    scores: Scores,
) -> CubeTensor {
    let dscores = kernel::fresh(&weights, weights.meta.shape().clone(), scores.format);
    let format = dtype_to_storage_type(scores.format);
    let (client, (cubes, units)) =
        (weights.client.clone(), kernel::rows(weights.meta.num_elements() / tokens));
    let window = scores.window_within(tokens).unwrap_or(tokens);
    let [weights, dweights, to] =
        [weights, dweights, dscores.clone()].map(CubeTensor::into_tensor_arg);
    softmax_grad_kernel::launch(
        &client, cubes, units, weights, dweights, to, tokens, window, format,
    );
    dscores
}

/// Where an element of `[batch, tokens, heads, head_dim]` lies: its batch, token, head and place in the head.
#[cube]
fn place(x: &Tensor<f32>) -> (usize, usize, usize, usize) {
    let (tokens, heads, head_dim) = (x.shape(1), x.shape(2), x.shape(3));
    let i = ABSOLUTE_POS % head_dim;
    let rest = ABSOLUTE_POS / head_dim;
    let head = rest % heads;
    let rest = rest / heads;
    (rest / tokens, rest % tokens, head, i)
}

#[cube(launch)]
fn lay_kernel<F: Float>(
    x: &Tensor<f32>,
    y: &mut Tensor<F>,
    scale: f32,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS >= x.len() {
        terminate!();
    }
    let (batch, token, head, i) = place(x);
    let from = batch * x.stride(0) + token * x.stride(1) + head * x.stride(2) + i * x.stride(3);
    let to = batch * y.stride(0) + token * y.stride(1) + head * y.stride(2) + i * y.stride(3);
    y[to] = F::cast_from(x[from] * scale);
}

#[cube(launch)]
fn turn_kernel<F: Float>(
    x: &Tensor<f32>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    y: &mut Tensor<F>,
    scale: f32,
    turn: f32,
    #[define(F)] _format: ElemType,
) {
    if ABSOLUTE_POS >= x.len() {
        terminate!();
    }
    let (batch, token, head, i) = place(x);
    let (tokens, pairs) = (x.shape(1), cos.shape(1));
    let start = batch * x.stride(0) + token * x.stride(1) + head * x.stride(2);
    let to = batch * y.stride(0) + token * y.stride(1) + head * y.stride(2) + i * y.stride(3);
    let mut value = x[start + i * x.stride(3)];
    if i < 2 * pairs {
        let pair = i % pairs;
        let at = (batch % (cos.shape(0) / tokens) * tokens + token) * pairs + pair;
        // The first of a pair loses what its other one turns away, which gains of the first.
        let mut sine = sin[at] * turn;
        let mut other = i + pairs;
        if i < pairs {
            sine = -sine;
        } else {
            other = i - pairs;
        }
        value = value * cos[at] + x[start + other * x.stride(3)] * sine;
    }
    y[to] = F::cast_from(value * scale);
}

/// The first key that a query sees.
#[cube]
fn first_seen(token: usize, window: usize) -> usize {
    let mut first = 0usize;
    if token + 1 > window {
        first = token + 1 - window;
    }
    first
}

#[cube(launch)]
fn softmax_kernel<F: Float>(
    scored: &Tensor<f32>,
    weights: &mut Tensor<F>,
    tokens: usize,
    window: usize,
    #[define(F)] _format: ElemType,
) {
    let start = CUBE_POS * tokens;
    if start >= scored.len() {
        terminate!();
    }
    let token = CUBE_POS % tokens;
    let first = first_seen(token, window);
    let mut most = scored[start + token];
    let mut i = first + UNIT_POS as usize;
    while i <= token {
        most = max(most, scored[start + i]);
        i += CUBE_DIM as usize;
    }
    let most = kernel::largest(most);
    let mut powers = 0.0f32;
    let mut i = first + UNIT_POS as usize;
    while i <= token {
        powers += (scored[start + i] - most).exp();
        i += CUBE_DIM as usize;
    }
    let by = 1.0f32 / kernel::sum(powers);
    let mut i = UNIT_POS as usize;
    while i < tokens {
        let mut weight = 0.0f32;
        if i >= first && i <= token {
            weight = (scored[start + i] - most).exp() * by;
        }
        weights[start + i] = F::cast_from(weight);
        i += CUBE_DIM as usize;
    }
}

#[cube(launch)]
fn softmax_grad_kernel<F: Float>(
    weights: &Tensor<F>,
    dweights: &Tensor<f32>,
    dscores: &mut Tensor<F>,
    tokens: usize,
    window: usize,
    #[define(F)] _format: ElemType,
) {
    let start = CUBE_POS * tokens;
    if start >= weights.len() {
        terminate!();
    }
    let token = CUBE_POS % tokens;
    let first = first_seen(token, window);
    let mut along = 0.0f32;
    let mut i = first + UNIT_POS as usize;
    while i <= token {
        along += f32::cast_from(weights[start + i]) * dweights[start + i];
        i += CUBE_DIM as usize;
    }
    let along = kernel::sum(along);
    let mut i = UNIT_POS as usize;
    while i < tokens {
        let mut grad = 0.0f32;
        if i >= first && i <= token {
            grad = f32::cast_from(weights[start + i]) * (dweights[start + i] - along);
        }
        dscores[start + i] = F::cast_from(grad);
        i += CUBE_DIM as usize;
    }
}
