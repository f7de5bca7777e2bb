//! The order of the rows of q and k.
//!
//! Hugging Face turns the pairs `(i, i + head_dim / 2)` of a head, llama.cpp's `llama` the pairs
//! `(2 i, 2 i + 1)`. So that both compute the same, conversion to GGUF moves the rows of q and k
//! within each head: row `p · head_dim / 2 + i` goes to `2 i + p`. This is undone here.

/// Where a row of a GGUF tensor belongs in Hugging Face's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// Where it is.
    Same,
    /// Within its head, halves apart instead of side by side.
    Interleaved {
        /// Rows of a head, an even number.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The row in Hugging Face's tensor of the row `row` in the file.
    pub(super) fn hugging_face(self, row: usize) -> usize {
        match self {
            Self::Same => row,
            Self::Interleaved { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
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
                assert_eq!(order.hugging_face(row), original, "{rows} rows, {heads} heads");
            }
        }
    }

    #[test]
    fn eight_rows_of_one_head_by_hand() {
        let order = RowOrder::Interleaved { head_dim: 8 };
        let found: Vec<_> = (0..8).map(|row| order.hugging_face(row)).collect();
        assert_eq!(found, [0, 4, 1, 5, 2, 6, 3, 7]);
    }
}
