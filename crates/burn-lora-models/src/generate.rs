//! Text from a decoder: token by token, over a cache of keys and values.
//!
//! Prompts of one call run in batches that rows join and leave as they end, whatever their lengths and however
//! many there are (`generate/slots.rs`); each row has a random generator of its own, keyed by the seed and the
//! row, and stops by itself. Nothing outside the call is read or changed, so that the same call gives the same
//! tokens, and a row's do not depend on how many run beside it.
//!
//! ```
//! use std::ops::ControlFlow;
//! use burn_lora_models::generate::{GenerateOptions, generate};
//! use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let config = CausalConfig::from_json(
//! #     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//! #         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}"#,
//! #     "config.json".as_ref(),
//! # )?;
//! let device = burn_lora::device::parse("cpu")?;
//! let model = CausalLm::random(&config, 0, &device)?;
//! let options = GenerateOptions { max_new_tokens: 4, stop: vec![2], ..Default::default() };
//! let prompts = [vec![1, 5, 9], vec![1, 7]];
//! let outputs = generate(&model, &prompts, &options, &mut |row, token| {
//!     println!("{row}: {token}");
//!     ControlFlow::Continue(())
//! })?;
//! assert!(outputs.iter().all(|output| output.ids.len() <= 4));
//! # Ok(())
//! # }
//! ```
//!
//! Left out: beams, penalties, speculative decoding.

mod sample;
mod slots;

use std::ops::ControlFlow;

pub use sample::Sampling;
use slots::Slots;

use crate::{Decoder, ModelError};

/// Rows that run at a time, unless told otherwise: as many as a product takes at the price of one, which is
/// that of reading the weights.
pub const ROWS: usize = 16;

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// The most tokens that a row gets.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Tokens that end a row; the one that did is not part of the output.
    pub stop: Vec<u32>,
    /// How many rows run at a time, at most (from 1 on); memory grows with it.
    pub rows: usize,
}

impl Default for GenerateOptions {
    /// 128 tokens, greedy, no stop tokens, [`ROWS`] at a time.
    fn default() -> Self {
        Self { max_new_tokens: 128, sampling: Sampling::default(), stop: Vec::new(), rows: ROWS }
    }
}

/// What a row came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The new tokens, without the prompt and without the stop token.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub end: End,
}

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// At this stop token.
    Stop(u32),
    /// At `max_new_tokens`.
    Length,
    /// At the model's longest sequence.
    Context,
    /// The caller's function said so.
    Interrupted,
}

/// What [`generate_told`] tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A row got a token, which is not a stop token.
    Token {
        /// The prompt's index.
        row: usize,
        /// The token.
        token: u32,
    },
    /// A row has ended.
    End {
        /// The prompt's index.
        row: usize,
        /// Why.
        end: End,
    },
}

/// Continues each prompt. `on_token` is told of each row and token as they come, stop tokens left
/// out, and may break off.
///
/// The model runs without autodiff, wherever its parameters live.
///
/// # Errors
///
/// No prompts, an empty one, one that is longer than the model's context, a token outside its
/// vocabulary, sampling options outside their ranges, logits that are not numbers.
pub fn generate(
    model: &impl Decoder,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    generate_told(model, prompts, options, &mut |told| match told {
        Told::Token { row, token } => on_token(row, token),
        Told::End { .. } => ControlFlow::Continue(()),
    })
}

/// [`generate`], telling of ends as well. A row's tokens come in order; rows in that of the prompts, as far as
/// they begin, and in any as they end.
///
/// # Errors
///
/// As [`generate`].
pub fn generate_told(
    model: &impl Decoder,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
    tell: &mut dyn FnMut(Told) -> ControlFlow<()>,
) -> Result<Vec<Generated>, ModelError> {
    check(model, prompts, options)?;
    Slots::new(model.valid(), prompts, options).run(tell)
}

/// Why [`generate`] refuses this prompt, to be read after its name, if it does.
pub fn unfit(model: &impl Decoder, prompt: &[u32]) -> Option<String> {
    let vocabulary = model.config().vocab_size();
    if prompt.is_empty() {
        return Some("is empty: begin with at least one token".to_owned());
    }
    let length = prompt.len();
    if let Some(context) = model.config().context().filter(|&context| length > context) {
        return Some(format!("has {length} tokens, the model takes {context}: shorten it"));
    }
    let token = prompt.iter().find(|&&token| token as usize >= vocabulary)?;
    Some(format!(
        "holds token {token}, the model's vocabulary ends at {}: was it encoded by another model's \
         tokenizer?",
        vocabulary - 1
    ))
}

fn check(
    model: &impl Decoder,
    prompts: &[Vec<u32>],
    options: &GenerateOptions,
) -> Result<(), ModelError> {
    let refuse = |reason: String| Err(ModelError::Generation { reason });
    if prompts.is_empty() {
        return refuse("no prompts were given".into());
    }
    for (row, prompt) in prompts.iter().enumerate() {
        if let Some(problem) = unfit(model, prompt) {
            return refuse(format!("prompt {row} {problem}"));
        }
    }
    options.sampling.check().or_else(refuse)
}
