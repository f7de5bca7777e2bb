//! The BERT family: encoders with a classification head.
//!
//! [`BertForSequenceClassification`] is BERT (and MiniLM, which has its layers): the first token's
//! state goes through the pooler into a linear head. [`RobertaForSequenceClassification`] is
//! RoBERTa: the same encoder with positions that start after the padding index, no pooler, and
//! a head of two layers. [`SequenceClassifier`] is either, for callers that load what they are given.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use burn_lora_models::bert::{BertConfig, SequenceClassifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = BertConfig::from_json(
//!     r#"{"model_type": "bert", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
//!         "type_vocab_size": 2, "num_labels": 3}"#,
//!     "config.json".as_ref(),
//! )?;
//! let device = burn_lora::device::parse("cpu")?;
//! let model = SequenceClassifier::random(&config, 0, &device)?;
//! let ids = Tensor::<2, Int>::from_ints([[1, 2, 3], [4, 5, 0]], &device); // 0: padding
//! assert_eq!(model.logits(ids, &[3, 2]).dims(), [2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! Left out: dropout, sentence pairs (every token has type 0), decoders and cross-attention, heads
//! for other tasks.

mod classify;
mod config;
mod embeddings;
mod encoder;
mod heads;
mod layer;

pub use classify::SequenceClassifier;
pub use config::{Activation, BertConfig};
pub use embeddings::BertEmbeddings;
pub use encoder::{BertEncoder, BertModel, BertPooler};
pub use heads::{
    BertForSequenceClassification, RobertaClassificationHead, RobertaForSequenceClassification,
};
pub use layer::{BertAttention, BertDense, BertLayer, BertResidual, BertSelfAttention};
