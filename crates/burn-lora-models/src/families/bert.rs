//! The BERT family: encoders with a classification head.
//!
//! [`BertForSequenceClassification`] is BERT (and MiniLM, which has its layers): the first token's
//! state goes through the pooler into a linear head. [`RobertaForSequenceClassification`] is
//! RoBERTa: the same encoder with positions that start after the padding index, no pooler, and
//! a head of two layers.
//!
//! Left out: sentence pairs (every token has type 0), decoders and cross-attention, heads
//! for other tasks.

mod config;
mod embeddings;
mod encoder;
mod heads;
mod layer;

pub use config::BertConfig;
pub use embeddings::BertEmbeddings;
pub use encoder::{BertEncoder, BertModel, BertPooler};
pub use heads::{
    BertForSequenceClassification, RobertaClassificationHead, RobertaForSequenceClassification,
};
pub use layer::{BertAttention, BertDense, BertLayer, BertResidual, BertSelfAttention};
