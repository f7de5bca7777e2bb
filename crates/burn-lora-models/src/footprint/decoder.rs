//! The cost of a decoder of blocks of two halves, each with norms before or after it, or both: linears into
//! attention, attention, linear; linears into the activation, linear. Families differ in sizes, names, where norms
//! stand, and whether they are fused.
//!
//! Attention is the fused one and keeps queries, keys and values; an activation keeps what goes in. The outputs of fused norms and of
//! fused activations are made again.

use super::{
    ActivationCost, BatchShape, CostModel, Footprint, HeadCount, Input, Learned, LearnedAt,
    PROMPT_TOKENS, Pass, floats,
};
use crate::dropout::{Dropout, Dropouts};

/// Sizes and names of a decoder.
#[derive(Debug)]
pub(crate) struct DecoderCost {
    /// Width of the residual stream.
    pub(crate) d: usize,
    /// Width of what goes into a block's last linear.
    pub(crate) inner: usize,
    pub(crate) n_layers: usize,
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) activation: ActivationCost,
    /// Whether queries and keys are normed.
    pub(crate) head_norms: bool,
    pub(crate) norms: Norms,
    pub(crate) vocabulary: usize,
    /// The longest sequence, if there is one.
    pub(crate) context: Option<usize>,
    /// Whether the head is the token table.
    pub(crate) tied: bool,
    /// Whether logits have a soft cap.
    pub(crate) capped: bool,
    pub(crate) dropouts: Dropouts,
    pub(crate) names: DecoderNames,
}

/// How norms are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// As one operation, which keeps its input.
    Fused,
    /// By Burn, of single operations, which keep what was centred and, where the scale is learned, what was
    /// divided.
    Composed,
}

/// The norms of one half of a block, where it has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HalfNorms {
    pub(crate) before: Option<&'static str>,
    pub(crate) after: Option<&'static str>,
}

impl HalfNorms {
    /// One before the half, none after it.
    pub(crate) const fn before(name: &'static str) -> Self {
        Self { before: Some(name), after: None }
    }
}

/// Paths of a decoder's modules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecoderNames {
    /// The tables that the stream starts from.
    pub(crate) tables: &'static [&'static str],
    /// The norm over their rows, where there is one.
    pub(crate) embedding_norm: Option<&'static str>,
    /// The list of blocks.
    pub(crate) blocks: &'static str,
    /// In a block: of the attention, of the activation.
    pub(crate) norms: [HalfNorms; 2],
    /// In a block: one for queries, keys and values, or one for each.
    pub(crate) attention: &'static [&'static str],
    pub(crate) attention_out: &'static str,
    /// In a block: the linears into the activation.
    pub(crate) activation: &'static [&'static str],
    pub(crate) activation_out: &'static str,
    /// The norm after the last block.
    pub(crate) last_norm: &'static str,
}

impl DecoderCost {
    fn output(&self) -> HeadCount {
        let Self { d, vocabulary, tied, capped, .. } = *self;
        HeadCount { d, vocabulary, tied, tables: self.names.tables, capped }
    }

    /// Values of a token's queries, and of its keys.
    fn heads(&self) -> [usize; 2] {
        [self.n_heads, self.n_kv_heads].map(|heads| heads * self.head_dim)
    }

    /// Widths between the activation's linears and after them.
    fn activated(&self) -> usize {
        (1 + self.activation.kept) * self.inner
    }
}

impl CostModel for DecoderCost {
    fn footprint(&self, batch: &BatchShape, learned: &LearnedAt<'_>) -> Footprint {
        let Self { d, inner, ref names, .. } = *self;
        let [q, kv] = self.heads();
        let tokens = batch.tokens();
        let (rows, width) = batch.attended();
        let attended = rows * width;
        let mut pass = Pass::new(learned);
        let whole = |path: &str| learned(path) == Learned::Whole;
        let norm = |pass: &mut Pass<'_>, path: Option<String>| {
            let Some(path) = path else { return };
            let scale = whole(&path);
            pass.tracked |= learned(&path).any();
            pass.keep(tokens * d * if scale && self.norms == Norms::Composed { 2 } else { 1 });
        };
        // What goes into a half's linears, before its norm.
        let input = |pass: &Pass<'_>, half: HalfNorms| {
            let fused = half.before.is_some() && self.norms == Norms::Fused;
            Input::made_again(fused && pass.tracked)
        };
        // Where something is dropped, its mask; and attention is composed: exponentials, mask, what is
        // left.
        let mask = |dropout: Dropout, values: usize| if dropout.is_on() { values } else { 0 };
        let dropped = mask(self.dropouts.residual(), tokens * d);
        let composed = mask(self.dropouts.attention(), 3 * self.n_heads * attended * width);
        pass.tracked = names.tables.iter().any(|table| learned(table).any());
        for table in names.tables.iter() {
            pass.keep(tokens * learned(table).kept_of_ids());
        }
        pass.keep(mask(self.dropouts.embeddings(), tokens * d));
        norm(&mut pass, names.embedding_norm.map(str::to_owned));
        for layer in 0..self.n_layers {
            let before = [pass.kept, pass.again];
            let at = |name: &str| format!("{}.{layer}.{name}", names.blocks);
            let all = |linears: &[&str]| linears.iter().map(|name| at(name)).collect::<Vec<_>>();
            let [attention, activation] = names.norms;
            let normed = input(&pass, attention);
            norm(&mut pass, attention.before.map(at));
            pass.linears(&all(names.attention), tokens, d, normed);
            if self.head_norms {
                pass.keep(tokens * (q + kv));
            }
            pass.keep(attended * (q + 2 * kv) + composed);
            pass.linears(&[at(names.attention_out)], tokens, q, Input::Kept);
            norm(&mut pass, attention.after.map(at));
            pass.keep(dropped);
            let normed = input(&pass, activation);
            norm(&mut pass, activation.before.map(at));
            let linears = all(names.activation);
            let all_tracked = pass.tracked || linears.iter().all(|path| learned(path).any());
            pass.linears(&linears, tokens, d, normed);
            pass.keep(tokens * inner * self.activation.kept);
            let activated = Input::made_again(self.activation.again && all_tracked);
            pass.linears(&[at(names.activation_out)], tokens, inner, activated);
            norm(&mut pass, activation.after.map(at));
            pass.keep(dropped);
            pass.block_ends(before);
        }
        norm(&mut pass, Some(names.last_norm.to_owned()));

        // Backward of the activation: the gradients of the stream, of the activation's output and inputs,
        // and that of their input. Of attention: of queries, keys and values, each as wide as all three
        // before they are added up where one linear gives them; of packed rows, those taken out.
        let wide = tokens * (2 * d + self.activated());
        let (heads, all) = (attended * 2 * (q + kv), attended * 2 * (q + 2 * kv));
        let (mixed, mixing) = match names.attention {
            [_] => (tokens * 2 * (q + 2 * kv) + heads, tokens * (q + 2 * kv) + heads),
            _ => (tokens * q + all, all),
        };
        let mixed = tokens * 2 * d + mixed + composed;
        let passing = if pass.tracked { wide.max(mixed) } else { 0 };
        let forward = tokens * 2 * d + (tokens * self.activated()).max(mixing);
        Footprint {
            kept: floats(pass.kept),
            again: floats(pass.again),
            logits: floats(self.output().training(batch, learned)),
            passing: floats(passing),
            evaluation: floats(forward.max(self.output().evaluating(batch))),
            blocks: pass.blocks(tokens * d),
        }
    }

    /// Two products forward and five backward (the scores are computed again), of which causality leaves
    /// half.
    fn attention_flops(&self, batch: &BatchShape) -> f64 {
        let (rows, width) = batch.attended();
        7.0 * (rows * width * width) as f64 * self.attention_width() as f64
    }

    fn attention_forward_flops(&self, batch: &BatchShape) -> f64 {
        self.attention_flops(batch) * 2.0 / 7.0
    }

    fn attention_width(&self) -> usize {
        self.heads()[0] * self.n_layers
    }

    /// Norms, activations, sums and their backward passes, each a kernel that reads its input once: measured
    /// on SmolLM2-135M. Composed norms are made of many operations each.
    fn passes(&self) -> f64 {
        match self.norms {
            Norms::Fused => 6.0,
            Norms::Composed => 12.0,
        }
    }

    fn head(&self) -> (usize, usize) {
        (self.d, self.vocabulary)
    }

    fn is_of_head(&self, path: &str) -> bool {
        path == "lm_head"
    }

    /// The cache of keys and values (the one of a layer twice, while it grows), the logits of the last
    /// tokens, read back from the device and sorted by the sampler, and one pass: of some tokens of the longest
    /// prompt, or of a token of each row.
    fn generating(&self, rows: usize, prompt: usize, new: usize) -> u64 {
        let [_, kv] = self.heads();
        let columns = prompt.saturating_add(new).min(self.context.unwrap_or(usize::MAX));
        let cache = rows * columns * 2 * kv * (self.n_layers + 1);
        let logits = 3 * rows * self.vocabulary;
        let at_once = prompt.min(PROMPT_TOKENS);
        let pass = at_once.max(rows) * (2 * self.d + self.activated());
        floats(cache + logits + pass + 2 * self.n_heads * at_once * prompt)
    }
}
