//! The cost of an encoder of blocks of two halves: linears into attention, attention, linear; a linear into the
//! activation, linear. Families differ in sizes, names, where norms stand, and what they drop.
//!
//! Norms, softmax and GELU are Burn's, composed of single operations, so that what they keep is what those keep.

use super::{
    ActivationCost, BatchShape, CostModel, Footprint, Input, Learned, LearnedAt, Pass, floats,
};
use crate::dropout::{Dropout, Dropouts};

/// How often a training step passes over what its layers keep, beside its products: norms, softmax, GELU
/// and their backward passes are made of many operations each. Measured on all-MiniLM-L6-v2.
const PASSES: f64 = 30.0;

/// Sizes and names of an encoder.
#[derive(Debug)]
pub(crate) struct EncoderCost {
    /// Width of the residual stream.
    pub(crate) d: usize,
    /// Width of what goes into a block's last linear.
    pub(crate) inner: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    /// Of the head.
    pub(crate) classes: usize,
    pub(crate) activation: ActivationCost,
    pub(crate) norms: EncoderNorms,
    /// Whether what attention and what the activation add to the stream is dropped.
    pub(crate) residual_dropouts: [bool; 2],
    pub(crate) dropouts: Dropouts,
    pub(crate) names: EncoderNames,
}

/// Where norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncoderNorms {
    /// Behind both halves of a block.
    After,
    /// Before them, but for the first block's attention, and behind the last block.
    Before,
}

/// Paths of an encoder's modules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderNames {
    /// The table of tokens.
    pub(crate) table: &'static str,
    /// The norm over the sum of its rows with others.
    pub(crate) embedding_norm: &'static str,
    /// The list of blocks.
    pub(crate) layers: &'static str,
    /// In a block: one for queries, keys and values, or one for each.
    pub(crate) attention: &'static [&'static str],
    pub(crate) attention_out: &'static str,
    /// In a block: the linear into the activation.
    pub(crate) activation: &'static str,
    pub(crate) activation_out: &'static str,
    /// Linears of the head, or what they are in.
    pub(crate) head: &'static [&'static str],
}

impl CostModel for EncoderCost {
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint {
        let Self { d, inner, n_layers, n_heads, ref names, dropouts, .. } = *self;
        let (rows, width) = (batch.rows, batch.width);
        let tokens = batch.tokens();
        let attended = rows * n_heads * width * width;
        let words = learned(names.table);
        // What was centred; and what was divided, where the scale is learned.
        let norm = tokens * d * if words == Learned::Whole { 2 } else { 1 };
        let [before, after] = match self.norms {
            EncoderNorms::Before => [norm, 0],
            EncoderNorms::After => [0, norm],
        };
        let mut pass = Pass::new(learned);
        pass.tracked = words.any() || learned(names.embedding_norm).any();
        pass.keep(tokens * words.kept_of_ids());
        pass.keep(norm);
        // Where something is dropped, its mask.
        let mask = |dropout: Dropout, values: usize| if dropout.is_on() { values } else { 0 };
        let dropped = self.residual_dropouts.map(|drops| match drops {
            true => mask(dropouts.residual(), tokens * d),
            false => 0,
        });
        pass.keep(mask(dropouts.embeddings(), tokens * d));

        for layer in 0..n_layers {
            let so_far = [pass.kept, pass.again];
            let at = |name: &str| format!("{}.{layer}.{name}", names.layers);
            pass.keep(if layer > 0 { before } else { 0 });
            let projections: Vec<String> = names.attention.iter().map(|name| at(name)).collect();
            pass.linears(&projections, tokens, d, Input::Kept);
            // Queries, keys, values; exponentials and probabilities.
            pass.keep(3 * tokens * d + 2 * attended);
            pass.keep(mask(dropouts.attention(), attended));
            pass.linears(&[at(names.attention_out)], tokens, d, Input::Kept);
            pass.keep(dropped[0] + after + before);
            pass.linears(&[at(names.activation)], tokens, d, Input::Kept);
            // What dropout gives is kept.
            let again = self.activation.again && !dropouts.inner().is_on();
            let activated = Input::made_again(again && pass.tracked);
            pass.keep(tokens * inner * self.activation.kept);
            pass.keep(mask(dropouts.inner(), tokens * inner));
            pass.linears(&[at(names.activation_out)], tokens, inner, activated);
            pass.keep(dropped[1] + after);
            pass.block_ends(so_far);
        }

        // Backward of the wide product: the stream's gradient, those of the activation's output and inputs;
        // of the attention: the gradients through the division and the exponential, and of queries, keys and values,
        // each as wide as all three before they are added up where one linear gives them.
        let activated = (1 + self.activation.kept) * inner;
        let wide = tokens * (2 * d + activated);
        let apart = if names.attention.len() == 1 { 6 * tokens * d } else { 0 };
        let mixed = tokens * 4 * d + 4 * attended + apart;
        let passing = if pass.tracked { wide.max(mixed) } else { 0 };
        let forward = tokens * 2 * d + (tokens * activated).max(3 * tokens * d + 3 * attended);
        let head = rows * (4 * d + 4 * self.classes) + mask(dropouts.head(), 2 * rows * d);
        // Of blocks with norms before them the last norm is the head's, for all tokens.
        pass.keep(before);
        Footprint {
            kept: floats(pass.kept),
            again: floats(pass.again),
            logits: floats(head),
            passing: floats(passing),
            evaluation: floats(forward),
            blocks: pass.blocks(tokens * d),
        }
    }

    /// Two products forward and four backward.
    fn attention_flops(&self, batch: &BatchShape) -> f64 {
        let scores = batch.rows * batch.width * batch.width;
        12.0 * scores as f64 * self.attention_width() as f64
    }

    fn attention_forward_flops(&self, batch: &BatchShape) -> f64 {
        self.attention_flops(batch) * 2.0 / 6.0
    }

    fn attention_width(&self) -> usize {
        self.d * self.n_layers
    }

    fn passes(&self) -> f64 {
        PASSES
    }

    fn head(&self) -> (usize, usize) {
        (self.d, self.classes)
    }

    fn is_of_head(&self, path: &str) -> bool {
        let is_in = |head: &&str| {
            path.strip_prefix(*head).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.names.head.iter().any(is_in)
    }

    fn generating(&self, _: usize, _: usize, _: usize) -> u64 {
        0
    }
}
