//! BLOOM: decoders of pre-normed blocks whose attention knows positions by its distance alone (ALiBi,
//! Press et al. 2022), so that rows have no longest length.
//!
//! One linear gives queries, keys and values, interleaved head by head: `[n_head, 3, head_dim]`. The
//! embedding has a norm of its own.
//!
//! Left out: residuals taken after the norm (refused; of the published models, none has them).

mod config;
mod gguf;
mod layer;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Int, Tensor};
use burn_lora::embed;

pub use config::BloomConfig;
pub use layer::BloomBlock;

use crate::decoder::attention::{Attention, alibi};
use crate::decoder::{Decoder, Head, KvCache, Placement};
use crate::weights::Builder;
use crate::{Description, Model, ModelError};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct BloomModel {
    /// The table of tokens, `[vocabulary, hidden]`.
    pub word_embeddings: Embedding,
    /// Over its rows.
    pub word_embeddings_layernorm: LayerNorm,
    /// The blocks.
    pub h: Vec<BloomBlock>,
    /// After the last block.
    pub ln_f: LayerNorm,
}

/// A decoder with a head over the vocabulary.
#[derive(Module, Debug)]
pub struct BloomForCausalLM {
    /// The decoder.
    pub transformer: BloomModel,
    /// The head; none where it is the embedding's table.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: BloomConfig,
}

impl BloomModel {
    fn build(config: &BloomConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, epsilon) = (config.hidden_size, config.layer_norm_epsilon);
        Ok(Self {
            word_embeddings: at.embedding("word_embeddings", config.vocab_size, d)?,
            word_embeddings_layernorm: at.layer_norm("word_embeddings_layernorm", d, epsilon)?,
            h: at.list("h", config.n_layer, |at| BloomBlock::build(config, at))?,
            ln_f: at.layer_norm("ln_f", d, epsilon)?,
        })
    }
}

impl Model for BloomForCausalLM {
    type Config = BloomConfig;

    fn build(config: &BloomConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (tied, d) = (config.tie_word_embeddings, config.hidden_size);
        Ok(Self {
            transformer: BloomModel::build(config, root.at("transformer"))?,
            lm_head: root.head(tied, d, config.vocab_size)?,
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Decoder for BloomForCausalLM {
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let BloomModel { word_embeddings, word_embeddings_layernorm, h, ln_f } = &self.transformer;
        let positional = alibi(self.config.n_head, &ids.device());
        let attention = Attention::new(placement, positional, self.config.dropouts.attention());
        let x = word_embeddings_layernorm.forward(embed(word_embeddings, ids));
        ln_f.forward(attention.through(h, x, cache, BloomBlock::forward))
    }

    fn head(&self) -> Head<'_> {
        Head::of(self.lm_head.as_ref(), &self.transformer.word_embeddings)
    }
}
