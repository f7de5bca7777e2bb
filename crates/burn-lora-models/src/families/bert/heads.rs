//! The two classifiers of the family.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};
use burn_lora::LoraForward;

use super::config::BertConfig;
use super::encoder::BertModel;
use crate::weights::Builder;
use crate::{Classifier, Description, Model, ModelError};

/// BERT with a linear head over the pooled first token.
#[derive(Module, Debug)]
pub struct BertForSequenceClassification {
    /// The encoder.
    pub bert: BertModel,
    /// From the pooled first token to the classes, `[hidden, classes]`.
    pub classifier: Linear,
    #[module(skip)]
    config: BertConfig,
}

/// RoBERTa with its head of two layers over the first token.
#[derive(Module, Debug)]
pub struct RobertaForSequenceClassification {
    /// The encoder.
    pub roberta: BertModel,
    /// From the first token to the classes.
    pub classifier: RobertaClassificationHead,
    #[module(skip)]
    config: BertConfig,
}

/// RoBERTa's head: `out_proj(tanh(dense(x)))`.
#[derive(Module, Debug)]
pub struct RobertaClassificationHead {
    /// `[hidden, hidden]`.
    pub dense: Linear,
    /// To the classes, `[hidden, classes]`.
    pub out_proj: Linear,
}

impl Model for BertForSequenceClassification {
    type Config = BertConfig;

    fn build(config: &BertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels) = (config.hidden_size, config.labels.len());
        Ok(Self {
            bert: BertModel::build(config, true, root.at("bert"))?,
            classifier: root.linear("classifier", d, labels, true)?,
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Classifier for BertForSequenceClassification {
    fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let first = self.config.dropouts.head().forward(self.bert.first(ids, lengths));
        self.classifier.lora_forward(first)
    }
}

impl Model for RobertaForSequenceClassification {
    type Config = BertConfig;

    fn build(config: &BertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels) = (config.hidden_size, config.labels.len());
        Ok(Self {
            roberta: BertModel::build(config, false, root.at("roberta"))?,
            classifier: RobertaClassificationHead {
                dense: root.linear("classifier.dense", d, d, true)?,
                out_proj: root.linear("classifier.out_proj", d, labels, true)?,
            },
            config: config.clone(),
        })
    }

    fn config(&self) -> &dyn Description {
        &self.config
    }
}

impl Classifier for RobertaForSequenceClassification {
    fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let dropout = self.config.dropouts.head();
        let RobertaClassificationHead { dense, out_proj } = &self.classifier;
        let first = dropout.forward(self.roberta.first(ids, lengths));
        out_proj.lora_forward(dropout.forward(dense.lora_forward(first).tanh()))
    }
}
