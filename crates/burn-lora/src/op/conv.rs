//! Convolutions: with a frozen kernel, and through two factors beside it, each as one operation on a backend's primitives.
//!
//! With `X = mask(x)`, `low = scale · conv(X, A)` and `y = conv₁(low, B)`, where `conv` has the stride, the padding, the
//! dilation and the window of the layer and `conv₁` is of window 1; `conv'(·, K)` is what takes the gradient of a
//! convolution's output to that of its input, and `u ⋆ v` what takes it, with the input u, to that of its kernel:
//!
//! ```text
//! dlow = scale · conv₁'(dy, B)
//! dB   = low ⋆ dy
//! dA   = X ⋆ dlow
//! dx   = mask(conv'(dlow, A))                  of the frozen kernel:  dx = conv'(dy, W)
//! ```
//!
//! A gradient of the frozen kernel, which costs what a forward pass does, is not computed. Of a pass `low` is kept, and x where
//! A has a gradient and there alone: Burn's own convolution keeps x whatever is trained.
//!
//! The twin that tests compare with is the composed body, Burn's own `forward` with the changed kernel.

mod autodiff;
mod backends;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, Tensor};

use super::{LoraBackend, Mask};

/// How a window goes over an input, for one, two or three dimensions beside those of the batch and the channels.
#[derive(Debug, Clone)]
pub enum Steps {
    /// Of a signal.
    One(ConvOptions<1>),
    /// Of an image.
    Two(ConvOptions<2>),
    /// Of a volume.
    Three(ConvOptions<3>),
}

impl Steps {
    /// Of a window of one place, at every position, in so many dimensions as these.
    fn points(&self, groups: usize) -> Self {
        match self {
            Self::One(_) => Self::One(ConvOptions::new([1], [0], [1], groups)),
            Self::Two(_) => Self::Two(ConvOptions::new([1; 2], [0; 2], [1; 2], groups)),
            Self::Three(_) => Self::Three(ConvOptions::new([1; 3], [0; 3], [1; 3], groups)),
        }
    }
}

/// A frozen kernel, and how it goes over an input, as primitives of backend `B`.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct FrozenKernel<B: Backend> {
    /// `[d_out, channels / groups, window..]`.
    pub kernel: FloatTensor<B>,
    /// How it goes over the input.
    pub steps: Steps,
}

/// The factors of a convolution's adapter as primitives of backend `B`.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct KernelFactors<B: Backend> {
    /// Factor A as a kernel, `[rank, seen channels, window..]`.
    pub a: FloatTensor<B>,
    /// Factor B as one of window 1, `[d_out, rank / groups, 1..]`.
    pub b: FloatTensor<B>,
    /// How A goes over the input.
    pub steps: Steps,
    /// The groups that B deals the rank out to.
    pub groups: usize,
    /// What A's product is multiplied by.
    pub scale: f64,
}

/// The operations of an adapted convolution, for every backend that has them.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait ConvBackend: LoraBackend {
    /// `conv(x, W)` for `x: [batch, channels, positions..]`.
    #[fusion(default)]
    fn frozen_conv(
        x: FloatTensor<Self>,
        #[extension_type] kernel: FrozenKernel<Self>,
    ) -> FloatTensor<Self> {
        convolved::<Self>(x, kernel.kernel, &kernel.steps)
    }

    /// `conv₁(scale · conv(mask(x), A), B)` for `x: [batch, channels, positions..]`.
    #[fusion(default)]
    fn low_rank_conv(
        x: FloatTensor<Self>,
        #[extension_type] factors: KernelFactors<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        low_rank::<Self>(x, factors, mask).0
    }
}

/// The output, and the low-rank activation.
fn low_rank<B: Backend>(
    x: FloatTensor<B>,
    factors: KernelFactors<B>,
    mask: Mask<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let KernelFactors { a, b, steps, groups, scale } = factors;
    let low = convolved::<B>(mask.apply(x), a, &steps);
    let low = B::float_mul_scalar(low, scale.into());
    (convolved::<B>(low.clone(), b, &steps.points(groups)), low)
}

fn convolved<B: Backend>(
    x: FloatTensor<B>,
    kernel: FloatTensor<B>,
    steps: &Steps,
) -> FloatTensor<B> {
    match steps {
        Steps::One(options) => B::conv1d(x, kernel, None, options.clone()),
        Steps::Two(options) => B::conv2d(x, kernel, None, options.clone()),
        Steps::Three(options) => B::conv3d(x, kernel, None, options.clone()),
    }
}

/// `conv'(dy, kernel)`: the gradient of an input of that shape.
fn input_gradient<B: Backend>(
    shape: &Shape,
    kernel: FloatTensor<B>,
    dy: FloatTensor<B>,
    steps: &Steps,
) -> FloatTensor<B> {
    // Burn asks for the input and reads its shape alone: one number, spread without a copy.
    let one = Shape::from(vec![1; shape.num_dims()]);
    let (device, format) = (dy.device(), dy.dtype());
    let x = B::float_expand(B::float_zeros(one, &device, format.into()), shape.clone());
    match steps {
        Steps::One(options) => B::conv1d_x_backward(x, kernel, dy, options.clone()),
        Steps::Two(options) => B::conv2d_x_backward(x, kernel, dy, options.clone()),
        Steps::Three(options) => B::conv3d_x_backward(x, kernel, dy, options.clone()),
    }
}

/// `x ⋆ dy`: the gradient of a kernel of that one's shape.
fn kernel_gradient<B: Backend>(
    x: FloatTensor<B>,
    kernel: FloatTensor<B>,
    dy: FloatTensor<B>,
    steps: &Steps,
) -> FloatTensor<B> {
    match steps {
        Steps::One(options) => B::conv1d_weight_backward(x, kernel, dy, options.clone()),
        Steps::Two(options) => B::conv2d_weight_backward(x, kernel, dy, options.clone()),
        Steps::Three(options) => B::conv3d_weight_backward(x, kernel, dy, options.clone()),
    }
}

/// `conv(x, W)` with a kernel that gets no gradient, tracked or not.
///
/// # Shapes
///
/// - x: `[batch, channels, positions..]`, kernel: `[d_out, channels / groups, window..]`
/// - output: `[batch, d_out, positions..]`
pub(crate) fn frozen_conv<const D: usize>(
    x: Tensor<D>,
    kernel: Tensor<D>,
    steps: Steps,
) -> Tensor<D> {
    let kernel = FrozenKernel { kernel: kernel.into_dispatch(), steps };
    Tensor::from_dispatch(<Dispatch as ConvBackend>::frozen_conv(x.into_dispatch(), kernel))
}

/// `conv₁(scale · conv(mask(x), A), B)`, with gradients for x, A and B where they are tracked.
///
/// # Shapes
///
/// - x and mask: `[batch, channels, positions..]`
/// - a: `[rank, seen channels, window..]`, b: `[d_out, rank / groups, 1..]`
/// - output: `[batch, d_out, positions..]`
pub(crate) fn low_rank_conv<const D: usize>(
    x: Tensor<D>,
    [a, b]: [Tensor<D>; 2],
    steps: Steps,
    groups: usize,
    scale: f64,
    mask: Option<Tensor<D>>,
) -> Tensor<D> {
    let (a, b) = (a.into_dispatch(), b.into_dispatch());
    let factors = KernelFactors { a, b, steps, groups, scale };
    let mask = mask.map_or(Mask::Off, |mask| Mask::On(mask.into_dispatch()));
    let x = x.into_dispatch();
    Tensor::from_dispatch(<Dispatch as ConvBackend>::low_rank_conv(x, factors, mask))
}
