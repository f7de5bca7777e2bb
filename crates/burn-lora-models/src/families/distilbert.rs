//! DistilBERT: BERT's layers without token types and without a pooler, and a head of two layers over the first token.
//!
//! Left out: sentence pairs have no types to tell them apart; heads for other tasks. A table of sinusoids is read as
//! any other table.

// `LayerNorm` is Hugging Face's name of a field, and so the module's path.
#![allow(non_snake_case)]

mod config;
mod layer;

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm, Linear};
use burn::tensor::activation::relu;
use burn::tensor::{Int, Tensor};
use burn_lora::{FrozenWeight, LoraForward, embed};

pub use config::{DistilBertConfig, DistilBertKeys};
pub use layer::{DistilBertAttention, DistilBertFfn, DistilBertLayer};

use crate::encoder::unseen;
use crate::weights::Builder;
use crate::{Classifier, Description, Model, ModelError, recompute};

/// Added under the root of each norm; no key says it.
const EPSILON: f64 = 1e-12;

/// The two tables and their norm.
#[derive(Module, Debug)]
pub struct DistilBertEmbeddings {
    /// By token.
    pub word_embeddings: Embedding,
    /// By position.
    pub position_embeddings: Embedding,
    /// Over the sum.
    pub LayerNorm: LayerNorm,
}

/// The layers.
#[derive(Module, Debug)]
pub struct DistilBertTransformer {
    /// The layers.
    pub layer: Vec<DistilBertLayer>,
}

/// Embeddings and layers.
#[derive(Module, Debug)]
pub struct DistilBertModel {
    /// What goes in.
    pub embeddings: DistilBertEmbeddings,
    /// The layers.
    pub transformer: DistilBertTransformer,
}

/// DistilBERT with its head: `classifier(relu(pre_classifier(x)))` of the first token.
#[derive(Module, Debug)]
pub struct DistilBertForSequenceClassification {
    /// The encoder.
    pub distilbert: DistilBertModel,
    /// `[dim, dim]`.
    pub pre_classifier: Linear,
    /// To the classes, `[dim, classes]`.
    pub classifier: Linear,
    #[module(skip)]
    config: DistilBertConfig,
}

impl DistilBertModel {
    fn build(config: &DistilBertConfig, mut at: Builder<'_>) -> Result<Self, ModelError> {
        let (d, positions) = (config.dim, config.max_position_embeddings);
        let mut embeddings = at.at("embeddings");
        Ok(Self {
            embeddings: DistilBertEmbeddings {
                word_embeddings: embeddings.embedding("word_embeddings", config.vocab_size, d)?,
                position_embeddings: embeddings.embedding("position_embeddings", positions, d)?,
                LayerNorm: embeddings.layer_norm("LayerNorm", d, EPSILON)?,
            },
            transformer: DistilBertTransformer {
                layer: at.list("transformer.layer", config.n_layers, |at| {
                    DistilBertLayer::build(config, at)
                })?,
            },
        })
    }
}

impl Model for DistilBertForSequenceClassification {
    type Config = DistilBertConfig;

    fn build(config: &DistilBertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels) = (config.dim, config.labels.len());
        Ok(Self {
            distilbert: DistilBertModel::build(config, root.at("distilbert"))?,
            pre_classifier: root.linear("pre_classifier", d, d, true)?,
            classifier: root.linear("classifier", d, labels, true)?,
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Classifier for DistilBertForSequenceClassification {
    fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let [batch, tokens] = ids.dims();
        assert_eq!(lengths.len(), batch, "one length a row");
        let DistilBertEmbeddings { word_embeddings, position_embeddings, LayerNorm } =
            &self.distilbert.embeddings;
        let dropouts = self.config.dropouts;
        let positions = FrozenWeight::from(position_embeddings.weight.val()).rows(0, tokens);
        let x = embed(word_embeddings, ids) + positions.unsqueeze::<3>();
        let x = dropouts.embeddings().forward(LayerNorm.forward(x));
        let mask = unseen(tokens, lengths, None, &x.device());
        let forward = move |layer: &DistilBertLayer, x| layer.forward(x, mask.as_ref());
        let hidden = recompute::through(&self.distilbert.transformer.layer, x, forward);
        let first = hidden.narrow(1, 0, 1).reshape([batch, self.config.dim]);
        let first = dropouts.head().forward(relu(self.pre_classifier.lora_forward(first)));
        self.classifier.lora_forward(first)
    }
}
