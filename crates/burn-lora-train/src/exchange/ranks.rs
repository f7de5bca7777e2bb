//! The ranks of a run as its loop sees them.
//!
//! A rank that fails says so in the next gathering, whichever that is: every message says whether its sender goes on. So an error may
//! come up anywhere between two gatherings and leave by the usual way; [`Ranks::close`], at the outermost place, tells the others, who
//! wait in some gathering and end with [`TrainError::OtherRank`]. What is dealt comes after a gathering that all joined.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use super::{Exchange, ExchangeError};
use crate::TrainError;

/// The first byte of a message of a rank that goes on.
const GOES_ON: u8 = 0;
/// The first byte of a message of a rank that ends; why follows.
const ENDS: u8 = 1;

/// What was spent on exchanging.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spent {
    /// Bytes that this rank gave others.
    pub bytes: u64,
    /// Seconds in the exchange, those among them for which others were waited for.
    pub seconds: f64,
}

/// All ranks, seen from this one. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Ranks {
    /// None where this process is alone.
    exchange: Option<Rc<dyn Exchange>>,
    spent: Rc<Cell<Spent>>,
}

impl Ranks {
    /// Those of the exchange; this process alone where there is none, or where it has one rank.
    pub fn new(exchange: Option<Rc<dyn Exchange>>) -> Self {
        let exchange = exchange.filter(|exchange| exchange.size() > 1);
        Self { exchange, spent: Rc::default() }
    }

    /// A process alone.
    pub fn alone() -> Self {
        Self::default()
    }

    /// Which one this is.
    pub fn rank(&self) -> usize {
        self.exchange.as_ref().map_or(0, |exchange| exchange.rank())
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.exchange.as_ref().map_or(1, |exchange| exchange.size())
    }

    /// Whether this process has nobody beside it.
    pub fn are_one(&self) -> bool {
        self.exchange.is_none()
    }

    /// Whether this is the rank that writes.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whose turn the `index`th of some equal pieces of work is.
    pub fn turn(&self, index: usize) -> usize {
        index % self.size()
    }

    /// What every rank has for all, in their order.
    ///
    /// # Errors
    ///
    /// A rank has ended, or is gone.
    pub fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, TrainError> {
        let Some(exchange) = &self.exchange else { return Ok(vec![mine.to_vec()]) };
        let framed = [&[GOES_ON], mine].concat();
        let others = exchange.size().saturating_sub(1) as u64;
        let gathered = self.timed(framed.len() as u64 * others, || exchange.gather(&framed))?;
        let read = |(rank, message): (usize, Vec<u8>)| match message.split_first() {
            Some((&GOES_ON, data)) => Ok(data.to_vec()),
            ended => {
                let reason = ended.map_or(&[][..], |(_, reason)| reason);
                let reason = String::from_utf8_lossy(reason).into_owned();
                Err(TrainError::OtherRank { rank, reason })
            }
        };
        gathered.into_iter().enumerate().map(read).collect()
    }

    /// See [`Exchange::deal`].
    ///
    /// # Errors
    ///
    /// A rank is gone.
    pub fn deal(
        &self,
        mine: &[f32],
        parts: &[Range<usize>],
        from: &[bool],
    ) -> Result<Vec<Vec<f32>>, TrainError> {
        let Some(exchange) = &self.exchange else {
            let own = parts.first().and_then(|part| mine.get(part.clone())).unwrap_or(&[]);
            return Ok(vec![own.to_vec()]);
        };
        let rank = exchange.rank();
        let gives = from.get(rank).copied().unwrap_or(false);
        let others = parts.iter().enumerate().filter(|(of, _)| gives && *of != rank);
        let values: usize = others.map(|(_, part)| part.len()).sum();
        self.timed(size_of::<f32>() as u64 * values as u64, || exchange.deal(mine, parts, from))
    }

    fn timed<T>(
        &self,
        bytes: u64,
        exchange: impl FnOnce() -> Result<T, ExchangeError>,
    ) -> Result<T, TrainError> {
        let started = Instant::now();
        let done = exchange()?;
        let Spent { bytes: before, seconds } = self.spent.get();
        let seconds = seconds + started.elapsed().as_secs_f64();
        self.spent.set(Spent { bytes: before + bytes, seconds });
        Ok(done)
    }

    /// What was spent since this was asked last; none where there is nobody to exchange with.
    pub fn spent(&self) -> Option<Spent> {
        let spent = self.spent.take();
        self.exchange.as_ref().map(|_| spent)
    }

    /// Whether it is so on any rank.
    ///
    /// # Errors
    ///
    /// Those of [`gather`](Self::gather).
    pub fn any(&self, here: bool) -> Result<bool, TrainError> {
        if self.are_one() {
            return Ok(here);
        }
        Ok(self.gather(&[u8::from(here)])?.iter().any(|there| there == &[1]))
    }

    /// What the first rank has, on all of them.
    ///
    /// # Errors
    ///
    /// Those of [`gather`](Self::gather).
    pub fn of_first(&self, here: &[u8]) -> Result<Vec<u8>, TrainError> {
        let given: &[u8] = if self.is_first() { here } else { &[] };
        Ok(self.gather(given)?.into_iter().next().unwrap_or_default())
    }

    /// The end of the run on this rank: it is the end that all ranks have. Nothing is exchanged afterwards.
    ///
    /// # Errors
    ///
    /// That of this rank, or that another one has ended.
    pub fn close<T>(&self, ended: Result<T, TrainError>) -> Result<T, TrainError> {
        let Some(exchange) = &self.exchange else { return ended };
        match ended {
            Ok(came) => self.gather(&[]).map(|_| came),
            // All know it already, or nobody can be told.
            Err(known @ (TrainError::OtherRank { .. } | TrainError::Exchange(_))) => Err(known),
            Err(error) => {
                let told = [&[ENDS], error.to_string().as_bytes()].concat();
                // Whether the others hear of it changes nothing here.
                let _ = exchange.gather(&told);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::exchange::threads::Threads;

    /// What each of so many ranks comes to, every one on a thread of its own.
    pub(crate) fn on_ranks<T: Send>(size: usize, rank: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let rank = &rank;
        std::thread::scope(|scope| {
            let threads: Vec<_> = Threads::ranks(size, None)
                .into_iter()
                .map(|exchange| scope.spawn(move || rank(Ranks::new(Some(Rc::new(exchange))))))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn alone_nothing_is_exchanged() {
        let ranks = Ranks::alone();
        assert_eq!((ranks.rank(), ranks.size(), ranks.spent()), (0, 1, None));
        assert_eq!(ranks.gather(b"x").unwrap(), [b"x"]);
        assert!(ranks.any(true).unwrap() && !ranks.any(false).unwrap());
        assert_eq!(
            ranks.deal(&[1.0, 2.0], std::slice::from_ref(&(0..2)), &[true]).unwrap(),
            [[1.0, 2.0]]
        );
    }

    #[test]
    fn what_one_rank_says_all_hear() {
        let heard = on_ranks(3, |ranks| {
            let any = ranks.any(ranks.rank() == 2).unwrap();
            let first = ranks.of_first(&[ranks.rank() as u8 + 7]).unwrap();
            let spent = ranks.spent().unwrap();
            ranks.close(Ok((any, first, spent.bytes))).unwrap()
        });
        // A frame and a flag, to two others; then a frame, which holds something on the first rank alone.
        assert_eq!(heard, [(true, vec![7], 8), (true, vec![7], 6), (true, vec![7], 6)]);
    }

    /// Whichever gathering the others are in.
    #[test]
    fn a_rank_that_fails_ends_all_and_is_named() {
        let ended = on_ranks(3, |ranks| {
            let run = || {
                ranks.gather(b"start")?;
                if ranks.rank() == 1 {
                    return Err(TrainError::Packing);
                }
                ranks.any(false)?;
                ranks.deal(&[0.0; 3], &[0..1, 1..2, 2..3], &[true; 3])
            };
            ranks.close(run()).unwrap_err()
        });
        assert!(matches!(ended[1], TrainError::Packing));
        for other in [&ended[0], &ended[2]] {
            match other {
                TrainError::OtherRank { rank: 1, reason } => {
                    assert_eq!(*reason, TrainError::Packing.to_string());
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_rank_that_is_gone_ends_the_others() {
        let ended = on_ranks(3, |ranks| match ranks.rank() {
            2 => None,
            _ => Some(ranks.close(ranks.any(false))),
        });
        for ended in ended.into_iter().take(2) {
            assert!(matches!(ended, Some(Err(TrainError::Exchange(_)))), "{ended:?}");
        }
    }
}
