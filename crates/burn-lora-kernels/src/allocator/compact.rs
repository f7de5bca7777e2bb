//! Aligned blocks that leave no holes in glibc's heap.
//!
//! glibc (as of 2.36) makes a block of wide alignment by `memalign`: it takes more than was asked for and gives what is left before
//! and after the block back, a few dozen bytes each, to the lists of small blocks, where they join nothing and the next small request
//! takes them. When the block is freed, its hole is smaller by them than the next request of the same size, which
//! then takes new memory. Products ask for such a block each time, for the panels that they pack, so that a
//! step over a packed base, which multiplies tile by tile, held a third more than was in use.
//!
//! Here such a block is a plain one with room to move in: when it is freed the whole of it is free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// What a plain block of the system's is aligned to.
const PLAIN: usize = 2 * size_of::<usize>();

/// The system's allocator, with blocks of wide alignment made of plain ones on Linux with glibc.
///
/// For a program that trains, in place of the default:
///
/// ```
/// use burn_lora_kernels::allocator::CompactHeap;
///
/// #[global_allocator]
/// static HEAP: CompactHeap = CompactHeap;
/// # fn main() {}
/// ```
///
/// A library should not choose the allocator of whoever uses it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompactHeap;

/// A plain block in which one of this wide alignment finds its place. None where the system gives the block itself, or there are no
/// layouts of that size: then it says so.
fn room(layout: Layout) -> Option<Layout> {
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) || layout.align() <= PLAIN {
        return None;
    }
    Layout::from_size_align(layout.size().checked_add(layout.align())?, PLAIN).ok()
}

/// The place of an aligned block in a plain one, which it notes in front of it.
///
/// # Safety
///
/// `block` is null, or was given by [`System`] for `room(layout)`.
unsafe fn place(block: *mut u8, layout: Layout) -> *mut u8 {
    if block.is_null() {
        return block;
    }
    let skipped = layout.align() - block.addr() % layout.align();
    // SAFETY: `block` has `layout.align()` bytes more than the layout's size, and `skipped` is at most so many: the
    // place and the layout's size of bytes behind it lie in the block. Both addresses are multiples of `PLAIN` (the block's by its
    // layout, the place's because it is a multiple of an alignment that is a larger power of two), and
    // `skipped` is more than 0, so that a `usize` fits between them and is aligned where it ends at the place.
    unsafe {
        let place = block.add(skipped);
        place.cast::<usize>().sub(1).write(skipped);
        place
    }
}

/// The plain block around an aligned one.
///
/// # Safety
///
/// `place` was given by [`place`] and has not been freed.
unsafe fn block(place: *mut u8) -> *mut u8 {
    // SAFETY: `place` noted there, in the same block, how far it is from its beginning.
    unsafe { place.sub(place.cast::<usize>().sub(1).read()) }
}

// SAFETY: what `room` gives none for goes to the system's allocator as it came, and a layout alone decides that, so that a block is freed as
// it was made. The others are places in blocks of the system's that hold them (`place`), which nobody else has until they
// are given back, whole.
unsafe impl GlobalAlloc for CompactHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match room(layout) {
            // SAFETY: `room` is larger than an alignment, so not of size 0, and the block was given for it.
            Some(room) => unsafe { place(System.alloc(room), layout) },
            // SAFETY: the caller's guarantees for `alloc` are those that `System.alloc` asks for.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match room(layout) {
            // SAFETY: as in `alloc`; what is noted lies in front of what was asked for.
            Some(room) => unsafe { place(System.alloc_zeroed(room), layout) },
            // SAFETY: the caller's guarantees for `alloc_zeroed` are those that `System.alloc_zeroed` asks for.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match room(layout) {
            // SAFETY: `pointer` was given for this layout, so by `place` in a block for this `room`.
            Some(room) => unsafe { System.dealloc(block(pointer), room) },
            // SAFETY: `pointer` came from `System` with this layout.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let new = Layout::from_size_align(size, layout.align());
        let (Some(_), Ok(new)) = (room(layout), new) else {
            // SAFETY: `pointer` came from `System` with this layout, and the size is the caller's to answer for.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        // SAFETY: `size` is not 0, which the caller answers for. Old and new block are apart and hold what is copied; the old
        // one is freed by its own layout, once.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                ptr::copy_nonoverlapping(pointer, to, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made, grown, shrunk and freed, beside one another: each block is where it may be, holds what was written to it and is
    /// zero where that was asked for. Vectors of the safe language are the twin.
    #[test]
    fn blocks_of_every_alignment_hold_what_is_written() {
        let mut kept: Vec<(*mut u8, Layout, Vec<u8>)> = Vec::new();
        for (i, align) in (0..10).flat_map(|i| (0..13).map(move |bits| (i, 1_usize << bits))) {
            let layout = Layout::from_size_align(1 + i * 700 + align / 2, align).unwrap();
            let twin = vec![i as u8 + 1; layout.size()];
            // SAFETY: the sizes are not 0; each block is written and read within its size, and freed below by its last layout.
            unsafe {
                let zeroed = CompactHeap.alloc_zeroed(layout);
                assert!(!zeroed.is_null() && zeroed.addr().is_multiple_of(align), "{layout:?}");
                assert!((0..layout.size()).all(|at| zeroed.add(at).read() == 0), "{layout:?}");
                let block = CompactHeap.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                ptr::copy_nonoverlapping(twin.as_ptr(), block, layout.size());
                CompactHeap.dealloc(zeroed, layout);
                kept.push((block, layout, twin));
            }
        }
        for (index, (block, layout, mut twin)) in kept.into_iter().enumerate() {
            let size = if index % 2 == 0 { layout.size() * 3 } else { layout.size().div_ceil(2) };
            // SAFETY: as above; only what was written is read.
            unsafe {
                let block = CompactHeap.realloc(block, layout, size);
                let layout = Layout::from_size_align(size, layout.align()).unwrap();
                assert!(
                    !block.is_null() && block.addr().is_multiple_of(layout.align()),
                    "{layout:?}"
                );
                twin.truncate(size);
                assert_eq!(std::slice::from_raw_parts(block, twin.len()), twin, "{layout:?}");
                CompactHeap.dealloc(block, layout);
            }
        }
    }

    #[test]
    fn what_no_layout_can_hold_is_not_given() {
        let largest = Layout::from_size_align(isize::MAX as usize - 4095, 4096).unwrap();
        // SAFETY: a layout of a size other than 0, and no block comes of it.
        assert!(unsafe { CompactHeap.alloc(largest) }.is_null());
    }
}
