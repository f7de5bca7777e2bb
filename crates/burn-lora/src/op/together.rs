//! Adapted linear layers of one input, such as an attention's queries, keys and values, as one operation on a backend's primitives.
//!
//! ```text
//! y_i = x W_i + low_i B_i        low_i = scale_i · mask_i(x) A_i         for each layer i
//! dx  = Σ dy_i W_iᵀ + mask_i(scale_i · dlow_i A_iᵀ)
//! ```
//!
//! On Flex x is read once for all layers, forward, and its gradient is written once, backward, where a layer at a time would write a
//! gradient each that is added to the others' ([`burn_lora_kernels::product::together`]). Other backends take the layers one by one.
//!
//! An operation of Burn's autodiff has one output. So each layer is one of its own here too, the one that it
//! is alone (`op/autodiff.rs`); x reaches them by a fork (`op/together/autodiff.rs`), whose backward pass, which comes after theirs, makes of what they left there the gradient of x.

mod autodiff;
mod backends;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension};
use burn::tensor::Tensor;

pub(super) use autodiff::Back;

use super::{Branch, Frozen, FrozenWeight, Lora, LoraBackend, LowRank, Mask, Several};

/// A frozen weight and the adapter on it.
#[derive(ExtensionType, Debug, Clone)]
pub struct Adapted<B: Backend> {
    /// The weight.
    #[extension_type]
    pub weight: Frozen<B>,
    /// The adapter.
    #[extension_type]
    pub lora: Lora<B>,
    /// What A's input is multiplied by.
    #[extension_type]
    pub mask: Mask<B>,
}

/// What a layer's backward pass leaves for the gradient of its input.
#[derive(ExtensionType, Debug, Clone)]
pub struct Returned<B: Backend> {
    /// `[rows, d_out]`.
    pub dy: FloatTensor<B>,
    /// `scale · dy Bᵀ`, `[rows, rank]`.
    pub dlow: FloatTensor<B>,
    /// The weight.
    #[extension_type]
    pub weight: Frozen<B>,
    /// Factor A, `[d_in, rank]`.
    pub a: FloatTensor<B>,
    /// What A's input was multiplied by.
    #[extension_type]
    pub mask: Mask<B>,
}

/// What a layer gives.
#[derive(ExtensionType, Debug, Clone)]
pub struct Output<B: Backend> {
    /// `[rows, d_out]`.
    pub y: FloatTensor<B>,
}

/// The layers of an input.
pub type Layers<B> = Several<Adapted<B>>;

/// What each of them gives for the backward pass, too.
pub type Branches<B> = Several<Branch<B>>;

/// What each of them gives.
pub type Outputs<B> = Several<Output<B>>;

/// What came back from some of them.
pub type Returns<B> = Several<Returned<B>>;

/// The operations, for every backend that has them.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait TogetherBackend: LoraBackend {
    /// [`LoraBackend::lora_branch`] of each layer, for `x: [rows, d_in]`.
    #[fusion(default)]
    fn lora_branches(
        x: FloatTensor<Self>,
        #[extension_type] layers: Layers<Self>,
    ) -> Branches<Self> {
        branches(x, layers)
    }

    /// The sum of [`LoraBackend::lora_input_grad`] over what came back, `[rows, d_in]`.
    ///
    /// # Panics
    ///
    /// Where nothing came back.
    #[fusion(default)]
    fn lora_input_grads(#[extension_type] returned: Returns<Self>) -> FloatTensor<Self> {
        input_grads(returned)
    }

    /// [`LoraBackend::lora_linear`] of each layer, for `x: [rows, d_in]`.
    #[fusion(default)]
    fn lora_linears(x: FloatTensor<Self>, #[extension_type] layers: Layers<Self>) -> Outputs<Self> {
        let branches = Self::lora_branches(x, layers).0.into_iter();
        Several(branches.map(|Branch { y, .. }| Output { y }).collect())
    }
}

/// The default body, and the twin that kernels are tested against.
fn branches<B: LoraBackend>(x: FloatTensor<B>, layers: Layers<B>) -> Branches<B> {
    let of = |Adapted { weight, lora, mask }| B::lora_branch(x.clone(), weight, lora, mask);
    Several(layers.0.into_iter().map(of).collect())
}

/// The default body, and the twin that kernels are tested against.
fn input_grads<B: LoraBackend>(returned: Returns<B>) -> FloatTensor<B> {
    let of = |Returned { dy, dlow, weight, a, mask }| B::lora_input_grad(dy, dlow, weight, a, mask);
    let sum = returned.0.into_iter().map(of).reduce(B::float_add);
    sum.expect("something came back")
}

/// What a layer of several is made of.
pub(crate) struct Layer {
    /// `[d_in, d_out]`.
    pub(crate) weight: FrozenWeight,
    /// The adapter.
    pub(crate) adapter: LowRank,
    /// `[rows, d_in]`.
    pub(crate) mask: Option<Tensor<2>>,
}

/// [`lora_linear`](super::lora_linear) of each layer, `[rows, d_out]` each, for `x: [rows, d_in]`.
pub(crate) fn lora_linears(
    x: Tensor<2>,
    layers: impl IntoIterator<Item = Layer>,
) -> Vec<Tensor<2>> {
    let layers =
        layers.into_iter().map(|Layer { weight, adapter: LowRank { a, b, scale }, mask }| {
            Adapted {
                weight: weight.primitive(),
                lora: Lora { a: a.into_dispatch(), b: b.into_dispatch(), scale },
                mask: mask.map_or(Mask::Off, |mask| Mask::On(mask.into_dispatch())),
            }
        });
    let layers = Several(layers.collect());
    let outputs = <Dispatch as TogetherBackend>::lora_linears(x.into_dispatch(), layers);
    outputs.0.into_iter().map(|Output { y }| Tensor::from_dispatch(y)).collect()
}
