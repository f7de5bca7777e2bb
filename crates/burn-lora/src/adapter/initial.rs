//! What an initialisation took out of the frozen weight (PiSSA, OLoRA): the factors that training started from.
//!
//! PEFT writes `W − scale · A₀ B₀` over the base. Here the base stays as it is, in whatever format it is held, and
//! the product hangs where the factors hang, low-rank as it is:
//!
//! ```text
//! W' = W + scale · (A B − A₀ B₀)
//! ```
//!
//! So every law of adapters holds: without the adapter the base is there, bit for bit; several adapters have started
//! in one base, each as if it were alone; a base in 16 bits or in blocks is not rounded anew; and the change is the
//! product of `[A A₀]` and `[B; −B₀]`, which is how it is written. The price is one more narrow product in a pass and
//! one in its backward, which keeps nothing: the factors are constants.
//!
//! Dropout acts on the input of A alone, as in PEFT, where what stands here is a part of the base.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Factor;
use super::lora::{A, B};
use crate::product;

/// The factors that training started from. Plain tensors, not parameters: they are neither counted nor trained.
#[derive(Module, Debug)]
pub(crate) struct Initial {
    /// `A₀`, `[d_in, rank]`.
    a: Tensor<2>,
    /// `−B₀`, `[rank, d_out]`.
    b: Tensor<2>,
}

impl Initial {
    /// Of `A₀: [d_in, rank]` and `B₀: [rank, d_out]`.
    pub(crate) fn of(a: Tensor<2>, b: Tensor<2>) -> Self {
        Self { a, b: b.neg() }
    }

    /// `−scale · x A₀ B₀`, `x: [rows, d_in]`.
    pub(super) fn taken(&self, x: Tensor<2>, scale: f64) -> Tensor<2> {
        product(product(x, self.a.clone()).mul_scalar(scale), self.b.clone())
    }

    /// `−A₀ B₀`, `[d_in, d_out]`.
    pub(super) fn change(&self) -> Tensor<2> {
        product(self.a.clone(), self.b.clone())
    }

    /// `[A A₀]`, `[d_in, 2 · rank]`.
    pub(super) fn beside_a(&self, a: Tensor<2>) -> Tensor<2> {
        Tensor::cat(vec![a, self.a.clone()], 1)
    }

    /// `[B; −B₀]`, `[2 · rank, d_out]`.
    pub(super) fn below_b(&self, b: Tensor<2>) -> Tensor<2> {
        Tensor::cat(vec![b, self.b.clone()], 0)
    }

    /// What stands beside a factor along the rank where the change is one product: `A₀` beside A, `−B₀` below B.
    pub(super) fn part(&self, factor: &Factor) -> Option<&Tensor<2>> {
        match factor.name {
            name if name == A.name => Some(&self.a),
            name if name == B.name => Some(&self.b),
            _ => None,
        }
    }

    /// The same with other parts, of the same shapes.
    pub(super) fn with_parts(
        self,
        mut part: impl FnMut(&'static Factor, Tensor<2>) -> Tensor<2>,
    ) -> Self {
        Self { a: part(&A, self.a), b: part(&B, self.b) }
    }
}
