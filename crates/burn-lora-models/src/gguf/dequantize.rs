//! Blocks to f32: quantised ones as the kernels read them (`burn_lora_kernels::quantised`).

use burn_lora_kernels::quantised::{BlockFormat, dequantise};
use half::{bf16, f16};

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

/// Converts whole blocks. A type that is not supported leaves `floats` as they are; callers ask
/// [`GgmlType::is_supported`] before.
pub(super) fn dequantize(ggml_type: GgmlType, bytes: &[u8], floats: &mut [f32]) {
    if let Some(format) = ggml_type.blocks() {
        return dequantise(format, bytes, floats);
    }
    let one: fn(&[u8]) -> f32 = match ggml_type {
        GgmlType::F32 => {
            |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        }
        GgmlType::F16 => |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        GgmlType::BF16 => |bytes: &[u8]| bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => return,
    };
    let blocks = bytes.chunks_exact(ggml_type.block_bytes());
    for (block, float) in blocks.zip(floats) {
        *float = one(block);
    }
}

#[cfg(test)]
mod tests;
