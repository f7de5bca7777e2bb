//! The exchange by MPI: its gathering of parts of any length, and its dealing of them.
//!
//! MPI counts in 32 bits, so that what is longer goes in pieces. An error inside of MPI, a rank that died among them, ends all
//! processes there and then, as MPI does unless told otherwise; what the run had saved by then is whole. A panic does the same.

use std::ops::Range;

use mpi::Count;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};

use super::held::AT_ONCE;
use super::launch::{Launch, LaunchError};
use super::{Exchange, ExchangeError};

/// All processes that MPI started together.
pub(super) struct Mpi {
    world: SimpleCommunicator,
    /// Leaves MPI when it is dropped.
    _universe: Universe,
}

impl Mpi {
    /// Sets MPI up and joins the others.
    pub fn new(launch: Launch) -> Result<Self, LaunchError> {
        // Threads compute; the one that runs the loop alone speaks.
        let (universe, _) =
            mpi::initialize_with_threading(mpi::Threading::Funneled).ok_or(LaunchError::Twice)?;
        let world = universe.world();
        let seen = usize::try_from(world.size()).unwrap_or_default();
        if seen != launch.size {
            return Err(LaunchError::OtherWorld { launch, seen });
        }
        Ok(Self { world, _universe: universe })
    }

    /// What every rank has at `mine`, of so many values each.
    fn gathered<T: Equivalence + Copy + Default>(
        &self,
        mine: &[T],
        lengths: &[usize],
    ) -> Vec<Vec<T>> {
        let each = (AT_ONCE / lengths.len().max(1)).max(1);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut all: Vec<Vec<T>> =
            lengths.iter().map(|length| Vec::with_capacity(*length)).collect();
        for start in (0..longest).step_by(each) {
            let pieces: Vec<Range<usize>> =
                lengths.iter().map(|length| piece(*length, start, each)).collect();
            let (counts, places, total) = counted(pieces.iter().map(ExactSizeIterator::len));
            let mut received = vec![T::default(); total];
            let own = mine.get(piece(mine.len(), start, each)).unwrap_or(&[]);
            let mut partition = PartitionMut::new(&mut received[..], &counts[..], &places[..]);
            self.world.all_gather_varcount_into(own, &mut partition);
            give_out(&received, &counts, &mut all);
        }
        all
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // To leave MPI is to wait for the others, who wait for this one.
        if std::thread::panicking() {
            self.world.abort(1);
        }
    }
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        usize::try_from(self.world.rank()).unwrap_or_default()
    }

    fn size(&self) -> usize {
        usize::try_from(self.world.size()).unwrap_or(1)
    }

    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let mut lengths = vec![0_u64; self.size()];
        self.world.all_gather_into(&(mine.len() as u64), &mut lengths[..]);
        let lengths: Vec<usize> = lengths
            .into_iter()
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX))
            .collect();
        Ok(self.gathered(mine, &lengths))
    }

    fn deal(
        &self,
        mine: &[f32],
        parts: &[Range<usize>],
        from: &[bool],
    ) -> Result<Vec<Vec<f32>>, ExchangeError> {
        let (rank, size) = (self.rank(), self.size());
        let gives = |of: usize| from.get(of).copied().unwrap_or(false);
        let own = parts.get(rank).map_or(0, ExactSizeIterator::len);
        let each = (AT_ONCE / size.max(1)).max(1);
        let longest = parts.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let capacity = |of: usize| if gives(of) { own } else { 0 };
        let mut all: Vec<Vec<f32>> = (0..size).map(|of| Vec::with_capacity(capacity(of))).collect();
        for start in (0..longest).step_by(each) {
            let pieces = || parts.iter().map(move |part| (part, piece(part.len(), start, each)));
            let all_given: usize = pieces().map(|(_, piece)| piece.len()).sum();
            let mut given = Vec::with_capacity(if gives(rank) { all_given } else { 0 });
            let mut lengths = Vec::with_capacity(size);
            for (part, piece) in pieces() {
                let values = mine.get(part.start + piece.start..part.start + piece.end);
                let values = values.filter(|_| gives(rank)).unwrap_or(&[]);
                given.extend_from_slice(values);
                lengths.push(values.len());
            }
            let (give_counts, give_places, _) = counted(lengths.into_iter());
            let taken = piece(own, start, each).len();
            let takes = (0..size).map(|of| if gives(of) { taken } else { 0 });
            let (take_counts, take_places, total) = counted(takes);
            let mut received = vec![0.0_f32; total];
            let given = Partition::new(&given[..], &give_counts[..], &give_places[..]);
            let mut partition =
                PartitionMut::new(&mut received[..], &take_counts[..], &take_places[..]);
            self.world.all_to_all_varcount_into(&given, &mut partition);
            give_out(&received, &take_counts, &mut all);
        }
        Ok(all)
    }
}

/// The piece from `start` on of so many values, `each` at the most.
fn piece(length: usize, start: usize, each: usize) -> Range<usize> {
    start.min(length)..start.saturating_add(each).min(length)
}

/// Lengths as MPI counts them, where each begins, and their sum; no more than [`AT_ONCE`] by the sizes of the pieces.
fn counted(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>, usize) {
    let (mut counts, mut places, mut total) = (Vec::new(), Vec::new(), 0_usize);
    let count = |length: usize| Count::try_from(length).unwrap_or(Count::MAX);
    for length in lengths {
        counts.push(count(length));
        places.push(count(total));
        total += length;
    }
    (counts, places, total)
}

/// Adds to what each rank has given what came of it now.
fn give_out<T: Copy>(received: &[T], counts: &[Count], all: &mut [Vec<T>]) {
    let mut rest = received;
    for (count, of_rank) in counts.iter().zip(all) {
        let (now, after) = rest.split_at(usize::try_from(*count).unwrap_or(0));
        of_rank.extend_from_slice(now);
        rest = after;
    }
}
