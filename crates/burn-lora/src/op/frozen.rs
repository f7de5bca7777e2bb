//! The frozen weight of a layer: what multiplies, asked and never taken apart.
//!
//! [`Frozen`] is a weight as primitives of a backend, a variant for every kind; [`FrozenWeight`] is
//! the same on tensors, what model code, patching, merging and saving speak to. The questions are:
//! `x W`, `dy Wᵀ`, rows (of an embedding), the dense f32 values (to merge and to save), the columns'
//! squared norms (for DoRA, arXiv 2402.09353), whether all values are finite, bytes held, and the
//! number format. No gradient of the weight exists; those of `x` and `dy` are in `frozen/autodiff.rs`.
//!
//! - `dense`: a matrix in the format of the activations.
//! - `half`: f16 or bf16 storage. CPUs multiply in f32: on Flex a tile of the weight is converted into the product's panels and dropped,
//!   NdArray has no such tensors. GPUs multiply in the weight's format and sum in f32 (`op/cube.rs`).
//! - `quantised`: blocks of a few bits, on Flex, where they too are converted a tile at a time.
//!
//! # Where a kind hangs in a Burn module
//!
//! A weight is a `Param<Tensor<2>>` of a `Linear` or an `Embedding`, whatever its kind, because paths,
//! shapes and freezing, which patching goes by, are read from there. [`FrozenWeight::of`] is the one
//! place that looks at a parameter and says which kind it is. There are three places for the values:
//!
//! - **A parameter of another dtype**, where a number is an element: `half` is a tensor of dtype f16 or
//!   bf16. Burn moves, clones, visits and counts it as any tensor; only arithmetic that is not asked
//!   for here meets a dtype it cannot add to f32.
//! - **A tensor that Burn quantised** (`DType::QFloat`): the same, where Burn's scheme can say the
//!   format and the backend's storage is worth it. On Flex it is not: each value is held as an i8, 4-bit
//!   ones too, and no scheme says GGUF's blocks.
//! - **Behind a tensor that is none of the weight's numbers**, where no tensor has the weight's shape: `quantised`, whose blocks lie in the
//!   buffer of a tensor of that shape with strides of 0, all of whose numbers are one NaN (`burn_lora_kernels::quantised`). Visitors, mappers,
//!   records of identities and clones take the blocks along with the tensor, which is why they hang there and not beside it in the set of
//!   adapters ([`Adapters`](crate::Adapters)): a visitor is not shown that set, and a weight without adapters has none. What computes
//!   with the tensor instead of asking the weight gets NaN. A file mapped into memory, or panels packed for a kernel, would hang the same way.
//!   Merging puts a dense weight beside the set, as it does beside a `half` base.
//!
//! A kind is a file here, a variant of [`Frozen`] and of [`FrozenWeight`], and an arm for each question.
//!
//! Left out: a trained weight of any kind but dense. What is trained whole is f32.

mod autodiff;
mod backends;
mod dense;
#[cfg(feature = "flex")]
mod flex;
mod half;
mod quantised;
mod weight;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::Slice;

use super::ProductBackend;

#[cfg(feature = "flex")]
pub use flex::FlexWeight;
pub use quantised::QuantisedMatrix;
pub use weight::FrozenWeight;

/// Numbers of a weight that exist as f32 at a time, where it is read in tiles (4 MiB).
const TILE: usize = 1 << 20;

/// The frozen weight of one layer: something that can multiply, from both sides.
///
/// What comes out is in the format of what it is multiplied with; [`dense`](Self::dense) and
/// [`gather`](Self::gather) give f32.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
#[non_exhaustive]
pub enum Frozen<B: Backend> {
    /// A dense matrix in the activations' format, `[d_in, d_out]`.
    Dense(FloatTensor<B>),
    /// A dense matrix of f16 or bf16, `[d_in, d_out]`.
    Half(FloatTensor<B>),
    /// A matrix in blocks, behind the tensor that carries it, `[d_in, d_out]`.
    Quantised(FloatTensor<B>, QuantisedMatrix),
}

/// A frozen weight's products, for every backend that has them.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait FrozenBackend: ProductBackend {
    /// See [`Frozen::multiply`].
    #[fusion(default)]
    fn frozen_multiply(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
    ) -> FloatTensor<Self> {
        composed_multiply(x, weight)
    }

    /// See [`Frozen::multiply_transposed`].
    #[fusion(default)]
    fn frozen_multiply_transposed(
        dy: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
    ) -> FloatTensor<Self> {
        composed_multiply_transposed(dy, weight)
    }
}

/// The default body: made of what every backend has.
fn composed_multiply<B: ProductBackend>(x: FloatTensor<B>, weight: Frozen<B>) -> FloatTensor<B> {
    match weight {
        Frozen::Dense(weight) => dense::multiply::<B>(x, weight),
        Frozen::Half(weight) => half::multiply::<B>(x, weight),
        Frozen::Quantised(carrier, matrix) => quantised::multiply::<B>(x, carrier, &matrix),
    }
}

/// The default body: made of what every backend has.
fn composed_multiply_transposed<B: ProductBackend>(
    dy: FloatTensor<B>,
    weight: Frozen<B>,
) -> FloatTensor<B> {
    match weight {
        Frozen::Dense(weight) => dense::multiply_transposed::<B>(dy, weight),
        Frozen::Half(weight) => half::multiply_transposed::<B>(dy, weight),
        Frozen::Quantised(carrier, matrix) => {
            quantised::multiply_transposed::<B>(dy, carrier, &matrix)
        }
    }
}

impl<B: FrozenBackend> Frozen<B> {
    /// `x W`, `x: [rows, d_in]` to `[rows, d_out]`.
    pub fn multiply(self, x: FloatTensor<B>) -> FloatTensor<B> {
        B::frozen_multiply(x, self)
    }

    /// `dy Wᵀ`, `dy: [rows, d_out]` to `[rows, d_in]`.
    pub fn multiply_transposed(self, dy: FloatTensor<B>) -> FloatTensor<B> {
        B::frozen_multiply_transposed(dy, self)
    }
}

impl<B: Backend> Frozen<B> {
    /// `[d_in, d_out]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) | Self::Half(weight) | Self::Quantised(weight, _) => {
                weight.shape().dims()
            }
        }
    }

    /// The rows of these numbers, `ids: [n]` to `[n, d_out]` in f32.
    pub fn gather(self, ids: IntTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Dense(weight) => dense::gather::<B>(weight, ids),
            Self::Half(weight) => half::gather::<B>(weight, ids),
            // Only tensors' data can be read: `FrozenWeight` converts no more than these rows.
            Self::Quantised(carrier, matrix) => {
                dense::gather::<B>(quantised::dense::<B>(&carrier, &matrix), ids)
            }
        }
    }

    /// The rows from `start` on, `[count, d_out]` in f32.
    pub fn tile(&self, start: usize, count: usize) -> FloatTensor<B> {
        let slices = [Slice::from(start..start + count), Slice::full()];
        match self {
            Self::Dense(weight) => B::float_slice(weight.clone(), &slices),
            Self::Half(weight) => half::dense::<B>(B::float_slice(weight.clone(), &slices)),
            Self::Quantised(carrier, matrix) => quantised::rows::<B>(carrier, matrix, start, count),
        }
    }

    /// All values in f32, `[d_in, d_out]`.
    pub fn dense(self) -> FloatTensor<B> {
        match self {
            Self::Dense(weight) => weight,
            Self::Half(weight) => half::dense::<B>(weight),
            Self::Quantised(carrier, matrix) => quantised::dense::<B>(&carrier, &matrix),
        }
    }

    /// The sum of the squares of each column, `[1, d_out]` in f32, a tile at a time. `None` of a weight
    /// without rows.
    pub fn column_norms_squared(&self) -> Option<FloatTensor<B>> {
        self.tiles()
            .map(|(start, count)| {
                let tile = self.tile(start, count);
                B::float_sum_dim(B::float_mul(tile.clone(), tile), 0)
            })
            .reduce(|sum, more| B::float_add(sum, more))
    }

    /// First row and number of rows of tiles that are the whole weight.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<B> {
        let [rows, columns] = self.dims();
        let height = (TILE / columns.max(1)).max(1);
        (0..rows).step_by(height).map(move |start| (start, height.min(rows - start)))
    }
}
