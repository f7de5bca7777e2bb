//! Continuations of held-out prompts, generated as a run is evaluated.
//!
//! One generation serves exact match, BLEU and the samples that are shown. Rows of the same prompt share it. Prompts
//! run in batches that they join and leave as they end, of as many rows as memory has room for.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use burn_lora_models::Decoder;
use burn_lora_models::generate::{GenerateOptions, ROWS, Told, generate_told};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_report::sample::{Sample, Scoring};

use crate::observe::Observer;
use crate::{TrainError, system_memory};
use burn_lora_config::TrainSection;
use burn_lora_data::Prompt;

/// The scores of generated texts that a run asks for.
pub(crate) fn scoring(train: &TrainSection) -> Scoring {
    Scoring { exact_match: train.exact_match, bleu: train.bleu }
}

/// Generates greedily for every prompt, at most `max_tokens` each; once for prompts of the same tokens.
///
/// # Errors
///
/// A prompt that is empty or longer than the model reads, or text that cannot be decoded.
pub fn generate_samples(
    model: &impl Decoder,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    max_tokens: usize,
    observer: &Observer,
) -> Result<Vec<Sample>, TrainError> {
    let distinct = distinct(prompts);
    let rows: Vec<Vec<u32>> = distinct.iter().map(|ids| ids.to_vec()).collect();
    let mut outputs = HashMap::with_capacity(rows.len());
    if !rows.is_empty() {
        let options = GenerateOptions {
            max_new_tokens: max_tokens,
            stop: tokenizer.stop_ids(),
            rows: rows_that_fit(model, &rows, max_tokens, ROWS),
            ..GenerateOptions::default()
        };
        let mut done = 0;
        let generated = generate_told(model, &rows, &options, &mut |told| {
            if let Told::End { .. } = told {
                done += 1;
                observer.progress(done, rows.len() as u64);
            }
            ControlFlow::Continue(())
        })?;
        for (ids, row) in distinct.into_iter().zip(generated) {
            outputs.insert(ids, tokenizer.decode(&row.ids, true)?);
        }
    }
    let samples = prompts.iter().map(|prompt| Sample {
        prompt: prompt.text.clone(),
        expected: prompt.expected.clone(),
        alternatives: prompt.alternatives.clone(),
        before: None,
        output: outputs.get(prompt.ids.as_slice()).cloned().unwrap_or_default(),
    });
    Ok(samples.collect())
}

/// How many of the prompts can be continued at a time by `new` tokens each, at most `most` and at least one:
/// on a CPU, as many as half of the memory that is free has room for. What a GPU has is not asked.
pub fn rows_that_fit(model: &impl Decoder, prompts: &[Vec<u32>], new: usize, most: usize) -> usize {
    let on_cpu = model.devices().first().is_some_and(burn_lora::device::is_cpu);
    let Some(free) = system_memory::available().filter(|_| on_cpu) else { return most.max(1) };
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let cost = model.config().cost();
    fitting(most, free / 2, |rows| cost.generating(rows, longest, new))
}

/// The most rows whose bytes are no more than there are.
fn fitting(most: usize, there: u64, bytes: impl Fn(usize) -> u64) -> usize {
    (2..=most).rev().find(|&rows| bytes(rows) <= there).unwrap_or(1)
}

/// The tokens of the prompts, each once, in the order in which they first come.
fn distinct(prompts: &[Prompt]) -> Vec<&[u32]> {
    let mut seen = HashSet::new();
    prompts.iter().map(|prompt| prompt.ids.as_slice()).filter(|ids| seen.insert(*ids)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_many_as_memory_has_room_for_and_never_none() {
        let bytes = |rows: usize| 100 + 10 * rows as u64;
        assert_eq!(fitting(16, 1000, bytes), 16);
        assert_eq!(fitting(16, 150, bytes), 5);
        assert_eq!(fitting(16, 149, bytes), 4);
        assert_eq!(fitting(16, 0, bytes), 1);
        assert_eq!(fitting(1, 1000, bytes), 1);
    }

    #[test]
    fn rows_of_one_prompt_are_generated_for_once() {
        let prompts = [&[5, 6][..], &[7], &[5, 6], &[5]].map(|ids| Prompt {
            ids: ids.to_vec(),
            text: String::new(),
            expected: String::new(),
            alternatives: Vec::new(),
        });
        assert_eq!(distinct(&prompts), [&[5, 6][..], &[7], &[5]]);
    }
}
