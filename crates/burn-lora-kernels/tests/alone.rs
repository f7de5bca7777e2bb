//! A program that calls [`keep_large_blocks`] first thing in `main`, as its contract asks.
//!
//! Without libtest's harness, which runs tests beside a thread of its own.

use burn_lora_kernels::allocator::keep_large_blocks;

fn main() {
    let glibc = cfg!(all(target_os = "linux", target_env = "gnu"));
    assert_eq!(keep_large_blocks(), glibc, "a process of one thread keeps its blocks");
}
