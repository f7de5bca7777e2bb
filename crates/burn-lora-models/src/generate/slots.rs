//! The slots that rows run in: continuous batching.
//!
//! A step gives every row that runs its next token. A row that has ended leaves its slot at once: the next
//! prompt takes it, or, where none waits, the row of the last slot, so that those that run lie side by side. A
//! prompt goes through the model alone, some tokens at a time. So what is computed for a row never depends on
//! how long another is, and on a backend whose kernels have a fixed order of sums for a row, not by a bit on
//! which others run.

use std::ops::ControlFlow;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::sample::Sampler;
use super::{End, GenerateOptions, Generated, Told};
use crate::footprint::PROMPT_TOKENS;
use crate::{Decoder, KvCache, ModelError};

type Tell<'a> = &'a mut dyn FnMut(Told) -> ControlFlow<()>;

/// One row while it runs.
struct Row {
    index: usize,
    ids: Vec<u32>,
    sampler: Sampler,
    /// Whether it has left.
    has_ended: bool,
}

/// Rows in slots, and what they came to.
pub(super) struct Slots<'a, M> {
    model: M,
    prompts: &'a [Vec<u32>],
    options: &'a GenerateOptions,
    /// Most tokens of a row.
    context: usize,
    device: Device,
    cache: KvCache,
    /// How many rows run at a time, at most.
    most: usize,
    /// The row in each slot from the first on.
    rows: Vec<Row>,
    /// Of each prompt; interrupted, until it has ended otherwise.
    outputs: Vec<Generated>,
    is_broken_off: bool,
}

impl<'a, M: Decoder> Slots<'a, M> {
    /// None of them taken. The model is one that learns nothing.
    pub(super) fn new(model: M, prompts: &'a [Vec<u32>], options: &'a GenerateOptions) -> Self {
        let context = model.config().context().unwrap_or(usize::MAX);
        let most = options.rows.clamp(1, prompts.len());
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let longest = longest.saturating_add(options.max_new_tokens).min(context);
        let unended = Generated { ids: Vec::new(), end: End::Interrupted };
        Self {
            device: model.devices().swap_remove(0),
            model,
            prompts,
            options,
            context,
            cache: KvCache::with_slots(most, longest),
            most,
            rows: Vec::with_capacity(most),
            outputs: vec![unended; prompts.len()],
            is_broken_off: false,
        }
    }

    /// Runs all prompts to their ends.
    pub(super) fn run(mut self, tell: Tell<'_>) -> Result<Vec<Generated>, ModelError> {
        let mut waiting = 0..self.prompts.len();
        loop {
            self.fill(&mut waiting, tell)?;
            if self.is_broken_off || self.rows.is_empty() {
                break;
            }
            self.step(tell)?;
        }
        for row in self.rows.iter_mut().filter(|row| !row.has_ended) {
            self.outputs[row.index].ids = std::mem::take(&mut row.ids);
        }
        Ok(self.outputs)
    }

    /// Gives the slots of rows that have ended, and those never taken, to prompts that wait; closes what gaps
    /// are left.
    fn fill(
        &mut self,
        waiting: &mut impl Iterator<Item = usize>,
        tell: Tell<'_>,
    ) -> Result<(), ModelError> {
        let mut slot = 0;
        while !self.is_broken_off && slot < self.most {
            if self.rows.get(slot).is_some_and(|row| !row.has_ended) {
                slot += 1;
            } else if let Some(index) = waiting.next() {
                // It may end with its first token: then the slot is looked at again.
                self.begin(index, slot, tell)?;
            } else if self.rows.last().is_some_and(|last| last.has_ended) {
                self.rows.pop();
            } else if slot < self.rows.len() {
                self.cache.relocate(self.rows.len() - 1, slot);
                self.rows.swap_remove(slot);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Takes a prompt into a slot and chooses its first token.
    fn begin(&mut self, index: usize, slot: usize, tell: Tell<'_>) -> Result<(), ModelError> {
        let sampler = Sampler::new(&self.options.sampling, index);
        let row = Row { index, ids: Vec::new(), sampler, has_ended: false };
        match self.rows.get_mut(slot) {
            Some(ended) => *ended = row,
            None => self.rows.push(row),
        }
        if self.options.max_new_tokens == 0 {
            self.end(slot, End::Length, tell);
            return Ok(());
        }
        self.cache.clear(slot);
        self.cache.select(slot..slot + 1);
        let chunks = self.prompts[index].chunks(PROMPT_TOKENS);
        let last = chunks.len() - 1;
        for (number, ids) in chunks.enumerate() {
            let logits = self.pass(&[ids], number == last)?;
            if number == last {
                self.choose(slot, &logits, tell)?;
            }
        }
        Ok(())
    }

    /// The next token of every row that runs. None has ended, and they lie side by side.
    fn step(&mut self, tell: Tell<'_>) -> Result<(), ModelError> {
        self.cache.select(0..self.rows.len());
        let last: Vec<[u32; 1]> =
            self.rows.iter().map(|row| [row.ids.last().copied().unwrap_or(0)]).collect();
        let last: Vec<&[u32]> = last.iter().map(<[u32; 1]>::as_slice).collect();
        let logits = self.pass(&last, true)?;
        let vocabulary = self.model.config().vocab_size();
        for (slot, logits) in logits.chunks_exact(vocabulary).enumerate() {
            self.choose(slot, logits, tell)?;
            if self.is_broken_off {
                break;
            }
        }
        Ok(())
    }

    /// Lets new tokens of the selected slots through the model, as many of each. Where they are wanted, the logits
    /// after the last, row by row.
    fn pass(&mut self, rows: &[&[u32]], wanted: bool) -> Result<Vec<f32>, ModelError> {
        let tokens = rows.first().map_or(0, |row| row.len());
        let ids: Vec<i32> = rows.iter().flat_map(|row| row.iter().map(|&id| id as i32)).collect();
        let ids = TensorData::new(ids, [rows.len(), tokens]);
        let ids = Tensor::<2, Int>::from_data(ids, &self.device);
        let lengths = vec![tokens; rows.len()];
        // Neither is copied: a model shares its weights, and the cache comes back.
        let (model, mut cache) = (self.model.clone(), std::mem::take(&mut self.cache));
        let (cache, logits) = among_workers(&self.device, move || {
            let hidden = model.hidden(ids, &lengths, Some(&mut cache));
            let [rows, _, d] = hidden.dims();
            let last = hidden.narrow(1, tokens - 1, 1).reshape([rows, d]);
            (cache, wanted.then(|| model.logits(last).into_data()))
        });
        self.cache = cache;
        let Some(logits) = logits else { return Ok(Vec::new()) };
        logits
            .convert::<f32>()
            .try_into_vec::<f32>()
            .map_err(|error| ModelError::Generation { reason: error.to_string() })
    }

    /// Chooses the next token of the row in a slot from its logits.
    fn choose(&mut self, slot: usize, logits: &[f32], tell: Tell<'_>) -> Result<(), ModelError> {
        let row = &mut self.rows[slot];
        let token = row.sampler.next(logits)?;
        if self.options.stop.contains(&token) {
            self.end(slot, End::Stop(token), tell);
            return Ok(());
        }
        row.ids.push(token);
        let (index, count) = (row.index, row.ids.len());
        if tell(Told::Token { row: index, token }).is_break() {
            self.is_broken_off = true;
        } else if count == self.options.max_new_tokens {
            self.end(slot, End::Length, tell);
        } else if self.prompts[index].len() + count > self.context {
            self.end(slot, End::Context, tell);
        }
        Ok(())
    }

    /// Lets the row in a slot leave.
    fn end(&mut self, slot: usize, end: End, tell: Tell<'_>) {
        let row = &mut self.rows[slot];
        row.has_ended = true;
        self.outputs[row.index] = Generated { ids: std::mem::take(&mut row.ids), end };
        self.is_broken_off |= tell(Told::End { row: row.index, end }).is_break();
    }
}

/// Runs a pass where the threads that its products are shared out to stay awake: a pass of a few rows has some
/// hundred products of less than a millisecond each.
fn among_workers<R: Send>(device: &Device, pass: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    if burn_lora::device::is_cpu(device) {
        return burn_lora_kernels::awake::awake(pass);
    }
    let _ = device;
    pass()
}
