//! Cross-entropy of logits, composed.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

/// The sum over rows of `-log softmax(logits)[target]`, in nats, `[1]`.
///
/// # Shapes
///
/// - logits: `[rows, classes]`
/// - targets: one a row
///
/// # Panics
///
/// Where the number of targets is not that of the rows.
pub fn cross_entropy(logits: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
    let rows = targets.len();
    let targets =
        Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &logits.device());
    log_softmax(logits, 1).gather(1, targets).sum().neg()
}

/// The same with `share` of each target's probability spread evenly over all classes, as torch's
/// `cross_entropy(…, label_smoothing = share)` sums it: `(1 - share) · CE + share · mean over classes
/// of -log softmax(logits)`.
///
/// # Shapes
///
/// - logits: `[rows, classes]`
/// - targets: one a row
///
/// # Panics
///
/// Where the number of targets is not that of the rows.
pub fn smoothed_cross_entropy(logits: Tensor<2>, targets: Vec<i32>, share: f64) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(targets.len(), rows, "one target a row");
    let targets =
        Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &logits.device());
    let logs = log_softmax(logits, 1);
    let hit = logs.clone().gather(1, targets).sum();
    let all = logs.sum();
    (hit * (1.0 - share) + all * (share / classes.max(1) as f64)).neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against torch 2.11: `cross_entropy(logits, targets, reduction="sum", label_smoothing=0.1)`.
    #[test]
    fn smoothing_is_torchs() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let logits = || Tensor::<2>::from_data([[1.0_f32, -2.0, 0.5], [0.0, 3.0, -1.0]], &device);
        let smoothed = |share| {
            let loss = smoothed_cross_entropy(logits(), vec![2, 1], share);
            f64::from(loss.try_into_scalar::<f32>().unwrap())
        };
        let plain = cross_entropy(logits(), vec![2, 1]).try_into_scalar::<f32>().unwrap();
        // Sums of six float32 logarithms of at most 4 in size.
        assert!((smoothed(0.0) - f64::from(plain)).abs() < 1e-5);
        assert!((smoothed(0.1) - SMOOTHED).abs() < 1e-5, "{}", smoothed(0.1));
    }

    const SMOOTHED: f64 = 1.3704808060997125;
}
