//! The output head: from the stream to logits over the vocabulary, and a soft cap where they have one.

use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;
use burn_lora::{Adapters, LoraForward, head_table, unembed};

use super::attention::capped;
use crate::fused::{HeadLayout, head_loss};
use crate::loss::cross_entropy;

/// What turns the stream into logits.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    weight: HeadWeight<'a>,
    cap: Option<f64>,
}

/// What the stream is multiplied with.
#[derive(Debug, Clone, Copy)]
enum HeadWeight<'a> {
    /// The token table, `[vocabulary, hidden]`: head and embedding share it.
    Tied(&'a Embedding),
    /// A linear of its own, `[hidden, vocabulary]`.
    Own(&'a Linear),
}

impl<'a> Head<'a> {
    /// The linear where there is one, else the table.
    pub fn of(linear: Option<&'a Linear>, table: &'a Embedding) -> Self {
        let weight = linear.map_or(HeadWeight::Tied(table), HeadWeight::Own);
        Self { weight, cap: None }
    }

    /// With logits `cap · tanh(logits / cap)`, where there is a cap.
    #[must_use]
    pub fn capped(self, cap: Option<f64>) -> Self {
        Self { cap, ..self }
    }

    pub(super) fn logits<const D: usize>(self, hidden: Tensor<D>) -> Tensor<D> {
        let logits = match self.weight {
            HeadWeight::Own(linear) => linear.lora_forward(hidden),
            HeadWeight::Tied(table) => unembed(table, hidden),
        };
        capped(logits, self.cap)
    }

    pub(super) fn loss(self, hidden: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
        match self.weight.plain() {
            Some((weight, layout)) => head_loss(hidden, weight, layout, targets, self.cap),
            None => cross_entropy(self.logits(hidden), targets),
        }
    }
}

impl HeadWeight<'_> {
    /// The weight where the fused loss may multiply with it: nothing hangs on it, and it learns nothing
    /// apart from the embedding.
    fn plain(self) -> Option<(Tensor<2>, HeadLayout)> {
        match self {
            Self::Tied(table) => {
                let weight = table.weight.adapter().is_none().then(|| head_table(table)).flatten();
                weight.map(|weight| (weight, HeadLayout::Table))
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
