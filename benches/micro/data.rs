//! The quickstart's training rows: read, tokenised and masked, put into the batches of an epoch.

use std::path::{Path, PathBuf};

use burn_lora_data::{
    Order, Reading, RowFile, Sampler, TokenBatch, TokenExample, Tokenization, token_examples,
};
use burn_lora_models::tokenizer::Tokenizer;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/quickstart")
}

fn rows() -> RowFile {
    RowFile::read(quickstart().join("train.jsonl"), &Reading::default()).expect("rows that ship")
}

fn tokenizer() -> Tokenizer {
    Tokenizer::from_dir(&quickstart().join("model")).expect("a tokenizer that ships")
}

fn tokenization() -> Tokenization {
    Tokenization { limit: 256.into(), separator: String::new(), eos: true, answers: Default::default() }
}

fn examples() -> Vec<TokenExample> {
    token_examples(&rows(), &tokenizer(), &tokenization()).expect("rows with targets").0
}

#[divan::bench]
fn reading(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(rows().rows.len())).bench_local(rows);
}

#[divan::bench(sample_count = 20)]
fn tokenising(bencher: Bencher<'_, '_>) {
    let (rows, tokenizer) = (rows(), tokenizer());
    let how = tokenization();
    bencher
        .counter(ItemsCount::new(rows.rows.len()))
        .bench_local(|| token_examples(&rows, &tokenizer, &how).expect("rows with targets"));
}

#[divan::bench]
fn batching_an_epoch(bencher: Bencher<'_, '_>) {
    let examples = examples();
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    bencher.counter(ItemsCount::new(examples.len())).bench_local(|| {
        let order = Order::training(true, true);
        let mut sampler = Sampler::new(lengths.clone(), 8, 1, 0, order);
        let batch = |rows: &Vec<usize>| TokenBatch::new(rows.iter().map(|&row| &examples[row]), 0);
        (0..sampler.steps_per_epoch())
            .map(|step| sampler.step(step).iter().map(batch).collect::<Vec<_>>().len())
            .sum::<usize>()
    });
}
