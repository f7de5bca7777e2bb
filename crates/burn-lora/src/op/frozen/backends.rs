//! The backends that have a frozen weight's products by their default bodies.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::FrozenBackend for burn_ndarray::NdArray {}

#[cfg(feature = "cube")]
impl super::FrozenBackend for burn_cubecl::CubeBackend {}

#[cfg(feature = "remote")]
impl super::FrozenBackend for burn::backend::Remote {}
