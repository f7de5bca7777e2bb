//! The backends that have the operations by their default bodies.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::ConvBackend for burn_ndarray::NdArray {}

#[cfg(feature = "cube")]
impl super::ConvBackend for burn_cubecl::CubeBackend {}

#[cfg(feature = "flex")]
impl super::ConvBackend for burn_flex::Flex {}

#[cfg(feature = "remote")]
impl super::ConvBackend for burn::backend::Remote {}
