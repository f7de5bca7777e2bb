//! Causal attention, a tile of queries at a time.
//!
//! One task is one head of queries in one row of the batch: one long row with few heads of keys keeps all cores busy, too. A tile
//! of scores reaches as far as its last query sees, so that the half which the mask would throw
//! away is hardly computed, and no tensor of scores exists. The backward computes them again, and with a soft cap its
//! slope beside them; what heads give the keys and values that they share is added up afterwards, in their order.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use burn_lora_kernels::vector::{add, dot, exp_sum, max, scale, tanh};
use burn_lora_kernels::vectorised;
use burn_lora_kernels::{Floats, blank};
use rayon::prelude::*;

use crate::fused::{Encoding, Scores};

/// Queries whose scores exist at a time.
const TILE: usize = 64;

/// How positions enter the scores.
pub(super) enum Positions {
    /// Not at all.
    Embedded,
    /// Cosines and sines, `[tokens, pairs]` each.
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

    /// What a key adds to a head's scores for each position that it stands further on.
    #[inline(always)]
    pub(super) fn slope(&self, head: usize) -> f32 {
        match self {
            Self::Alibi(slopes) => slopes.values()[head],
            Self::Embedded | Self::Rotary(..) => 0.0,
        }
    }
}

/// Makes the probabilities of the keys out of a query's products with them: those before `end` and in its window, each with `slope` for
/// its position. Where there is a soft cap and room for them, the cap's slopes at those keys go to `slopes`.
#[inline(always)]
pub(super) fn weigh(row: &mut [f32], end: usize, scores: Scores, slope: f32, slopes: &mut [f32]) {
    let start = scores.window.map_or(0, |window| end.saturating_sub(window));
    row[..start].fill(0.0);
    row[end..].fill(0.0);
    let seen = &mut row[start..end];
    if let Some(cap) = scores.cap {
        let cap = cap as f32;
        cap_all(seen, cap);
        if !slopes.is_empty() {
            for (slope, score) in slopes[start..end].iter_mut().zip(&*seen) {
                let share = score / cap;
                *slope = 1.0 - share * share;
            }
        }
    }
    if slope != 0.0 {
        for (position, score) in (start..).zip(seen.iter_mut()) {
            *score += slope * position as f32;
        }
    }
    let sum = exp_sum(seen, max(seen));
    scale(seen, 1.0 / sum);
}

/// `cap · tanh(score / cap)` of each.
#[inline(always)]
pub(super) fn cap_all(scores: &mut [f32], cap: f32) {
    for score in scores {
        *score = cap * tanh(*score / cap);
    }
}

/// Turns the pairs `(x_i, x_(i + pairs))` of a head whose cosines and sines these are, and all of it times `by`;
/// backwards where `direction` is -1.
#[inline(always)]
pub(super) fn turn(x: &mut [f32], cos: &[f32], sin: &[f32], by: f32, direction: f32) {
    let pairs = cos.len();
    let (turned, rest) = x.split_at_mut(2 * pairs);
    let (first, second) = turned.split_at_mut(pairs);
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        let (cos, sin) = (cos * by, sin * by * direction);
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
    scale(rest, by);
}

/// Sizes, how positions enter, and what becomes of scores.
#[derive(Clone, Copy)]
struct Frame<'a> {
    batch: usize,
    tokens: usize,
    heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    positions: &'a Positions,
    scores: Scores,
}

impl<'a> Frame<'a> {
    fn of([q, k, _]: &[Floats; 3], positions: &'a Positions, scores: Scores) -> Self {
        let (sizes, n_kv_heads) = (q.dims(), k.dims()[2]);
        Self {
            batch: sizes[0],
            tokens: sizes[1],
            heads: sizes[2],
            n_kv_heads,
            head_dim: sizes[3],
            positions,
            scores,
        }
    }

    fn group(&self) -> usize {
        self.heads / self.n_kv_heads
    }

    fn scale(&self) -> f32 {
        self.scores.scale as f32
    }

    /// The first element of a head of a batch row in `[batch, tokens, of, head_dim]`.
    fn start(&self, row: usize, head: usize, of: usize) -> usize {
        (row * self.tokens * of + head) * self.head_dim
    }

    /// Tokens `from..to` of a head in `[batch, tokens, of, head_dim]`.
    #[inline(always)]
    fn view<'b>(
        &self,
        values: &'b [f32],
        (row, head, of): (usize, usize, usize),
        (from, to): (usize, usize),
    ) -> MatRef<'b> {
        let start = self.start(row, head, of) + from * of * self.head_dim;
        MatRef::new(&values[start..], [to - from, self.head_dim], [of * self.head_dim, 1])
    }

    /// A head as the scores take it, its pairs turned where they turn, times `by`, `[tokens, head_dim]`.
    #[inline(always)]
    fn turned(&self, values: &[f32], row: usize, head: usize, of: usize, by: f32) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.tokens * self.head_dim);
        let start = self.start(row, head, of);
        for t in 0..self.tokens {
            out.extend_from_slice(&values[start + t * of * self.head_dim..][..self.head_dim]);
            self.turn(&mut out[t * self.head_dim..], t, by, 1.0);
        }
        out
    }

    /// Turns the pairs of one token's head, forwards or (`direction` -1) backwards, where they turn; times
    /// `by`.
    #[inline(always)]
    fn turn(&self, x: &mut [f32], token: usize, by: f32, direction: f32) {
        let Positions::Rotary(cos, sin) = self.positions else { return scale(x, by) };
        let pairs = cos.dims()[1];
        let of_token = |table: &'a Floats| &table.values()[token * pairs..][..pairs];
        turn(x, of_token(cos), of_token(sin), by, direction);
    }

    /// Every batch row with every one of so many heads.
    fn tasks(&self, heads: usize) -> impl IndexedParallelIterator<Item = (usize, usize)> + use<> {
        (0..self.batch * heads).into_par_iter().map(move |task| (task / heads, task % heads))
    }

    /// Every head of keys of every batch row as the scores take it, `[tokens, head_dim]`.
    fn keys(&self, k: &[f32]) -> Vec<Vec<f32>> {
        let tasks = self.tasks(self.n_kv_heads);
        tasks
            .map(|(row, head)| vectorised!(self.turned(k, row, head, self.n_kv_heads, 1.0)))
            .collect()
    }

    /// The head of keys or values that a head of queries looks at.
    fn kv_head(&self, head: usize) -> usize {
        head / self.group()
    }

    /// Where the keys lie, among those of all rows, that a row's head of queries looks at.
    fn at(&self, row: usize, head: usize) -> usize {
        row * self.n_kv_heads + self.kv_head(head)
    }

    /// Of all heads of queries' `[tokens, head_dim]` the sums over those that share a head of keys.
    fn shared(&self, of_heads: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let group = self.group();
        let mut of_heads = of_heads.into_iter();
        let mut each = Vec::with_capacity(self.batch * self.n_kv_heads);
        while let Some(first) = of_heads.next() {
            each.push((first, of_heads.by_ref().take(group - 1).collect::<Vec<_>>()));
        }
        let sum = |(mut sum, others): (Vec<f32>, Vec<Vec<f32>>)| {
            others.iter().for_each(|other| vectorised!(add(&mut sum, other)));
            sum
        };
        each.into_par_iter().map(sum).collect()
    }

    #[inline(always)]
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let tokens = self.tokens;
        (0..tokens).step_by(TILE).map(move |from| (from, (from + TILE).min(tokens)))
    }

    /// The probabilities of a head's queries `from..to` over keys `0..to`; and where there is a soft cap, its slopes
    /// at the scores of the keys that are seen, where there is room for them.
    #[inline(always)]
    fn probabilities(
        &self,
        head: usize,
        [q, k]: [&[f32]; 2],
        (from, to): (usize, usize),
        out: &mut [f32],
        slopes: &mut [f32],
    ) {
        let (rows, head_dim) = (to - from, self.head_dim);
        product(
            MatMut::dense(out, [rows, to]),
            Accumulate::Set,
            MatRef::dense(&q[from * head_dim..], [rows, head_dim]),
            MatRef::dense(k, [to, head_dim]).transposed(),
            Threads::One,
        );
        let slope = self.positions.slope(head);
        for (index, row) in out.chunks_exact_mut(to).enumerate() {
            let slopes = slopes.get_mut(index * to..).unwrap_or_default();
            weigh(row, from + index + 1, self.scores, slope, slopes);
        }
    }

    /// Heads that tasks computed, `[tokens, head_dim]` each, as `[batch, tokens, of, head_dim]`.
    fn gathered(&self, heads: &[Vec<f32>], of: usize) -> FloatTensor<Flex> {
        let (tokens, head_dim) = (self.tokens, self.head_dim);
        let width = (of * head_dim).max(1);
        let out = blank::made(self.batch * tokens * of * head_dim, width, |first, room| {
            room.rows(width, |index, of_token| {
                let (row, t) = ((first + index) / tokens, (first + index) % tokens);
                of_token.rows(head_dim, |head, to| {
                    let of_head = &heads[row * of + head][t * head_dim..][..head_dim];
                    to.write(of_head.iter().copied())
                })
            })
        });
        Floats::tensor(out, [self.batch, tokens, of, head_dim])
    }
}

pub(super) fn forward(
    inputs: &[Floats; 3],
    positions: &Positions,
    scores: Scores,
) -> FloatTensor<Flex> {
    let frame = Frame::of(inputs, positions, scores);
    let [q, k, v] = inputs.each_ref().map(Floats::values);
    let keys = frame.keys(k);
    let heads: Vec<Vec<f32>> = frame
        .tasks(frame.heads)
        .map(|(row, head)| {
            vectorised!(attend(&frame, [q, &keys[frame.at(row, head)], v], row, head))
        })
        .collect();
    frame.gathered(&heads, frame.heads)
}

/// The outputs of a head of queries, `[tokens, head_dim]`; of the keys, its own.
#[inline(always)]
fn attend(frame: &Frame<'_>, [q, keys, v]: [&[f32]; 3], row: usize, head: usize) -> Vec<f32> {
    let Frame { tokens, head_dim, .. } = *frame;
    let queries = frame.turned(q, row, head, frame.heads, frame.scale());
    let mut out = vec![0.0; tokens * head_dim];
    let mut weights = vec![0.0; TILE.min(tokens) * tokens];
    for (from, to) in frame.tiles() {
        let weights = &mut weights[..(to - from) * to];
        frame.probabilities(head, [&queries, keys], (from, to), weights, &mut []);
        product(
            MatMut::dense(&mut out[from * head_dim..to * head_dim], [to - from, head_dim]),
            Accumulate::Set,
            MatRef::dense(weights, [to - from, to]),
            frame.view(v, (row, frame.kv_head(head), frame.n_kv_heads), (0, to)),
            Threads::One,
        );
    }
    out
}

pub(super) fn backward(
    inputs: &[Floats; 3],
    positions: &Positions,
    scores: Scores,
    dy: &Floats,
) -> (FloatTensor<Flex>, FloatTensor<Flex>, FloatTensor<Flex>) {
    let frame = Frame::of(inputs, positions, scores);
    let [q, k, v] = inputs.each_ref().map(Floats::values);
    let keys = frame.keys(k);
    let grads: Vec<[Vec<f32>; 3]> = frame
        .tasks(frame.heads)
        .map(|(row, head)| {
            let inputs = [q, &keys[frame.at(row, head)], v, dy.values()];
            vectorised!(attend_grad(&frame, inputs, row, head))
        })
        .collect();
    let (mut dq, mut dk, mut dv) = (Vec::new(), Vec::new(), Vec::new());
    for [q, k, v] in grads {
        dq.push(q);
        dk.push(k);
        dv.push(v);
    }
    let [dk, dv] = [dk, dv].map(|of_heads| frame.shared(of_heads));
    (
        frame.gathered(&dq, frame.heads),
        frame.gathered(&dk, frame.n_kv_heads),
        frame.gathered(&dv, frame.n_kv_heads),
    )
}

/// The gradients of a head of queries, and what it gives its head of keys and its head of values, `[tokens, head_dim]` each.
#[inline(always)]
fn attend_grad(
    frame: &Frame<'_>,
    [q, keys, v, dy]: [&[f32]; 4],
    row: usize,
    head: usize,
) -> [Vec<f32>; 3] {
    let Frame { tokens, head_dim, .. } = *frame;
    let [mut dq, mut dk, mut dv] = [0; 3].map(|_| vec![0.0; tokens * head_dim]);
    let tile = TILE.min(tokens) * tokens;
    let (mut weights, mut dscores) = (vec![0.0; tile], vec![0.0; tile]);
    let mut slopes = vec![0.0; if frame.scores.cap.is_some() { tile } else { 0 }];
    let queries = frame.turned(q, row, head, frame.heads, frame.scale());
    for (from, to) in frame.tiles() {
        let rows = to - from;
        let weights = &mut weights[..rows * to];
        let dscores = &mut dscores[..rows * to];
        let dy = frame.view(dy, (row, head, frame.heads), (from, to));
        let values = frame.view(v, (row, frame.kv_head(head), frame.n_kv_heads), (0, to));
        frame.probabilities(head, [&queries, keys], (from, to), weights, &mut slopes);
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
        // Where a key is not seen, the weight is zero and the slope some number.
        for (dscore, slope) in dscores.iter_mut().zip(&slopes) {
            *dscore *= slope;
        }
        let (weights, dscores) =
            (MatRef::dense(weights, [rows, to]), MatRef::dense(dscores, [rows, to]));
        product(
            MatMut::dense(&mut dv[..to * head_dim], [to, head_dim]),
            Accumulate::Add,
            weights.transposed(),
            dy,
            Threads::One,
        );
        product(
            MatMut::dense(&mut dk[..to * head_dim], [to, head_dim]),
            Accumulate::Add,
            dscores.transposed(),
            MatRef::dense(&queries[from * head_dim..], [rows, head_dim]),
            Threads::One,
        );
        product(
            MatMut::dense(&mut dq[from * head_dim..to * head_dim], [rows, head_dim]),
            Accumulate::Set,
            dscores,
            MatRef::dense(keys, [to, head_dim]),
            Threads::One,
        );
    }
    for (t, (dq, dk)) in
        dq.chunks_exact_mut(head_dim).zip(dk.chunks_exact_mut(head_dim)).enumerate()
    {
        frame.turn(dq, t, frame.scale(), -1.0);
        frame.turn(dk, t, 1.0, -1.0);
    }
    [dq, dk, dv]
}
