//! A frozen weight's products on Flex.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;

use super::{
    Frozen, FrozenBackend, QuantisedMatrix, composed_multiply, composed_multiply_transposed,
};
use burn_lora_kernels::product::together::Matrix;
use burn_lora_kernels::product::{Accumulate, LowRank, MatMut, MatRef, Threads, fresh, product};
use burn_lora_kernels::tiled::{tiled_fresh, tiled_product};
use burn_lora_kernels::{Floats, HalfMatrix};

/// A frozen weight as Flex's kernels multiply with it: into memory that is there already.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FlexWeight {
    /// A matrix of f32, as it lies.
    Dense(Floats),
    /// A matrix of 16 bits, converted tile by tile.
    Half(HalfMatrix),
    /// A matrix in blocks, converted tile by tile.
    Quantised(QuantisedMatrix),
}

impl FlexWeight {
    /// The weight's view; none of a kind or a format that the kernels do not read.
    pub fn new(weight: &Frozen<Flex>) -> Option<Self> {
        match weight {
            Frozen::Dense(weight) => Floats::strided(weight.clone()).map(Self::Dense),
            Frozen::Half(weight) => HalfMatrix::contiguous(weight.clone()).map(Self::Half),
            Frozen::Quantised(_, matrix) => Some(Self::Quantised(matrix.clone())),
        }
    }

    /// `[d_in, d_out]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) => [weight.dims()[0], weight.dims()[1]],
            Self::Half(weight) => weight.dims(),
            Self::Quantised(weight) => weight.view().shape(),
        }
    }

    /// To multiply with others together.
    pub(in crate::op) fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::Dense(weight) => Matrix::Dense(weight.matrix()),
            Self::Half(weight) => Matrix::Half(weight.matrix()),
            Self::Quantised(weight) => Matrix::Quantised(weight.view()),
        }
    }

    /// `dst = x W` or `dst += x W`, `x: [rows, d_in]`, `dst: [rows, d_out]`.
    pub fn multiply(&self, dst: MatMut<'_>, accumulate: Accumulate, x: MatRef<'_>) {
        match self {
            Self::Dense(weight) => product(dst, accumulate, x, weight.matrix(), Threads::All),
            Self::Half(weight) => tiled_product(dst, accumulate, x, weight.matrix(), Threads::All),
            Self::Quantised(weight) => {
                tiled_product(dst, accumulate, x, weight.view(), Threads::All);
            }
        }
    }

    /// `x W`, `x: [rows, d_in]`, rows one after the other, and a low-rank product that is added to it, if there is one.
    pub(in crate::op) fn times(&self, x: MatRef<'_>, low: Option<LowRank<'_>>) -> Vec<f32> {
        match self {
            Self::Dense(weight) => fresh(x, weight.matrix(), low, Threads::All),
            Self::Half(weight) => tiled_fresh(x, weight.matrix(), low, Threads::All),
            Self::Quantised(weight) => tiled_fresh(x, weight.view(), low, Threads::All),
        }
    }

    /// `dy Wᵀ`, `dy: [rows, d_out]`, alike.
    pub(in crate::op) fn times_transposed(
        &self,
        dy: MatRef<'_>,
        low: Option<LowRank<'_>>,
    ) -> Vec<f32> {
        match self {
            Self::Dense(weight) => fresh(dy, weight.matrix().transposed(), low, Threads::All),
            Self::Half(weight) => tiled_fresh(dy, weight.matrix().transposed(), low, Threads::All),
            Self::Quantised(weight) => {
                tiled_fresh(dy, weight.view().transposed(), low, Threads::All)
            }
        }
    }

    /// `dst = dy Wᵀ` or `dst += dy Wᵀ`, `dy: [rows, d_out]`, `dst: [rows, d_in]`.
    pub fn multiply_transposed(&self, dst: MatMut<'_>, accumulate: Accumulate, dy: MatRef<'_>) {
        match self {
            Self::Dense(weight) => {
                product(dst, accumulate, dy, weight.matrix().transposed(), Threads::All);
            }
            Self::Half(weight) => {
                tiled_product(dst, accumulate, dy, weight.matrix().transposed(), Threads::All);
            }
            Self::Quantised(weight) => {
                tiled_product(dst, accumulate, dy, weight.view().transposed(), Threads::All);
            }
        }
    }
}

impl FrozenBackend for Flex {
    fn frozen_multiply(x: FloatTensor<Self>, weight: Frozen<Self>) -> FloatTensor<Self> {
        let (Some(rows), Some(view)) = (Floats::strided(x.clone()), FlexWeight::new(&weight))
        else {
            return composed_multiply(x, weight);
        };
        let shape = [rows.dims()[0], view.dims()[1]];
        Floats::tensor(view.times(rows.matrix(), None), shape)
    }

    fn frozen_multiply_transposed(
        dy: FloatTensor<Self>,
        weight: Frozen<Self>,
    ) -> FloatTensor<Self> {
        let (Some(rows), Some(view)) = (Floats::strided(dy.clone()), FlexWeight::new(&weight))
        else {
            return composed_multiply_transposed(dy, weight);
        };
        let shape = [rows.dims()[0], view.dims()[0]];
        Floats::tensor(view.times_transposed(rows.matrix(), None), shape)
    }
}
