//! Blocks to f32: quantised ones as the kernels read them (`burn_lora_kernels::quantised`), floats as those of other files.

use burn_lora_files::floats::{Dtype, decode};
use burn_lora_kernels::quantised::{BlockFormat, dequantise};

use super::GgmlType;

impl GgmlType {
    /// The blocks that a tensor of that type has, of those that are read and quantised.
    pub(crate) fn blocks(self) -> Option<BlockFormat> {
        Some(match self {
            Self::Q8_0 => BlockFormat::Q8_0,
            Self::Q4_0 => BlockFormat::Q4_0,
            Self::Q4_1 => BlockFormat::Q4_1,
            Self::Q5_0 => BlockFormat::Q5_0,
            Self::Q5_1 => BlockFormat::Q5_1,
            Self::Q4_K => BlockFormat::Q4_K,
            Self::Q6_K => BlockFormat::Q6_K,
            _ => return None,
        })
    }
}

/// Converts as many numbers as `floats` has room for, in whole blocks. A type that is not supported leaves `floats` as they are; callers ask
/// [`GgmlType::is_supported`] before.
pub(super) fn dequantize(ggml_type: GgmlType, bytes: &[u8], floats: &mut [f32]) {
    if let Some(format) = ggml_type.blocks() {
        return dequantise(format, bytes, floats);
    }
    let dtype = match ggml_type {
        GgmlType::F32 => Dtype::F32,
        GgmlType::F16 => Dtype::F16,
        GgmlType::BF16 => Dtype::BF16,
        _ => return,
    };
    decode(dtype, bytes, floats);
}

#[cfg(test)]
mod tests;
