//! Decoders: what generation, scoring and training need of a model that predicts the next token.
//!
//! A family writes [`Decoder::forward`], from ids to the stream after the last norm, and names its
//! [`Head`]. Rows of different lengths, caches and packed rows are laid out here, once for all of
//! them: a [`Placement`] says where the tokens of a pass stand.
//!
//! The two halves, [`Decoder::hidden`] and [`Decoder::logits`], are apart because the head is the widest
//! product of a small model, and a trainer wants it only for those rows that carry loss.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use burn_lora_models::{CausalConfig, CausalLm, Decoder, Model, ModelConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = CausalConfig::from_json(
//!     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
//!         "tie_word_embeddings": true}"#,
//!     "config.json".as_ref(),
//! )?;
//! let device = burn_lora::device::parse("cpu")?;
//! let model = CausalLm::random(&config, 0, &device)?;
//! let ids = Tensor::<2, Int>::from_ints([[1, 2, 3], [4, 5, 0]], &device); // 0: padding
//! let hidden = model.hidden(ids, &[3, 2], None);
//! assert_eq!(model.logits(hidden).dims(), [2, 3, 32]);
//! # Ok(())
//! # }
//! ```
//!
//! Left out: left padding.

pub(crate) mod attention;
mod cache;
pub mod gated;
mod head;
pub mod megatron;
mod packed;
mod placement;
pub mod rope;

use burn::tensor::{Int, Tensor};

pub use cache::KvCache;
pub use head::Head;
pub use placement::{LayerPositions, Placement, Positions};

use crate::Model;

/// A model that predicts the next token.
pub trait Decoder: Model {
    /// The stream after the last norm of the tokens `ids`, which stand where `placement` says.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    fn forward(
        &self,
        ids: Tensor<2, Int>,
        placement: &Placement,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3>;

    /// The output head.
    fn head(&self) -> Head<'_>;

    /// The stream after the last norm, what [`Self::logits`] takes.
    ///
    /// Row `i` of `ids` has `lengths[i]` tokens, then padding of any id; the output at padding means
    /// nothing. With a cache, `ids` continue what its selected slots hold.
    ///
    /// # Shapes
    ///
    /// - ids: `[batch, tokens]`
    /// - output: `[batch, tokens, hidden]`
    ///
    /// # Panics
    ///
    /// Where a row grows beyond the model's context, an id is outside the vocabulary, or `lengths`
    /// (and the cache's selected slots) are another number than the rows of `ids`.
    fn hidden(
        &self,
        ids: Tensor<2, Int>,
        lengths: &[usize],
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(lengths.len(), batch, "one length a row");
        let placement = Placement::new(tokens, lengths, cache.as_deref_mut(), &ids.device());
        self.forward(ids, &placement, cache)
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
    /// Where a segment is longer than the model's context, the segments of a row are longer than it,
    /// an id is outside the vocabulary, or `segments` has another number of rows than `ids`.
    fn hidden_packed(&self, ids: Tensor<2, Int>, segments: &[Vec<usize>]) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        assert_eq!(segments.len(), batch, "the segments of every row");
        let fits = segments.iter().all(|row| row.iter().sum::<usize>() <= tokens);
        assert!(fits, "segments longer than their row");
        let placement = Placement::packed(tokens, segments, &ids.device());
        self.forward(ids, &placement, None)
    }

    /// Logits over the vocabulary. hidden: `[.., hidden]`, output: `[.., vocabulary]`.
    fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        self.head().logits(hidden)
    }

    /// The sum of the targets' cross-entropies, in nats: [`Self::logits`] and the loss in one, which
    /// never holds the logits of all rows.
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
    fn loss(&self, hidden: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
        self.head().loss(hidden, targets)
    }
}
