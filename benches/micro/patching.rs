//! A model of 1,000 linears of 16 x 16: scanned, planned and patched.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn_lora_patch::{LoraConfig, Scan, Targets, patch, plan};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const BLOCKS: usize = 250;

fn main() {
    divan::main();
}

#[derive(Module, Debug)]
struct Block {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
}

#[derive(Module, Debug)]
struct Blocks {
    layers: Vec<Block>,
}

fn blocks() -> Blocks {
    let device = burn_lora::device::parse("cpu").expect("a CPU backend is compiled in");
    let linear = || {
        let linear = LinearConfig::new(16, 16).with_bias(false).init(&device);
        // Made when first used: not within what is measured.
        drop(linear.weight.val());
        linear
    };
    let block = || Block { q_proj: linear(), k_proj: linear(), v_proj: linear(), o_proj: linear() };
    Blocks { layers: (0..BLOCKS).map(|_| block()).collect() }
}

fn config(targets: Targets) -> LoraConfig {
    LoraConfig::new(4).with_alpha(8.0).with_targets(targets)
}

#[divan::bench(sample_count = 20)]
fn scanning(bencher: Bencher<'_, '_>) {
    let model = blocks();
    bencher.bench_local(|| Scan::of(&model));
}

#[divan::bench(sample_count = 20)]
fn planning_names(bencher: Bencher<'_, '_>) {
    let (model, config) = (blocks(), config(Targets::names(["q_proj", "v_proj"])));
    bencher.bench_local(|| plan(&model, &config).expect("targets that match"));
}

#[divan::bench(sample_count = 20)]
fn patching_all(bencher: Bencher<'_, '_>) {
    let config = config(Targets::AllLinear);
    bencher.with_inputs(blocks).bench_local_values(|mut model| {
        patch(&mut model, &config).expect("linears to adapt");
        model
    });
}
