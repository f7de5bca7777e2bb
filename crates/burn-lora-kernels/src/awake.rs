//! Cores that stay awake between short pieces of shared work.
//!
//! rayon's threads go to sleep some microseconds after they have run out of work, and waking one takes longer
//! than a product of a few rows: of hundreds in a row, most would be over before the second core is there. While
//! a piece of work runs [`awake`], the other threads look for what it shares out and do not sleep.
//!
//! They give their cores to other programs that want them, and other work of the pool is done as ever. A thread
//! that runs a piece of work never waits for another such piece that it has not begun itself, so that any
//! number of them may run at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::Yield;

thread_local! {
    /// How many pieces of work this thread has begun and not finished.
    static BEGUN: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` on one of rayon's threads, while the others wait for what it shares out without sleeping.
pub fn awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == 1 {
        return work();
    }
    let over = AtomicBool::new(false);
    rayon::scope(|scope| {
        let _running = Running::begin(&over);
        scope.spawn_broadcast(|_, _| {
            // Waiting beneath work of its own, a thread would keep that from its end.
            while BEGUN.get() == 0 && !over.load(Ordering::Acquire) {
                if rayon::yield_now() != Some(Yield::Executed) {
                    std::thread::yield_now();
                }
            }
        });
        work()
    })
}

/// While it is there, work runs on this thread; its end, a panic too, lets the others go.
struct Running<'a> {
    over: &'a AtomicBool,
}

impl<'a> Running<'a> {
    fn begin(over: &'a AtomicBool) -> Self {
        BEGUN.set(BEGUN.get() + 1);
        Self { over }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        BEGUN.set(BEGUN.get() - 1);
        self.over.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    /// Shares out many small sums.
    fn shared(rounds: usize) -> usize {
        (0..rounds)
            .map(|round| (0..8_usize).into_par_iter().map(|i| i * round).sum::<usize>())
            .sum()
    }

    #[test]
    fn what_is_shared_out_is_done() {
        assert_eq!(awake(|| shared(1000)), 28 * 499_500);
    }

    /// On two threads each may wait for the other, if one waits at all.
    #[test]
    fn any_number_may_run_at_once_and_within_each_other() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let sum = pool.install(|| awake(|| shared(20) + awake(|| shared(20))));
                        assert_eq!(sum, 2 * 28 * 190);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_lets_the_others_go() {
        let failed = std::panic::catch_unwind(|| awake(|| panic!("as it should")));
        assert!(failed.is_err());
        assert_eq!(awake(|| shared(10)), 28 * 45);
    }
}
