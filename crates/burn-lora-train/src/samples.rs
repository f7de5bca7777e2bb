//! Continuations of held-out prompts, generated as a run is evaluated.
//!
//! One generation serves exact match, BLEU and the samples that are shown. Rows of the same prompt share it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use burn_lora_models::Decoder;
use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_report::sample::{Sample, Scoring};

use crate::TrainError;
use crate::observe::Observer;
use burn_lora_config::TrainSection;
use burn_lora_data::Prompt;

/// Prompts that go through the model at once, at most.
pub(crate) const ROWS: usize = 32;

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
    let options = GenerateOptions {
        max_new_tokens: max_tokens,
        stop: tokenizer.stop_ids(),
        ..GenerateOptions::default()
    };
    // Prompts of like lengths share a batch, so that little of it is padding.
    let mut distinct = distinct(prompts);
    distinct.sort_by_key(|ids| ids.len());
    let mut outputs = HashMap::with_capacity(distinct.len());
    for (done, chunk) in distinct.chunks(ROWS).enumerate() {
        observer.progress((done * ROWS) as u64, distinct.len() as u64);
        let rows: Vec<Vec<u32>> = chunk.iter().map(|ids| ids.to_vec()).collect();
        let generated = generate(model, &rows, &options, &mut |_, _| ControlFlow::Continue(()))?;
        for (&ids, row) in chunk.iter().zip(generated) {
            outputs.insert(ids, tokenizer.decode(&row.ids, true)?);
        }
    }
    let samples = prompts.iter().map(|prompt| Sample {
        prompt: prompt.text.clone(),
        expected: prompt.expected.clone(),
        alternatives: prompt.alternatives.clone(),
        output: outputs.get(prompt.ids.as_slice()).cloned().unwrap_or_default(),
    });
    Ok(samples.collect())
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
