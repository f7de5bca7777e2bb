//! An embedding's table in whatever number format it is held, from both sides: rows of ids, and logits of
//! every row (a head that is tied to the embedding).
//!
//! `Embedding::forward` gives rows in the table's own format. Model code that calls these gets f32, as it
//! is from everything else.
//!
//! An adapter on the table changes its rows and not the head: a head that shares the table multiplies with it as it is
//! frozen, merged or not, as PEFT's does until it merges. Rows that are trained themselves
//! ([`Adapter::tokens`](crate::Adapter::tokens)) are the head's too, as in PEFT. Rows of factor A alone are read for the ids of a pass, and
//! gradients are scattered into A's rows; `Embedding::forward`, in model code that knows no adapters, composes the whole
//! table first.

use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};

use crate::adapter::Head;
use crate::{Adapters, FrozenWeight, product, rows};

/// What model code calls in place of `Embedding::forward`. A table that is trained gets its gradient.
///
/// # Shapes
///
/// - ids: `[batch, tokens]`
/// - output: `[batch, tokens, d]` in f32
pub fn embed(embedding: &Embedding, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, tokens], [_, d]) = (ids.dims(), embedding.weight.dims());
    if let Some(set) = adapters(embedding) {
        let (ids, table) = (ids.reshape([batch * tokens]), FrozenWeight::of(&embedding.weight));
        let rows = match rows::named() {
            Some(named) => set.rows_by_row(ids, &table, &named),
            None => set.rows(ids, table),
        };
        return rows.reshape([batch, tokens, d]);
    }
    match FrozenWeight::of(&embedding.weight) {
        FrozenWeight::Dense(_) => embedding.forward(ids),
        _ => {
            // `val`: something that changes the rows may hang on the table.
            let table = FrozenWeight::from(embedding.weight.val());
            table.gather(ids.reshape([batch * tokens])).reshape([batch, tokens, d])
        }
    }
}

/// `hidden tableᵀ`: the logits of every row of the table. A table that is trained gets its gradient, and so do rows that
/// are trained themselves; other adapters on the table change nothing here.
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
    let set = adapters(embedding);
    let table = set.map_or_else(|| embedding.weight.val(), |_| embedding.weight.base());
    let logits = match FrozenWeight::from(table) {
        FrozenWeight::Dense(table) => product(hidden.clone(), table.transpose()),
        table => table.multiply_transposed(hidden.clone()),
    };
    let logits = match (set, rows::named()) {
        (Some(set), None) => set.logits(&Head { hidden, base: logits }),
        (Some(set), Some(named)) => set.logits_by_row(&Head { hidden, base: logits }, &named),
        (None, _) => logits,
    };
    shape[D - 1] = logits.dims()[1];
    logits.reshape(shape)
}

/// The table that [`unembed`] multiplies with, `[rows, d]`, without the adapters that hang on it; none where some of its
/// rows are trained themselves, so that the product with it is not all.
pub fn head_table(embedding: &Embedding) -> Option<Tensor<2>> {
    match adapters(embedding) {
        Some(set) => (!set.is_followed()).then(|| embedding.weight.base()),
        None => Some(embedding.weight.val()),
    }
}

/// The adapters of a frozen table.
fn adapters(embedding: &Embedding) -> Option<&Adapters> {
    let set = embedding.weight.reparameterization::<Adapters>()?;
    (!set.is_turned() && !embedding.weight.base().is_require_grad()).then_some(set)
}
