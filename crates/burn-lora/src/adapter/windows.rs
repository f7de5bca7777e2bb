//! What a forward pass of an adapted convolution is made of.
//!
//! A convolution is a linear layer on windows of its input: `[d_in, d_out]` with `d_in` the channels of a window's places,
//! applied at every position. Factor A, `[d_in, rank]`, is then a convolution of the base's stride, padding, dilation and
//! window with `rank` outputs, and B one of window 1 behind it. So the low-rank path needs no windows laid out.

use burn::tensor::Tensor;

use super::groups;
use crate::FrozenWeight;
use crate::op::{self, Steps};

/// A convolution with any kernel in the place of its own, `[outputs, channels / groups, window..]`, and without bias.
pub(crate) trait Convolution<const D: usize> {
    /// With its own stride, padding and dilation, for a kernel of its own window, which gets its gradient.
    fn with_kernel(&self, x: Tensor<D>, kernel: Tensor<D>, groups: usize) -> Tensor<D>;

    /// How its window goes over an input of these positions.
    fn steps(&self, positions: &[usize], groups: usize) -> Steps;
}

/// The input of an adapted convolution and what is known beside it.
pub(crate) struct Windows<'a, const D: usize> {
    pub(crate) convolution: &'a dyn Convolution<D>,
    /// `[batch, channels, positions..]`.
    pub(crate) x: Tensor<D>,
    /// Zeros where an element is dropped and `1 / (1 - p)` elsewhere, of the shape of x.
    pub(crate) mask: Option<Tensor<D>>,
    /// The frozen kernel in f32, `[d_out, channels / groups, window..]`.
    pub(crate) kernel: Tensor<D>,
    /// What the frozen kernel gives for x, without the bias.
    pub(crate) base: Tensor<D>,
    pub(crate) groups: usize,
}

impl<const D: usize> Windows<'_, D> {
    /// The frozen kernel as a matrix, `[d_in, d_out]`.
    pub(super) fn weight(&self) -> FrozenWeight {
        let flat = FrozenWeight::flattened(self.kernel.clone()).into_tensor();
        FrozenWeight::from(flat.transpose())
    }

    /// What the frozen kernel gives for the input, or for what dropout leaves of it.
    pub(super) fn base_of_dropped(&self) -> Tensor<D> {
        match self.mask {
            Some(_) => {
                op::frozen_conv(self.dropped(), self.kernel.clone(), self.steps(self.groups))
            }
            None => self.base.clone(),
        }
    }

    /// `scale · B (A x)`, x or what dropout leaves of it: `[batch, d_out, positions..]`.
    pub(super) fn low_rank(&self, a: Tensor<2>, b: Tensor<2>, scale: f64) -> Tensor<D> {
        let ([_, rank], [part, d_out]) = (a.dims(), b.dims());
        let of_factors = rank / part.max(1);
        let first = self.of_window(a.clone());
        let of_one_group = first.dims()[1] == self.kernel.dims()[1];
        if of_one_group && of_factors != self.groups {
            // Made without knowing of groups: the rank is the same for all of them, and so no convolution's.
            return self.convolve(groups::joined(a, b).mul_scalar(scale));
        }
        let groups = if of_one_group { self.groups } else { 1 };
        let mut shape = [1; D];
        shape[..2].copy_from_slice(&[d_out, part]);
        let factors = [first, b.transpose().reshape(shape)];
        let (x, mask) = (self.x.clone(), self.mask.clone());
        op::low_rank_conv(x, factors, self.steps(groups), of_factors, scale, mask)
    }

    fn steps(&self, groups: usize) -> Steps {
        self.convolution.steps(&self.x.dims()[2..], groups)
    }

    /// The input, or what dropout leaves of it, through a change of the weight `[d_in, d_out]`.
    pub(super) fn convolve(&self, change: Tensor<2>) -> Tensor<D> {
        let kernel = self.of_window(change);
        let groups = if kernel.dims()[1] == self.kernel.dims()[1] { self.groups } else { 1 };
        self.convolution.with_kernel(self.dropped(), kernel, groups)
    }

    /// Numbers for each output, `[1, d_out]`, beside what a convolution gives.
    pub(super) fn beside_outputs(&self, numbers: Tensor<2>) -> Tensor<D> {
        let mut shape = [1; D];
        shape[1] = numbers.dims()[1];
        numbers.reshape(shape)
    }

    /// A matrix over windows as the kernel that it is: `[d_in, outputs]` to `[outputs, channels, window..]`.
    fn of_window(&self, matrix: Tensor<2>) -> Tensor<D> {
        as_kernel(matrix.transpose(), self.kernel.dims())
    }

    fn dropped(&self) -> Tensor<D> {
        match self.mask.clone() {
            Some(mask) => self.x.clone() * mask,
            None => self.x.clone(),
        }
    }
}

/// A matrix `[outputs, channels · places]` as a kernel with the window of the one of that shape.
pub(crate) fn as_kernel<const D: usize>(matrix: Tensor<2>, of: [usize; D]) -> Tensor<D> {
    let [outputs, inputs] = matrix.dims();
    let places: usize = of[2..].iter().product();
    let mut shape = of;
    shape[..2].copy_from_slice(&[outputs, inputs / places.max(1)]);
    matrix.reshape(shape)
}
