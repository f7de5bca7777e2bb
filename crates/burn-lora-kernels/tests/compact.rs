//! A program with [`CompactHeap`]: aligned blocks that come and go beside small ones that stay take the room of one.
//!
//! Without libtest's harness, whose threads would allocate beside it.

use burn_lora_kernels::allocator::CompactHeap;

#[global_allocator]
static HEAP: CompactHeap = CompactHeap;

/// What the panels of a product are aligned to.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Line([u8; 128]);

/// Bytes that this process has resident, where the system tells.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS"))?;
    Some(1024 * line.split_whitespace().nth(1)?.parse::<usize>().ok()?)
}

fn main() {
    const ROUNDS: usize = 200;
    const STAYS: usize = 60_000;
    let before = resident();
    let mut stays: Vec<Vec<u8>> = Vec::with_capacity(16 * ROUNDS);
    for round in 0..ROUNDS {
        let panels = vec![Line([1; 128]); 4096];
        // The small blocks that take what an aligned one leaves beside it: nodes of a graph, shapes.
        stays.extend((0..8).map(|i| vec![2; 24 + 16 * ((3 * round + i) % 9)]));
        stays.push(vec![3; STAYS]);
        assert!(panels.iter().all(|line| line.0[127] == 1));
    }
    assert!(stays.iter().flatten().all(|&byte| byte > 1));
    // 12 MB stay. `memalign` takes 100: the hole of a block never fits the next.
    if let (Some(before), Some(after)) = (before, resident()) {
        let (taken, stay) = (after - before, ROUNDS * STAYS);
        assert!((stay..2 * stay).contains(&taken), "{taken} bytes for {stay}");
    }
}
