//! Rows of an embedding's table that are trained while the rest of it is frozen (PEFT's `trainable_token_indices`).
//!
//! ```text
//! W'[ids[k]] = rows[k]          rows: [k, d]          every other row of W' is W's
//! ```
//!
//! What is trained are the rows themselves and not what they differ by, as in PEFT, so that a file says the same of a
//! base whose new rows were drawn anew. A pass looks its ids up in the table and then puts trained rows in the places of
//! theirs, so that gradients and the optimiser's state are of `k` rows. A head that is the table multiplies with `W'` too:
//! of a pass's logits the columns of the trained rows are put in place.
//!
//! Of a head that is a layer of its own they are outputs, columns of its weight `[d, outputs]` here and rows in PyTorch. A pass
//! computes the base's outputs and puts those of the trained ones in their places.
//!
//! It stands beside an adapter of linear layers and is no kind that is chosen by itself.
//!
//! The rows are held as `[d, k]`: what is trained lies here the other way round than in PEFT's files, which have
//! `[k, d]`.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::{Adaptation, Factor, Given, Head, Input, Method, Products, Rows, Sizes, Strength};
use crate::{AdapterConfig, FrozenWeight, LoraError, product};

/// The rows, turned: `[d, k]`. PEFT saves them without the `.weight` of a module.
pub(super) const ROWS: Factor = Factor {
    name: "rows",
    key: "token_adapter.trainable_tokens_delta",
    table_key: "token_adapter.trainable_tokens_delta",
    trained: true,
    lora_plus: false,
    shape: |sizes| vec![sizes.d_out, sizes.rank],
};

/// Rows in the place of a table's own.
#[derive(Module, Debug)]
pub(crate) struct Tokens {
    /// `[d, k]`; starts at the table's own rows.
    rows: Param<Tensor<2>>,
    #[module(skip)]
    ids: Arc<[usize]>,
    /// The same as a plain tensor, `[k]`: they are no parameter, the configuration says them.
    numbers: Tensor<1, Int>,
    /// For every row of the table `1 +` its place among the rows, and 0 where it has none: `[rows of the table]`.
    places: Tensor<1, Int>,
    /// Rows of the table.
    count: usize,
    /// Whether they are outputs of a head, columns of its weight.
    of_head: bool,
}

impl Tokens {
    /// These rows of a table, `rows: [d, ids.len()]`.
    pub(super) fn of(
        ids: &[usize],
        rows: Param<Tensor<2>>,
        table: &Param<Tensor<2>>,
    ) -> Result<Self, LoraError> {
        Self::new(ids, rows, table, false)
    }

    /// These outputs of a head `[d, outputs]`, `rows: [d, ids.len()]`.
    pub(super) fn of_head(
        ids: &[usize],
        rows: Param<Tensor<2>>,
        head: &Param<Tensor<2>>,
    ) -> Result<Self, LoraError> {
        Self::new(ids, rows, head, true)
    }

    fn new(
        ids: &[usize],
        rows: Param<Tensor<2>>,
        weight: &Param<Tensor<2>>,
        of_head: bool,
    ) -> Result<Self, LoraError> {
        let (count, device) = (weight.lazy_shape()[usize::from(of_head)], weight.lazy_device());
        check(ids, count)?;
        let mut places = vec![0_i32; count];
        for (at, id) in ids.iter().enumerate() {
            places[*id] = at as i32 + 1;
        }
        let places = Tensor::from_data(TensorData::new(places, [count]), &device);
        let numbers = numbers(ids, &device);
        Ok(Self { rows, ids: ids.into(), numbers, places, count, of_head })
    }

    /// The numbers of the rows, in their order.
    pub(super) fn ids(&self) -> &[usize] {
        &self.ids
    }

    /// What stands in the places of `base`'s rows: the trained ones, and at another multiplier a part of the way there.
    fn meant(rows: Tensor<2>, base: &Tensor<2>, multiplier: f64) -> Tensor<2> {
        if multiplier == 1.0 {
            return rows;
        }
        (rows - base.clone()).mul_scalar(multiplier) + base.clone()
    }

    /// What changes of the outputs of the trained rows, `[n, k]`, where `base: [n, rows of the table]` is what the frozen ones
    /// give for `x: [n, d]`.
    fn change_of_outputs(&self, x: Tensor<2>, base: &Tensor<2>, strength: Strength) -> Tensor<2> {
        let own = product(x, self.rows.val());
        let change = own - base.clone().select(1, self.numbers.clone());
        change.mul_scalar(strength.multiplier)
    }

    /// `sum` with the trained rows in their places, where its rows are those of the table at `places`, and `base` is what
    /// the table has there. What others changed of a row is added to it.
    fn placed(
        &self,
        sum: Tensor<2>,
        base: Tensor<2>,
        places: Tensor<1, Int>,
        strength: Strength,
    ) -> Tensor<2> {
        let [d, _] = self.rows.dims();
        let nothing = Tensor::<2>::zeros([1, d], &self.rows.device());
        let rows = Tensor::cat(vec![nothing, self.rows.val().transpose()], 0);
        let rows = rows.select(0, places.clone());
        let trained = places.greater_elem(0).float().unsqueeze_dim::<2>(1);
        let frozen = trained.clone().neg().add_scalar(1.0);
        // A sum with 0 and a product with 1 leave a row bit for bit what it is.
        let new = Self::meant(rows, &base, strength.multiplier) + (sum.clone() - base);
        sum * frozen + new * trained
    }
}

/// That these are rows of a table of `rows`, each once.
pub(crate) fn check(ids: &[usize], rows: usize) -> Result<(), LoraError> {
    let mut seen = BTreeSet::new();
    for &id in ids {
        if id >= rows {
            return Err(LoraError::Row { id, rows });
        }
        if !seen.insert(id) {
            return Err(LoraError::RowTwice { id });
        }
    }
    match ids.is_empty() {
        true => Err(LoraError::NoRows),
        false => Ok(()),
    }
}

impl Adaptation for Tokens {
    const FACTORS: &'static [Factor] = &[ROWS];
    // Files that hold nothing else are PEFT's of this type; beside another kind they are in that one's.
    const PEFT_TYPE: &'static str = "TRAINABLE_TOKENS";
    const SWITCH: Option<&'static str> = None;
    const SCALED: bool = false;
    const DRAWN: bool = false;
    const EMBEDS: bool = true;
    const KEEPS_INPUT: bool = false;
    const FOLLOWED: bool = true;

    fn init(
        config: &AdapterConfig,
        _table: &Param<Tensor<2>>,
        _seed: u64,
    ) -> Result<Self, LoraError> {
        Err(LoraError::NotByItself { method: config.method })
    }

    fn given(_values: &mut Given<'_>, _table: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        Err(LoraError::NotByItself { method: Method::Tokens })
    }

    fn sizes(&self) -> Sizes {
        let [d, rank] = self.rows.dims();
        let [d_in, d_out] = if self.of_head { [d, self.count] } else { [self.count, d] };
        Sizes { d_in, d_out, rank, groups: 1 }
    }

    fn useful_rank(sizes: Sizes) -> usize {
        sizes.d_in.max(sizes.d_out)
    }

    fn kept(_sizes: Sizes, _dropout: bool) -> usize {
        // Which of the rows it is, or none, and the two factors that say so.
        3
    }

    fn products(_sizes: Sizes) -> Products {
        Products::default()
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        let base = input.weight.multiply(input.x.clone());
        if self.of_head {
            let change = self.change_of_outputs(input.x, &base, strength);
            return base.select_assign(1, self.numbers.clone(), change, IndexingUpdateOp::Add);
        }
        base + self.branch(input, strength)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        if self.of_head {
            let base = input.weight.multiply(input.x.clone());
            let change = self.change_of_outputs(input.x, &base, strength);
            let nothing = base.zeros_like().detach();
            return nothing.select_assign(1, self.numbers.clone(), change, IndexingUpdateOp::Add);
        }
        let base = input.weight.gather(self.numbers.clone());
        let change = (self.rows.val().transpose() - base).mul_scalar(strength.multiplier);
        product(input.dropped().select(1, self.numbers.clone()), change)
    }

    fn change_rows(&self, rows: &Rows, strength: Strength) -> Tensor<2> {
        self.onto_rows(rows.base.clone(), rows, strength) - rows.base.clone()
    }

    fn onto_rows(&self, sum: Tensor<2>, rows: &Rows, strength: Strength) -> Tensor<2> {
        let places = self.places.clone().select(0, rows.ids.clone());
        self.placed(sum, rows.base.clone(), places, strength)
    }

    fn change(&self, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        self.onto(weight.clone(), weight.clone(), strength) - weight
    }

    fn onto(&self, sum: Tensor<2>, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        let places = self.places.clone();
        match self.of_head {
            true => self.placed(sum.transpose(), weight.transpose(), places, strength).transpose(),
            false => self.placed(sum, weight, places, strength),
        }
    }

    fn onto_logits(&self, sum: Tensor<2>, head: &Head, strength: Strength) -> Tensor<2> {
        let change = self.change_of_outputs(head.hidden.clone(), &head.base, strength);
        sum.select_assign(1, self.numbers.clone(), change, IndexingUpdateOp::Add)
    }
}

/// The rows of those numbers as the table has them, `[d, ids.len()]`.
pub(super) fn own_rows(ids: &[usize], table: &Param<Tensor<2>>) -> Result<Tensor<2>, LoraError> {
    check(ids, table.lazy_shape()[0])?;
    let frozen = table.base().detach().set_require_grad(false);
    let numbers = numbers(ids, &frozen.device());
    Ok(FrozenWeight::from(frozen).gather(numbers).transpose())
}

/// The columns of those numbers as a head's weight has them, `[d, ids.len()]`.
pub(super) fn own_columns(ids: &[usize], head: &Param<Tensor<2>>) -> Result<Tensor<2>, LoraError> {
    check(ids, head.lazy_shape()[1])?;
    let frozen = FrozenWeight::from(head.base().detach().set_require_grad(false));
    let numbers = numbers(ids, &head.lazy_device());
    // Blocks are read whole, once; of numbers the columns alone.
    let columns = match frozen {
        FrozenWeight::Dense(weight) | FrozenWeight::Half(weight) => weight.select(1, numbers),
        blocks => blocks.dense().select(1, numbers),
    };
    Ok(FrozenWeight::from(columns).dense())
}

fn numbers(ids: &[usize], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    Tensor::from_data(TensorData::new(numbers, [ids.len()]), device)
}

#[cfg(test)]
mod tests;
