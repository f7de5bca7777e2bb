//! What becomes of the products of queries and keys before their softmax, beside positions and the causal mask.

use burn::tensor::DType;

/// How an attention scores its keys: `scale · q kᵀ`, where there is a soft cap `cap · tanh(that / cap)`, and of no key
/// outside of the window. What positions add comes after the cap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// What the products are multiplied with; `1 / √head_dim` of most models.
    pub scale: f64,
    /// The size that no score exceeds (Gemma 2's report, section 2).
    pub cap: Option<f64>,
    /// The most keys that a query sees: its own and those just before it.
    pub window: Option<usize>,
    /// The format that queries, keys, values and probabilities are multiplied in, with sums in f32, where a device has units for it: that
    /// of a base held in bf16. CPUs multiply in f32.
    pub format: DType,
}

impl Scores {
    /// Those of most models: `q kᵀ / √head_dim` over all keys.
    pub fn of_heads(head_dim: usize) -> Self {
        let scale = (head_dim as f64).powf(-0.5);
        Self { scale, cap: None, window: None, format: DType::F32 }
    }

    /// The window, where it hides any of so many keys.
    pub(crate) fn window_within(self, keys: usize) -> Option<usize> {
        self.window.filter(|&window| window < keys)
    }
}
