//! Causal attention, a tile of queries at a time.
//!
//! One task is one head of keys in one row of the batch, with the query heads that share it. A tile
//! of scores reaches as far as its last query sees, so that the half which the mask would throw
//! away is hardly computed, and no tensor of scores exists. The backward computes them again.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::Floats;
use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use burn_lora_kernels::vector::{dot, exp_sum, max, scale, vectorised};
use rayon::prelude::*;

use crate::fused::Encoding;

/// Queries whose scores exist at a time.
const TILE: usize = 64;

/// How positions enter the scores.
pub(super) enum Positions {
    /// Not at all.
    Embedded,
    /// Cosines and sines, `[tokens, width / 2]` each.
    Rotary(Floats, Floats),
    /// Slopes of the heads.
    Alibi(Floats),
}

impl Positions {
    /// None where the numbers are not `f32`.
    pub(super) fn of(encoding: &Encoding<Flex>) -> Option<Self> {
        Some(match encoding {
            Encoding::Embedded => Self::Embedded,
            Encoding::Rotary { cos, sin } => {
                let [cos, sin] = super::all([cos, sin])?;
                Self::Rotary(cos, sin)
            }
            Encoding::Alibi { slopes } => Self::Alibi(Floats::contiguous(slopes.clone())?),
        })
    }
}

/// Sizes, and how positions enter.
#[derive(Clone, Copy)]
struct Frame<'a> {
    batch: usize,
    tokens: usize,
    heads: usize,
    shared: usize,
    width: usize,
    positions: &'a Positions,
}

impl<'a> Frame<'a> {
    fn of([q, k, _]: &[Floats; 3], positions: &'a Positions) -> Self {
        let (sizes, shared) = (q.dims(), k.dims()[2]);
        Self {
            batch: sizes[0],
            tokens: sizes[1],
            heads: sizes[2],
            shared,
            width: sizes[3],
            positions,
        }
    }

    /// What a key adds to a head's scores for each position that it stands further on.
    fn slope(&self, head: usize) -> f32 {
        match self.positions {
            Positions::Alibi(slopes) => slopes.values()[head],
            Positions::Embedded | Positions::Rotary(..) => 0.0,
        }
    }

    fn group(&self) -> usize {
        self.heads / self.shared
    }

    fn scale(&self) -> f32 {
        (self.width as f32).powf(-0.5)
    }

    /// The first element of a head of a batch row in `[batch, tokens, of, width]`.
    fn start(&self, row: usize, head: usize, of: usize) -> usize {
        (row * self.tokens * of + head) * self.width
    }

    /// Tokens `from..to` of a head in `[batch, tokens, of, width]`.
    fn view<'b>(
        &self,
        values: &'b [f32],
        (row, head, of): (usize, usize, usize),
        (from, to): (usize, usize),
    ) -> MatRef<'b> {
        let start = self.start(row, head, of) + from * of * self.width;
        MatRef::new(&values[start..], [to - from, self.width], [of * self.width, 1])
    }

    /// A head as the scores take it, its pairs turned where they turn, times `by`, `[tokens, width]`.
    fn turned(&self, values: &[f32], row: usize, head: usize, of: usize, by: f32) -> Vec<f32> {
        let mut out = vec![0.0; self.tokens * self.width];
        let start = self.start(row, head, of);
        for (t, out) in out.chunks_exact_mut(self.width).enumerate() {
            let x = &values[start + t * of * self.width..][..self.width];
            out.copy_from_slice(x);
            self.turn(out, t, by, 1.0);
        }
        out
    }

    /// Turns the pairs of one token's head, forwards or (`direction` -1) backwards, where they turn; times
    /// `by`.
    #[inline(always)]
    fn turn(&self, x: &mut [f32], token: usize, by: f32, direction: f32) {
        let Positions::Rotary(cos, sin) = self.positions else { return scale(x, by) };
        let half = self.width / 2;
        let (first, second) = x.split_at_mut(half);
        let (cos, sin) =
            (&cos.values()[token * half..][..half], &sin.values()[token * half..][..half]);
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (cos, sin) = (cos * by, sin * by * direction);
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }

    /// Every batch row with every head of keys.
    fn tasks(&self) -> impl IndexedParallelIterator<Item = (usize, usize)> + use<> {
        let shared = self.shared;
        (0..self.batch * shared).into_par_iter().map(move |task| (task / shared, task % shared))
    }

    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let tokens = self.tokens;
        (0..tokens).step_by(TILE).map(move |from| (from, (from + TILE).min(tokens)))
    }

    /// The probabilities of a head's queries `from..to` over keys `0..to`.
    fn probabilities(
        &self,
        head: usize,
        q: &[f32],
        k: &[f32],
        (from, to): (usize, usize),
        out: &mut [f32],
    ) {
        let (rows, width) = (to - from, self.width);
        product(
            MatMut::dense(out, [rows, to]),
            Accumulate::Set,
            MatRef::dense(&q[from * width..], [rows, width]),
            MatRef::dense(k, [to, width]).transposed(),
            Threads::One,
        );
        let slope = self.slope(head);
        for (index, row) in out.chunks_exact_mut(to).enumerate() {
            let (seen, unseen) = row.split_at_mut(from + index + 1);
            unseen.fill(0.0);
            if slope != 0.0 {
                for (position, score) in seen.iter_mut().enumerate() {
                    *score += slope * position as f32;
                }
            }
            let sum = exp_sum(seen, max(seen));
            scale(seen, 1.0 / sum);
        }
    }

    /// Heads that tasks computed, `[tokens, width]` each, as `[batch, tokens, of, width]`.
    fn gathered(&self, heads: &[Vec<f32>], of: usize) -> FloatTensor<Flex> {
        let (tokens, width) = (self.tokens, self.width);
        let per_task = of / self.shared;
        let mut out = vec![0.0; self.batch * tokens * of * width];
        out.par_chunks_mut((tokens * of * width).max(1)).enumerate().for_each(|(row, out)| {
            for head in 0..of {
                let task = &heads[row * self.shared + head / per_task];
                let from = &task[head % per_task * tokens * width..][..tokens * width];
                for (t, x) in from.chunks_exact(width).enumerate() {
                    out[(t * of + head) * width..][..width].copy_from_slice(x);
                }
            }
        });
        Floats::tensor(out, [self.batch, tokens, of, width])
    }
}

pub(super) fn forward(inputs: &[Floats; 3], positions: &Positions) -> FloatTensor<Flex> {
    let frame = Frame::of(inputs, positions);
    let [q, k, v] = inputs.each_ref().map(Floats::values);
    let heads: Vec<Vec<f32>> = frame
        .tasks()
        .map(|(row, shared)| vectorised(|| attend(&frame, q, k, v, row, shared)))
        .collect();
    frame.gathered(&heads, frame.heads)
}

/// The outputs of the query heads that share a head of keys, `[group, tokens, width]`.
#[inline(always)]
fn attend(
    frame: &Frame<'_>,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    row: usize,
    shared: usize,
) -> Vec<f32> {
    let Frame { tokens, width, .. } = *frame;
    let group = frame.group();
    let keys = frame.turned(k, row, shared, frame.shared, 1.0);
    let mut out = vec![0.0; group * tokens * width];
    let mut weights = vec![0.0; TILE.min(tokens) * tokens];
    for (index, out) in out.chunks_exact_mut(tokens * width).enumerate() {
        let head = shared * group + index;
        let queries = frame.turned(q, row, head, frame.heads, frame.scale());
        for (from, to) in frame.tiles() {
            let weights = &mut weights[..(to - from) * to];
            frame.probabilities(head, &queries, &keys, (from, to), weights);
            product(
                MatMut::dense(&mut out[from * width..to * width], [to - from, width]),
                Accumulate::Set,
                MatRef::dense(weights, [to - from, to]),
                frame.view(v, (row, shared, frame.shared), (0, to)),
                Threads::One,
            );
        }
    }
    out
}

pub(super) fn backward(
    inputs: &[Floats; 3],
    positions: &Positions,
    dy: &Floats,
) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
    let frame = Frame::of(inputs, positions);
    let [q, k, v] = inputs.each_ref().map(Floats::values);
    let grads: Vec<[Vec<f32>; 3]> = frame
        .tasks()
        .map(|(row, shared)| {
            vectorised(|| attend_grad(&frame, [q, k, v, dy.values()], row, shared))
        })
        .collect();
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for [q, k, v] in grads {
        dq.push(q);
        dk.push(k);
        dv.push(v);
    }
    (
        frame.gathered(&dq, frame.heads),
        frame.gathered(&dk, frame.shared),
        frame.gathered(&dv, frame.shared),
    )
}

/// The gradients of the query heads that share a head of keys, `[group, tokens, width]`, of the
/// keys and of the values, `[tokens, width]`.
#[inline(always)]
fn attend_grad(
    frame: &Frame<'_>,
    [q, k, v, dy]: [&[f32]; 4],
    row: usize,
    shared: usize,
) -> [Vec<f32>; 3] {
    let Frame { tokens, width, .. } = *frame;
    let group = frame.group();
    let keys = frame.turned(k, row, shared, frame.shared, 1.0);
    let (mut dk, mut dv) = (vec![0.0; tokens * width], vec![0.0; tokens * width]);
    let mut dq = vec![0.0; group * tokens * width];
    let tile = TILE.min(tokens) * tokens;
    let (mut weights, mut dscores) = (vec![0.0; tile], vec![0.0; tile]);
    for (index, dq) in dq.chunks_exact_mut(tokens * width).enumerate() {
        let head = shared * group + index;
        let queries = frame.turned(q, row, head, frame.heads, frame.scale());
        for (from, to) in frame.tiles() {
            let rows = to - from;
            let weights = &mut weights[..rows * to];
            let dscores = &mut dscores[..rows * to];
            let dy = frame.view(dy, (row, head, frame.heads), (from, to));
            let values = frame.view(v, (row, shared, frame.shared), (0, to));
            frame.probabilities(head, &queries, &keys, (from, to), weights);
            product(
                MatMut::dense(dscores, [rows, to]),
                Accumulate::Set,
                dy,
                values.transposed(),
                Threads::One,
            );
            for (weights, dscores) in weights.chunks_exact(to).zip(dscores.chunks_exact_mut(to)) {
                let along = dot(weights, dscores);
                for (dscore, weight) in dscores.iter_mut().zip(weights) {
                    *dscore = weight * (*dscore - along);
                }
            }
            let (weights, dscores) =
                (MatRef::dense(weights, [rows, to]), MatRef::dense(dscores, [rows, to]));
            product(
                MatMut::dense(&mut dv[..to * width], [to, width]),
                Accumulate::Add,
                weights.transposed(),
                dy,
                Threads::One,
            );
            product(
                MatMut::dense(&mut dk[..to * width], [to, width]),
                Accumulate::Add,
                dscores.transposed(),
                MatRef::dense(&queries[from * width..], [rows, width]),
                Threads::One,
            );
            product(
                MatMut::dense(&mut dq[from * width..to * width], [rows, width]),
                Accumulate::Set,
                dscores,
                MatRef::dense(&keys, [to, width]),
                Threads::One,
            );
        }
        for (t, dq) in dq.chunks_exact_mut(width).enumerate() {
            frame.turn(dq, t, frame.scale(), -1.0);
        }
    }
    for (t, dk) in dk.chunks_exact_mut(width).enumerate() {
        frame.turn(dk, t, 1.0, -1.0);
    }
    [dq, dk, dv]
}
