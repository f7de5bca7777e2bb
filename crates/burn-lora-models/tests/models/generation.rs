//! Generation over the cache against whole forward passes.

use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};
use burn_lora_models::generate::{End, GenerateOptions, Generated, Sampling, generate};
use burn_lora_models::{CausalLm, Decoder, KvCache, Model};

use crate::fixture::{Batch, DECODERS, device, floats, golden, largest_difference};

fn model(architecture: &str) -> CausalLm {
    CausalLm::load(&golden(architecture), &device(), &mut |_, _| {}).unwrap().0
}

fn run(model: &CausalLm, prompts: &[Vec<u32>], options: &GenerateOptions) -> Vec<Generated> {
    generate(model, prompts, options, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

/// Greedy, by a whole forward pass for each token.
fn uncached(model: &CausalLm, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    for _ in 0..count {
        let input = TensorData::new(ids.clone(), [1, ids.len()]);
        let input = Tensor::<2, Int>::from_data(input, &device());
        let logits = floats(model.logits(model.hidden(input, &[ids.len()], None)));
        let last = &logits[logits.len() - model.config().vocab_size()..];
        let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        ids.push(best as i32);
    }
    ids[prompt.len()..].iter().map(|&id| id as u32).collect()
}

fn prompts() -> Vec<Vec<u32>> {
    vec![vec![5, 9, 200, 3], vec![17], vec![80, 81, 82, 83, 84, 85, 86, 7, 100]]
}

fn options(max_new_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_new_tokens, ..Default::default() }
}

#[test]
fn the_cache_changes_nothing_whatever_the_lengths_in_a_batch() {
    for architecture in DECODERS {
        let model = model(architecture);
        let outputs = run(&model, &prompts(), &options(12));
        for (prompt, output) in prompts().iter().zip(outputs) {
            assert_eq!(output.ids, uncached(&model, prompt, 12), "{architecture}");
            assert_eq!(output.end, End::Length);
        }
    }
}

/// Logits, not only their largest: the golden batch in pieces of several tokens.
#[test]
fn a_sequence_in_pieces_gives_the_logits_of_the_whole() {
    for architecture in DECODERS {
        check_pieces(architecture);
    }
}

fn check_pieces(architecture: &str) {
    let model = model(architecture);
    let batch = Batch::of(architecture);
    let ids = batch.ids(&device());
    let whole = floats(model.logits(model.hidden(ids.clone(), &batch.lengths, None)));
    let mut cache = KvCache::new();
    let mut start = 0;
    for piece in [5, 1, 4, 7] {
        let lengths: Vec<usize> =
            batch.lengths.iter().map(|length| length.saturating_sub(start).min(piece)).collect();
        let part = ids.clone().narrow(1, start, piece);
        let logits = floats(model.logits(model.hidden(part, &lengths, Some(&mut cache))));
        let expected: Vec<f32> = (0..batch.rows)
            .flat_map(|row| {
                let first = (row * batch.tokens + start) * 211;
                whole[first..first + piece * 211].to_vec()
            })
            .collect();
        let inside = |row: usize| row % piece < lengths[row / piece];
        let difference = largest_difference(&logits, &expected, 211, inside);
        // The same sums over other shapes of products.
        assert!(difference < 1e-5, "from {start}: {difference}");
        start += piece;
    }
    assert_eq!(cache.len(), batch.tokens);
    assert_eq!(cache.tokens(), batch.lengths);
}

#[test]
fn a_row_ends_at_its_stop_token_and_the_others_go_on() {
    let model = model("llama");
    let free = run(&model, &prompts(), &options(12));
    let stop = free[0].ids[4];
    let first = |ids: &[u32]| ids.iter().position(|&id| id == stop);
    let stopped = run(&model, &prompts(), &GenerateOptions { stop: vec![stop], ..options(12) });
    for (free, stopped) in free.iter().zip(&stopped) {
        match first(&free.ids) {
            Some(at) => {
                assert_eq!(stopped.ids, free.ids[..at]);
                assert_eq!(stopped.end, End::Stop(stop));
            }
            None => assert_eq!(stopped, free),
        }
    }
    assert!(matches!(stopped[0].end, End::Stop(_)));
}

#[test]
fn generation_ends_where_the_context_does() {
    let model = model("llama");
    let long: Vec<u32> = (3..63).collect();
    let outputs = run(&model, &[long, vec![4]], &options(100));
    // 64 positions: 60 of the prompt, 4 more that are read, and one that only comes out.
    assert_eq!((outputs[0].ids.len(), outputs[0].end), (5, End::Context));
    assert_eq!((outputs[1].ids.len(), outputs[1].end), (64, End::Context));
    assert_eq!(outputs[1].ids, uncached(&model, &[4], 64));
}

#[test]
fn sampling_follows_its_seed_and_its_row() {
    let model = model("qwen2");
    let sampled = |seed, prompts: &[Vec<u32>]| {
        let sampling = Sampling { temperature: 1.0, seed, ..Default::default() };
        run(&model, prompts, &GenerateOptions { sampling, ..options(16) })
    };
    let first = sampled(1, &prompts());
    assert_eq!(first, sampled(1, &prompts()));
    assert_ne!(first, sampled(2, &prompts()));
    // A row draws alike whatever stands beside it, and equal prompts draw differently.
    assert_eq!(first[..1], sampled(1, &prompts()[..1]));
    let equal = sampled(1, &[vec![9], vec![9]]);
    assert_ne!(equal[0], equal[1]);
    // Only the likeliest token counts: greedy, whatever the temperature.
    let sampling = Sampling { temperature: 2.0, top_k: Some(1), ..Default::default() };
    let narrow = run(&model, &prompts(), &GenerateOptions { sampling, ..options(8) });
    assert_eq!(narrow, run(&model, &prompts(), &options(8)));
}

#[test]
fn tokens_are_told_as_they_come_and_can_be_broken_off() {
    let model = model("llama");
    let mut told = Vec::new();
    let outputs = generate(&model, &prompts(), &options(12), &mut |row, token| {
        told.push((row, token));
        match told.len() {
            5 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .unwrap();
    assert_eq!(told.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 1, 2, 0, 1]);
    for (row, output) in outputs.iter().enumerate() {
        let tokens: Vec<u32> =
            told.iter().filter(|(told, _)| *told == row).map(|(_, token)| *token).collect();
        assert_eq!(output.ids, tokens);
        assert_eq!(output.end, End::Interrupted);
    }
}

#[test]
fn a_model_that_trains_generates_the_same() {
    let (training, _) =
        CausalLm::load(&golden("llama"), &device().autodiff(), &mut |_, _| {}).unwrap();
    let plain = run(&model("llama"), &prompts(), &options(6));
    assert_eq!(run(&training, &prompts(), &options(6)), plain);
}

#[test]
fn no_new_tokens_is_nothing() {
    let outputs = run(&model("llama"), &prompts(), &options(0));
    assert!(outputs.iter().all(|output| output.ids.is_empty() && output.end == End::Length));
}

#[test]
fn what_cannot_be_generated_is_refused() {
    let model = model("llama");
    let sampling = Sampling { top_p: Some(2.0), temperature: 1.0, ..Default::default() };
    for (prompts, options, part) in [
        (vec![], options(1), "no prompts"),
        (vec![vec![1], vec![]], options(1), "prompt 1 is empty"),
        (vec![vec![1; 65]], options(1), "65 tokens"),
        (vec![vec![1, 211]], options(1), "token 211"),
        (vec![vec![1]], GenerateOptions { sampling, ..options(1) }, "top_p is 2"),
    ] {
        let error = generate(&model, &prompts, &options, &mut |_, _| ControlFlow::Continue(()));
        let message = error.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
