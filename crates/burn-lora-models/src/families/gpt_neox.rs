//! GPT-NeoX and Pythia: decoders of blocks whose two halves read the same stream, side by side, with rotary positions
//! on a part of each head.
//!
//! One linear gives queries, keys and values, interleaved head by head: `[num_attention_heads, 3, head_dim]`. Files
//! call the head `embed_out`; here it is `lm_head`, as in transformers from version 5 on.
//!
//! Left out: GGUF files (refused).

mod config;
mod layer;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Int, Tensor};
use burn_lora::embed;

pub use config::{GptNeoXConfig, GptNeoXKeys};
pub use layer::GptNeoXLayer;

use crate::decoder::attention::Attention;
use crate::decoder::rope::RopeTables;
use crate::decoder::{Decoder, Head, KvCache, Placement};
use crate::weights::Builder;
use crate::{Description, Model, ModelError};

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct GptNeoXModel {
    /// The table of tokens, `[vocabulary, hidden]`.
    pub embed_in: Embedding,
    /// The blocks.
    pub layers: Vec<GptNeoXLayer>,
    /// After the last block.
    pub final_layer_norm: LayerNorm,
}

/// A decoder with a head over the vocabulary.
#[derive(Module, Debug)]
pub struct GptNeoXForCausalLM {
    /// The decoder.
    pub gpt_neox: GptNeoXModel,
    /// The head; none where it is the embedding's table.
    pub lm_head: Option<Linear>,
    rope: RopeTables,
    #[module(skip)]
    config: GptNeoXConfig,
}

impl GptNeoXModel {
    fn build(config: &GptNeoXConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let d = config.hidden_size;
        Ok(Self {
            embed_in: at.embedding("embed_in", config.vocab_size, d)?,
            layers: at
                .list("layers", config.num_hidden_layers, |at| GptNeoXLayer::build(config, at))?,
            final_layer_norm: at.layer_norm("final_layer_norm", d, config.layer_norm_eps)?,
        })
    }
}

impl Model for GptNeoXForCausalLM {
    type Config = GptNeoXConfig;

    fn build(config: &GptNeoXConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (tied, d) = (config.tie_word_embeddings, config.hidden_size);
        Ok(Self {
            gpt_neox: GptNeoXModel::build(config, root.at("gpt_neox"))?,
            lm_head: root.head(tied, d, config.vocab_size)?,
            rope: RopeTables::new(&config.rope, config.turned),
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Decoder for GptNeoXForCausalLM {
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let GptNeoXModel { embed_in, layers, final_layer_norm } = &self.gpt_neox;
        let dropouts = self.config.dropouts;
        let rope = self.rope.at(placement.attended(), placement.device());
        let attention = Attention::new(placement, rope, dropouts.attention());
        let x = dropouts.embeddings().forward(embed(embed_in, ids));
        final_layer_norm.forward(attention.through(layers, x, cache, GptNeoXLayer::forward))
    }

    fn head(&self) -> Head<'_> {
        Head::of(self.lm_head.as_ref(), &self.gpt_neox.embed_in)
    }
}
