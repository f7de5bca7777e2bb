//! What the processes of a run that is shared out give each other.
//!
//! A run may be many processes, its *ranks*, numbered from 0. Each has the whole model, and the micro-batches of a step are dealt out to
//! them in turn; then every rank gets the sum of all gradients and takes the same step. What a step is does not depend on who computes
//! it: gradients are added in the order of the micro-batches, each to the sum of those before it, as a process adds them that is alone.
//! So a run has the same bits with any number of ranks, and goes on with another number.
//!
//! - [`Exchange`]: the two ways in which ranks give each other something. Whoever carries it implements this; here MPI does, behind the
//!   cargo feature `mpi`.
//! - `ranks`: what the loop asks of it, with errors that end all ranks; `sum`: gradients added in order; `flat`: gradients as one
//!   buffer; `held`: what of that is in memory at a time; `told`: evaluations, samples and checkpoints; `agree`: whether all ranks stand
//!   on the same.
//! - `seat`: which device and how many threads each rank has; `cut`: a batch for every rank.
//! - [`launch`]: who started this process as one of many.
//!
//! Left out: parts of a model on several devices, ranks that come or go while a run goes on, an exchange that computes meanwhile.

mod agree;
mod cut;
mod flat;
mod held;
pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod ranks;
mod seat;
mod sum;
mod told;

#[cfg(test)]
#[path = "../tests/threads/mod.rs"]
#[allow(dead_code, reason = "here nobody has to take turns")]
mod threads;

use std::ops::Range;

pub(crate) use agree::{agree_on_origin, agree_on_weights};
pub use cut::cut;
pub(crate) use flat::Flat;
pub(crate) use held::bytes_held;
pub(crate) use ranks::Ranks;
pub(crate) use seat::{Seat, seat};
pub use sum::bytes_a_step;
pub(crate) use sum::{OrderedSum, Part, measured};
pub(crate) use told::{checkpoint_of_first, samples, tallies};

/// How ranks give each other something. Every rank calls the same functions in the same order.
pub trait Exchange {
    /// Which of the ranks this process is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Gives all ranks what each of them has for all, in their order; it may be of any length, and of another on each.
    ///
    /// # Errors
    ///
    /// A rank is gone.
    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError>;

    /// Gives the rank `r` what lies at `parts[r]` of every rank's values, in the order of the ranks; nothing of those whose `from` is
    /// false, whose `mine` is not looked at. `parts` and `from` are the same on all ranks.
    ///
    /// # Errors
    ///
    /// A rank is gone.
    fn deal(
        &self,
        mine: &[f32],
        parts: &[Range<usize>],
        from: &[bool],
    ) -> Result<Vec<Vec<f32>>, ExchangeError>;
}

/// Ranks that cannot give each other anything any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the exchange between the ranks broke: {reason}; go on from the newest checkpoint")]
pub struct ExchangeError {
    /// What whoever carries it says.
    pub reason: String,
}
