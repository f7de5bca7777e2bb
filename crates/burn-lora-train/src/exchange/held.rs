//! What the exchange of a step holds in memory, from the lengths of its buffers.
//!
//! Most is held where a round deals gradients by MPI: the flat buffer of this rank's gradients and a copy of it that goes out, what comes
//! in and a copy of that by rank, and the sum of this rank's part. The graph of the micro-batch is gone by then. Gathering the sum and
//! giving it back to the device hold less. Left out: what MPI itself keeps, some ten MiB.

/// Values that all ranks together give one rank at a time, or bytes: MPI counts in 32 bits.
pub(super) const AT_ONCE: usize = 1 << 28;

/// The most bytes that a rank holds for the exchange of so many trained values; 0 where a process is alone.
pub(crate) fn bytes_held(trained: usize, ranks: usize) -> u64 {
    if ranks < 2 { 0 } else { size_of::<f32>() as u64 * values_held(trained, ranks, AT_ONCE) }
}

/// In values, where so many go at once.
fn values_held(trained: usize, ranks: usize, at_once: usize) -> u64 {
    let own = trained.div_ceil(ranks);
    // The rank with the largest part hears of every rank.
    let heard = own as u64 * ranks as u64;
    let (gives, at_once) = (trained as u64, at_once as u64);
    gives + gives.min(at_once) + heard.min(at_once) + heard + own as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sum::parts;
    use super::*;

    /// The lengths that a deal has at a time, piece after piece, as `Mpi::deal` makes them: of the first rank, whose part is the largest.
    fn dealt(trained: usize, ranks: usize, at_once: usize) -> u64 {
        let parts = parts(trained, ranks);
        let own = parts[0].len();
        let each = (at_once / ranks).max(1);
        let piece = |length: usize, start: usize| length.min(start + each) - length.min(start);
        let mut most = trained + own;
        let mut heard = 0;
        for start in (0..own).step_by(each) {
            let given: usize = parts.iter().map(|part| piece(part.len(), start)).sum();
            let received = ranks * piece(own, start);
            heard += received;
            most = most.max(trained + given + received + heard + own);
        }
        most as u64
    }

    proptest! {
        #[test]
        fn no_piece_of_a_deal_holds_more_than_is_counted_and_a_deal_of_one_piece_holds_just_that(
            trained in 0_usize..5000,
            ranks in 2_usize..9,
            at_once in 9_usize..6000,
        ) {
            let (held, dealt) = (values_held(trained, ranks, at_once), dealt(trained, ranks, at_once));
            prop_assert!(dealt <= held, "{dealt} of {held}");
            // A piece fewer goes out and comes in where the last one is short.
            prop_assert!(held - dealt <= 2 * at_once as u64);
            if trained.div_ceil(ranks) <= at_once / ranks && trained > 0 {
                prop_assert_eq!(held, dealt);
            }
        }

        #[test]
        fn more_trained_values_hold_more_and_no_number_of_ranks_holds_more_than_two_ranks_but_for_rounding(
            trained in 1_usize..1 << 40,
            ranks in 2_usize..1 << 11,
        ) {
            let held = bytes_held(trained, ranks);
            prop_assert!(bytes_held(trained + 1, ranks) >= held);
            let whole = 4 * trained as u64;
            // Parts are whole values.
            let rounded = 4 * 3 * ranks as u64;
            prop_assert!(held >= 2 * whole && held <= 4 * whole + whole / 2 + rounded);
        }
    }

    #[test]
    fn two_ranks_hold_four_and_a_half_buffers_and_one_holds_none() {
        assert_eq!(bytes_held(1000, 2), 4 * 4500);
        assert_eq!(bytes_held(1000, 4), 4 * 4250);
        assert_eq!(bytes_held(1000, 1), 0);
    }
}
