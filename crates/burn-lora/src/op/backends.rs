//! The backends that have the operations by their default bodies.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::LoraBackend for burn_ndarray::NdArray {}

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::ProductBackend for burn_ndarray::NdArray {}

#[cfg(feature = "remote")]
impl super::LoraBackend for burn::backend::Remote {}
