//! The output head: from the stream to logits over the vocabulary.

use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;
use burn_lora::{Adapters, LoraForward, unembed};

use crate::fused::{HeadLayout, head_loss};
use crate::loss::cross_entropy;

/// What turns the stream into logits.
#[derive(Debug, Clone, Copy)]
pub enum Head<'a> {
    /// The token table, `[vocabulary, hidden]`: head and embedding share it.
    Tied(&'a Embedding),
    /// A linear of its own, `[hidden, vocabulary]`.
    Own(&'a Linear),
}

impl<'a> Head<'a> {
    /// The linear where there is one, else the table.
    pub fn of(linear: Option<&'a Linear>, table: &'a Embedding) -> Self {
        linear.map_or(Self::Tied(table), Self::Own)
    }

    pub(super) fn logits<const D: usize>(self, hidden: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Own(linear) => linear.lora_forward(hidden),
            Self::Tied(table) => unembed(table, hidden),
        }
    }

    pub(super) fn loss(self, hidden: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
        match self.plain() {
            Some((weight, layout)) => head_loss(hidden, weight, layout, targets),
            None => cross_entropy(self.logits(hidden), targets),
        }
    }

    /// The weight where the fused loss may multiply with it: nothing hangs on it, and it learns nothing
    /// apart from the embedding.
    fn plain(self) -> Option<(Tensor<2>, HeadLayout)> {
        match self {
            Self::Tied(table) => {
                table.weight.adapter().is_none().then(|| (table.weight.val(), HeadLayout::Table))
            }
            Self::Own(linear) => {
                let weight = &linear.weight;
                let plain = weight.reparameterization::<Adapters>().is_none()
                    && weight.adapter().is_none()
                    && linear.bias.is_none()
                    && !weight.base().is_require_grad();
                plain.then(|| (weight.val(), HeadLayout::Linear))
            }
        }
    }
}
