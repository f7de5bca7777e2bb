//! Exact match: generated continuations of held-out prompts against what was expected.

use burn_lora_models::generate::{GenerateOptions, generate};
use burn_lora_models::llama::LlamaForCausalLM;
use burn_lora_models::tokenizer::Tokenizer;
use std::ops::ControlFlow;

use crate::TrainError;
use crate::data::Prompt;
use crate::observe::Observer;

/// Prompts that go through the model at once, at most.
pub(crate) const ROWS: usize = 32;

/// One prompt, what was expected and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What the model was given.
    pub prompt: String,
    /// What the data says.
    pub expected: String,
    /// What the model wrote.
    pub output: String,
}

impl Sample {
    /// Whether output and expectation are the same, but for white space around them.
    pub fn is_exact(&self) -> bool {
        self.output.trim() == self.expected.trim()
    }
}

/// The share of samples that are exactly right, 0 to 1; 0 where there are none.
pub fn exact_match(samples: &[Sample]) -> f64 {
    let exact = samples.iter().filter(|sample| sample.is_exact()).count();
    exact as f64 / samples.len().max(1) as f64
}

/// Generates greedily for every prompt, at most `max_tokens` each.
///
/// # Errors
///
/// A prompt that is empty or longer than the model reads, or text that cannot be decoded.
pub fn generate_samples(
    model: &LlamaForCausalLM,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    max_tokens: usize,
    observer: &Observer,
) -> Result<Vec<Sample>, TrainError> {
    let options = GenerateOptions {
        max_new_tokens: max_tokens,
        stop: tokenizer.eos_ids().to_vec(),
        ..GenerateOptions::default()
    };
    // Prompts of like lengths share a batch, so that little of it is padding.
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&index| prompts[index].ids.len());
    let mut outputs = vec![String::new(); prompts.len()];
    for (done, chunk) in order.chunks(ROWS).enumerate() {
        observer.progress((done * ROWS) as u64, prompts.len() as u64);
        let ids: Vec<Vec<u32>> = chunk.iter().map(|&index| prompts[index].ids.clone()).collect();
        let generated = generate(model, &ids, &options, &mut |_, _| ControlFlow::Continue(()))?;
        for (&index, row) in chunk.iter().zip(generated) {
            outputs[index] = tokenizer.decode(&row.ids, true)?;
        }
    }
    let samples = prompts.iter().zip(outputs).map(|(prompt, output)| Sample {
        prompt: prompt.text.clone(),
        expected: prompt.expected.clone(),
        output,
    });
    Ok(samples.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(expected: &str, output: &str) -> Sample {
        Sample { prompt: String::new(), expected: expected.into(), output: output.into() }
    }

    #[test]
    fn white_space_around_does_not_count_and_anything_else_does() {
        let samples = [sample("a b", " a b\n"), sample("a b", "a  b"), sample("a", "A")];
        assert_eq!(exact_match(&samples), 1.0 / 3.0);
        assert_eq!(exact_match(&[]), 0.0);
    }
}
