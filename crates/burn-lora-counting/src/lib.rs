//! An allocator that counts the bytes that are asked for, for tests that hold what memory something takes. The binary of such a test
//! installs it:
//!
//! ```
//! use burn_lora_counting::{Counting, alive, measured, most_of_thread};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! fn main() {
//!     let before = alive();
//!     let (held, taken) = measured(|| (vec![0_u8; 1000], vec![0_u8; 500]));
//!     assert_eq!((taken.most, taken.largest, alive() - before), (1500, 1000, 1500));
//!     let (_, most) = most_of_thread(|| drop(held.0.clone()));
//!     assert_eq!((most, alive() - before), (1000, 1500));
//! }
//! ```
//!
//! Left out: what the system's allocator needs beside, and memory that is not asked of it (mapped files, stacks).

#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts and forwards"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// What this thread took and did not give back, and the most of it.
    static OF_THREAD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is forwarded unchanged to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's guarantees for `alloc` are those that `System.alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's guarantees for `alloc_zeroed` are those that `System.alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given_back(layout.size());
        taken(size);
        // SAFETY: `pointer` came from `System` with this layout, by one of these functions; the rest is the caller's guarantee.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: `pointer` came from `System` with this layout, by one of these functions.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn taken(bytes: usize) {
    let alive = ALIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    // Most allocations are no new maximum, and reading is cheaper than exchanging.
    if alive > MOST.load(Ordering::Relaxed) {
        MOST.fetch_max(alive, Ordering::Relaxed);
    }
    if bytes > LARGEST.load(Ordering::Relaxed) {
        LARGEST.fetch_max(bytes, Ordering::Relaxed);
    }
    OF_THREAD.with(|counts| {
        let (alive, most) = counts.get();
        counts.set((alive + bytes, most.max(alive + bytes)));
    });
}

fn given_back(bytes: usize) {
    ALIVE.fetch_sub(bytes, Ordering::Relaxed);
    OF_THREAD.with(|counts| {
        let (alive, most) = counts.get();
        // Another thread may have taken it.
        counts.set((alive.saturating_sub(bytes), most));
    });
}

/// The bytes that are alive in this process.
pub fn alive() -> usize {
    ALIVE.load(Ordering::Relaxed)
}

/// What a process took meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The most bytes that were alive at once, beyond those before.
    pub most: usize,
    /// The bytes of the largest single allocation.
    pub largest: usize,
}

/// What all threads of this process take while `run` runs. Of two measurements at once each holds the other's: a test that measures is
/// alone in its binary.
pub fn measured<T>(run: impl FnOnce() -> T) -> (T, Taken) {
    let before = alive();
    MOST.store(before, Ordering::Relaxed);
    LARGEST.store(0, Ordering::Relaxed);
    let result = run();
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    (result, Taken { most, largest: LARGEST.load(Ordering::Relaxed) })
}

/// The most bytes that this thread has alive at once while `run` runs, beyond those before, whatever other threads do.
pub fn most_of_thread<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let (before, _) = OF_THREAD.get();
    OF_THREAD.set((before, before));
    let result = run();
    (result, OF_THREAD.get().1 - before)
}
