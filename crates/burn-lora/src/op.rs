//! The adapted linear layer as one operation on a backend's primitives.
//!
//! [`LoraBackend`] is a Burn backend extension: its default bodies compose what every backend has,
//! a backend with something better overrides them, and [`Autodiff`](burn::backend::Autodiff) has a
//! backward derived by hand (see `op/autodiff.rs`). [`lora_linear`] is the same on tensors.
//!
//! What multiplies and what is learned are kept apart: [`Frozen`] is asked to multiply and is never
//! assumed to be dense (see `op/frozen.rs`), [`Lora`] holds the factors.

mod autodiff;
mod backends;
mod composed;
mod conv;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
mod frozen;
mod groups;
mod product;
#[cfg(feature = "remote")]
mod remote;
mod several;
mod shards;
mod together;

#[cfg(feature = "cube")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor};
#[cfg(feature = "cube")]
use burn::tensor::Shape;
use burn::tensor::Tensor;

pub(crate) use conv::{Steps, frozen_conv, low_rank_conv};
#[cfg(feature = "cube")]
pub use cube::half_matrices;
#[cfg(feature = "flex")]
pub use frozen::FlexWeight;
pub use frozen::{Frozen, FrozenBackend, FrozenWeight, QuantisedMatrix};
pub(crate) use groups::{LowRank, lora_groups};
pub use product::{ProductBackend, product};
#[cfg(feature = "remote")]
pub(crate) use remote::with_products;
pub use several::Several;
pub(crate) use shards::{shard_linear, sum_shards};
pub(crate) use together::{Layer, lora_linears};

/// The adapter of one layer as primitives of backend `B`.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Lora<B: Backend> {
    /// Factor A, `[d_in, rank]`.
    pub a: FloatTensor<B>,
    /// Factor B, `[rank, d_out]`.
    pub b: FloatTensor<B>,
    /// What the low-rank product is multiplied by.
    pub scale: f64,
}

/// What A's input is multiplied by, element for element, while training with dropout.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub enum Mask<B: Backend> {
    /// No dropout.
    Off,
    /// Zeros where an element is dropped and `1 / (1 - p)` elsewhere, `[rows, d_in]`.
    On(FloatTensor<B>),
}

/// What the forward pass gives: the output and, for the backward, the low-rank activation.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Branch<B: Backend> {
    /// `x W + scale · (mask(x) A) B`, `[rows, d_out]`.
    pub y: FloatTensor<B>,
    /// `scale · mask(x) A`, `[rows, rank]`.
    pub low: FloatTensor<B>,
}

impl<B: Backend> Mask<B> {
    /// The masked `x: [rows, d_in]`, or `x` itself.
    pub fn apply(self, x: FloatTensor<B>) -> FloatTensor<B> {
        match self {
            Self::Off => x,
            Self::On(mask) => B::float_mul(x, mask),
        }
    }
}

/// The operations of an adapted linear layer, for every backend that has them.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait LoraBackend: FrozenBackend {
    /// `x W + scale · (mask(x) A) B` for `x: [rows, d_in]`, with the low-rank activation beside it.
    ///
    /// The scale goes into the low-rank activation, `[rows, rank]`, not into the output.
    #[fusion(meta = |x, _weight, lora, _mask| BranchMetadata {
        y: TensorSpec::new(product::output(&x.shape, &lora.b.shape), x.dtype),
        low: TensorSpec::new(product::output(&x.shape, &lora.a.shape), x.dtype),
    })]
    fn lora_branch(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] lora: Lora<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> Branch<Self> {
        composed::branch(x, weight, lora, mask)
    }

    /// `lhs rhs`, where one side is a factor: a product with a narrow side.
    #[fusion(default)]
    fn lora_product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::product(lhs, rhs)
    }

    /// `scale · lhs rhs`, where one side is a factor.
    #[fusion(dtype = lhs, shape = product::output(lhs, rhs))]
    fn lora_scaled_product(
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        Self::float_mul_scalar(Self::lora_product(lhs, rhs), scale.into())
    }

    /// `dy Wᵀ + mask(dlow Aᵀ)`: the gradient of `x`, of `dy: [rows, d_out]` and
    /// `dlow: [rows, rank]`.
    #[fusion(dtype = dy, shape = Shape::from([dy[0], a[0]]))]
    fn lora_input_grad(
        dy: FloatTensor<Self>,
        dlow: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        a: FloatTensor<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        composed::input_grad(dy, dlow, weight, a, mask)
    }

    /// `x W + scale · (mask(x) A) B` for `x: [rows, d_in]`.
    #[fusion(default)]
    fn lora_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] lora: Lora<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        Self::lora_branch(x, weight, lora, mask).y
    }
}

/// `x W + scale · (mask(x) A) B` (arXiv 2106.09685, section 4.1), with gradients for `x`, `a` and `b` where
/// they are tracked.
///
/// The weight gets none, tracked or not: nothing of its shape is made.
///
/// # Shapes
///
/// - x and mask: `[rows, d_in]`
/// - weight: `[d_in, d_out]`
/// - a: `[d_in, rank]`, b: `[rank, d_out]`
/// - output: `[rows, d_out]`
pub fn lora_linear(
    x: Tensor<2>,
    weight: impl Into<FrozenWeight>,
    a: Tensor<2>,
    b: Tensor<2>,
    scale: f64,
    mask: Option<Tensor<2>>,
) -> Tensor<2> {
    let lora = Lora { a: a.into_dispatch(), b: b.into_dispatch(), scale };
    let mask = mask.map_or(Mask::Off, |mask| Mask::On(mask.into_dispatch()));
    let weight = weight.into().primitive();
    Tensor::from_dispatch(<Dispatch as LoraBackend>::lora_linear(
        x.into_dispatch(),
        weight,
        lora,
        mask,
    ))
}
