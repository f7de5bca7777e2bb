//! Head and cross-entropy, a chunk of rows at a time.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora::{FlexWeight, Frozen};
use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use burn_lora_kernels::vector::{exp_sum, max, scale};
use burn_lora_kernels::vectorised;
use burn_lora_kernels::{Floats, rows};

use super::attention::cap_all;
use crate::fused::{HeadGrads, HeadLayout, WeightGrad, rows_at_once};

/// The head's weight, ready to be multiplied with.
pub(super) struct Head {
    weight: FlexWeight,
    layout: HeadLayout,
    /// The size that no logit exceeds.
    cap: Option<f32>,
}

impl Head {
    /// None of a weight that the kernels do not read.
    pub(super) fn new(weight: &Frozen<Flex>, layout: HeadLayout, cap: Option<f64>) -> Option<Self> {
        Some(Self { weight: FlexWeight::new(weight)?, layout, cap: cap.map(|cap| cap as f32) })
    }

    fn vocabulary(&self) -> usize {
        self.layout.vocabulary(self.weight.dims())
    }

    /// `logits = hidden weightᵀ`, capped, `[rows, vocabulary]`.
    fn logits(&self, logits: &mut [f32], hidden: MatRef<'_>, rows: usize) {
        let into = MatMut::dense(logits, [rows, self.vocabulary()]);
        match self.layout {
            HeadLayout::Table => self.weight.multiply_transposed(into, Accumulate::Set, hidden),
            HeadLayout::Linear => self.weight.multiply(into, Accumulate::Set, hidden),
        }
        if let Some(cap) = self.cap {
            rows::share(logits, self.vocabulary(), |_, chunk| vectorised!(cap_all(chunk, cap)));
        }
    }

    /// The slopes of the cap at capped logits, alike; none without one.
    fn slopes(&self, logits: &[f32]) -> Vec<f32> {
        let Some(cap) = self.cap else { return Vec::new() };
        let slope = |logit: &f32| 1.0 - (logit / cap) * (logit / cap);
        logits.iter().map(slope).collect()
    }

    /// `dhidden = dlogits weight`.
    fn dhidden(&self, dhidden: MatMut<'_>, dlogits: MatRef<'_>) {
        match self.layout {
            HeadLayout::Table => self.weight.multiply(dhidden, Accumulate::Set, dlogits),
            HeadLayout::Linear => {
                self.weight.multiply_transposed(dhidden, Accumulate::Set, dlogits);
            }
        }
    }
}

/// Calls `f` with the first row, the logits less their largest as exponentials, the sum of those of each row, and, if
/// it is `sloped`, the slopes of the cap; gives the loss.
fn each_chunk(
    hidden: &Floats,
    head: &Head,
    targets: &[i32],
    sloped: bool,
    mut f: impl FnMut(usize, &mut [f32], &[f32], &[f32]),
) -> f32 {
    let (vocabulary, width) = (head.vocabulary(), hidden.dims()[1]);
    let size = rows_at_once(targets.len(), vocabulary);
    let mut logits = vec![0.0; size * vocabulary];
    let mut loss = 0.0_f64;
    for (index, targets) in targets.chunks(size).enumerate() {
        let (first, count) = (index * size, targets.len());
        let logits = &mut logits[..count * vocabulary];
        let rows = MatRef::dense(&hidden.values()[first * width..], [count, width]);
        head.logits(logits, rows, count);
        let slopes = if sloped { head.slopes(logits) } else { Vec::new() };
        // Per row: the score of the target, then the logarithm that it is measured against.
        let right: Vec<f32> = (logits.chunks_exact(vocabulary).zip(targets))
            .map(|(row, &target)| row[target as usize])
            .collect();
        let mut normed = vec![0.0; 2 * count];
        exponentials(logits, vocabulary, &mut normed);
        let sums: Vec<f32> = normed.chunks_exact(2).map(|pair| pair[1]).collect();
        loss += (right.iter().zip(normed.chunks_exact(2)))
            .map(|(right, pair)| f64::from(pair[1].ln() + pair[0] - right))
            .sum::<f64>();
        f(first, logits, &sums, &slopes);
    }
    loss as f32
}

/// Replaces each row by the exponentials of its values less the largest, and writes the largest and
/// the exponentials' sum to the row's pair in `normed`.
fn exponentials(logits: &mut [f32], vocabulary: usize, normed: &mut [f32]) {
    use rayon::prelude::*;
    logits.par_chunks_exact_mut(vocabulary).zip(normed.par_chunks_exact_mut(2)).for_each(
        |(row, pair)| {
            vectorised!({
                pair[0] = max(row);
                pair[1] = exp_sum(row, pair[0]);
            });
        },
    );
}

pub(super) fn forward(hidden: &Floats, head: &Head, targets: &[i32]) -> FloatTensor<Flex> {
    let loss = each_chunk(hidden, head, targets, false, |_, _, _, _| {});
    Floats::tensor(vec![loss], [1])
}

pub(super) fn backward(
    hidden: &Floats,
    head: &Head,
    targets: &[i32],
    weight_grad: bool,
) -> HeadGrads<Flex> {
    let (vocabulary, width) = (head.vocabulary(), hidden.dims()[1]);
    let mut dhidden = vec![0.0; targets.len() * width];
    let mut dweight = if weight_grad { vec![0.0; vocabulary * width] } else { Vec::new() };
    let loss = each_chunk(hidden, head, targets, true, |first, logits, sums, slopes| {
        let count = sums.len();
        rows::share(logits, vocabulary, |row, chunk| {
            for (index, logits) in chunk.chunks_exact_mut(vocabulary).enumerate() {
                vectorised!(scale(logits, 1.0 / sums[row + index]));
                logits[targets[first + row + index] as usize] -= 1.0;
                let slopes = slopes.get((row + index) * vocabulary..).unwrap_or_default();
                for (logit, slope) in logits.iter_mut().zip(slopes) {
                    *logit *= slope;
                }
            }
        });
        let dlogits = MatRef::dense(logits, [count, vocabulary]);
        let rows = &mut dhidden[first * width..][..count * width];
        head.dhidden(MatMut::dense(rows, [count, width]), dlogits);
        if weight_grad {
            product(
                MatMut::dense(&mut dweight, [vocabulary, width]),
                Accumulate::Add,
                dlogits.transposed(),
                MatRef::dense(&hidden.values()[first * width..], [count, width]),
                Threads::All,
            );
        }
    });
    HeadGrads {
        loss: Floats::tensor(vec![loss], [1]),
        hidden: Floats::tensor(dhidden, [targets.len(), width]),
        weight: match weight_grad {
            true => WeightGrad::Dense(Floats::tensor(dweight, [vocabulary, width])),
            false => WeightGrad::Skipped,
        },
    }
}
