//! Many adapters on one base: sixteen of them in a batch of sixteen rows beside one, and one swapped for another of another rank.
//!
//! What is compared is taken in turn, pass by pass, so that both sides see the same machine, and of the passes the median counts;
//! so it is no benchmark of divan's, which takes one after the other.
//!
//! ```console
//! cargo bench -p burn-lora-benches --bench many             # both tables
//! cargo bench -p burn-lora-benches --bench many -- pass sixteen 1 50
//! ```
//!
//! The second makes so many passes (50) of one cell (`base`, `one`, `sixteen`) at so many tokens a row (1) and says nothing: for a
//! program that counts instructions, whose difference between two numbers of passes is that of a pass alone.

use std::hint::black_box;
use std::time::Instant;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, Factor, LoraForward, Sizes, attach_sets, by_row,
};
use burn_lora_counting::{Counting, measured};
use burn_lora_kernels::awake::awake;
use burn_lora_patch::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rows of a batch, and adapters.
const ROWS: usize = 16;
const RANK: usize = 16;
const TOKENS: [usize; 3] = [1, 8, 64];
/// Passes of each cell of a table.
const PASSES: usize = 101;
/// Inputs and outputs of a block's linears, as SmolLM2-135M has them.
const LINEARS: [[usize; 2]; 4] = [[576, 576], [576, 192], [576, 1536], [1536, 576]];

fn main() {
    burn_lora_kernels::allocator::keep_large_blocks();
    // Cargo gives a flag of its own first.
    let words: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pass", cell, tokens, passes] => {
            let number = |word: &str| word.parse().expect("a number of tokens and one of passes");
            let mixed = Mixed::new(number(tokens));
            (0..number(passes)).for_each(|_| mixed.pass(cell));
        }
        _ => {
            mixed();
            swapped();
        }
    }
}

/// The middle of some seconds, in microseconds.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2] * 1e6
}

fn device() -> Device {
    burn_lora::device::parse("cpu").expect("a CPU backend is compiled in")
}

fn linear([d_in, d_out]: [usize; 2]) -> Linear {
    LinearConfig::new(d_in, d_out).with_bias(false).init(&device()).no_grad()
}

/// The linears of a block, and a batch for them.
struct Mixed {
    base: Vec<Linear>,
    one: Vec<Linear>,
    sixteen: Vec<Linear>,
    x: Vec<Tensor<2>>,
    names: Vec<String>,
}

impl Mixed {
    fn new(tokens: usize) -> Self {
        let base: Vec<Linear> = LINEARS.into_iter().map(linear).collect();
        let names: Vec<String> = (0..ROWS).map(|at| format!("adapter-{at}")).collect();
        let adapter = |linear: &Linear, at: usize| {
            let [d_in, d_out] = linear.weight.dims();
            let values = |factor: &Factor| {
                let sizes = Sizes { d_in, d_out, rank: RANK, groups: 1 };
                let count = factor.shape(sizes).into_iter().product::<usize>();
                (0..count).map(|i| ((i * 7 + at * 3) % 11) as f32 / 11.0 - 0.4).collect()
            };
            Adapter::from_values(&names[at], &AdapterConfig::new(RANK), &linear.weight, values)
                .expect("a rank that fits")
        };
        let with = |count: usize| -> Vec<Linear> {
            let adapted = base.iter().map(|linear| {
                let first = Adapters::single(adapter(linear, 0));
                let set = (1..count).fold(first, |set, at| set.with(adapter(linear, at)));
                attach_sets(linear.clone(), |_| Some(set.clone()))
            });
            adapted.collect()
        };
        let input = |[d_in, _]: [usize; 2]| {
            Tensor::<2>::random([ROWS * tokens, d_in], Distribution::Default, &device())
        };
        let x = LINEARS.into_iter().map(input).collect();
        Self { one: with(1), sixteen: with(ROWS), base, x, names }
    }

    fn pass(&self, cell: &str) {
        let through = |linears: &[Linear]| {
            for (linear, x) in linears.iter().zip(&self.x) {
                black_box(linear.lora_forward(x.clone()));
            }
        };
        // As generation does.
        awake(|| match cell {
            "base" => through(&self.base),
            "one" => through(&self.one),
            "sixteen" => {
                let rows: Vec<Option<&str>> =
                    self.names.iter().map(|name| Some(name.as_str())).collect();
                by_row(&rows, || through(&self.sixteen));
            }
            other => panic!("`{other}` is no cell: base, one, sixteen"),
        });
    }
}

/// Sixteen adapters in a batch of sixteen beside one.
fn mixed() {
    println!(
        "A block's linears ({LINEARS:?}), {ROWS} rows, rank {RANK}; microseconds a pass, medians of {PASSES}"
    );
    println!(
        "tokens a row       base        one    sixteen  sixteen / one   bytes one   bytes sixteen"
    );
    for tokens in TOKENS {
        let mixed = Mixed::new(tokens);
        let cells = ["base", "one", "sixteen"];
        cells.iter().for_each(|cell| mixed.pass(cell));
        let bytes = cells.map(|cell| measured(|| mixed.pass(cell)).1.most);
        let mut seconds = cells.map(|_| Vec::with_capacity(PASSES));
        for _ in 0..PASSES {
            for (cell, seconds) in cells.iter().zip(&mut seconds) {
                let start = Instant::now();
                mixed.pass(cell);
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let [base, one, sixteen] = seconds.map(median);
        println!(
            "{tokens:>12} {base:>10.0} {one:>10.0} {sixteen:>10.0} {:>14.2} {:>11} {:>15}",
            sixteen / one,
            bytes[1],
            bytes[2],
        );
    }
}

const DEPTH: usize = 24;
const WIDTH: usize = 512;
const RANKS: [usize; 2] = [8, 64];

/// A base, whose bytes no swap takes.
#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
}

/// One adapter swapped for one of another rank, there and back.
fn swapped() {
    let base = Stack { layers: (0..DEPTH).map(|_| linear([WIDTH, WIDTH])).collect() };
    base.layers.iter().for_each(|layer| drop(layer.weight.val()));
    let dirs = RANKS.map(|rank| {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let adapted = base.clone().with_lora(&LoraConfig::new(rank)).expect("linears to adapt");
        adapted.0.save_adapter(dir.path()).expect("a directory to write");
        dir
    });
    let (mut model, _) = base.load_adapter(dirs[0].path()).expect("an adapter that fits");
    let held = 4 * DEPTH * WIDTH * WIDTH;
    println!();
    println!("{DEPTH} linears of {WIDTH} x {WIDTH}, {held} bytes; medians of {PASSES}");
    println!("swapped for rank   microseconds   factors' bytes   most bytes taken");
    let mut seconds = RANKS.map(|_| Vec::with_capacity(PASSES));
    let mut most = RANKS.map(|_| 0);
    for _ in 0..PASSES {
        for to in [1, 0] {
            let start = Instant::now();
            let swap = || model.swap_adapter("default", dirs[to].path()).expect("one that fits");
            let (swapped, taken) = measured(swap);
            seconds[to].push(start.elapsed().as_secs_f64());
            most[to] = taken.most;
            model = swapped;
        }
    }
    for ((rank, seconds), most) in RANKS.into_iter().zip(seconds).zip(most) {
        let factors = 4 * DEPTH * 2 * WIDTH * rank;
        println!("{rank:>16} {:>14.0} {factors:>16} {most:>18}", median(seconds));
    }
}
