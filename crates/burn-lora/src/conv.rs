//! Convolutions: their kernels as matrices, and the factored path through Burn's `Conv1d`, `Conv2d` and `Conv3d`.
//!
//! A kernel `[d_out, channels / groups, window..]` is a matrix `[d_in, d_out]` that lies the other way round, with `d_in` the
//! inputs of one output: the channels of its group in all places of the window. Every kind of adapter that convolves
//! ([`Method::convolves`](crate::Method::convolves)) is one of that matrix, whatever the stride, the padding and the dilation,
//! and its change is what PEFT's `get_delta_weight` gives.
//!
//! ```text
//! y = conv(x, W) + b + scale · conv₁(conv(dropout(x), A), B)
//! ```
//!
//! `conv(·, A)` has the base's stride, padding, dilation and window and `rank` outputs; `conv₁` is of window 1. That is what
//! [`ConvForward`] computes, with a backward derived by hand (`op/conv.rs`): in training nothing of the kernel's size is made,
//! its gradient, which costs what a forward pass does, is not computed, and x is kept where A is trained and there alone. `Conv2d::forward`, in model code that knows no adapters, composes the kernel first: as small a
//! product as the kernel itself, whatever the size of an image, but the gradient goes through the kernel.
//!
//! # Groups
//!
//! With `g` groups the rank is dealt out to them, and B is `[rank / g, d_out]`. An adapter made here has an A whose part for a
//! group sees that group's channels, so that the change is one of the kernel: it composes and merges. PEFT's A sees the
//! channels of all groups ([`Kernel::crossing`]). What it makes of the layer is a convolution without groups, which the module
//! cannot be: such an adapter needs `lora_forward`, before and after merging, and is never merged for good. A crossing A with zeros
//! is an A of one group's channels, and so it is written for PEFT.
//!
//! Left out: padding with anything but zeros, which Burn's convolutions do not have.
//!
//! ```
//! use burn::nn::PaddingConfig2d;
//! use burn::nn::conv::Conv2dConfig;
//! use burn::tensor::{Distribution, Tensor};
//! use burn_lora::{Adapter, AdapterConfig, ConvForward, Kernel, attach};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("cpu")?;
//! let conv = Conv2dConfig::new([8, 12], [3, 3])
//!     .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
//!     .with_groups(4)
//!     .init(&device);
//! let (kernel, weight) = Kernel::of(&conv.weight, conv.groups);
//! let adapter = Adapter::init_convolution("default", &AdapterConfig::new(4), &weight, &kernel, 0)?;
//! let conv = attach(conv, "weight", adapter)?;
//!
//! let x = Tensor::<4>::random([2, 8, 10, 10], Distribution::Default, &device);
//! assert_eq!(conv.lora_forward(x).dims(), [2, 12, 10, 10]);
//! # Ok(())
//! # }
//! ```

use burn::module::{Param, ParamId};
use burn::nn::conv::{Conv1d, Conv2d, Conv3d};
use burn::nn::{PaddingConfig1d, PaddingConfig2d, PaddingConfig3d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, IndexingUpdateOp, Tensor};

use crate::adapter::{Convolution, Windows, as_kernel};
use crate::forward::{in_f32, in_format};
use crate::op::{self, Steps};
use crate::{Adapter, Adapters, FrozenWeight, Sizes, rows};

/// What a convolution's weight says that a matrix does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Groups that channels and outputs are dealt out to.
    pub groups: usize,
    /// Input channels of one group.
    pub channels: usize,
    /// Places of the window along each dimension.
    pub window: Vec<usize>,
    /// Of an adapter: whether its factor A sees the channels of all groups.
    pub crossing: bool,
}

impl Kernel {
    /// Of a weight of that shape, `[d_out, channels / groups, window..]`.
    pub fn new(shape: &[usize], groups: usize) -> Self {
        let channels = shape.get(1).copied().unwrap_or(1);
        let window = shape.get(2..).unwrap_or_default().to_vec();
        Self { groups: groups.max(1), channels, window, crossing: false }
    }

    /// The kernel of a convolution, and its weight as the matrix `[d_in, d_out]` that adapters are made for.
    pub fn of<const D: usize>(
        weight: &Param<Tensor<D>>,
        groups: usize,
    ) -> (Self, Param<Tensor<2>>) {
        let base = weight.base().detach().set_require_grad(false);
        let kernel = Self::new(base.shape().as_slice(), groups);
        let matrix = FrozenWeight::flattened(base).into_tensor().transpose();
        (kernel, Param::initialized(ParamId::new(), matrix))
    }

    /// The same for an adapter whose A sees the channels of all groups, or of its own.
    pub fn with_crossing(mut self, crossing: bool) -> Self {
        self.crossing = crossing && self.groups > 1;
        self
    }

    /// How many places the window has.
    pub fn places(&self) -> usize {
        self.window.iter().product::<usize>().max(1)
    }

    /// The sizes of an adapter of that rank on a matrix `[d_in, d_out]` that has this kernel.
    pub fn sizes(&self, [d_in, d_out]: [usize; 2], rank: usize) -> Sizes {
        Sizes { d_in: self.seen_groups() * d_in, d_out, rank, groups: self.groups }
    }

    /// The groups whose channels a row of A's convolution sees.
    fn seen_groups(&self) -> usize {
        if self.crossing { self.groups } else { 1 }
    }
}

/// What model code calls in place of the `forward` of a convolution.
pub trait ConvForward<const D: usize> {
    /// The convolution with its kernel changed by every active adapter, by the factored path.
    ///
    /// Dropout acts on the input of A, where `x` lives on an autodiff device. A kernel that is trained, or has no
    /// adapter, is Burn's own `forward`. Within [`by_row`](crate::by_row) each row of the batch has the adapter that it names. The
    /// output is in the number format of `x`; with an adapter it is computed in f32.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, channels, positions..]`
    /// - output: `[batch, d_out, positions..]`
    fn lora_forward(&self, x: Tensor<D>) -> Tensor<D>;
}

/// A convolution as it is looked at here.
trait Layer<const D: usize>: Convolution<D> {
    fn weight(&self) -> &Param<Tensor<D>>;
    fn bias(&self) -> Option<Tensor<1>>;
    fn groups(&self) -> usize;
}

/// What Burn's padding `Same` puts before and behind, along one dimension.
fn same(window: usize, stride: usize, size: usize) -> (usize, usize) {
    let reach = size.div_ceil(stride).saturating_sub(1) * stride + window;
    let padding = reach.saturating_sub(size);
    (padding / 2, padding - padding / 2)
}

fn steps_of_one(conv: &Conv1d, sizes: &[usize], groups: usize) -> Steps {
    let padding = match conv.padding {
        PaddingConfig1d::Valid => (0, 0),
        PaddingConfig1d::Same => same(conv.kernel_size, conv.stride, sizes[0]),
        PaddingConfig1d::Explicit(left, right) => (left, right),
    };
    let (stride, dilation) = ([conv.stride], [conv.dilation]);
    Steps::One(ConvOptions::new_with_padding(stride, [padding], dilation, groups))
}

fn steps_of_two(conv: &Conv2d, sizes: &[usize], groups: usize) -> Steps {
    let padding = match conv.padding {
        PaddingConfig2d::Valid => [(0, 0); 2],
        PaddingConfig2d::Same => {
            [0, 1].map(|at| same(conv.kernel_size[at], conv.stride[at], sizes[at]))
        }
        PaddingConfig2d::Explicit(top, left, bottom, right) => [(top, bottom), (left, right)],
    };
    Steps::Two(ConvOptions::new_with_padding(conv.stride, padding, conv.dilation, groups))
}

fn steps_of_three(conv: &Conv3d, sizes: &[usize], groups: usize) -> Steps {
    let padding = match conv.padding {
        PaddingConfig3d::Valid => [(0, 0); 3],
        PaddingConfig3d::Same => {
            [0, 1, 2].map(|at| same(conv.kernel_size[at], conv.stride[at], sizes[at]))
        }
        PaddingConfig3d::Explicit(depth, height, width) => {
            [depth, height, width].map(|of_both| (of_both, of_both))
        }
    };
    Steps::Three(ConvOptions::new_with_padding(conv.stride, padding, conv.dilation, groups))
}

macro_rules! convolution {
    ($Conv:ident, $D:literal, $steps:ident) => {
        impl Convolution<$D> for $Conv {
            fn with_kernel(&self, x: Tensor<$D>, kernel: Tensor<$D>, groups: usize) -> Tensor<$D> {
                // Burn's own forward.
                let other = Self {
                    weight: Param::initialized(self.weight.id, kernel),
                    bias: None,
                    stride: self.stride,
                    kernel_size: self.kernel_size,
                    dilation: self.dilation,
                    groups,
                    padding: self.padding.clone(),
                };
                other.forward(x)
            }

            fn steps(&self, positions: &[usize], groups: usize) -> Steps {
                $steps(self, positions, groups)
            }
        }

        impl Layer<$D> for $Conv {
            fn weight(&self) -> &Param<Tensor<$D>> {
                &self.weight
            }

            fn bias(&self) -> Option<Tensor<1>> {
                self.bias.as_ref().map(|bias| bias.val())
            }

            fn groups(&self) -> usize {
                self.groups
            }
        }

        impl ConvForward<$D> for $Conv {
            fn lora_forward(&self, x: Tensor<$D>) -> Tensor<$D> {
                match self.weight.reparameterization::<Adapters>() {
                    Some(set) if !self.weight.base().is_require_grad() && is_needed(set) => {
                        adapted(self, set, x)
                    }
                    _ => self.forward(x),
                }
            }
        }
    };
}

convolution!(Conv1d, 3, steps_of_one);
convolution!(Conv2d, 4, steps_of_two);
convolution!(Conv3d, 5, steps_of_three);

/// Whether the set makes it another convolution than the base, whose own `forward` gives the base's outputs bit for bit.
fn is_needed(set: &Adapters) -> bool {
    set.is_merged() || set.is_effective() || rows::named().is_some()
}

/// The convolution with these adapters on its kernel.
fn adapted<const D: usize>(layer: &impl Layer<D>, set: &Adapters, x: Tensor<D>) -> Tensor<D> {
    let format = x.dtype();
    let y = without_bias(layer, set, in_f32(x));
    let y = match layer.bias() {
        Some(bias) => {
            let mut shape = [1; D];
            shape[1] = bias.dims()[0];
            y + in_format(bias, DType::F32).reshape(shape)
        }
        None => y,
    };
    in_format(y, format)
}

fn without_bias<const D: usize>(layer: &impl Layer<D>, set: &Adapters, x: Tensor<D>) -> Tensor<D> {
    let stored = layer.weight().base();
    let (shape, groups) = (stored.dims(), layer.groups());
    let by_row = rows::named();
    if let Some(merged) = set.merged() {
        assert!(
            by_row.is_none(),
            "a merged convolution has one kernel for all rows: unmerge it first"
        );
        let kernel = as_kernel(merged.clone(), shape);
        let groups = if kernel.dims()[1] == shape[1] { groups } else { 1 };
        let steps = layer.steps(&x.dims()[2..], groups);
        return op::frozen_conv(x, kernel, steps);
    }
    let kernel: Tensor<D> = FrozenWeight::flattened(stored).dense().reshape(shape);
    let steps = layer.steps(&x.dims()[2..], groups);
    let base = op::frozen_conv(x.clone(), kernel.clone(), steps);
    let of = |adapter: &Adapter, x: Tensor<D>, base: Tensor<D>| {
        let kernel = kernel.clone();
        adapter.convolve(Windows { convolution: layer, x, mask: None, kernel, base, groups })
    };
    let Some(named) = by_row else {
        return set
            .effective()
            .fold(base.clone(), |y, adapter| y + of(adapter, x.clone(), base.clone()));
    };
    let each = named.of_a_row(x.dims()[0]);
    named.groups(set).fold(base.clone(), |y, (adapter, own)| {
        let own = own.iter().flat_map(|row| row * each..(row + 1) * each);
        let own = rows::numbers(own, &y.device());
        let (x, base) = (x.clone().select(0, own.clone()), base.clone().select(0, own.clone()));
        y.select_assign(0, own, of(adapter, x, base), IndexingUpdateOp::Add)
    })
}
