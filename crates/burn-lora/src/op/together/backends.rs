//! The backends that have the operations by their default bodies.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::TogetherBackend for burn_ndarray::NdArray {}

#[cfg(feature = "cube")]
impl super::TogetherBackend for burn_cubecl::CubeBackend {}

#[cfg(feature = "remote")]
impl super::TogetherBackend for burn::backend::Remote {}
