//! The adapted linear layer and its gradients in float64, by the definition and plain loops.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A row-major matrix.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<f64>,
}

/// What the layer and its backward must give.
pub struct Expected {
    pub y: Matrix,
    pub dx: Matrix,
    pub da: Matrix,
    pub db: Matrix,
}

impl Matrix {
    /// Uniform on [-1, 1], rounded to float32, so that both computations start from equal numbers.
    pub fn random(rows: usize, columns: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..rows * columns).map(|_| f64::from(rng.random_range(-1.0_f32..1.0)));
        Self { rows, columns, values: values.collect() }
    }

    pub fn from_fn(rows: usize, columns: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|i| f(i / columns, i % columns)).collect();
        Self { rows, columns, values }
    }

    pub fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    pub fn times(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows);
        Self::from_fn(self.rows, other.columns, |i, j| {
            (0..self.columns).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }

    pub fn transposed(&self) -> Self {
        Self::from_fn(self.columns, self.rows, |i, j| self.at(j, i))
    }

    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self::from_fn(self.rows, self.columns, |i, j| f(self.at(i, j), other.at(i, j)))
    }

    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    pub fn scaled(&self, by: f64) -> Self {
        Self::from_fn(self.rows, self.columns, |i, j| by * self.at(i, j))
    }
}

/// `y = x W + bias + scale (x∘mask) A B`, and the gradients of `sum(y ∘ dy)`.
#[allow(clippy::too_many_arguments, reason = "these are the layer's inputs")]
pub fn expected(
    x: &Matrix,
    w: &Matrix,
    a: &Matrix,
    b: &Matrix,
    bias: Option<&Matrix>,
    scale: f64,
    mask: Option<&Matrix>,
    dy: &Matrix,
) -> Expected {
    let masked = |m: &Matrix| mask.map_or(m.clone(), |mask| m.zip(mask, |v, keep| v * keep));
    let input = masked(x);
    let mut y = x.times(w).plus(&input.times(a).times(b).scaled(scale));
    if let Some(bias) = bias {
        y = Matrix::from_fn(y.rows, y.columns, |i, j| y.at(i, j) + bias.at(0, j));
    }
    let through_b = dy.times(&b.transposed()).scaled(scale);
    Expected {
        dx: dy.times(&w.transposed()).plus(&masked(&through_b.times(&a.transposed()))),
        da: input.transposed().times(&through_b),
        db: input.times(a).transposed().times(dy).scaled(scale),
        y,
    }
}
