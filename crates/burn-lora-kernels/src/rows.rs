//! Rows shared out to the cores.

use rayon::prelude::*;

/// Elements below which a core is not worth waking.
const GRAIN: usize = 1 << 14;

/// How many rows of that width a core takes at a time.
pub(crate) fn rows_of_a_share(width: usize) -> usize {
    (GRAIN / width).max(1)
}

/// Calls `f` with the index of a first row and some rows from there on, for all rows of `out`, on
/// all cores where there is enough to do.
///
/// # Panics
///
/// Where `width` is 0.
pub fn share(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let rows = rows_of_a_share(width);
    match out.len() <= rows * width {
        true => f(0, out),
        false => out
            .par_chunks_mut(rows * width)
            .enumerate()
            .for_each(|(index, chunk)| f(index * rows, chunk)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_index() {
        for (count, width) in [(0, 3), (5, 3), (7000, 3), (3, GRAIN + 1)] {
            let mut out = vec![0.0; count * width];
            share(&mut out, width, |first, chunk| {
                for (index, row) in chunk.chunks_mut(width).enumerate() {
                    row.iter_mut().for_each(|value| *value += (first + index + 1) as f32);
                }
            });
            for (row, values) in out.chunks(width).enumerate() {
                assert!(values.iter().all(|&value| value == (row + 1) as f32));
            }
        }
    }
}
