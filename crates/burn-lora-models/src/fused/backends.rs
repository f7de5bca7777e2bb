//! The backends that have the operations by their default bodies.

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl super::FusedBackend for burn::backend::NdArray {}

#[cfg(feature = "remote")]
impl super::FusedBackend for burn::backend::Remote {}
