//! Batches whose rows name their adapter, or none: many adapters' requests in one pass of the base.
//!
//! Within [`by_row`] every adapted linear that goes through [`LoraForward`](crate::LoraForward) multiplies with the base once,
//! for all rows, and every embedding that goes through [`embed`](crate::embed) looks them up; the rows that have an adapter
//! are brought together by it, so that each adapter sees its own as one matrix, and what comes out is added where the rows
//! stand. So the products take what one adapter's would, however many
//! there are, and a row is what it is with its adapter alone.
//!
//! A convolution through [`ConvForward`](crate::ConvForward) does the same for the rows of its batch.
//!
//! Left out: training, and model code that calls `Linear::forward` or `Embedding::forward`, which knows of no rows.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::adapter::{Head, Rows};
use crate::{Adapter, Adapters, FrozenWeight};

thread_local! {
    /// The adapters of the rows, within [`by_row`] on this thread.
    static NAMES: RefCell<Option<Rc<[Option<String>]>>> = const { RefCell::new(None) };
}

/// What `scope` makes while the rows of its batches go through these adapters: row `i` through the one called `names[i]`,
/// with its multiplier, whether it is active or not; through the base alone where there is none, and in layers that have no adapter of
/// that name.
///
/// A linear's input must have as many rows as there are names, or a multiple, those of a batch row next to each other
/// (`[batch, tokens, d_in]`, or flat). Scopes may be nested; the inner one counts.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Distribution, Tensor};
/// use burn_lora::{Adapter, AdapterConfig, LoraForward, attach, by_row};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora::device::parse("cpu")?;
/// let linear = LinearConfig::new(8, 4).init(&device);
/// let adapter = Adapter::init("poems", &AdapterConfig::new(2), &linear.weight, 0)?;
/// let linear = attach(linear, "weight", adapter)?;
/// let x = Tensor::<3>::random([2, 5, 8], Distribution::Default, &device);
/// let y = by_row(&[Some("poems"), None], || linear.lora_forward(x));
/// assert_eq!(y.dims(), [2, 5, 4]);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Where a linear's input has another number of rows, or the linear is merged.
pub fn by_row<R>(names: &[Option<&str>], scope: impl FnOnce() -> R) -> R {
    /// Gives the names back that were there, also when the scope panics.
    struct Outer(Option<Rc<[Option<String>]>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            NAMES.set(self.0.take());
        }
    }
    let names: Rc<[Option<String>]> = names.iter().map(|name| name.map(str::to_owned)).collect();
    let _outer = Outer(NAMES.replace(Some(names)));
    scope()
}

/// The names, within a scope.
pub(crate) fn names() -> Option<Rc<[Option<String>]>> {
    NAMES.with_borrow(Clone::clone)
}

impl Adapters {
    /// `x W'` with the `W'` of each row, `x: [rows, d_in]`.
    pub(crate) fn forward_by_row(
        &self,
        x: &Tensor<2>,
        weight: &FrozenWeight,
        names: &[Option<String>],
    ) -> Tensor<2> {
        let ([rows, d_in], device) = (x.dims(), x.device());
        let tokens = self.of_a_row(rows, names);
        let y = weight.multiply(x.clone());
        let groups = self.groups(names);
        let order: Vec<i32> = groups.iter().flat_map(|(_, at)| at).copied().collect();
        if order.is_empty() {
            return y;
        }
        let count = order.len();
        let order = numbers(order, &device);
        let together = x.clone().reshape([names.len(), tokens * d_in]).select(0, order.clone());
        let together = together.reshape([count * tokens, d_in]);
        let mut from = 0;
        let mut branches = Vec::with_capacity(groups.len());
        for (adapter, at) in groups {
            let own = together.clone().narrow(0, from * tokens, at.len() * tokens);
            branches.push(adapter.branch(own, weight.clone()));
            from += at.len();
        }
        let d_out = y.dims()[1];
        let branches = Tensor::cat(branches, 0).reshape([count, tokens * d_out]);
        y.reshape([names.len(), tokens * d_out])
            .select_assign(0, order, branches, IndexingUpdateOp::Add)
            .reshape([rows, d_out])
    }

    /// The rows of a table for these ids, `[n]` to `[n, d]` in f32, with the change of the adapter of each batch row.
    pub(crate) fn rows_by_row(
        &self,
        ids: Tensor<1, Int>,
        table: &FrozenWeight,
        names: &[Option<String>],
    ) -> Tensor<2> {
        let [n] = ids.dims();
        let tokens = self.of_a_row(n, names);
        let rows = table.gather(ids.clone());
        let ([_, d], device) = (rows.dims(), rows.device());
        let ids = ids.reshape([names.len(), tokens]);
        let mut rows = rows.reshape([names.len(), tokens * d]);
        for (adapter, at) in self.groups(names) {
            let (count, at) = (at.len(), numbers(at, &device));
            let ids = ids.clone().select(0, at.clone()).reshape([count * tokens]);
            let own = Rows { base: table.gather(ids.clone()), ids, table: table.clone() };
            let change = adapter.onto_rows(own.base.clone(), &own) - own.base;
            let change = change.reshape([count, tokens * d]);
            rows = rows.select_assign(0, at, change, IndexingUpdateOp::Add);
        }
        rows.reshape([n, d])
    }

    /// The logits of a head that is the table, with the change that it follows of the adapter of each batch row.
    pub(crate) fn logits_by_row(&self, head: &Head, names: &[Option<String>]) -> Tensor<2> {
        let mut groups = self.groups(names);
        groups.retain(|(adapter, _)| adapter.method().is_followed());
        if groups.is_empty() {
            return head.base.clone();
        }
        let ([rows, d], [_, classes]) = (head.hidden.dims(), head.base.dims());
        let tokens = self.of_a_row(rows, names);
        let device = head.base.device();
        let mut logits = head.base.clone().reshape([names.len(), tokens * classes]);
        for (adapter, at) in groups {
            let (count, at) = (at.len(), numbers(at, &device));
            let of = |all: &Tensor<2>, width: usize| {
                let all = all.clone().reshape([names.len(), tokens * width]);
                all.select(0, at.clone()).reshape([count * tokens, width])
            };
            let own = Head { hidden: of(&head.hidden, d), base: of(&head.base, classes) };
            let change = adapter.onto_logits(own.base.clone(), &own) - own.base;
            let change = change.reshape([count, tokens * classes]);
            logits = logits.select_assign(0, at, change, IndexingUpdateOp::Add);
        }
        logits.reshape([rows, classes])
    }

    /// How many of an input's rows each batch row has.
    fn of_a_row(&self, rows: usize, names: &[Option<String>]) -> usize {
        assert!(!self.is_merged(), "a merged layer has one weight for all rows: unmerge it first");
        assert!(
            !names.is_empty() && rows.is_multiple_of(names.len()),
            "{} rows name their adapter, but a layer's input has {rows}",
            names.len()
        );
        rows / names.len()
    }

    /// The adapters that rows name and that change something, with the numbers of their rows.
    fn groups(&self, names: &[Option<String>]) -> Vec<(&Adapter, Vec<i32>)> {
        let of = |adapter: &Adapter| -> Vec<i32> {
            let is_its = |name: &Option<String>| name.as_deref() == Some(adapter.name());
            let numbered = names.iter().enumerate().filter(|(_, name)| is_its(name));
            numbered.map(|(at, _)| at as i32).collect()
        };
        self.iter()
            .filter(|adapter| adapter.multiplier() != 0.0)
            .map(|adapter| (adapter, of(adapter)))
            .filter(|(_, at)| !at.is_empty())
            .collect()
    }
}

fn numbers(rows: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{EmbeddingConfig, Linear, LinearConfig};
    use burn::tensor::Distribution;

    use super::*;
    use crate::{AdapterConfig, LoraForward, Method, attach_sets, detach, embed, unembed};

    const D_IN: usize = 12;
    const D_OUT: usize = 7;

    fn adapter(name: &str, method: Method, rank: usize, linear: &Linear) -> Adapter {
        let config = AdapterConfig::new(rank).with_method(method);
        let values = |factor: &crate::Factor| {
            let sizes = crate::Sizes { d_in: D_IN, d_out: D_OUT, rank, groups: 1 };
            let count = factor.shape(sizes).into_iter().product::<usize>();
            (0..count).map(|at| ((at * 7 + rank * 3) % 11) as f32 / 11.0 - 0.4).collect()
        };
        Adapter::from_values(name, &config, &linear.weight, values).unwrap()
    }

    /// A linear with adapters of several kinds and ranks.
    fn linear() -> (Linear, Adapters) {
        let device = crate::device::parse("cpu").unwrap();
        let linear = LinearConfig::new(D_IN, D_OUT).init(&device);
        let set = Adapters::single(adapter("one", Method::Lora, 2, &linear))
            .with(adapter("two", Method::Miss, 4, &linear).with_multiplier(-0.5))
            .with(adapter("three", Method::Dora, 3, &linear).with_active(false))
            .with(adapter("off", Method::Lora, 1, &linear).with_multiplier(0.0));
        (with(linear, &set), set)
    }

    fn with(linear: Linear, set: &Adapters) -> Linear {
        attach_sets(detach(linear), |_| Some(set.clone()))
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn every_row_is_what_it_is_with_its_adapter_alone() {
        let (mixed, set) = linear();
        let device = mixed.weight.device();
        let rows =
            [Some("two"), None, Some("one"), Some("three"), Some("one"), Some("off"), Some("none")];
        let x = Tensor::<3>::random([rows.len(), 5, D_IN], Distribution::Default, &device);
        let flat = x.clone().reshape([rows.len() * 5, D_IN]);
        let y = by_row(&rows, || mixed.lora_forward(x.clone()));
        let of_flat = by_row(&rows, || mixed.lora_forward(flat));
        assert_eq!(values(of_flat), values(y.clone().reshape([rows.len() * 5, D_OUT])));
        for (at, name) in rows.iter().enumerate() {
            let alone = set.clone().map(|adapter| {
                let is_its = Some(adapter.name()) == *name;
                adapter.with_active(is_its)
            });
            let own = x.clone().narrow(0, at, 1);
            let expected =
                values(with(mixed.clone(), &alone).lora_forward(own).squeeze_dim::<2>(0));
            let found = values(y.clone().narrow(0, at, 1).squeeze_dim::<2>(0));
            for (found, expected) in found.iter().zip(&expected) {
                // Sums of a dozen products of size 1 in another order.
                assert!((found - expected).abs() < 1e-5, "row {at}: {found} is not {expected}");
            }
        }
        // Outside of the scope nothing is left of it.
        let before = values(mixed.lora_forward(x.clone()).reshape([rows.len() * 5, D_OUT]));
        let y = by_row(&[None], || by_row(&rows, || mixed.lora_forward(x.clone())));
        assert_eq!(y.dims(), [rows.len(), 5, D_OUT]);
        assert_eq!(values(mixed.lora_forward(x).reshape([rows.len() * 5, D_OUT])), before);
    }

    /// Looked up and, where a head is the table, given back.
    #[test]
    fn every_row_of_ids_has_the_table_that_it_has_with_its_adapter_alone() {
        let device = crate::device::parse("cpu").unwrap();
        let plain = EmbeddingConfig::new(D_IN, D_OUT).init(&device).no_grad();
        let turned = (0..2 * D_OUT).map(|at| at as f32 / 5.0).collect();
        let linear = Linear { weight: plain.weight.clone(), bias: None };
        let tokens = Adapter::tokens_from_values("tokens", &[4, 9], &plain.weight, turned).unwrap();
        let set = Adapters::single(adapter("lora", Method::Lora, 2, &linear))
            .with(tokens.with_active(false))
            .with(adapter("dora", Method::Dora, 3, &linear).with_multiplier(0.5));
        let with = |set: &Adapters| attach_sets(plain.clone(), |_| Some(set.clone()));
        let rows = [Some("tokens"), None, Some("lora"), Some("dora"), Some("tokens"), Some("none")];
        let ids: Vec<i32> =
            (0..rows.len() as i32 * 3).map(|at| (at * 5 + 4) % D_IN as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [rows.len(), 3]), &device);
        let hidden = Tensor::<2>::random([rows.len() * 3, D_OUT], Distribution::Default, &device);
        let (found, logits) = by_row(&rows, || {
            (embed(&with(&set), ids.clone()), unembed(&with(&set), hidden.clone()))
        });
        for (at, name) in rows.iter().enumerate() {
            let alone = with(&set.clone().map(|adapter| {
                let is_its = Some(adapter.name()) == *name;
                adapter.with_active(is_its)
            }));
            let expected = embed(&alone, ids.clone().narrow(0, at, 1)).squeeze_dim::<2>(0);
            let own = found.clone().narrow(0, at, 1).squeeze_dim::<2>(0);
            let of_head = unembed(&alone, hidden.clone().narrow(0, 3 * at, 3));
            let pairs = [(own, expected), (logits.clone().narrow(0, 3 * at, 3), of_head)];
            for (found, expected) in pairs {
                for (found, expected) in values(found).iter().zip(values(expected)) {
                    // Sums of a dozen products of size 1 in another order.
                    assert!((found - expected).abs() < 1e-5, "row {at}: {found} is not {expected}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "2 rows name their adapter, but a layer's input has 3")]
    fn another_number_of_rows_is_not_guessed_at() {
        let (mixed, _) = linear();
        let x = Tensor::<2>::zeros([3, D_IN], &mixed.weight.device());
        by_row(&[Some("one"), None], || mixed.lora_forward(x));
    }
}
