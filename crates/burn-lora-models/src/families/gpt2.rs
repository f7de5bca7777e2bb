//! GPT-2: decoders of pre-normed blocks with learned positions.
//!
//! Files store the linears' weights `[d_in, d_out]` (transformers' `Conv1D`), as Burn does; queries, keys
//! and values come from one of them, `c_attn`, one after the other.
//!
//! Left out: attention scaled by the layer's number, cross-attention (both refused).

mod config;
mod gguf;
mod layer;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Int, Tensor};
use burn_lora::embed;

pub use config::Gpt2Config;
pub use layer::{Gpt2Attention, Gpt2Block, Gpt2Mlp};

use crate::decoder::attention::Attention;
use crate::decoder::{Decoder, Head, KvCache, Placement};
use crate::fused::Positional;
use crate::weights::Builder;
use crate::{Description, Model, ModelError};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct Gpt2Model {
    /// The table of tokens, `[vocabulary, hidden]`.
    pub wte: Embedding,
    /// The table of positions, `[positions, hidden]`.
    pub wpe: Embedding,
    /// The blocks.
    pub h: Vec<Gpt2Block>,
    /// After the last block.
    pub ln_f: LayerNorm,
}

/// A decoder with a head over the vocabulary.
#[derive(Module, Debug)]
pub struct Gpt2LMHeadModel {
    /// The decoder.
    pub transformer: Gpt2Model,
    /// The head; none where it is the embedding's table.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: Gpt2Config,
}

impl Gpt2Model {
    fn build(config: &Gpt2Config, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.n_embd;
        Ok(Self {
            wte: at.embedding("wte", config.vocab_size, d)?,
            wpe: at.embedding("wpe", config.n_positions, d)?,
            h: at.list("h", config.n_layer, |at| Gpt2Block::build(config, at))?,
            ln_f: at.layer_norm("ln_f", d, config.layer_norm_epsilon)?,
        })
    }
}

impl Model for Gpt2LMHeadModel {
    type Config = Gpt2Config;

    fn build(config: &Gpt2Config, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (tied, d) = (config.tie_word_embeddings, config.n_embd);
        Ok(Self {
            transformer: Gpt2Model::build(config, root.at("transformer"))?,
            lm_head: root.head(tied, d, config.vocab_size)?,
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Decoder for Gpt2LMHeadModel {
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let Gpt2Model { wte, wpe, h, ln_f } = &self.transformer;
        let dropouts = self.config.dropouts;
        let attention = Attention::new(placement, Positional::Embedded, dropouts.attention());
        let positions = placement.stream().rows(wpe.weight.val());
        let x = dropouts.embeddings().forward(embed(wte, ids) + positions);
        ln_f.forward(attention.through(h, x, cache, Gpt2Block::forward))
    }

    fn head(&self) -> Head<'_> {
        Head::of(self.lm_head.as_ref(), &self.transformer.wte)
    }
}
