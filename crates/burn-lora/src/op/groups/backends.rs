//! The backends that have the operation by its default body.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::GroupBackend for burn_ndarray::NdArray {}

#[cfg(feature = "cube")]
impl super::GroupBackend for burn_cubecl::CubeBackend {}

#[cfg(feature = "remote")]
impl super::GroupBackend for burn::backend::Remote {}
