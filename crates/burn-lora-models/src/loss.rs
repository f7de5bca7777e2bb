//! Cross-entropy of scores, composed.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

/// The sum over rows of `-log softmax(scores)[target]`, in nats, `[1]`.
///
/// # Shapes
///
/// - scores: `[rows, classes]`
/// - targets: one a row
///
/// # Panics
///
/// Where the number of targets is not that of the rows.
pub fn cross_entropy(scores: Tensor<2>, targets: Vec<i32>) -> Tensor<1> {
    let rows = targets.len();
    let targets =
        Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &scores.device());
    log_softmax(scores, 1).gather(1, targets).sum().neg()
}
