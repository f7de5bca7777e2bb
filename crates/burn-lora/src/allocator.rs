//! Large blocks of memory that are kept for the next step instead of given back.
//!
//! A step on a CPU backend allocates and frees the same hundreds of large tensors as the step
//! before. glibc hands blocks of more than 32 MiB (and whatever lies free at the end of its heap)
//! back to the kernel each time, which then clears every page of them anew. Raising its two
//! thresholds makes the blocks stay.

#![allow(unsafe_code, reason = "`mallopt` is a C function")]

/// Blocks below this size, in bytes, come from the heap and stay there when freed. Older versions
/// of glibc refuse the first and take the second.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: [libc::c_int; 2] = [1 << 30, 1 << 25];

/// Has the allocator keep large freed blocks for the rest of the process.
///
/// For a program that trains, before it does; a library should not call it. It changes a setting
/// of the whole process: memory that has been used once counts as resident until the end. Does
/// something on Linux with glibc only, and nothing elsewhere.
pub fn keep_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes two numbers and locks what it changes; it may be called at any time,
    // from any thread. What it cannot do it refuses with 0, and nothing changes.
    unsafe {
        let _taken = LARGE.into_iter().any(|size| libc::mallopt(libc::M_MMAP_THRESHOLD, size) == 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}
