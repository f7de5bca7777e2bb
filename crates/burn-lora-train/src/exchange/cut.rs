//! A step's rows cut into a micro-batch for every rank.
//!
//! Which rows a step has is the configuration's business (`batch_size · accumulate` of them), and so is into how many micro-batches
//! they go. Where those are fewer than there are ranks, some would have nothing to do: the same rows then go as more and smaller
//! micro-batches, and the run is the one that has these numbers in its configuration. That is what is written with it.

/// The rows of a micro-batch and how many micro-batches a step has, so that each of `ranks` has one; none where a step has fewer rows
/// than there are ranks.
pub fn cut(batch_size: usize, accumulate: usize, ranks: usize) -> Option<(usize, usize)> {
    if accumulate >= ranks {
        return Some((batch_size, accumulate));
    }
    let rows = batch_size.saturating_mul(accumulate);
    (ranks..=rows).find(|parts| rows.is_multiple_of(*parts)).map(|parts| (rows / parts, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_its_rows_and_every_rank_has_some() {
        assert_eq!(cut(8, 1, 1), Some((8, 1)));
        assert_eq!(cut(8, 1, 4), Some((2, 4)));
        assert_eq!(cut(8, 1, 3), Some((2, 4)));
        assert_eq!(cut(7, 1, 2), Some((1, 7)));
        assert_eq!(cut(4, 2, 4), Some((2, 4)));
        assert_eq!(cut(4, 6, 4), Some((4, 6)), "more micro-batches than ranks stay as they are");
        assert_eq!(cut(2, 1, 3), None);
    }
}
