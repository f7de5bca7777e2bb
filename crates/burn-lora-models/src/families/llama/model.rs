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
            layers: (0..config.num_hidden_layers)
                .map(|layer| LlamaDecoderLayer::build(config, at.at(&format!("layers.{layer}"))))
                .collect::<Result<_, _>>()?,
            norm: at.rms_norm("norm", d, config.rms_norm_eps)?,
        })
    }
}

impl Model for LlamaForCausalLM {
    type Config = LlamaConfig;

    fn build(config: &LlamaConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let rope = RopeTables::new(
            &config.rope,
            config.head_dim,
            config.max_position_embeddings,
            root.device(),
        );
        let model = LlamaModel::build(config, root.at("model"))?;
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(root.linear("lm_head", config.hidden_size, config.vocab_size, false)?),
        };
        Ok(Self { model, lm_head, rope, config: config.clone() })
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
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let rope = self.rope.at(placement.attended());
        let attention = Attention::new(placement, rope, self.config.dropouts.attention());
        let mut x = embed(&self.model.embed_tokens, ids);
        for (index, layer) in self.model.layers.iter().enumerate() {
            let cache = cache.as_deref_mut().map(|cache| (cache, index));
            x = layer.forward(x, &attention, cache);
        }
        rms_norm(x, self.model.norm.gamma.val(), self.model.norm.epsilon)
    }

    fn head(&self) -> Head<'_> {
        Head::of(self.lm_head.as_ref(), &self.model.embed_tokens)
    }
}
