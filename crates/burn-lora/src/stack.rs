//! Matrices that lie in one parameter, such as those of a layer's experts: `[count, d_in, d_out]`, or `[count, d_out, d_in]`
//! as PyTorch's.
//!
//! Side by side they are one matrix `[d_in, count · d_out]` whose outputs are dealt out to as many groups as there are
//! matrices, and with them the rank: what one of them is changed by is the product of its own columns of A and its own
//! columns of B, as for the groups of a convolution (`adapter/groups.rs`).
//!
//! ```text
//! A: [d_in, count · rank]     B: [rank, count · d_out]     W'ₑ = Wₑ + scale · A[:, part e] · B[:, part e]
//! ```
//!
//! No module multiplies with a parameter as a layer does with its weight, so that there is no factored path: the weight is
//! composed where the model's code asks the parameter for its value. So nothing can be dropped of A's input, and kinds that
//! look at columns are left out, as PEFT's `ParamWrapper` leaves them out.
//!
//! ```
//! use burn::module::{Module, Param};
//! use burn::tensor::Tensor;
//! use burn_lora::{Adapter, AdapterConfig, Adapters, Stack, attach_sets};
//!
//! #[derive(Module, Debug)]
//! struct Experts {
//!     up: Param<Tensor<3>>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("cpu")?;
//! let experts = Experts { up: Param::from_tensor(Tensor::ones([4, 6, 8], &device)) };
//! let stack = Stack::new(4, false);
//! let weight = stack.param(&experts.up);
//! let adapter = Adapter::init_stack("default", &AdapterConfig::new(2), &weight, stack, 0)?;
//! let set = Adapters::single(adapter).with_stack(stack);
//! let experts = attach_sets(experts, |path| (path == "up").then(|| set.clone()));
//! assert_eq!(experts.up.val().dims(), [4, 6, 8]);
//! # Ok(())
//! # }
//! ```

use burn::module::{Param, ParamId};
use burn::tensor::Tensor;

use crate::{FrozenWeight, Sizes};

/// How matrices lie in a parameter of three dimensions. One of two is a single matrix, for which sets are
/// [turned](crate::Adapters::with_turned) or not, as for a layer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// How many there are.
    pub count: usize,
    /// Whether each lies `[d_out, d_in]`.
    pub turned: bool,
}

impl Stack {
    /// So many matrices, which lie `[d_out, d_in]` (true) or `[d_in, d_out]` (false).
    pub fn new(count: usize, turned: bool) -> Self {
        Self { count, turned }
    }

    /// The sizes of an adapter of that rank, for matrices `[d_in, d_out]`.
    pub fn sizes(&self, [d_in, d_out]: [usize; 2], rank: usize) -> Sizes {
        let many = |size: usize| self.count.saturating_mul(size);
        Sizes { d_in, d_out: many(d_out), rank: many(rank), groups: self.count.max(1) }
    }

    /// A parameter of two or three dimensions as the matrix `[d_in, count · d_out]` that adapters are made for.
    pub fn param<const D: usize>(&self, weight: &Param<Tensor<D>>) -> Param<Tensor<2>> {
        let base = weight.base().detach().set_require_grad(false);
        let shape = base.shape();
        let (rows, columns) = (shape[D - 2], shape[D - 1]);
        let d_in = if self.turned { columns } else { rows };
        let flat = FrozenWeight::flattened(base).into_tensor();
        Param::initialized(ParamId::new(), self.side_by_side(flat, d_in))
    }

    /// `[d_in, count · d_out]` of what a parameter is with its first dimension, and all others together
    /// ([`FrozenWeight::flattened`]).
    pub(crate) fn side_by_side(&self, flat: Tensor<2>, d_in: usize) -> Tensor<2> {
        let values = flat.shape().num_elements();
        let d_out = values / (self.count * d_in).max(1);
        let (count, wide) = (self.count, self.count * d_out);
        match self.turned {
            true => flat.reshape([count, d_out, d_in]).permute([2, 0, 1]).reshape([d_in, wide]),
            false => flat.reshape([count, d_in, d_out]).permute([1, 0, 2]).reshape([d_in, wide]),
        }
    }

    /// What [`side_by_side`](Self::side_by_side) was made of, `[count, d_in · d_out]`.
    pub(crate) fn flat(&self, matrix: Tensor<2>) -> Tensor<2> {
        let [d_in, wide] = matrix.dims();
        let d_out = wide / self.count.max(1);
        let apart = matrix.reshape([d_in, self.count, d_out]);
        let apart = match self.turned {
            true => apart.permute([1, 2, 0]),
            false => apart.permute([1, 0, 2]),
        };
        apart.reshape([self.count, d_in * d_out])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn matrices_stand_side_by_side_and_go_back_to_where_they_lay() {
        let device = crate::device::parse("cpu").unwrap();
        // Entry [e, i, o] is 100 e + 10 i + o, whichever way each matrix lies.
        for turned in [false, true] {
            let entry = |e: usize, i: usize, o: usize| (100 * e + 10 * i + o) as f32;
            let (count, d_in, d_out) = (3, 2, 4);
            let mut values = Vec::new();
            for e in 0..count {
                for at in 0..d_in * d_out {
                    values.push(match turned {
                        true => entry(e, at % d_in, at / d_in),
                        false => entry(e, at / d_out, at % d_out),
                    });
                }
            }
            let shape = if turned { [count, d_out, d_in] } else { [count, d_in, d_out] };
            let data = TensorData::new(values.clone(), shape);
            let weight = Param::from_tensor(Tensor::<3>::from_data(data, &device));
            let stack = Stack::new(count, turned);
            let matrix = stack.param(&weight).val();
            assert_eq!(matrix.dims(), [d_in, count * d_out]);
            let side: Vec<f32> = matrix.clone().into_data().try_to_vec().unwrap();
            for i in 0..d_in {
                for wide in 0..count * d_out {
                    let expected = entry(wide / d_out, i, wide % d_out);
                    assert_eq!(side[i * count * d_out + wide], expected, "{turned}");
                }
            }
            let back: Vec<f32> = stack.flat(matrix).into_data().try_to_vec().unwrap();
            assert_eq!(back, values, "{turned}");
        }
        let sizes = Stack::new(3, false).sizes([2, 4], 5);
        assert_eq!(sizes, Sizes { d_in: 2, d_out: 12, rank: 15, groups: 3 });
    }
}
