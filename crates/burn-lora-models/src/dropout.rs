//! Dropout of a model's own: that of its `config.json`, off until a run asks for it.
//!
//! A configuration has the probabilities of its family's places ([`Dropouts`]), a layer has the one of its
//! place ([`Dropout`]). As Burn's own `Dropout` it acts where the tensor lives on an autodiff device:
//! in training, never in evaluation or generation. What is dropped is drawn from the device's generator;
//! whoever seeds it by the step draws the same again.
//!
//! Left out: dropping whole tokens, heads or layers.

use burn::tensor::Tensor;
use burn_lora::dropout_mask;

/// The probabilities of a configuration, by place; none acts until they are [`switched_on`](Self::switched_on).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropouts {
    on: bool,
    embeddings: f64,
    attention: f64,
    residual: f64,
    inner: f64,
    head: f64,
}

impl Dropouts {
    /// Of the sum of the embeddings; of the attention's probabilities; of what a layer adds to the stream;
    /// of what goes into the head of a classifier.
    pub(crate) fn new(embeddings: f64, attention: f64, residual: f64, head: f64) -> Self {
        Self { on: false, embeddings, attention, residual, inner: 0.0, head }
    }

    /// The same, and of what goes into a layer's last product.
    pub(crate) fn with_inner(self, inner: f64) -> Self {
        Self { inner, ..self }
    }

    /// The same, acting.
    #[must_use]
    pub fn switched_on(self) -> Self {
        Self { on: true, ..self }
    }

    /// After the embeddings.
    pub fn embeddings(&self) -> Dropout {
        self.at(self.embeddings)
    }

    /// On the attention's probabilities.
    pub fn attention(&self) -> Dropout {
        self.at(self.attention)
    }

    /// On what a layer adds to the stream.
    pub fn residual(&self) -> Dropout {
        self.at(self.residual)
    }

    /// On what goes into a layer's last product.
    pub fn inner(&self) -> Dropout {
        self.at(self.inner)
    }

    /// On what goes into a classifier's head.
    pub fn head(&self) -> Dropout {
        self.at(self.head)
    }

    fn at(&self, probability: f64) -> Dropout {
        Dropout(if self.on { probability } else { 0.0 })
    }
}

/// One place where a model drops, by the probability that an element becomes zero; 0 does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropout(f64);

impl Dropout {
    /// Whether anything is ever dropped here.
    pub fn is_on(self) -> bool {
        self.0 > 0.0
    }

    /// Whether elements of `x` are dropped.
    pub(crate) fn acts_on<const D: usize>(self, x: &Tensor<D>) -> bool {
        self.is_on() && x.device().is_autodiff()
    }

    /// `x` with elements zeroed at random and the others divided by the probability that they stay, so that
    /// the expectation is `x`.
    ///
    /// # Shapes
    ///
    /// - x: any, and the output alike
    pub(crate) fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        if !self.acts_on(&x) {
            return x;
        }
        let mask = dropout_mask(&x, self.0);
        x * mask
    }
}
