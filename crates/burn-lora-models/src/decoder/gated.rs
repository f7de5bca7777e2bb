//! Decoders of blocks with root-mean-square norms and gated units, described in data.
//!
//! A family says what its model is made of in a [`Blueprint`]: where norms stand and what their weights mean, which
//! projections are one linear, what becomes of scores in each layer, what the embedding is multiplied with. From that,
//! this room has the layers, under Hugging Face's paths, the decoder, and the cost of its training step. What such
//! families' `config.json` have in common is read once ([`GatedKeys`]); a family adds its own ([`GatedFamily`]).
//!
//! Left out: layer norms, two halves of a block side by side, experts.

mod attention;
mod blueprint;
mod cost;
mod keys;
mod layer;
mod sizes;
mod windows;

use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Int, Tensor};
use burn_lora::embed;

pub use attention::GatedAttention;
pub use blueprint::{Blueprint, Gate, GatedNorms, HeadNorms, LayerPlan, NormScale};
pub use keys::{GatedDefaults, GatedFamily, GatedKeys};
pub use layer::{GatedLayer, GatedMlp};

pub(crate) use keys::{checkpoint_keys, is_of_frequencies, only_silu};
pub(crate) use sizes::Sizes;
pub(crate) use windows::{LayerTypes, sliding_blocks};

use super::attention::Attention;
use super::rope::RopeTables;
use super::{Decoder, Head, KvCache, Placement};
use crate::config::{Checked, ConfigKeys};
use crate::dropout::Dropouts;
use crate::weights::{Builder, Role};
use crate::{Description, Model, ModelError};

/// A configuration that describes such a decoder.
pub trait Gated: ConfigKeys {
    /// What the model is made of.
    fn blueprint(&self) -> Blueprint;
}

/// The decoder without its head.
#[derive(Module, Debug)]
pub struct GatedModel {
    /// The table of tokens, `[vocabulary, hidden]`.
    pub embed_tokens: Embedding,
    /// The blocks.
    pub layers: Vec<GatedLayer>,
    /// After the last block.
    pub norm: RmsNorm,
}

/// A decoder with a head over the vocabulary.
#[derive(Module, Debug)]
pub struct GatedForCausalLM<K: Gated> {
    /// The decoder.
    pub model: GatedModel,
    /// The head; none where it is the embedding's table.
    pub lm_head: Option<Linear>,
    rope: RopeTables,
    local_rope: Option<RopeTables>,
    #[module(skip)]
    stream: Stream,
    #[module(skip)]
    config: Checked<K>,
}

/// What becomes of the stream before and after the blocks.
#[derive(Debug, Clone, Copy)]
struct Stream {
    /// What embeddings are multiplied with.
    embedding_scale: Option<f32>,
    norm_scale: NormScale,
    logit_cap: Option<f64>,
}

impl GatedModel {
    fn build(
        blueprint: &Blueprint,
        dropouts: Dropouts,
        mut at: Builder<'_>,
    ) -> Result<Self, ModelError> {
        let embed_tokens = at.embedding("embed_tokens", blueprint.vocab_size, blueprint.d)?;
        let layers = blueprint.layers.iter().enumerate().map(|(index, plan)| {
            GatedLayer::build(blueprint, *plan, dropouts, at.at(&format!("layers.{index}")))
        });
        Ok(Self {
            embed_tokens,
            layers: layers.collect::<Result<_, _>>()?,
            norm: blueprint.norm_scale.build(&mut at, "norm", blueprint.d, blueprint.epsilon)?,
        })
    }
}

impl<K: Gated> Model for GatedForCausalLM<K> {
    type Config = Checked<K>;

    fn build(config: &Checked<K>, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let blueprint = config.blueprint();
        // As transformers has it: a number of the table's format.
        let format = root.dtype(Role::Embedding);
        let embedding_scale = blueprint.embedding_scale.map(|scale| format.nearest(scale as f32));
        let Blueprint { norm_scale, logit_cap, .. } = blueprint;
        Ok(Self {
            model: GatedModel::build(&blueprint, config.dropouts, root.at("model"))?,
            lm_head: root.head(blueprint.tied, blueprint.d, blueprint.vocab_size)?,
            rope: RopeTables::new(&blueprint.rope, blueprint.turned),
            local_rope: blueprint.local_rope.map(|rope| RopeTables::new(&rope, blueprint.turned)),
            stream: Stream { embedding_scale, norm_scale, logit_cap },
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl<K: Gated> Decoder for GatedForCausalLM<K> {
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let at = |rope: &RopeTables| rope.at(placement.attended(), placement.device());
        let dropout = self.config.dropouts.attention();
        let attention = Attention::new(placement, at(&self.rope), dropout);
        let attention = match &self.local_rope {
            Some(local) => attention.with_local(at(local)),
            None => attention,
        };
        let GatedModel { embed_tokens, layers, norm } = &self.model;
        let x = embed(embed_tokens, ids);
        let x = match self.stream.embedding_scale {
            Some(scale) => x.mul_scalar(scale),
            None => x,
        };
        let x = attention.through(layers, x, cache, GatedLayer::forward);
        self.stream.norm_scale.normed(norm, x)
    }

    fn head(&self) -> Head<'_> {
        let head = Head::of(self.lm_head.as_ref(), &self.model.embed_tokens);
        head.capped(self.stream.logit_cap)
    }
}
