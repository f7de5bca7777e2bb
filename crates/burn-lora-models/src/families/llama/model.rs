//! The decoder and its head.

use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Int, Tensor};
use burn_lora::embed;

use super::config::LlamaConfig;
use super::layer::LlamaDecoderLayer;
use super::rope::RopeTables;
use crate::decoder::attention::Attention;
use crate::decoder::{Decoder, Head, KvCache, Placement};
use crate::fused::rms_norm;
use crate::weights::Builder;
use crate::{Description, Model, ModelError};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct LlamaModel {
    /// The table of tokens.
    pub embed_tokens: Embedding,
    /// The blocks.
    pub layers: Vec<LlamaDecoderLayer>,
    /// After the last block.
    pub norm: RmsNorm,
}

/// A decoder with a head over the vocabulary.
#[derive(Module, Debug)]
pub struct LlamaForCausalLM {
    /// The decoder.
    pub model: LlamaModel,
    /// The head; none where it is the embedding's table.
    pub lm_head: Option<Linear>,
    rope: RopeTables,
    #[module(skip)]
    config: LlamaConfig,
}

impl LlamaModel {
    fn build(config: &LlamaConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        Ok(Self {
            embed_tokens: at.embedding("embed_tokens", config.vocab_size, d)?,
            layers: at.list("layers", config.num_hidden_layers, |at| {
                LlamaDecoderLayer::build(config, at)
            })?,
            norm: at.rms_norm("norm", d, config.rms_norm_eps)?,
        })
    }
}

impl Model for LlamaForCausalLM {
    type Config = LlamaConfig;

    fn build(config: &LlamaConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (tied, d) = (config.tie_word_embeddings, config.hidden_size);
        Ok(Self {
            model: LlamaModel::build(config, root.at("model"))?,
            lm_head: root.head(tied, d, config.vocab_size)?,
            rope: RopeTables::new(&config.rope, config.head_dim()),
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Decoder for LlamaForCausalLM {
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let rope = self.rope.at(placement.attended(), placement.device());
        let attention = Attention::new(placement, rope, self.config.dropouts.attention());
        let LlamaModel { embed_tokens, layers, norm } = &self.model;
        let x = embed(embed_tokens, ids);
        let x = attention.through(layers, x, cache, LlamaDecoderLayer::forward);
        rms_norm(x, norm.gamma.val(), norm.epsilon)
    }

    fn head(&self) -> Head<'_> {
        Head::of(self.lm_head.as_ref(), &self.model.embed_tokens)
    }
}
