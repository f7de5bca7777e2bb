//! The adapted linear, forward and with its backward, beside the plain one and the composed one.
//!
//! 512 tokens; items are tokens. The sizes are `d_in = d_out`.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora::{Adapter, AdapterConfig, LoraForward, attach};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const TOKENS: usize = 512;
const SIZES: [usize; 2] = [576, 1024];
const RANKS: [usize; 2] = [8, 64];

fn main() {
    burn_lora_kernels::allocator::keep_large_blocks();
    divan::main();
}

fn device() -> Device {
    burn_lora::device::parse("cpu").expect("a CPU backend is compiled in")
}

fn adapted(size: usize, rank: usize, device: &Device) -> Linear {
    let config = AdapterConfig::new(rank);
    let linear = LinearConfig::new(size, size).with_bias(false).init(device).no_grad();
    let adapter = Adapter::init("default", &config, &linear.weight, 0).expect("a rank that fits");
    attach(linear, "weight", adapter).expect("a linear has a weight")
}

fn input(size: usize, device: &Device) -> Tensor<2> {
    Tensor::random([TOKENS, size], Distribution::Default, device)
}

#[divan::bench(args = SIZES)]
fn plain_forward(bencher: Bencher<'_, '_>, size: usize) {
    let device = device();
    let (linear, x) = (LinearConfig::new(size, size).init(&device), input(size, &device));
    bencher.counter(ItemsCount::new(TOKENS)).bench_local(|| linear.forward(x.clone()));
}

#[divan::bench(args = SIZES, consts = RANKS)]
fn factored_forward<const RANK: usize>(bencher: Bencher<'_, '_>, size: usize) {
    let device = device();
    let (linear, x) = (adapted(size, RANK, &device), input(size, &device));
    bencher.counter(ItemsCount::new(TOKENS)).bench_local(|| linear.lora_forward(x.clone()));
}

#[divan::bench(args = SIZES, consts = RANKS)]
fn composed_forward<const RANK: usize>(bencher: Bencher<'_, '_>, size: usize) {
    let device = device();
    let (linear, x) = (adapted(size, RANK, &device), input(size, &device));
    bencher.counter(ItemsCount::new(TOKENS)).bench_local(|| linear.forward(x.clone()));
}

#[divan::bench(args = SIZES, consts = RANKS, sample_count = 20)]
fn factored_forward_and_backward<const RANK: usize>(bencher: Bencher<'_, '_>, size: usize) {
    let device = device().autodiff();
    let linear = adapted(size, RANK, &device);
    let x = input(size, &device).require_grad();
    bencher
        .counter(ItemsCount::new(TOKENS))
        .bench_local(|| linear.lora_forward(x.clone()).sum().backward());
}

#[divan::bench(args = SIZES, consts = RANKS, sample_count = 20)]
fn composed_forward_and_backward<const RANK: usize>(bencher: Bencher<'_, '_>, size: usize) {
    let device = device().autodiff();
    let linear = adapted(size, RANK, &device);
    let x = input(size, &device).require_grad();
    bencher
        .counter(ItemsCount::new(TOKENS))
        .bench_local(|| linear.forward(x.clone()).sum().backward());
}
