//! Which tensor of a file is stored how.

use std::fmt;

use super::super::GgmlType;

/// What most of a file's numbers are stored as, named as llama.cpp's tools name it.
///
/// Matrices are stored so, except:
///
/// - a table of positions, which is f32 always, as is everything of one dimension (norms, biases);
/// - with [`Q4_0`](Self::Q4_0) and [`Q4_K`](Self::Q4_K) the output head, or the token table that serves as one: Q6_K;
/// - with [`Q4_K`](Self::Q4_K), like llama.cpp's `Q4_K_M`: the values' and the gated unit's last linear (`attn_v` or
///   `attn_qkv`, `ffn_down`) in the first and last eighth of the blocks and in every third between: Q6_K.
///
/// Where a row does not consist of whole blocks, the next larger type without that need is taken:
/// Q5_0 for Q4_K, Q8_0 for Q6_K, and F16 where a row is no multiple of 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are the format's own")]
#[non_exhaustive]
pub enum FileType {
    /// 32 bits: nothing is lost.
    F32,
    /// 16 bits, IEEE: 11 bits of precision, largest 65504.
    F16,
    /// 16 bits, bfloat: 8 bits of precision, f32's range.
    Bf16,
    /// 8.5 bits a number: blocks of 32 with a scale.
    Q8_0,
    /// 4.5 bits a number: blocks of 32 with a scale.
    Q4_0,
    /// 4.5 bits a number: blocks of 256 in groups of 32 with a scale and a least value.
    Q4_K,
}

impl FileType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q4_0, Self::Q4_K];

    /// How it is spelled.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_K => "q4_k",
        }
    }

    /// The one of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// `general.file_type`.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            // Q4_K_M.
            Self::Q4_K => 15,
            Self::Bf16 => 32,
        }
    }

    /// How the tensor of that name in a file is stored, of a model of so many blocks. `head` says whether
    /// the tensor is the output head.
    pub(super) fn of(self, name: &str, shape: &[usize], head: bool, blocks: usize) -> GgmlType {
        let [_, row] = *shape else { return GgmlType::F32 };
        let part = name.rsplit('.').nth(1).unwrap_or(name);
        if part == "position_embd" {
            return GgmlType::F32;
        }
        let careful =
            ["attn_v", "attn_qkv", "ffn_down"].contains(&part) && takes_more(block(name), blocks);
        let mut found = match self {
            Self::F32 => GgmlType::F32,
            Self::F16 => GgmlType::F16,
            Self::Bf16 => GgmlType::BF16,
            Self::Q8_0 => GgmlType::Q8_0,
            Self::Q4_0 | Self::Q4_K if head => GgmlType::Q6_K,
            Self::Q4_0 => GgmlType::Q4_0,
            Self::Q4_K if careful => GgmlType::Q6_K,
            Self::Q4_K => GgmlType::Q4_K,
        };
        while !row.is_multiple_of(found.block_len()) {
            found = match found {
                GgmlType::Q4_K => GgmlType::Q5_0,
                GgmlType::Q6_K => GgmlType::Q8_0,
                _ => GgmlType::F16,
            };
        }
        found
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of the block that a tensor is in.
fn block(name: &str) -> usize {
    let number = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// llama.cpp's choice of the blocks whose most sensitive matrices are stored in more bits.
fn takes_more(block: usize, blocks: usize) -> bool {
    let eighth = blocks / 8;
    block < eighth || block >= 7 * blocks / 8 || (block - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file_type: FileType, name: &str, shape: &[usize]) -> GgmlType {
        file_type.of(name, shape, name == "output.weight", 24)
    }

    #[test]
    fn what_has_one_dimension_or_says_positions_is_f32_in_every_file() {
        for file_type in FileType::ALL {
            for (name, shape) in [
                ("blk.0.attn_norm.weight", &[512][..]),
                ("blk.0.attn_q.bias", &[512]),
                ("position_embd.weight", &[512, 256]),
            ] {
                assert_eq!(of(file_type, name, shape), GgmlType::F32, "{file_type} {name}");
            }
        }
    }

    #[test]
    fn matrices_are_what_the_file_is_and_rows_without_whole_blocks_the_next_larger() {
        let name = "blk.3.ffn_up.weight";
        for (file_type, expected) in [
            (FileType::F32, [GgmlType::F32; 3]),
            (FileType::F16, [GgmlType::F16; 3]),
            (FileType::Bf16, [GgmlType::BF16; 3]),
            (FileType::Q8_0, [GgmlType::Q8_0, GgmlType::Q8_0, GgmlType::F16]),
            (FileType::Q4_0, [GgmlType::Q4_0, GgmlType::Q4_0, GgmlType::F16]),
            (FileType::Q4_K, [GgmlType::Q4_K, GgmlType::Q5_0, GgmlType::F16]),
        ] {
            let found = [512, 576, 48].map(|row| of(file_type, name, &[8, row]));
            assert_eq!(found, expected, "{file_type}");
        }
        let head = [512, 576, 48].map(|row| of(FileType::Q4_K, "output.weight", &[8, row]));
        assert_eq!(head, [GgmlType::Q6_K, GgmlType::Q8_0, GgmlType::F16]);
        assert_eq!(of(FileType::Q4_0, "output.weight", &[8, 512]), GgmlType::Q6_K);
        assert_eq!(of(FileType::Q8_0, "output.weight", &[8, 512]), GgmlType::Q8_0);
    }

    /// The blocks that `llama-quantize` takes of 24 for Q4_K_M, by its rule applied by hand.
    #[test]
    fn half_of_the_most_sensitive_matrices_get_six_bits() {
        let larger: Vec<usize> = (0..24)
            .filter(|block| {
                let name = format!("blk.{block}.ffn_down.weight");
                of(FileType::Q4_K, &name, &[8, 512]) == GgmlType::Q6_K
            })
            .collect();
        assert_eq!(larger, [0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23]);
        let other = of(FileType::Q4_K, "blk.0.ffn_up.weight", &[8, 512]);
        assert_eq!(other, GgmlType::Q4_K);
        // Fewer than eight blocks have no first eighth, and the last one is in the last eighth.
        assert_eq!([0, 1, 2].map(|block| takes_more(block, 3)), [false, false, true]);
    }
}
