//! A matrix in blocks as products take it: numbers of a run of a row, and a few rows multiplied with its stored rows without a number of it
//! in memory.
//!
//! By vectors where the processor has them ([`strips`](super::strips)), bit for bit what is computed without.

use super::QuantisedRef;
#[cfg(target_arch = "x86_64")]
use super::strips;
#[cfg(target_arch = "x86_64")]
use crate::product::Accumulate;
use crate::tiled::Tiled;
use crate::vectorised;

impl Tiled for QuantisedRef<'_> {
    fn shape(self) -> [usize; 2] {
        self.head.shape()
    }

    fn is_transposed(self) -> bool {
        self.head.transposed
    }

    fn convert(self, row: usize, column: usize, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if strips::read(self, row, column, out) {
            return;
        }
        vectorised!(self.read(row, column, out));
    }

    #[cfg(target_arch = "x86_64")]
    fn across(
        self,
        first: usize,
        x: (&[f32], usize),
        ys: &mut [&mut [f32]],
        accumulate: Accumulate,
    ) -> bool {
        strips::across(self, first, x, ys, accumulate)
    }
}
