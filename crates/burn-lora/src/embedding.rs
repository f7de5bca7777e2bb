//! An embedding's table in whatever number format it is held, from both sides: rows of ids, and logits of
//! every row (a head that is tied to the embedding).
//!
//! `Embedding::forward` gives rows in the table's own format. Model code that calls these gets f32, as it
//! is from everything else.

use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};

use crate::{FrozenWeight, product};

/// What model code calls in place of `Embedding::forward`. A table that is trained gets its gradient.
///
/// # Shapes
///
/// - ids: `[batch, tokens]`
/// - output: `[batch, tokens, d]` in f32
pub fn embed(embedding: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    match FrozenWeight::of(&embedding.weight) {
        FrozenWeight::Dense(_) => embedding.forward(ids),
        _ => {
            // `val`: something that changes the rows may hang on the table.
            let table = FrozenWeight::from(embedding.weight.val());
            let [batch, tokens] = ids.dims();
            let [_, d] = table.dims();
            table.gather(ids.reshape([batch * tokens])).reshape([batch, tokens, d])
        }
    }
}

/// `hidden tableᵀ`: the logits of every row of the table. A table that is trained gets its gradient.
///
/// # Shapes
///
/// - hidden: `[.., d]`
/// - output: `[.., rows of the table]`
pub fn unembed<const D: usize>(embedding: &Embedding, hidden: Tensor<D>) -> Tensor<D> {
    let mut shape = hidden.dims();
    let d = shape[D - 1];
    let rows = shape[..D - 1].iter().product();
    let hidden = hidden.reshape([rows, d]);
    let logits = match FrozenWeight::from(embedding.weight.val()) {
        FrozenWeight::Dense(table) => product(hidden, table.transpose()),
        table => table.multiply_transposed(hidden),
    };
    shape[D - 1] = logits.dims()[1];
    logits.reshape(shape)
}
