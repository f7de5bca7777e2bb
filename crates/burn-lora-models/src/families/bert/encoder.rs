//! The encoder, with the pooler where its head has one.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};
use burn_lora::LoraForward;

use super::config::BertConfig;
use super::embeddings::BertEmbeddings;
use super::layer::BertLayer;
use crate::encoder::unseen;
use crate::weights::Builder;
use crate::{ModelError, recompute};

/// The layers.
#[derive(Module, Debug)]
pub struct BertEncoder {
    /// The layers.
    pub layer: Vec<BertLayer>,
}

/// The first token's state through one product and tanh.
#[derive(Module, Debug)]
pub struct BertPooler {
    /// The product.
    pub dense: Linear,
}

/// Embeddings, encoder, pooler.
#[derive(Module, Debug)]
pub struct BertModel {
    /// What goes in.
    pub embeddings: BertEmbeddings,
    /// The layers.
    pub encoder: BertEncoder,
    /// Of the first token; RoBERTa's head needs none.
    pub pooler: Option<BertPooler>,
}

impl BertModel {
    pub(super) fn build(
        config: &BertConfig,
        pooler: bool,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        Ok(Self {
            embeddings: BertEmbeddings::build(config, at.at("embeddings"))?,
            encoder: BertEncoder {
                layer: at.list("encoder.layer", config.num_hidden_layers, |at| {
                    BertLayer::build(config, at)
                })?,
            },
            pooler: match pooler {
                true => Some(BertPooler { dense: at.linear("pooler.dense", d, d, true)? }),
                false => None,
            },
        })
    }

    /// The stream after the last layer.
    ///
    /// Row `i` of `ids` has `lengths[i]` tokens, then padding of any id; no token sees padding, and
    /// the output at padding means nothing.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    ///
    /// # Panics
    ///
    /// Where a row is longer than the model's context, an id is outside the vocabulary, or
    /// `lengths` has another number of rows than `ids`.
    pub fn hidden(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(lengths.len(), batch, "one length a row");
        let x = self.embeddings.forward(ids);
        let mask = unseen(tokens, lengths, None, &x.device());
        let forward = move |layer: &BertLayer, x| layer.forward(x, mask.as_ref());
        recompute::through(&self.encoder.layer, x, forward)
    }

    /// The first token's state, through the pooler where there is one: `[batch, hidden]`.
    pub(super) fn first(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let hidden = self.hidden(ids, lengths);
        let [batch, _, d] = hidden.dims();
        let first = hidden.narrow(1, 0, 1).reshape([batch, d]);
        match &self.pooler {
            Some(pooler) => pooler.dense.lora_forward(first).tanh(),
            None => first,
        }
    }
}
