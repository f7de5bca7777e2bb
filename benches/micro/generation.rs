//! Text from the quickstart's model with a cache of keys and values; items are tokens.

use std::ops::ControlFlow;
use std::path::Path;

use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NEW: usize = 32;

fn main() {
    burn_lora_kernels::allocator::keep_large_blocks();
    divan::main();
}

#[divan::bench(args = [1, 8], sample_count = 10)]
fn greedy(bencher: Bencher<'_, '_>, rows: usize) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/quickstart/model");
    let device = burn_lora::device::parse("cpu").expect("a CPU backend is compiled in");
    let (model, _) = CausalLm::load(&dir, &device, &mut |_, _| {}).expect("a model that ships");
    let tokenizer = Tokenizer::from_dir(&dir).expect("a tokenizer that ships");
    let prompt = tokenizer.encode("wire 120 to Anna for the tickets", true).expect("plain text");
    let options = GenerateOptions { max_new_tokens: NEW, ..GenerateOptions::default() };
    let prompts = vec![prompt; rows];
    bencher.counter(ItemsCount::new(rows * NEW)).bench_local(|| {
        generate(&model, &prompts, &options, &mut |_, _| ControlFlow::Continue(()))
            .expect("a prompt that fits")
    });
}
