//! Two things a program that trains asks of its allocator: that large blocks are kept for the next step instead of given back
//! ([`keep_large_blocks`]), and that aligned blocks leave no holes ([`CompactHeap`]).
//!
//! A step on a CPU backend allocates and frees the same hundreds of large tensors as the step
//! before. glibc hands blocks of more than 32 MiB (and whatever lies free at the end of its heap)
//! back to the kernel each time, which then clears every page of them anew. Raising its two
//! thresholds makes the blocks stay.

#![allow(unsafe_code, reason = "`mallopt` is a C function, an allocator is unsafe to implement")]

mod compact;

pub use compact::CompactHeap;

/// Blocks below this size, in bytes, come from the heap and stay there when freed. Older versions
/// of glibc refuse the first and take the second.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: [libc::c_int; 2] = [1 << 30, 1 << 25];

/// Has the allocator keep large freed blocks for the rest of the process, and says whether it does.
///
/// For a program that trains, first thing in `main`: where other threads run already, it changes
/// nothing and says so. A library should not call it. It changes a setting of the whole process:
/// memory that has been used once counts as resident until the end. Does something on Linux with
/// glibc only.
pub fn keep_large_blocks() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if alone() {
        // SAFETY: glibc's manual marks `mallopt` "MT-Unsafe init const:mallopt": it may only be
        // called while no other thread runs. There is none (`alone`), and none can start before
        // the calls below return, because only this thread could start it. `mallopt` takes two
        // numbers; what it cannot do it refuses with 0, and nothing changes.
        return unsafe {
            LARGE.into_iter().any(|size| libc::mallopt(libc::M_MMAP_THRESHOLD, size) == 1)
                && libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) == 1
        };
    }
    false
}

/// Whether the calling thread is the only one of the process; not where the kernel does not tell.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_changed_while_another_thread_runs() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv().is_err());
        assert!(!keep_large_blocks());
        drop(stop);
        assert!(other.join().unwrap());
    }
}
