//! Squares of numbers of which rows become columns.

/// A side of a square.
pub(super) const SQUARE: usize = 8;

/// What turns squares: by moves between vectors of 8 where the processor has them. (What the compiler makes of the indices below, where much else
/// is around them, is a move for every number: packing took nearly three times as long.)
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    #[cfg(target_arch = "x86_64")]
    vectors: Option<pulp::x86::V3>,
}

impl Turn {
    /// For the processor at hand.
    pub(super) fn new() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            vectors: pulp::x86::V3::try_new(),
        }
    }

    /// Writes rows as columns, `width` from one number of a row to the next.
    ///
    /// # Panics
    ///
    /// Where there is no room for them.
    #[inline(always)]
    pub(super) fn square(self, rows: [&[f32; SQUARE]; SQUARE], out: &mut [f32], width: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(vectors) = self.vectors {
            return by_vectors(vectors, rows, out, width);
        }
        by_index(rows, out, width);
    }
}

#[inline(always)]
fn by_index(rows: [&[f32; SQUARE]; SQUARE], out: &mut [f32], width: usize) {
    for (j, row) in rows.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            out[i * width + j] = *value;
        }
    }
}

/// In three rounds: numbers of two rows in turn, pairs of two such, halves of two such.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn by_vectors(
    pulp::x86::V3 { avx, .. }: pulp::x86::V3,
    [a, b, c, d, e, f, g, h]: [&[f32; SQUARE]; SQUARE],
    out: &mut [f32],
    width: usize,
) {
    // No closures: one that the compiler leaves a function of its own is not compiled for these vectors.
    macro_rules! four {
        ($a:expr, $b:expr, $c:expr, $d:expr) => {{
            let (a, b, c, d) = (pulp::cast(*$a), pulp::cast(*$b), pulp::cast(*$c), pulp::cast(*$d));
            let (low, high) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b));
            let (low_too, high_too) = (avx._mm256_unpacklo_ps(c, d), avx._mm256_unpackhi_ps(c, d));
            [
                avx._mm256_shuffle_ps::<0x44>(low, low_too),
                avx._mm256_shuffle_ps::<0xee>(low, low_too),
                avx._mm256_shuffle_ps::<0x44>(high, high_too),
                avx._mm256_shuffle_ps::<0xee>(high, high_too),
            ]
        }};
    }
    let (upper, lower) = (four!(a, b, c, d), four!(e, f, g, h));
    let out = &mut out[..(SQUARE - 1) * width + SQUARE];
    for i in 0..4 {
        let left = avx._mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
        let right = avx._mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
        out[i * width..][..SQUARE].copy_from_slice(&pulp::cast::<_, [f32; SQUARE]>(left));
        out[(i + 4) * width..][..SQUARE].copy_from_slice(&pulp::cast::<_, [f32; SQUARE]>(right));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_turned() {
        let square: [[f32; SQUARE]; SQUARE] =
            std::array::from_fn(|i| std::array::from_fn(|j| (i * SQUARE + j) as f32));
        let (width, between) = (11, -1.0);
        let mut expected = vec![between; 7 * width + SQUARE];
        for (i, row) in expected.chunks_mut(width).enumerate() {
            row[..SQUARE].copy_from_slice(&square.map(|row| row[i]));
        }
        let mut out = vec![between; expected.len()];
        Turn::new().square(square.each_ref(), &mut out, width);
        assert_eq!(out, expected);
        out.fill(between);
        by_index(square.each_ref(), &mut out, width);
        assert_eq!(out, expected);
    }
}
