//! An adapter merged, taken out again, saved and loaded: 24 linears of 512 x 512, rank 16.

use std::path::Path;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn_lora_patch::peft::{self, LoadOptions, PeftConfig};
use burn_lora_patch::{LoraConfig, merge, patch, unmerge};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const LINEARS: usize = 24;
const WIDTH: usize = 512;

fn main() {
    divan::main();
}

#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
}

fn stack() -> Stack {
    let device = burn_lora::device::parse("cpu").expect("a CPU backend is compiled in");
    let layers = (0..LINEARS).map(|_| LinearConfig::new(WIDTH, WIDTH).init(&device)).collect();
    let stack = Stack { layers };
    // Parameters are made when they are first used: not within what is measured.
    stack.layers.iter().for_each(|layer| drop(layer.weight.val()));
    stack
}

fn config() -> LoraConfig {
    LoraConfig::new(16)
}

fn adapted() -> Stack {
    let mut model = stack();
    patch(&mut model, &config()).expect("linears to adapt");
    model
}

fn save(model: &Stack, dir: &Path) {
    peft::save(model, dir, &PeftConfig::new(&config())).expect("a directory to write");
}

#[divan::bench(sample_count = 20)]
fn merging(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(adapted).bench_local_values(|mut model| {
        merge(&mut model).expect("an adapter to merge");
        model
    });
}

#[divan::bench(sample_count = 20)]
fn unmerging(bencher: Bencher<'_, '_>) {
    let merged = || {
        let mut model = adapted();
        merge(&mut model).expect("an adapter to merge");
        model
    };
    bencher.with_inputs(merged).bench_local_values(|mut model| {
        unmerge(&mut model).expect("a merged adapter");
        model
    });
}

#[divan::bench(sample_count = 20)]
fn saving(bencher: Bencher<'_, '_>) {
    let (model, dir) = (adapted(), tempfile::tempdir().expect("a scratch directory"));
    bencher.bench_local(|| save(&model, dir.path()));
}

#[divan::bench(sample_count = 20)]
fn loading(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a scratch directory");
    save(&adapted(), dir.path());
    bencher.with_inputs(stack).bench_local_values(|mut model| {
        peft::load(&mut model, dir.path(), &LoadOptions::default()).expect("an adapter that fits");
        model
    });
}
