//! The types of tensors: how many numbers a block holds, and in how many bytes.

use std::fmt;

/// How a tensor's numbers are stored. Rows are stored in blocks; see [`Self::block_len`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names are the format's own")]
#[allow(missing_docs, reason = "the format's names say all there is to say")]
#[non_exhaustive]
pub enum GgmlType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ4_NL,
    IQ4_XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
    Q1_0,
}

/// Number in the file, type, numbers in a block, bytes of a block.
const TYPES: [(u32, GgmlType, usize, usize); 34] = {
    use GgmlType::*;
    [
        (0, F32, 1, 4),
        (1, F16, 1, 2),
        (2, Q4_0, 32, 18),
        (3, Q4_1, 32, 20),
        (6, Q5_0, 32, 22),
        (7, Q5_1, 32, 24),
        (8, Q8_0, 32, 34),
        (9, Q8_1, 32, 40),
        (10, Q2_K, 256, 84),
        (11, Q3_K, 256, 110),
        (12, Q4_K, 256, 144),
        (13, Q5_K, 256, 176),
        (14, Q6_K, 256, 210),
        (15, Q8_K, 256, 292),
        (16, IQ2_XXS, 256, 66),
        (17, IQ2_XS, 256, 74),
        (18, IQ3_XXS, 256, 98),
        (19, IQ1_S, 256, 50),
        (20, IQ4_NL, 32, 18),
        (21, IQ3_S, 256, 110),
        (22, IQ2_S, 256, 82),
        (23, IQ4_XS, 256, 136),
        (24, I8, 1, 1),
        (25, I16, 1, 2),
        (26, I32, 1, 4),
        (27, I64, 1, 8),
        (28, F64, 1, 8),
        (29, IQ1_M, 256, 56),
        (30, BF16, 1, 2),
        (34, TQ1_0, 256, 54),
        (35, TQ2_0, 256, 66),
        (39, MXFP4, 32, 17),
        (40, NVFP4, 64, 36),
        (41, Q1_0, 128, 18),
    ]
};

impl GgmlType {
    /// The types that are read.
    pub const SUPPORTED: [Self; 10] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q4_K,
        Self::Q6_K,
    ];

    /// How many numbers a block holds. A row consists of whole blocks.
    pub fn block_len(self) -> usize {
        self.row().2
    }

    /// How many bytes a block takes.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    /// Whether it is among [`Self::SUPPORTED`].
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }

    /// The type of a number in a file.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        TYPES.iter().find(|(known, ..)| *known == number).map(|(_, found, ..)| *found)
    }

    /// Its number in a file.
    pub(super) fn number(self) -> u32 {
        self.row().0
    }

    /// The names of [`Self::SUPPORTED`], for a message.
    pub(super) fn supported_names() -> String {
        Self::SUPPORTED.map(|known| known.to_string()).join(", ")
    }

    fn row(self) -> (u32, Self, usize, usize) {
        // The table has every type.
        TYPES.iter().find(|(_, known, ..)| *known == self).copied().unwrap_or((0, self, 1, 1))
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_a_number_of_its_own() {
        for (number, known, len, bytes) in TYPES {
            assert_eq!(GgmlType::from_number(number), Some(known));
            assert_eq!(known.number(), number);
            assert_eq!((known.block_len(), known.block_bytes()), (len, bytes));
        }
        assert_eq!(GgmlType::from_number(4), None);
    }
}
