//! A frozen weight on tensors: what model code, patching, merging and saving ask.

use burn::backend::Dispatch;
use burn::module::Param;
use burn::tensor::{DType, Device, Int, Tensor, TensorReadError};
use burn_lora_kernels::quantised::Quantised;

use super::{Frozen, FrozenBackend, QuantisedMatrix, quantised};

/// The frozen weight of a layer, `[d_in, d_out]` (an embedding's table: `[vocabulary, d]`).
///
/// Cloning copies no values.
///
/// ```
/// use burn::tensor::{FloatDType, Tensor};
/// use burn_lora::FrozenWeight;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora::device::parse("cpu")?;
/// let weight = Tensor::<2>::ones([3, 4], &device).cast(FloatDType::BF16);
/// let weight = FrozenWeight::from(weight);
/// assert_eq!(weight.bytes(), 2 * 3 * 4);
/// assert_eq!(weight.multiply(Tensor::ones([2, 3], &device)).dims(), [2, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FrozenWeight {
    /// A dense matrix in the activations' format.
    Dense(Tensor<2>),
    /// A dense matrix of f16 or bf16.
    Half(Tensor<2>),
    /// A matrix in blocks, behind the tensor that carries it.
    Quantised(Tensor<2>, QuantisedMatrix),
}

impl From<Tensor<2>> for FrozenWeight {
    fn from(weight: Tensor<2>) -> Self {
        match weight.dtype() {
            DType::F16 | DType::BF16 => Self::Half(weight),
            _ => match quantised::of(&weight) {
                Some(matrix) => Self::Quantised(weight, matrix),
                None => Self::Dense(weight),
            },
        }
    }
}

impl FrozenWeight {
    /// The stored weight of a linear or an embedding, without what adapters change of it.
    pub fn of(weight: &Param<Tensor<2>>) -> Self {
        weight.base().into()
    }

    /// A quantised weight on a device; none of a device other than Flex, which alone has them.
    pub fn quantised(matrix: Quantised, device: &Device) -> Option<Self> {
        quantised::carrier(matrix, device).map(Self::from)
    }

    /// A stored weight of any number of dimensions: of the first, and of all others together.
    pub fn flattened<const D: usize>(weight: Tensor<D>) -> Self {
        if D == 2 {
            // No reshape: a tensor that carries blocks is no carrier after it.
            return Tensor::<2>::from_dispatch(weight.into_dispatch()).into();
        }
        let shape = weight.shape();
        let [rows, columns] = [shape[0], shape.num_elements() / shape[0].max(1)];
        weight.reshape([rows, columns]).into()
    }

    /// The tensor that a parameter holds for it: the weight's numbers, or what carries its blocks.
    pub fn into_tensor(self) -> Tensor<2> {
        match self {
            Self::Dense(weight) | Self::Half(weight) | Self::Quantised(weight, _) => weight,
        }
    }

    /// `[d_in, d_out]`.
    pub fn dims(&self) -> [usize; 2] {
        self.stored().dims()
    }

    /// The number format that it is held in; f32 of a quantised one, whose blocks hold no numbers of a format.
    pub fn dtype(&self) -> DType {
        self.stored().dtype()
    }

    /// Bytes that its values take.
    pub fn bytes(&self) -> u64 {
        if let Self::Quantised(_, matrix) = self {
            return matrix.view().bytes() as u64;
        }
        let [rows, columns] = self.dims();
        (rows * columns * self.dtype().size()) as u64
    }

    /// `x W`, with a gradient for x. x: `[rows, d_in]`, output: `[rows, d_out]`.
    pub fn multiply(&self, x: Tensor<2>) -> Tensor<2> {
        let y = Dispatch::frozen_multiply(x.into_dispatch(), self.primitive());
        Tensor::from_dispatch(y)
    }

    /// `y Wᵀ`, with a gradient for y. y: `[rows, d_out]`, output: `[rows, d_in]`.
    pub fn multiply_transposed(&self, y: Tensor<2>) -> Tensor<2> {
        let x = Dispatch::frozen_multiply_transposed(y.into_dispatch(), self.primitive());
        Tensor::from_dispatch(x)
    }

    /// The rows of these numbers in f32. ids: `[n]`, output: `[n, d_out]`.
    pub fn gather(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Quantised(carrier, matrix) => quantised::gather(carrier, matrix, ids),
            _ => Tensor::from_dispatch(self.primitive().gather(ids.into_dispatch())),
        }
    }

    /// The rows from `start` on, `[count, d_out]` in f32.
    pub fn rows(&self, start: usize, count: usize) -> Tensor<2> {
        Tensor::from_dispatch(self.primitive().tile(start, count))
    }

    /// All values in f32, `[d_in, d_out]`.
    pub fn dense(&self) -> Tensor<2> {
        Tensor::from_dispatch(self.primitive().dense())
    }

    /// The sum of the squares of each column, `[d_out]` in f32, without a dense copy of the weight.
    pub fn column_norms_squared(&self) -> Tensor<1> {
        let [_, columns] = self.dims();
        match self.primitive().column_norms_squared() {
            Some(sums) => Tensor::<2>::from_dispatch(sums).reshape([columns]),
            None => Tensor::zeros([columns], &self.stored().device()),
        }
    }

    /// Whether no value is infinite or not a number, found out without a dense copy of the weight.
    ///
    /// # Errors
    ///
    /// A tensor that cannot be read from its device.
    pub fn is_finite(&self) -> Result<bool, TensorReadError> {
        let weight = self.primitive();
        for (start, count) in weight.tiles() {
            if !self.rows(start, count).is_finite().all().try_into_scalar::<bool>()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The weight on primitives.
    pub fn primitive(&self) -> Frozen<Dispatch> {
        match self {
            Self::Dense(weight) => Frozen::Dense(weight.clone().into_dispatch()),
            Self::Half(weight) => Frozen::Half(weight.clone().into_dispatch()),
            Self::Quantised(weight, matrix) => {
                Frozen::Quantised(weight.clone().into_dispatch(), matrix.clone())
            }
        }
    }

    /// The tensor that is the weight, of whatever format.
    fn stored(&self) -> &Tensor<2> {
        match self {
            Self::Dense(weight) | Self::Half(weight) | Self::Quantised(weight, _) => weight,
        }
    }
}
