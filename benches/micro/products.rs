//! The products of an adapted linear's step, as the kernels get them: the wide one of the frozen weight and the six of a factor.
//!
//! 512 tokens; items are floating point operations, so that a rate is FLOP/s. `d` is the side of the linear that a product has,
//! of SmolLM2-135M's linears. And the products of an attention's tile, of 64 queries and so many keys in heads of 64, on one thread.

use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const TOKENS: usize = 512;
const D: [usize; 2] = [576, 1536];
const RANKS: [usize; 4] = [4, 16, 32, 64];
const THREADS: [Threads; 2] = [Threads::One, Threads::All];

fn main() {
    burn_lora_kernels::allocator::keep_large_blocks();
    divan::main();
}

/// Every side with every number of threads.
fn cases() -> impl Iterator<Item = (usize, Threads)> {
    D.into_iter().flat_map(|d| THREADS.map(|threads| (d, threads)))
}

/// A product of an operand that is `[rows, k]` or, where its rows run down, `[k, rows]`.
fn measure(
    bencher: Bencher<'_, '_>,
    [m, k, n]: [usize; 3],
    (left_down, right_down): (bool, bool),
    accumulate: Accumulate,
    threads: Threads,
) {
    let (a, b, mut c) = (vec![0.5; m * k], vec![0.25; k * n], vec![0.0; m * n]);
    let lhs = match left_down {
        false => MatRef::dense(&a, [m, k]),
        true => MatRef::dense(&a, [k, m]).transposed(),
    };
    let rhs = match right_down {
        false => MatRef::dense(&b, [k, n]),
        true => MatRef::dense(&b, [n, k]).transposed(),
    };
    bencher.counter(ItemsCount::new(2 * m * k * n)).bench_local(|| {
        product(MatMut::dense(&mut c, [m, n]), accumulate, lhs, rhs, threads);
    });
}

/// `x W`, `d` by 576.
#[divan::bench(args = cases())]
fn wide(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [TOKENS, d, 576], (false, false), Accumulate::Set, threads);
}

/// `dy Wᵀ`, `d` by 576.
#[divan::bench(args = cases())]
fn wide_transposed(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [TOKENS, d, 576], (false, true), Accumulate::Set, threads);
}

/// `x A`.
#[divan::bench(args = cases(), consts = RANKS)]
fn into_rank<const R: usize>(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [TOKENS, d, R], (false, false), Accumulate::Set, threads);
}

/// `dy Bᵀ`.
#[divan::bench(args = cases(), consts = RANKS)]
fn into_rank_transposed<const R: usize>(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [TOKENS, d, R], (false, true), Accumulate::Set, threads);
}

/// `y += low B`.
#[divan::bench(args = cases(), consts = RANKS)]
fn out_of_rank<const R: usize>(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [TOKENS, R, d], (false, false), Accumulate::Add, threads);
}

/// `dx += dlow Aᵀ`.
#[divan::bench(args = cases(), consts = RANKS)]
fn out_of_rank_transposed<const R: usize>(
    bencher: Bencher<'_, '_>,
    (d, threads): (usize, Threads),
) {
    measure(bencher, [TOKENS, R, d], (false, true), Accumulate::Add, threads);
}

/// `dB = lowᵀ dy`.
#[divan::bench(args = cases(), consts = RANKS)]
fn gradient_of_b<const R: usize>(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [R, TOKENS, d], (true, false), Accumulate::Set, threads);
}

/// `dA = xᵀ dlow`.
#[divan::bench(args = cases(), consts = RANKS)]
fn gradient_of_a<const R: usize>(bencher: Bencher<'_, '_>, (d, threads): (usize, Threads)) {
    measure(bencher, [d, TOKENS, R], (true, false), Accumulate::Set, threads);
}

/// Queries of a tile, and the width of a head.
const TILE: usize = 64;
/// Keys that a tile reaches.
const KEYS: [usize; 3] = [64, 512, 2048];

/// Scores, `q kᵀ`, and in the backward `dy vᵀ`.
#[divan::bench(args = KEYS)]
fn scores(bencher: Bencher<'_, '_>, keys: usize) {
    measure(bencher, [TILE, TILE, keys], (false, true), Accumulate::Set, Threads::One);
}

/// Outputs, `weights v`, and in the backward `dscores k`.
#[divan::bench(args = KEYS)]
fn outputs(bencher: Bencher<'_, '_>, keys: usize) {
    measure(bencher, [TILE, keys, TILE], (false, false), Accumulate::Set, Threads::One);
}

/// Gradients of keys and values, `dk += dscoresᵀ q`.
#[divan::bench(args = KEYS)]
fn gradients_of_keys(bencher: Bencher<'_, '_>, keys: usize) {
    measure(bencher, [keys, TILE, TILE], (true, false), Accumulate::Add, Threads::One);
}
