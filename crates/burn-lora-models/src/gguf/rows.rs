//! The order of rows, where conversion to GGUF moves them: so that llama.cpp's way of computing gives what
//! Hugging Face's gives. Reading undoes it, and writing does it.

/// Where a row of a GGUF tensor belongs in Hugging Face's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// Where it is.
    Same,
    /// Within its head, halves apart instead of side by side: conversion moves row
    /// `p · head_dim / 2 + i` to `2 i + p`.
    Interleaved {
        /// Rows of a head, an even number.
        head_dim: usize,
    },
    /// Each head's parts together instead of each part's heads: queries, keys and values of one
    /// linear.
    Parted {
        /// How many parts a head has.
        parts: usize,
        /// Rows of a part of a head.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The row in Hugging Face's tensor of the row `row` of the `rows` in the file.
    pub(super) fn hugging_face(self, row: usize, rows: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Interleaved { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
            Self::Parted { parts, head_dim } => {
                let heads = rows / (parts * head_dim);
                let (at, within) = (row / head_dim, row % head_dim);
                let (part, head) = (at / heads, at % heads);
                (head * parts + part) * head_dim + within
            }
        }
    }
}

/// How the rows of a family's tensor lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// [`RowOrder::Interleaved`] within the heads of the queries.
    OfQueries,
    /// [`RowOrder::Interleaved`] within the heads of the keys.
    OfKeys,
    /// [`RowOrder::Parted`] into so many parts of the heads.
    Parted(usize),
}

impl Rows {
    /// The order of so many rows with these numbers of heads, the queries' and the keys'; or the number of
    /// heads that the rows cannot be shared out among.
    pub(super) fn order(
        self,
        rows: usize,
        (heads, kv_heads): (usize, usize),
    ) -> Result<RowOrder, usize> {
        let (heads, parts) = match self {
            Self::OfQueries => (heads, 2),
            Self::OfKeys => (kv_heads, 2),
            Self::Parted(parts) => (heads, parts),
        };
        match heads.checked_mul(parts) {
            Some(all @ 1..) if rows.is_multiple_of(all) => Ok(match self {
                Self::Parted(parts) => RowOrder::Parted { parts, head_dim: rows / all },
                _ => RowOrder::Interleaved { head_dim: rows / heads },
            }),
            _ => Err(heads),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// llama.cpp's conversion, written out: `w.reshape(heads, 2, rows / heads / 2, ..)
    /// .swapaxes(1, 2).reshape(w.shape)` on rows that hold their own index.
    fn permuted(rows: usize, heads: usize) -> Vec<usize> {
        let half = rows / heads / 2;
        let mut out = Vec::new();
        for head in 0..heads {
            for i in 0..half {
                for p in 0..2 {
                    out.push((head * 2 + p) * half + i);
                }
            }
        }
        out
    }

    #[test]
    fn the_conversions_permutation_is_undone() {
        for (rows, heads) in [(8, 1), (8, 2), (24, 3), (576, 9), (192, 3), (2, 1)] {
            let order = RowOrder::Interleaved { head_dim: rows / heads };
            for (row, original) in permuted(rows, heads).into_iter().enumerate() {
                assert_eq!(order.hugging_face(row, rows), original, "{rows} rows, {heads} heads");
            }
        }
    }

    #[test]
    fn eight_rows_of_one_head_by_hand() {
        let order = RowOrder::Interleaved { head_dim: 8 };
        let found: Vec<_> = (0..8).map(|row| order.hugging_face(row, 8)).collect();
        assert_eq!(found, [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    /// llama.cpp's conversion of BLOOM, written out: `w.reshape(heads, 3, head_dim, ..)`, then
    /// `cat(w[:, 0], w[:, 1], w[:, 2])`, on rows that hold their own index.
    #[test]
    fn parts_come_together_head_by_head() {
        let (heads, head_dim) = (4, 5);
        let order = RowOrder::Parted { parts: 3, head_dim };
        let rows = heads * 3 * head_dim;
        let mut file = Vec::new();
        for part in 0..3 {
            for head in 0..heads {
                file.extend((0..head_dim).map(|i| (head * 3 + part) * head_dim + i));
            }
        }
        for (row, original) in file.into_iter().enumerate() {
            assert_eq!(order.hugging_face(row, rows), original);
        }
    }
}
