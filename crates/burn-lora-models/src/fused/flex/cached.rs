//! Attention over a cache: its rows are written where they lie, and each is read as far as its tokens see.
//!
//! A task is some tokens of a row, with the query heads that share a head of keys. What comes out of it is a
//! function of that row alone, whatever rows are beside it.

use std::ops::Range;

use burn::backend::Flex;
use burn_lora_kernels::Floats;
use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use burn_lora_kernels::vector::scale;
use burn_lora_kernels::vectorised;
use rayon::prelude::*;

use super::attention::{Positions, turn, weigh};
use crate::fused::Scores;
use crate::fused::cached::{Attended, CacheRows, Held};

/// Queries whose scores exist at a time, about.
const TILE: usize = 64;

/// Multiplications below which a task is not worth another core.
const SMALL: usize = 1 << 18;

/// Sizes, how positions enter, and what becomes of scores.
struct Frame<'a> {
    tokens: usize,
    heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    room: usize,
    positions: &'a Positions,
    scores: Scores,
    rows: &'a CacheRows,
}

/// Some tokens of a row, and a head of keys.
#[derive(Clone)]
struct Task {
    row: usize,
    kv_head: usize,
    tokens: Range<usize>,
}

impl Frame<'_> {
    fn group(&self) -> usize {
        self.heads / self.n_kv_heads
    }

    /// The pairs of one token's head, turned where they turn; times `by`.
    #[inline(always)]
    fn turn(&self, x: &mut [f32], row: usize, token: usize, by: f32) {
        let Positions::Rotary(cos, sin) = self.positions else { return scale(x, by) };
        let pairs = cos.dims()[1];
        let at = |table: &[f32]| (row * self.tokens + token) * pairs % table.len().max(1);
        let (cos, sin) = (cos.values(), sin.values());
        turn(x, &cos[at(cos)..][..pairs], &sin[at(sin)..][..pairs], by, 1.0);
    }

    /// Where a head of a row's slot begins in the cache.
    fn slot(&self, row: usize, kv_head: usize) -> usize {
        ((self.rows.first + row) * self.n_kv_heads + kv_head) * self.room * self.head_dim
    }

    /// Writes the new keys or values, `[batch, tokens, n_kv_heads, head_dim]`, behind those of their rows.
    #[inline(always)]
    fn take_up(&self, cache: &mut [f32], new: &[f32], is_turned: bool) {
        let Self { n_kv_heads, head_dim, .. } = *self;
        for (row, of) in self.rows.rows.iter().enumerate() {
            for token in 0..of.new {
                for kv_head in 0..n_kv_heads {
                    let from = ((row * self.tokens + token) * n_kv_heads + kv_head) * head_dim;
                    let at = self.slot(row, kv_head) + (of.held + token) * head_dim;
                    let to = &mut cache[at..at + head_dim];
                    to.copy_from_slice(&new[from..from + head_dim]);
                    if is_turned {
                        self.turn(to, row, token, 1.0);
                    }
                }
            }
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let tile = (TILE / self.group()).max(1);
        let mut tasks = Vec::new();
        for (row, of) in self.rows.rows.iter().enumerate() {
            for from in (0..of.new).step_by(tile) {
                let tokens = from..(from + tile).min(of.new);
                tasks.extend((0..self.n_kv_heads).map(|kv_head| {
                    let tokens = tokens.clone();
                    Task { row, kv_head, tokens }
                }));
            }
        }
        tasks
    }

    /// Where a token's query heads that share the task's keys begin, in `[batch, tokens, heads, head_dim]`.
    fn start(&self, task: &Task, token: usize) -> usize {
        let head = task.kv_head * self.group();
        ((task.row * self.tokens + token) * self.heads + head) * self.head_dim
    }

    /// The first columns of the task's head in the cache, `[seen, head_dim]`.
    #[inline(always)]
    fn view<'b>(&self, task: &Task, cache: &'b [f32], seen: usize) -> MatRef<'b> {
        MatRef::dense(&cache[self.slot(task.row, task.kv_head)..], [seen, self.head_dim])
    }

    /// The task's outputs, `[tokens of the task, group, head_dim]`.
    #[inline(always)]
    fn attend(&self, task: &Task, q: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
        let Self { head_dim, .. } = *self;
        let (group, held) = (self.group(), self.rows.rows[task.row].held);
        let (rows, seen) = (task.tokens.len() * group, held + task.tokens.end);
        let by = self.scores.scale as f32;
        let mut queries = Vec::with_capacity(rows * head_dim);
        for token in task.tokens.clone() {
            let start = self.start(task, token);
            queries.extend_from_slice(&q[start..start + group * head_dim]);
            let heads = queries.len() - group * head_dim;
            for query in queries[heads..].chunks_exact_mut(head_dim) {
                self.turn(query, task.row, token, by);
            }
        }
        let mut weights = vec![0.0; rows * seen];
        product(
            MatMut::dense(&mut weights, [rows, seen]),
            Accumulate::Set,
            MatRef::dense(&queries, [rows, head_dim]),
            self.view(task, keys, seen).transposed(),
            Threads::One,
        );
        for (index, row) in weights.chunks_exact_mut(seen).enumerate() {
            let token = task.tokens.start + index / group;
            let slope = self.positions.slope(task.kv_head * group + index % group);
            weigh(row, held + token + 1, self.scores, slope, &mut []);
        }
        let mut out = vec![0.0; rows * head_dim];
        product(
            MatMut::dense(&mut out, [rows, head_dim]),
            Accumulate::Set,
            MatRef::dense(&weights, [rows, seen]),
            self.view(task, values, seen),
            Threads::One,
        );
        out
    }
}

/// The attention, with keys and values that were made contiguous, and a cache that lies so.
pub(super) fn forward(
    [q, k, v]: &[Floats; 3],
    [mut keys, mut values]: [Floats; 2],
    positions: &Positions,
    scores: Scores,
    rows: &CacheRows,
) -> Attended<Flex> {
    let &[_, tokens, heads, head_dim] = q.dims() else { panic!("queries have four dimensions") };
    let (n_kv_heads, room) = (keys.dims()[1], keys.dims()[2]);
    let frame = Frame { tokens, heads, n_kv_heads, head_dim, room, positions, scores, rows };
    vectorised!({
        frame.take_up(keys.values_mut(), k.values(), true);
        frame.take_up(values.values_mut(), v.values(), false);
    });
    let tasks = frame.tasks();
    let attend =
        |task: &Task| vectorised!(frame.attend(task, q.values(), keys.values(), values.values()));
    let outputs: Vec<Vec<f32>> = match tasks.len() * frame.group() * rows.seen() * head_dim {
        0..SMALL => tasks.iter().map(attend).collect(),
        _ => tasks.par_iter().map(attend).collect(),
    };
    let mut y = vec![0.0; q.values().len()];
    for (task, output) in tasks.iter().zip(outputs) {
        let width = frame.group() * head_dim;
        for (token, output) in task.tokens.clone().zip(output.chunks_exact(width)) {
            let start = frame.start(task, token);
            y[start..start + width].copy_from_slice(output);
        }
    }
    let held = Held { keys: keys.into_tensor(), values: values.into_tensor() };
    Attended { y: Floats::tensor(y, q.dims().to_vec()), held }
}
