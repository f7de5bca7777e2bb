//! The number formats that a model can hold its matrices in.

use burn::tensor::{DType, Tensor, TensorData};
use burn_lora::FrozenWeight;
use burn_lora_kernels::quantised::{BlockFormat, Quantised};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::quantise::{Quantiser, quantised};
use super::{Role, TensorSpec};
use crate::ModelError;

/// The number format that the matrices of a model (weights of linears, tables of embeddings) are held
/// in. Norms and biases are f32 always, and so is all arithmetic.
///
/// The last three are [quantised](Self::QUANTISED): blocks of a few bits, which stay so while the model computes. A GGUF file's own
/// blocks are kept as they lie, whichever of the three is asked for; other matrices are quantised while they are loaded.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum WeightDtype {
    /// 32 bits. The only one that can be trained.
    #[default]
    F32,
    /// 16 bits, IEEE: 11 bits of precision, largest 65504.
    F16,
    /// 16 bits, bfloat: 8 bits of precision, f32's range.
    Bf16,
    /// Blocks of 32 numbers of 8 bits (ggml's Q8_0): 8.5 bits a number.
    Q8,
    /// Linears in blocks of 32 numbers of 4 bits (ggml's Q4_0): 4.5 bits a number; tables as [`Self::Q8`].
    Q4,
    /// Linears in blocks of 64 numbers of 4 bits, NF4 with double quantisation: 4.13 bits a number; tables as [`Self::Q8`].
    Nf4,
}

impl WeightDtype {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::F32, Self::F16, Self::Bf16, Self::Q8, Self::Q4, Self::Nf4];

    /// Those that hold each number by itself.
    pub const DENSE: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Those that hold blocks.
    pub const QUANTISED: [Self; 3] = [Self::Q8, Self::Q4, Self::Nf4];

    /// How it is spelled.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Nf4 => "nf4",
        }
    }

    /// Whether it holds blocks.
    pub fn is_quantised(self) -> bool {
        self.blocks().is_some()
    }

    /// What numbers are quantised to.
    pub(super) fn blocks(self) -> Option<BlockFormat> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => None,
            Self::Q8 => Some(BlockFormat::Q8_0),
            Self::Q4 => Some(BlockFormat::Q4_0),
            Self::Nf4 => Some(BlockFormat::NF4),
        }
    }

    /// Bytes of a parameter of that shape in a model whose matrices are held in `self`: what has one
    /// dimension (norms, biases) is f32.
    pub fn bytes_of(self, shape: &[usize]) -> u64 {
        let dtype = if shape.len() > 1 { self } else { Self::F32 };
        dtype.bytes(shape.iter().product::<usize>() as u64)
    }

    /// Bytes of so many numbers; of blocks without what fills up rows.
    pub fn bytes(self, numbers: u64) -> u64 {
        match self.blocks() {
            Some(format) => format.bytes([1, numbers as usize]) as u64,
            None => numbers * self.dtype().size() as u64,
        }
    }

    /// The format of a tensor of that role, in a model whose matrices are held in `self`.
    pub fn of_role(self, role: Role) -> Self {
        match role {
            // 4 bits are too few for rows that are looked up one by one, and for logits of a tied head.
            Role::Embedding if self.is_quantised() => Self::Q8,
            Role::Linear | Role::Conv1d | Role::Embedding => self,
            Role::Scale | Role::Bias => Self::F32,
        }
    }

    /// A matrix, `[d_in, d_out]` in f32, as a model holds the weight of a linear. None where a number is too large for it, or the
    /// device has no weights in blocks.
    pub fn frozen(self, matrix: Tensor<2>) -> Option<FrozenWeight> {
        let Some(format) = self.blocks() else {
            return Some(matrix.cast(self.dtype()).into());
        };
        let (device, [d_in, d_out]) = (matrix.device(), matrix.dims());
        let values: Vec<f32> = matrix.transpose().into_data().iter::<f32>().collect();
        FrozenWeight::quantised(quantised(&values, [d_out, d_in], true, format)?, &device)
    }

    /// The nearest number of the format, ties to even; of blocks, which have no format of one number, as it is.
    pub fn nearest(self, value: f32) -> f32 {
        match self {
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
            Self::F32 | Self::Q8 | Self::Q4 | Self::Nf4 => value,
        }
    }

    /// Burn's name of it; of blocks, that of what they stand for.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 | Self::Q8 | Self::Q4 | Self::Nf4 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// The numbers of one tensor, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// In f32.
    F32(Vec<f32>),
    /// In f16.
    F16(Vec<f16>),
    /// In bf16.
    Bf16(Vec<bf16>),
    /// In blocks.
    Quantised(Quantised),
}

impl Values {
    /// `f32` numbers in that format, each rounded to the nearest, ties to even. Blocks need a shape
    /// (`quantised`): numbers that are to be in blocks are left as they are.
    pub fn rounded(values: Vec<f32>, dtype: WeightDtype) -> Self {
        match dtype {
            WeightDtype::F16 => Self::F16(values.into_iter().map(f16::from_f32).collect()),
            WeightDtype::Bf16 => Self::Bf16(values.into_iter().map(bf16::from_f32).collect()),
            _ => Self::F32(values),
        }
    }

    /// The numbers of a matrix, as they are stored, in the blocks of `spec.dtype`; `transposed` where the model multiplies with
    /// the transposed.
    ///
    /// # Errors
    ///
    /// A number that the format cannot hold.
    pub(crate) fn quantised(
        values: &[f32],
        stored: [usize; 2],
        transposed: bool,
        spec: &TensorSpec,
    ) -> Result<Self, ModelError> {
        let mut quantiser = spec.quantiser(stored, transposed);
        quantiser.take(values);
        Self::finished(quantiser, spec)
    }

    /// The blocks of the tensor, all of whose rows came.
    ///
    /// # Errors
    ///
    /// A number that the format cannot hold.
    pub(crate) fn finished(quantiser: Quantiser, spec: &TensorSpec) -> Result<Self, ModelError> {
        quantiser.finish().map(Self::Quantised).ok_or_else(|| ModelError::WeightRange {
            key: spec.key.clone(),
            dtype: spec.dtype.name(),
        })
    }

    /// Whether a number is too large for 16 bits (or no finite one to begin with). f32 is left to whoever
    /// computes with it.
    pub(super) fn overflowed(&self) -> bool {
        match self {
            Self::F32(_) | Self::Quantised(_) => false,
            Self::F16(values) => values.iter().any(|value| !value.is_finite()),
            Self::Bf16(values) => values.iter().any(|value| !value.is_finite()),
        }
    }

    /// The numbers with a shape, for Burn; or the blocks, which have one.
    pub(super) fn data<const D: usize>(self, shape: [usize; D]) -> Result<TensorData, Quantised> {
        Ok(match self {
            Self::F32(values) => TensorData::new(values, shape),
            Self::F16(values) => TensorData::new(values, shape),
            Self::Bf16(values) => TensorData::new(values, shape),
            Self::Quantised(matrix) => return Err(matrix),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_nearest_even() {
        // bf16 has 8 bits: 1 + 2^-8 lies halfway between 1 and 1 + 2^-7, 1 + 3 * 2^-8 halfway between
        // an odd and an even one.
        let tie = |eighths: f32| 1.0 + eighths * 2.0_f32.powi(-8);
        let bf16s = [tie(1.0), tie(3.0), tie(1.01), -tie(1.0)];
        let rounded = [1.0, tie(4.0), tie(2.0), -1.0].map(bf16::from_f32).to_vec();
        assert_eq!(Values::rounded(bf16s.to_vec(), WeightDtype::Bf16), Values::Bf16(rounded));
        // f16 has 11 bits, and an end.
        let tie = |halves: f32| 1.0 + halves * 2.0_f32.powi(-11);
        let f16s = [tie(1.0), tie(3.0), 65504.0, 70000.0];
        let rounded = [1.0, tie(4.0), 65504.0, f32::INFINITY].map(f16::from_f32).to_vec();
        assert_eq!(Values::rounded(f16s.to_vec(), WeightDtype::F16), Values::F16(rounded));
    }

    /// √3072 = 55.4256 in f32: Gemma's embeddings in bf16 are multiplied with 55.5, in f16 with 55.4375.
    #[test]
    fn one_number_is_rounded_to_the_format() {
        let root = 3072_f32.sqrt();
        assert_eq!(WeightDtype::Bf16.nearest(root), 55.5);
        assert_eq!(WeightDtype::F16.nearest(root), 55.4375);
        assert_eq!([WeightDtype::F32, WeightDtype::Q8].map(|dtype| dtype.nearest(root)), [root; 2]);
    }

    #[test]
    fn norms_and_biases_stay_f32() {
        for role in [Role::Scale, Role::Bias] {
            assert_eq!(WeightDtype::Bf16.of_role(role), WeightDtype::F32);
        }
        assert_eq!(WeightDtype::Bf16.of_role(Role::Embedding), WeightDtype::Bf16);
        assert_eq!(WeightDtype::Bf16.bytes_of(&[3, 5]), 30);
        assert_eq!(WeightDtype::Bf16.bytes_of(&[5]), 20);
    }

    /// By the definitions of the formats: 34 and 18 bytes of 32 numbers; NF4 a mean and a scale in f32, a byte of every 64
    /// numbers and half a byte of each.
    #[test]
    fn blocks_take_the_bytes_of_their_format_and_tables_eight_bits() {
        let bytes = WeightDtype::QUANTISED.map(|dtype| dtype.bytes_of(&[64, 96]));
        assert_eq!(bytes, [192 * 34, 192 * 18, 4 + 4 + 96 + 3072]);
        for dtype in WeightDtype::QUANTISED {
            assert_eq!(dtype.of_role(Role::Embedding), WeightDtype::Q8);
            assert_eq!(dtype.of_role(Role::Linear), dtype);
            assert_eq!((dtype.of_role(Role::Scale), dtype.bytes_of(&[5])), (WeightDtype::F32, 20));
        }
    }
}
