//! The backends that have the operation, each by the default body.

use super::LoraBackend;

#[cfg(feature = "flex")]
impl LoraBackend for burn_flex::Flex {}

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
impl LoraBackend for burn_ndarray::NdArray {}

#[cfg(feature = "cube")]
impl LoraBackend for burn_cubecl::CubeBackend {}
