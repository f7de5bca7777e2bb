//! A step of AdamW in one pass over a parameter, its gradient and its two moments.
//!
//! Decoupled weight decay (arXiv 1711.05101, algorithm 2), each operation in the order and the rounding of Burn's own optimiser, which
//! composes them of some fifteen passes: the results are the same to the bit.
//!
//! Left out: AMSGrad, cautious decay.

use rayon::prelude::*;

use crate::vectorised;

/// Elements below which a core is not worth waking.
const GRAIN: usize = 1 << 15;

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Decay rate of the first moment.
    pub beta_1: f32,
    /// Decay rate of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// The learning rate.
    pub rate: f32,
    /// What the parameter is multiplied by: `1 - learning rate · weight decay`.
    pub keep: f32,
    /// How many steps the moments hold, this one counted: from 1.
    pub time: usize,
}

impl AdamWStep {
    /// Takes the step in place.
    ///
    /// # Panics
    ///
    /// Where the four are not of one length.
    pub fn take(&self, parameter: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        let count = parameter.len();
        assert!(
            [grad.len(), first.len(), second.len()] == [count; 3],
            "a parameter, its gradient and its moments have one length"
        );
        parameter
            .par_chunks_mut(GRAIN)
            .zip(grad.par_chunks(GRAIN))
            .zip(first.par_chunks_mut(GRAIN).zip(second.par_chunks_mut(GRAIN)))
            .for_each(|((parameter, grad), (first, second))| {
                vectorised!(self.chunk(parameter, grad, first, second));
            });
    }

    #[inline(always)]
    fn chunk(&self, parameter: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32]) {
        let time = i32::try_from(self.time).unwrap_or(i32::MAX);
        let (rest_1, rest_2) = (1.0 - self.beta_1, 1.0 - self.beta_2);
        let (held_1, held_2) = (1.0 - self.beta_1.powi(time), 1.0 - self.beta_2.powi(time));
        let moments = first.iter_mut().zip(second);
        for ((p, &g), (m, v)) in parameter.iter_mut().zip(grad).zip(moments) {
            *m = *m * self.beta_1 + g * rest_1;
            *v = *v * self.beta_2 + g * g * rest_2;
            let change = (*m / held_1) / ((*v / held_2).sqrt() + self.epsilon);
            *p = *p * self.keep - change * self.rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps in float64, on lengths on both sides of a chunk.
    #[test]
    fn three_steps_are_those_of_the_paper_in_float64() {
        let (beta_1, beta_2, epsilon, rate, decay) = (0.9, 0.999, 1e-8, 1e-2, 0.1);
        for count in [1, 17, GRAIN + 3] {
            let start = |i: usize| (i % 13) as f64 / 7.0 - 0.8;
            let grad = |i: usize, step: i32| ((i % 11) as f64 - 5.0) / (4.0 + f64::from(step));
            let mut got: Vec<f32> = (0..count).map(|i| start(i) as f32).collect();
            let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
            for time in 1..=3 {
                let grads: Vec<f32> = (0..count).map(|i| grad(i, time) as f32).collect();
                let step = AdamWStep {
                    beta_1: beta_1 as f32,
                    beta_2: beta_2 as f32,
                    epsilon: epsilon as f32,
                    rate: rate as f32,
                    keep: (1.0 - rate * decay) as f32,
                    time: time as usize,
                };
                step.take(&mut got, &grads, &mut first, &mut second);
            }
            for (i, got) in got.iter().enumerate() {
                let (mut p, mut m, mut v) = (start(i), 0.0, 0.0);
                for time in 1..=3 {
                    let g = grad(i, time);
                    m = beta_1 * m + (1.0 - beta_1) * g;
                    v = beta_2 * v + (1.0 - beta_2) * g * g;
                    let (m, v) = (m / (1.0 - beta_1.powi(time)), v / (1.0 - beta_2.powi(time)));
                    p = p * (1.0 - rate * decay) - rate * m / (v.sqrt() + epsilon);
                }
                // 1 - beta_2 in f32 is off by 3e-8 of 1e-3; its root is of the change, a hundredth.
                assert!(
                    (f64::from(*got) - p).abs() < 1e-6,
                    "element {i} of {count}: {got}, not {p}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "one length")]
    fn other_lengths_are_refused() {
        let step =
            AdamWStep { beta_1: 0.9, beta_2: 0.9, epsilon: 0.0, rate: 1.0, keep: 1.0, time: 1 };
        step.take(&mut [0.0], &[0.0, 1.0], &mut [0.0], &mut [0.0]);
    }
}
