//! The count of a plain decoder: norm, one linear for queries, keys and values, attention, linear; norm, two
//! linears with an activation between them. Two families have such blocks, under different names.
//!
//! Norms are Burn's, composed of single operations, and keep what those keep; attention is the fused one
//! and keeps queries, keys and values; GELU keeps its input.

use crate::dropout::{Dropout, Dropouts};

use super::{BatchShape, Counted, Footprint, HeadCount, Learned, LearnedAt, Pass, floats};

/// How often a training step passes over what its layers keep, beside its products: norms are made of
/// many operations each, activation and attention are one.
const PASSES: f64 = 12.0;

/// Sizes and names of a plain decoder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlainDecoder {
    /// Width of the residual stream.
    pub(crate) d: usize,
    /// Width between a block's two last linears.
    pub(crate) inner: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) vocabulary: usize,
    /// The longest sequence, if there is one.
    pub(crate) context: Option<usize>,
    /// Whether the head is the token table.
    pub(crate) tied: bool,
    pub(crate) dropouts: Dropouts,
    /// Paths of the tables that the stream starts from.
    pub(crate) tables: &'static [&'static str],
    /// Path of the norm over their rows, where there is one.
    pub(crate) embedding_norm: Option<&'static str>,
    /// Path of the list of blocks.
    pub(crate) blocks: &'static str,
    /// Paths in a block: before the attention, before the two linears.
    pub(crate) norms: [&'static str; 2],
    /// Paths in a block: queries, keys and values; after attention; the two linears.
    pub(crate) linears: [&'static str; 4],
    /// Path of the norm after the last block.
    pub(crate) last_norm: &'static str,
}

impl PlainDecoder {
    fn output(&self) -> HeadCount {
        HeadCount { d: self.d, vocabulary: self.vocabulary, tied: self.tied }
    }
}

impl Counted for PlainDecoder {
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint {
        let (d, inner, tokens) = (self.d, self.inner, batch.tokens());
        let (rows, width) = batch.attended();
        let attended = rows * width;
        let mut pass = Pass::new(learned);
        let whole = |path: &str| learned(path) == Learned::Whole;
        // What was centred; and what was divided, where the scale is learned.
        let norm = |pass: &mut Pass<'_>, path: &str| {
            let scale = whole(path);
            pass.tracked |= scale;
            pass.keep(tokens * d * if scale { 2 } else { 1 });
        };
        // Where something is dropped, its mask; and attention is composed: exponentials, mask, what is
        // left.
        let mask = |dropout: Dropout, values: usize| if dropout.is_on() { values } else { 0 };
        let dropped = mask(self.dropouts.residual(), tokens * d);
        let composed = mask(self.dropouts.attention(), 3 * self.heads * attended * width);
        pass.tracked = self.tables.iter().any(|table| whole(table));
        pass.keep(mask(self.dropouts.embeddings(), tokens * d));
        if let Some(path) = self.embedding_norm {
            norm(&mut pass, path);
        }
        for layer in 0..self.layers {
            let at = |name: &str| format!("{}.{layer}.{name}", self.blocks);
            let [qkv, mixed, wide, narrow] = self.linears.map(at);
            norm(&mut pass, &at(self.norms[0]));
            pass.linears(&[qkv], tokens, d);
            pass.keep(3 * attended * d + composed);
            pass.linears(&[mixed], tokens, d);
            pass.keep(dropped);
            norm(&mut pass, &at(self.norms[1]));
            pass.linears(&[wide], tokens, d);
            pass.keep(tokens * inner);
            pass.linears(&[narrow], tokens, inner);
            pass.keep(dropped);
        }
        norm(&mut pass, self.last_norm);

        // Backward of the two linears: the gradients of the stream, of the activation's output and input,
        // and that of their input; of attention, those of queries, keys and values, each as wide as
        // all three before they are added up.
        let wide = tokens * (2 * d + 2 * inner);
        let mixed = tokens * 2 * d + attended * 4 * d + tokens * 6 * d + composed;
        let passing = if pass.tracked { wide.max(mixed) } else { 0 };
        let forward = tokens * 2 * d + (tokens * 2 * inner).max(tokens * 3 * d + attended * 4 * d);
        Footprint {
            kept: floats(pass.kept),
            scores: floats(self.output().training(batch, learned)),
            passing: floats(passing),
            evaluation: floats(forward.max(self.output().evaluating(batch))),
        }
    }

    /// Two products forward and five backward (the scores are computed again), of which causality leaves
    /// half.
    fn attention_flops(&self, batch: &BatchShape) -> f64 {
        let (rows, width) = batch.attended();
        7.0 * (rows * width * width) as f64 * self.attention_width() as f64
    }

    fn attention_width(&self) -> usize {
        self.d * self.layers
    }

    fn passes(&self) -> f64 {
        PASSES
    }

    fn head(&self) -> (usize, usize) {
        (self.d, self.vocabulary)
    }

    fn is_of_head(&self, path: &str) -> bool {
        path == "lm_head"
    }

    fn generating(&self, rows: usize, prompt: usize, new: usize) -> u64 {
        let columns = prompt.saturating_add(new).min(self.context.unwrap_or(usize::MAX));
        let cache = rows * columns * 2 * self.d * (self.layers + 1);
        let scores = 3 * rows * self.vocabulary;
        let (tokens, attended) = (rows * prompt, self.heads * rows * prompt * prompt);
        floats(cache + scores + tokens * (2 * self.d + 2 * self.inner) + 2 * attended)
    }
}
