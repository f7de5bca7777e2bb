//! What CPU kernels are made of: matrix products on views, row functions on wide vectors, buffers.
//!
//! Burn's CPU backend Flex computes one operation at a time into fresh memory. The kernels built
//! from these pieces add a product to what is there already, read the long side of a skinny
//! product once and on all cores, and pass over an element once where composed operations pass over it many times.
//!
//! - [`product`]: `dst = lhs rhs` or `dst += lhs rhs` on strided views.
//! - [`few_rows`]: the same of fewer than 64 rows, of some at the speed of memory.
//! - [`groups`]: low-rank products of several adapters, each on rows of its own.
//! - [`tiled`]: the same with a matrix that is not held in f32, converted tile by tile: [`half`], 16 bits, and
//!   [`quantised`], blocks of a few bits.
//! - [`normal`]: normal numbers.
//! - [`vector`]: sums, maxima, `exp` over rows, compiled for the widest vectors at hand.
//! - [`blank`]: outputs that are not cleared before they are written; [`rows`]: rows shared out to the cores; [`awake`]: cores that do not sleep between short products.
//! - [`adamw`]: an optimiser's step in one pass over memory.
//! - [`Floats`], [`HalfMatrix`], [`QuantisedMatrix`](quantised::QuantisedMatrix): a Flex tensor's values as a slice, and back.
//! - [`allocator`]: large blocks that a process keeps from one step to the next, aligned ones that leave no holes.
//!
//! Arithmetic is `f32` but in [`normal`]; all but [`allocator`], [`normal`] and the reading of [`quantised`] with the feature `flex`. `unsafe` is allowed in [`product`],
//! [`few_rows`], [`quantised`], [`blank`] and [`allocator`] alone; elsewhere in the project, for the look for CUDA's libraries and for the allocator of the tests.
//!
//! ```
//! use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
//!
//! let (lhs, rhs) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0]);
//! let mut out = [10.0, 20.0];
//! let (lhs, rhs) = (MatRef::new(&lhs, [2, 2], [2, 1]), MatRef::new(&rhs, [2, 1], [1, 1]));
//! product(MatMut::new(&mut out, [2, 1], 1), Accumulate::Add, lhs, rhs, Threads::One);
//! assert_eq!(out, [13.0, 27.0]);
//! ```

#[cfg(feature = "flex")]
pub mod adamw;
pub mod allocator;
#[cfg(feature = "flex")]
pub mod awake;
#[cfg(feature = "flex")]
pub mod blank;
#[cfg(feature = "flex")]
pub mod few_rows;
#[cfg(feature = "flex")]
mod floats;
#[cfg(feature = "flex")]
pub mod groups;
#[cfg(feature = "flex")]
pub mod half;
pub mod normal;
#[cfg(feature = "flex")]
pub mod product;
pub mod quantised;
#[cfg(feature = "flex")]
pub mod rows;
#[cfg(feature = "flex")]
pub mod tiled;
#[cfg(feature = "flex")]
pub mod vector;

#[cfg(feature = "flex")]
pub use floats::{Floats, HalfMatrix};
