//! Batches whose rows name their adapter, or none: many adapters' requests in one pass of the base.
//!
//! Within [`by_row`] every adapted linear that goes through [`LoraForward`](crate::LoraForward) multiplies with the base once,
//! for all rows, and every embedding that goes through [`embed`](crate::embed) looks them up; each adapter sees its own rows as
//! one matrix, and what comes out is added where the rows stand (`op/groups.rs`). So the products take what one adapter's
//! would, however many there are, and a row is what it is with its adapter alone. Kinds that are no product of two factors
//! (DoRA, MiSS, LoRA with a bias of B, and what started in a part of the weight) go one adapter after the other.
//!
//! A convolution through [`ConvForward`](crate::ConvForward) does the same for the rows of its batch.
//!
//! Left out: training, and model code that calls `Linear::forward` or `Embedding::forward`, which knows of no rows.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use crate::adapter::{Head, Rows};
use crate::{Adapter, Adapters, FrozenWeight, op};

thread_local! {
    /// The adapters of the rows, within [`by_row`] on this thread.
    static NAMED: RefCell<Option<Rc<Named>>> = const { RefCell::new(None) };
}

/// Which rows of a batch name which adapter.
#[derive(Debug)]
pub(crate) struct Named {
    /// How many rows there are.
    count: usize,
    /// Each name with its rows, in their order.
    rows: Vec<(String, Vec<usize>)>,
}

impl Named {
    fn of(names: &[Option<&str>]) -> Self {
        let mut rows: Vec<(String, Vec<usize>)> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let Some(name) = *name else { continue };
            match rows.iter_mut().find(|(other, _)| other == name) {
                Some((_, own)) => own.push(at),
                None => rows.push((name.to_owned(), vec![at])),
            }
        }
        Self { count: names.len(), rows }
    }

    /// How many of the first dimension of a layer's input each row of the batch has.
    ///
    /// # Panics
    ///
    /// Where there are other rows.
    pub(crate) fn of_a_row(&self, rows: usize) -> usize {
        assert!(
            self.count > 0 && rows.is_multiple_of(self.count),
            "{} rows name their adapter, but a layer's input has {rows}",
            self.count
        );
        rows / self.count
    }

    /// The adapters of a set that rows name and that change something, with the numbers of their rows.
    pub(crate) fn groups<'a>(
        &'a self,
        set: &'a Adapters,
    ) -> impl Iterator<Item = (&'a Adapter, &'a [usize])> {
        let of = |name: &str| self.rows.iter().find(|(other, _)| other == name);
        set.iter()
            .filter(|adapter| adapter.multiplier() != 0.0)
            .filter_map(move |adapter| Some((adapter, of(adapter.name())?.1.as_slice())))
    }
}

/// Rows of the batch as rows of a layer's input, those that lie together as one.
fn spans(rows: &[usize], tokens: usize) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for row in rows {
        let own = row * tokens..(row + 1) * tokens;
        match spans.last_mut() {
            Some(last) if last.end == own.start => last.end = own.end,
            _ => spans.push(own),
        }
    }
    spans
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
    struct Outer(Option<Rc<Named>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            NAMED.set(self.0.take());
        }
    }
    let _outer = Outer(NAMED.replace(Some(Rc::new(Named::of(names)))));
    scope()
}

/// Which rows name which adapter, within a scope.
pub(crate) fn named() -> Option<Rc<Named>> {
    NAMED.with_borrow(Clone::clone)
}

impl Adapters {
    /// `x W'` with the `W'` of each row, `x: [rows, d_in]`.
    pub(crate) fn forward_by_row(
        &self,
        x: &Tensor<2>,
        weight: &FrozenWeight,
        named: &Named,
    ) -> Tensor<2> {
        let tokens = self.of_a_row(x.dims()[0], named);
        let (mut low, mut others) = (Vec::new(), Vec::new());
        for (adapter, rows) in named.groups(self) {
            match adapter.low_rank(x) {
                Some(factors) => low.push((factors, spans(rows, tokens))),
                None => others.push((adapter, rows)),
            }
        }
        let y = match low.is_empty() {
            true => weight.multiply(x.clone()),
            false => op::lora_groups(x.clone(), weight.clone(), low),
        };
        // Kinds that are no product of two factors, one after the other.
        others.into_iter().fold(y, |y, (adapter, rows)| {
            let rows = numbers(spans(rows, tokens).into_iter().flatten(), &y.device());
            let own = x.clone().select(0, rows.clone());
            let branch = adapter.branch(own, weight.clone());
            y.select_assign(0, rows, branch, IndexingUpdateOp::Add)
        })
    }

    /// The rows of a table for these ids, `[n]` to `[n, d]` in f32, with the change of the adapter of each batch row.
    pub(crate) fn rows_by_row(
        &self,
        ids: Tensor<1, Int>,
        table: &FrozenWeight,
        named: &Named,
    ) -> Tensor<2> {
        let tokens = self.of_a_row(ids.dims()[0], named);
        let rows = table.gather(ids.clone());
        named.groups(self).fold(rows, |rows, (adapter, own)| {
            let own = numbers(spans(own, tokens).into_iter().flatten(), &rows.device());
            let ids = ids.clone().select(0, own.clone());
            let found = Rows { base: table.gather(ids.clone()), ids, table: table.clone() };
            let change = adapter.onto_rows(found.base.clone(), &found) - found.base;
            rows.select_assign(0, own, change, IndexingUpdateOp::Add)
        })
    }

    /// The logits of a head that is the table, with the change that it follows of the adapter of each batch row.
    pub(crate) fn logits_by_row(&self, head: &Head, named: &Named) -> Tensor<2> {
        let tokens = self.of_a_row(head.hidden.dims()[0], named);
        let followed = named.groups(self).filter(|(adapter, _)| adapter.is_tied());
        followed.fold(head.base.clone(), |logits, (adapter, own)| {
            let own = numbers(spans(own, tokens).into_iter().flatten(), &logits.device());
            let of = |all: &Tensor<2>| all.clone().select(0, own.clone());
            let found = Head { hidden: of(&head.hidden), base: of(&head.base) };
            let change = adapter.onto_logits(found.base.clone(), &found) - found.base;
            logits.select_assign(0, own, change, IndexingUpdateOp::Add)
        })
    }

    /// How many of an input's rows each batch row has.
    fn of_a_row(&self, rows: usize, named: &Named) -> usize {
        assert!(!self.is_merged(), "a merged layer has one weight for all rows: unmerge it first");
        named.of_a_row(rows)
    }
}

pub(crate) fn numbers(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.map(|row| row as i32).collect();
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
            .with(adapter("four", Method::LoraFa, 5, &linear).with_multiplier(2.0))
            .with(adapter("five", Method::Lora, 3, &linear).with_active(false))
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
        // Groups that lie together and apart.
        let rows = [
            Some("two"),
            None,
            Some("one"),
            Some("four"),
            Some("four"),
            Some("three"),
            Some("one"),
            Some("off"),
            Some("none"),
            Some("five"),
            Some("four"),
        ];
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
        // With gradients, where the operation takes its default body.
        let learning = x.clone().autodiff().require_grad();
        let tracked = by_row(&rows, || mixed.lora_forward(learning));
        for (found, expected) in values(tracked.reshape([rows.len() * 5, D_OUT]))
            .iter()
            .zip(values(y.reshape([rows.len() * 5, D_OUT])))
        {
            assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
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
