//! What dropout multiplies by.

use burn::tensor::{Distribution, Tensor};

/// Zeros at random, with that probability each, and `1 / (1 - probability)` elsewhere, so that the expectation of a product with it is
/// what is multiplied; without a gradient.
///
/// Whatever has been drawn before on the device was drawn before this.
///
/// # Shapes
///
/// - like: any, on the device to draw on, and the output alike
pub fn dropout_mask<const D: usize>(like: &Tensor<D>, probability: f64) -> Tensor<D> {
    let keep = 1.0 - probability;
    let drawn = like.random_like(Distribution::Bernoulli(keep)).detach();
    #[cfg(feature = "remote")]
    in_turn(&drawn);
    drawn.div_scalar(keep)
}

/// Sends a draw to a device elsewhere before anything else is asked of it.
///
/// Operations that Burn collects into graphs (its `fusion`) may change places where none needs the other, and the numbers that a generator
/// gives depend on who draws first.
#[cfg(feature = "remote")]
fn in_turn<const D: usize>(drawn: &Tensor<D>) {
    use burn::backend::DispatchDevice;

    let device = drawn.device().inner();
    if matches!(device.as_dispatch(), DispatchDevice::Remote(_)) {
        // A device that is gone is told of where a number is read.
        let _ = device.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_dropped_as_often_as_said_and_the_others_make_up_for_it() {
        let device = crate::device::parse("cpu").unwrap();
        let mask = dropout_mask(&Tensor::<1>::empty([10_000], &device), 0.2);
        let values = mask.into_data().try_to_vec::<f32>().unwrap();
        let kept = values.iter().filter(|&&value| value == 1.25).count();
        assert!(values.iter().all(|&value| value == 0.0 || value == 1.25));
        // 8,000 of 10,000, give or take five of its spreads (40).
        assert!((7_800..=8_200).contains(&kept), "{kept} kept");
    }
}
