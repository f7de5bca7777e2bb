//! What goes into the encoder: token, position and type, summed and normed.

// `LayerNorm` is Hugging Face's name of a field, and so the module's path.
#![allow(non_snake_case)]

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Int, Tensor};
use burn_lora::{FrozenWeight, embed};

use super::config::BertConfig;
use crate::ModelError;
use crate::dropout::Dropout;
use crate::weights::Builder;

/// The three tables and their norm.
#[derive(Module, Debug)]
pub struct BertEmbeddings {
    /// By token.
    pub word_embeddings: Embedding,
    /// By position.
    pub position_embeddings: Embedding,
    /// By token type.
    pub token_type_embeddings: Embedding,
    /// Over the sum.
    pub LayerNorm: LayerNorm,
    first: usize,
    #[module(skip)]
    dropout: Dropout,
}

impl BertEmbeddings {
    pub(super) fn build(config: &BertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        let positions = config.max_position_embeddings;
        let types = config.type_vocab_size;
        Ok(Self {
            word_embeddings: at.embedding("word_embeddings", config.vocab_size, d)?,
            position_embeddings: at.embedding("position_embeddings", positions, d)?,
            token_type_embeddings: at.embedding("token_type_embeddings", types, d)?,
            LayerNorm: at.layer_norm("LayerNorm", d, config.layer_norm_eps)?,
            first: config.first_position(),
            dropout: config.dropouts.embeddings(),
        })
    }

    /// ids: `[batch, tokens]`, output: `[batch, tokens, hidden]`.
    pub(super) fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let rows = |table: &Embedding, first: usize, count: usize| {
            FrozenWeight::from(table.weight.val()).rows(first, count).unsqueeze::<3>()
        };
        let x = embed(&self.word_embeddings, ids)
            + rows(&self.position_embeddings, self.first, tokens)
            + rows(&self.token_type_embeddings, 0, 1);
        self.dropout.forward(self.LayerNorm.forward(x))
    }
}
