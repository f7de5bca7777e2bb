//! Text from a decoder: token by token, over a cache of keys and values.
//!
//! Prompts of one call run as a batch, whatever their lengths; each row has a random generator of
//! its own, keyed by the seed and the row, and stops by itself. Nothing outside the call is read
//! or changed, so that the same call gives the same tokens.
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

use std::ops::ControlFlow;

use burn::tensor::{Int, Tensor, TensorData};

use sample::Sampler;
pub use sample::Sampling;

use crate::{Decoder, KvCache, ModelError};

/// How to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// The most tokens that a row gets.
    pub max_new_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Tokens that end a row; the one that did is not part of the output.
    pub stop: Vec<u32>,
}

impl Default for GenerateOptions {
    /// 128 tokens, greedy, no stop tokens.
    fn default() -> Self {
        Self { max_new_tokens: 128, sampling: Sampling::default(), stop: Vec::new() }
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

/// One row while it runs.
struct Row {
    ids: Vec<u32>,
    sampler: Sampler,
    end: Option<End>,
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
    check(model, prompts, options)?;
    let model = model.valid();
    let context = model.config().context().unwrap_or(usize::MAX);
    let mut rows: Vec<Row> = (0..prompts.len())
        .map(|row| Row {
            ids: Vec::new(),
            sampler: Sampler::new(&options.sampling, row),
            end: (options.max_new_tokens == 0).then_some(End::Length),
        })
        .collect();
    let mut cache = KvCache::new();
    let mut input = prompts.to_vec();
    while rows.iter().any(|row| row.end.is_none()) {
        let logits = last_logits(&model, &input, &mut cache)?;
        for (index, (row, logits)) in rows.iter_mut().zip(logits).enumerate() {
            if row.end.is_some() {
                continue;
            }
            let token = row.sampler.next(&logits)?;
            if options.stop.contains(&token) {
                row.end = Some(End::Stop(token));
                continue;
            }
            row.ids.push(token);
            if on_token(index, token).is_break() {
                rows.iter_mut().for_each(|row| _ = row.end.get_or_insert(End::Interrupted));
                break;
            }
            if row.ids.len() == options.max_new_tokens {
                row.end = Some(End::Length);
            } else if prompts[index].len() + row.ids.len() > context {
                row.end = Some(End::Context);
            }
        }
        // A row that has ended goes on as padding: it takes no position and no other row sees it.
        input = rows
            .iter()
            .map(|row| match (row.end, row.ids.last()) {
                (None, Some(&token)) => vec![token],
                _ => Vec::new(),
            })
            .collect();
    }
    Ok(rows
        .into_iter()
        .map(|row| Generated { ids: row.ids, end: row.end.unwrap_or(End::Length) })
        .collect())
}

/// Runs the new tokens of each row (none for one that has ended) and reads the logits after the last.
fn last_logits(
    model: &impl Decoder,
    input: &[Vec<u32>],
    cache: &mut KvCache,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let device = model.devices().swap_remove(0);
    let lengths: Vec<usize> = input.iter().map(Vec::len).collect();
    let tokens = lengths.iter().copied().max().unwrap_or(0);
    let ids: Vec<i32> = input
        .iter()
        .flat_map(|row| (0..tokens).map(|t| row.get(t).map_or(0, |&id| id as i32)))
        .collect();
    let ids = TensorData::new(ids, [input.len(), tokens]);
    let hidden = model.hidden(Tensor::<2, Int>::from_data(ids, &device), &lengths, Some(cache));
    let [batch, _, d] = hidden.dims();
    let last: Vec<i32> = lengths
        .iter()
        .enumerate()
        .map(|(row, length)| (row * tokens + length.saturating_sub(1)) as i32)
        .collect();
    let last = Tensor::<1, Int>::from_data(TensorData::new(last, [batch]), &device);
    let logits = model.logits(hidden.reshape([batch * tokens, d]).select(0, last));
    let values = logits
        .into_data()
        .convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|error| ModelError::Generation { reason: error.to_string() })?;
    Ok(values.chunks_exact(model.config().vocab_size()).map(<[f32]>::to_vec).collect())
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
