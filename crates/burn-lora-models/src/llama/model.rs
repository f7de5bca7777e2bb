//! The decoder and its head.

use std::path::Path;

use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{Device, Int, Tensor};
use burn_lora::{Adapters, LoraForward, embed, unembed};

use super::cache::KvCache;
use super::config::LlamaConfig;
use super::frame::Frame;
use super::layer::LlamaDecoderLayer;
use super::rope::RopeTables;
use crate::fused::{HeadLayout, head_loss, rms_norm};
use crate::loss::cross_entropy;
use crate::weights::{
    Builder, Expectation, LoadReport, Manifest, Random, SaveDtype, file_sizes, load, save,
};
use crate::{ModelError, gguf};

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

impl LlamaForCausalLM {
    /// Loads a Hugging Face directory: `config.json` and safetensors, f32, f16 or bf16, in one file
    /// or sharded, with or without the `model.` prefix; or a `.gguf` file. Parameters are f32, on
    /// `device`, trainable.
    ///
    /// `progress` is told of the bytes read so far and of all there are. Memory peaks at the
    /// weights in f32 and a few megabytes.
    ///
    /// # Errors
    ///
    /// Files that cannot be read or are damaged, a configuration that is not supported, and all at
    /// once the tensors that are missing, surplus or of another shape; nothing is read before
    /// they fit.
    pub fn load(
        dir: &Path,
        device: &Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        let config = LlamaConfig::from_path(dir)?;
        if gguf::is_gguf(dir) {
            return gguf::load(dir, device, progress, |root| Self::build(&config, root));
        }
        let tolerated: fn(&str) -> bool = match config.tie_word_embeddings {
            true => |key| key.ends_with("rotary_emb.inv_freq") || key == "lm_head.weight",
            false => |key| key.ends_with("rotary_emb.inv_freq"),
        };
        let expectation = Expectation {
            prefix: "model.",
            fresh: &[],
            tolerated,
            random: Random::new(0, config.initializer_range),
        };
        load(dir, device, expectation, progress, |root| Self::build(&config, root))
    }

    /// A model with seeded random weights, to pre-train: normal with `initializer_range` as standard
    /// deviation, norms one, biases zero.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn random(config: &LlamaConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let mut source = Random::new(seed, config.initializer_range);
        Self::build(config, &mut Builder::new(&mut source, device))
    }

    /// A model whose parameters exist by their shapes only, to plan with: no weight is read or made.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn outline(config: &LlamaConfig, device: &Device) -> Result<Self, ModelError> {
        Self::build(config, &mut Builder::new(&mut Manifest::default(), device))
    }

    /// Builds the model from any source.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn build(config: &LlamaConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
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

    /// Its configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The stream after the last norm, what [`Self::logits`] takes.
    ///
    /// Row `i` of `ids` has `lengths[i]` tokens, then padding of any id; the output at padding means
    /// nothing. With a cache, `ids` continue what it holds.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    ///
    /// # Panics
    ///
    /// Where a row grows beyond `max_position_embeddings`, an id is outside the vocabulary, or
    /// `lengths` (and the cache) have another number of rows than `ids`.
    pub fn hidden(
        &self,
        ids: Tensor<2, Int>,
        lengths: &[usize],
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(lengths.len(), batch, "one length a row");
        let x = embed(&self.model.embed_tokens, ids);
        let frame = Frame::new(&self.rope, tokens, lengths, cache.as_deref_mut(), &x.device());
        self.through(x, &frame, cache)
    }

    /// [`Self::hidden`] of rows that hold several texts, one after the other: each sees itself alone,
    /// with positions from 0, so that it comes out as it would in a row of its own.
    ///
    /// Row `i` of `ids` holds segments of the lengths `segments[i]`, then padding of any id.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    ///
    /// # Panics
    ///
    /// Where a segment is longer than `max_position_embeddings`, the segments of a row are longer than
    /// it, an id is outside the vocabulary, or `segments` has another number of rows than `ids`.
    pub fn hidden_packed(&self, ids: Tensor<2, Int>, segments: &[Vec<usize>]) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(segments.len(), batch, "the segments of every row");
        let fits = segments.iter().all(|row| row.iter().sum::<usize>() <= tokens);
        assert!(fits, "segments longer than their row");
        let x = embed(&self.model.embed_tokens, ids);
        let frame = Frame::packed(&self.rope, tokens, segments, &x.device());
        self.through(x, &frame, None)
    }

    fn through(
        &self,
        mut x: Tensor<3>,
        frame: &Frame,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        for (index, layer) in self.model.layers.iter().enumerate() {
            x = layer.forward(x, frame, cache.as_deref_mut().map(|cache| (cache, index)));
        }
        rms_norm(x, self.model.norm.gamma.val(), self.model.norm.epsilon)
    }

    /// The sum of the targets' cross-entropies, in nats: [`Self::logits`] and the loss in one, which
    /// never holds the scores of all rows.
    ///
    /// A head that is itself adapted, or trained apart from the embedding, takes the composed way.
    ///
    /// # Shapes
    ///
    /// - hidden: `[rows, hidden]`
    /// - targets: one a row
    /// - output: `[1]`
    ///
    /// # Panics
    ///
    /// Where the number of targets is not that of the rows, or a target is outside of the
    /// vocabulary.
    pub fn loss(&self, hidden: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
        let head = match &self.lm_head {
            None => {
                let weight = &self.model.embed_tokens.weight;
                weight.adapter().is_none().then(|| (weight.val(), HeadLayout::Table))
            }
            Some(head) => {
                let weight = &head.weight;
                let plain = weight.reparameterization::<Adapters>().is_none()
                    && weight.adapter().is_none()
                    && head.bias.is_none()
                    && !weight.base().is_require_grad();
                plain.then(|| (weight.val(), HeadLayout::Linear))
            }
        };
        match head {
            Some((weight, layout)) => head_loss(hidden, weight, layout, targets),
            None => cross_entropy(self.logits(hidden), targets),
        }
    }

    /// Scores over the vocabulary. hidden: `[.., hidden]`, output: `[.., vocabulary]`.
    pub fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        match &self.lm_head {
            None => unembed(&self.model.embed_tokens, hidden),
            Some(head) => head.lora_forward(hidden),
        }
    }

    /// Writes `model.safetensors` and `config.json` as Hugging Face's, each atomically. The base
    /// weights are written as stored: merge and unload adapters first.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        save(self, dir, dtype, &self.config.text)
    }

    /// The names of the files that [`save`](Self::save) writes, with their sizes in bytes.
    ///
    /// # Errors
    ///
    /// None that a model can cause.
    pub fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        file_sizes(self, dtype, &self.config.text)
    }
}
