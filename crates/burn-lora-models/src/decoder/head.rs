//! The output head: from the stream to logits over the vocabulary.

use burn::nn::{Embedding, Linear};
use burn::tensor::Tensor;
use burn_lora::{Adapters, LoraForward};

use crate::fused::head_loss;
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
        let table = match self {
            Self::Own(linear) => return linear.lora_forward(hidden),
            Self::Tied(table) => table.weight.val(),
        };
        let mut shape = hidden.dims();
        let d = shape[D - 1];
        let rows = shape[..D - 1].iter().product();
        shape[D - 1] = table.dims()[0];
        hidden.reshape([rows, d]).matmul(table.transpose()).reshape(shape)
    }

    pub(super) fn loss(self, hidden: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
        match self.table() {
            Some(table) => head_loss(hidden, table, targets),
            None => cross_entropy(self.logits(hidden), targets),
        }
    }

    /// The table as `[vocabulary, hidden]`, where the fused loss may multiply with it: nothing hangs on
    /// it, and it learns nothing apart from the embedding.
    fn table(self) -> Option<Tensor<2>> {
        match self {
            Self::Tied(table) => table.weight.adapter().is_none().then(|| table.weight.val()),
            Self::Own(linear) => {
                let weight = &linear.weight;
                let plain = weight.reparameterization::<Adapters>().is_none()
                    && weight.adapter().is_none()
                    && linear.bias.is_none()
                    && !weight.base().is_require_grad();
                plain.then(|| weight.val().transpose())
            }
        }
    }
}
