//! ModernBERT: an encoder of pre-normed blocks with gated units and rotary positions, most of whose blocks attend to what
//! is near alone, by positions of their own.
//!
//! One linear gives queries, keys and values, and one the gate and what it gates. The head is a layer of its own over the
//! first token, or over the mean of all.
//!
//! Left out: heads for other tasks. Scores of tokens that are too far away are computed and thrown away.

mod config;
mod layer;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_lora::{LoraForward, embed};

pub use config::{ModernBertConfig, ModernBertKeys, Pooling};
pub use layer::{ModernBertAttention, ModernBertLayer, ModernBertMlp};

use crate::decoder::Positions;
use crate::decoder::rope::RopeTables;
use crate::encoder::unseen;
use crate::weights::Builder;
use crate::{Classifier, Description, Model, ModelError, recompute};

/// The table of tokens and its norm.
#[derive(Module, Debug)]
pub struct ModernBertEmbeddings {
    /// By token.
    pub tok_embeddings: Embedding,
    /// Over its rows.
    pub norm: LayerNorm,
}

/// Embeddings, layers and the last norm.
#[derive(Module, Debug)]
pub struct ModernBertModel {
    /// What goes in.
    pub embeddings: ModernBertEmbeddings,
    /// The layers.
    pub layers: Vec<ModernBertLayer>,
    /// After the last layer.
    pub final_norm: LayerNorm,
}

/// The layer before the classes: `norm(act(dense(x)))`.
#[derive(Module, Debug)]
pub struct ModernBertHead {
    /// `[hidden, hidden]`.
    pub dense: Linear,
    /// Over what comes out.
    pub norm: LayerNorm,
}

/// ModernBERT with its head.
#[derive(Module, Debug)]
pub struct ModernBertForSequenceClassification {
    /// The encoder.
    pub model: ModernBertModel,
    /// The layer before the classes.
    pub head: ModernBertHead,
    /// To the classes, `[hidden, classes]`.
    pub classifier: Linear,
    rope: RopeTables,
    local_rope: RopeTables,
    #[module(skip)]
    config: ModernBertConfig,
}

impl ModernBertModel {
    fn build(config: &ModernBertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let mut embeddings = at.at("embeddings");
        Ok(Self {
            embeddings: ModernBertEmbeddings {
                tok_embeddings: embeddings.embedding(
                    "tok_embeddings",
                    config.vocab_size,
                    config.hidden_size,
                )?,
                norm: config.norm("norm", &mut embeddings)?,
            },
            layers: (0..config.num_hidden_layers)
                .map(|index| {
                    ModernBertLayer::build(config, index, at.at(&format!("layers.{index}")))
                })
                .collect::<Result<_, _>>()?,
            final_norm: config.norm("final_norm", &mut at)?,
        })
    }
}

impl Model for ModernBertForSequenceClassification {
    type Config = ModernBertConfig;

    fn build(config: &ModernBertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels, head_dim) = (config.hidden_size, config.labels.len(), config.head_dim());
        let [rope, local_rope] = config.rope.map(|rope| RopeTables::new(&rope, head_dim));
        let mut head = root.at("head");
        let head = ModernBertHead {
            dense: head.linear("dense", d, d, config.classifier_bias)?,
            norm: config.norm("norm", &mut head)?,
        };
        Ok(Self {
            model: ModernBertModel::build(config, root.at("model"))?,
            head,
            classifier: root.linear("classifier", d, labels, true)?,
            rope,
            local_rope,
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl ModernBertForSequenceClassification {
    /// The stream after the last norm. ids: `[batch, tokens]`, output: `[batch, tokens, hidden]`.
    fn hidden(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(lengths.len(), batch, "one length a row");
        let ModernBertModel { embeddings, layers, final_norm } = &self.model;
        let x = embeddings.norm.forward(embed(&embeddings.tok_embeddings, ids));
        let x = self.config.dropouts.embeddings().forward(x);
        let device = x.device().without_autodiff();
        let positions = Positions::Range { first: 0, columns: tokens };
        let all = (self.rope.at(&positions, &device), unseen(tokens, lengths, None, &device));
        let near = (
            self.local_rope.at(&positions, &device),
            unseen(tokens, lengths, Some(self.config.window()), &device),
        );
        let forward = move |layer: &ModernBertLayer, x| {
            let (positional, mask) = if layer.is_local() { &near } else { &all };
            layer.forward(x, positional, mask.as_ref())
        };
        final_norm.forward(recompute::through(layers, x, forward))
    }

    /// One vector a row, `[batch, hidden]`.
    fn pooled(&self, hidden: Tensor<3>, lengths: &[usize]) -> Tensor<2> {
        let [batch, tokens, d] = hidden.dims();
        match self.config.pooling {
            Pooling::Cls => hidden.narrow(1, 0, 1).reshape([batch, d]),
            Pooling::Mean => {
                let shares = shares(tokens, lengths, &hidden.device());
                (hidden * shares).sum_dim(1).reshape([batch, d])
            }
        }
    }
}

/// What each token counts in the mean of its row, `[batch, tokens, 1]`: nothing, of padding. A constant of the pass.
fn shares(tokens: usize, lengths: &[usize], device: &Device) -> Tensor<3> {
    let row = |&length: &usize| {
        let share = 1.0 / length.max(1) as f32;
        (0..tokens).map(move |token| if token < length { share } else { 0.0 })
    };
    let values: Vec<f32> = lengths.iter().flat_map(row).collect();
    let data = TensorData::new(values, [lengths.len(), tokens, 1]);
    Tensor::from_data(data, &device.clone().without_autodiff())
}

impl Classifier for ModernBertForSequenceClassification {
    fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let pooled = self.pooled(self.hidden(ids, lengths), lengths);
        let ModernBertHead { dense, norm } = &self.head;
        let x = norm.forward(self.config.head_activation.apply(dense.lora_forward(pooled)));
        self.classifier.lora_forward(self.config.dropouts.head().forward(x))
    }
}
