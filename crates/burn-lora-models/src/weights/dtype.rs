//! The number formats that a model can hold its matrices in.

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::Role;

/// The number format that the matrices of a model (weights of linears, tables of embeddings) are held
/// in. Norms and biases are f32 always, and so is all arithmetic.
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
}

impl WeightDtype {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// How it is spelled.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of a parameter of that shape in a model whose matrices are held in `self`: what has one
    /// dimension (norms, biases) is f32.
    pub fn bytes_of(self, shape: &[usize]) -> u64 {
        let size = if shape.len() > 1 { self.size() } else { Self::F32.size() };
        shape.iter().product::<usize>() as u64 * size as u64
    }

    /// The format of a tensor of that role, in a model whose matrices are held in `self`.
    pub fn of_role(self, role: Role) -> Self {
        match role {
            Role::Linear | Role::Conv1d | Role::Embedding => self,
            Role::Scale | Role::Bias => Self::F32,
        }
    }

    /// Bytes of a number.
    pub fn size(self) -> usize {
        self.dtype().size()
    }

    /// Burn's name of it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
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
}

impl Values {
    /// `f32` numbers in that format, each rounded to the nearest, ties to even.
    pub fn rounded(values: Vec<f32>, dtype: WeightDtype) -> Self {
        match dtype {
            WeightDtype::F32 => Self::F32(values),
            WeightDtype::F16 => Self::F16(values.into_iter().map(f16::from_f32).collect()),
            WeightDtype::Bf16 => Self::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        }
    }

    /// Whether a number is too large for 16 bits (or no finite one to begin with). f32 is left to whoever
    /// computes with it.
    pub(super) fn overflowed(&self) -> bool {
        match self {
            Self::F32(_) => false,
            Self::F16(values) => values.iter().any(|value| !value.is_finite()),
            Self::Bf16(values) => values.iter().any(|value| !value.is_finite()),
        }
    }

    /// The numbers with a shape, for Burn.
    pub(super) fn data<const D: usize>(self, shape: [usize; D]) -> TensorData {
        match self {
            Self::F32(values) => TensorData::new(values, shape),
            Self::F16(values) => TensorData::new(values, shape),
            Self::Bf16(values) => TensorData::new(values, shape),
        }
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

    #[test]
    fn norms_and_biases_stay_f32() {
        for role in [Role::Scale, Role::Bias] {
            assert_eq!(WeightDtype::Bf16.of_role(role), WeightDtype::F32);
        }
        assert_eq!(WeightDtype::Bf16.of_role(Role::Embedding).size(), 2);
        assert_eq!(WeightDtype::Bf16.bytes_of(&[3, 5]), 30);
        assert_eq!(WeightDtype::Bf16.bytes_of(&[5]), 20);
    }
}
