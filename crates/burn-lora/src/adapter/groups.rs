//! Factors of a convolution with groups, where an output sees a part of the rank.
//!
//! Outputs and rank are dealt out to `g` groups in their order. B is held without the zeros between groups:
//!
//! ```text
//! A: [d_in, rank]     B: [rank / g, d_out]      column o of the change, o of group j:  A[:, part j] · B[:, o]
//! ```
//!
//! With one group that is `A B`. A sees either the channels of its own group, so that its rows are those of the weight and
//! the change is one of the weight; or the channels of all groups, as PEFT's A does. Its rows are then `g` times the
//! weight's, and the change is that of the convolution without groups that has zeros where the weight has nothing.

use burn::module::Param;
use burn::tensor::Tensor;

use crate::product;

/// How many groups these factors are of.
pub(super) fn of(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>) -> usize {
    number(a.dims(), b.dims())
}

fn number([_, rank]: [usize; 2], [part, _]: [usize; 2]) -> usize {
    (rank / part.max(1)).max(1)
}

/// What A and B change together, without a scale: `[rows of A, d_out]`.
pub(super) fn joined(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let ([rows, _], [_, d_out]) = (a.dims(), b.dims());
    match number(a.dims(), b.dims()) {
        1 => product(a, b),
        groups => {
            let parts = product(dealt(a, groups), dealt(b, groups));
            parts.swap_dims(0, 1).reshape([rows, d_out])
        }
    }
}

/// The columns of each group, `[groups, rows, columns / groups]`.
fn dealt(matrix: Tensor<2>, groups: usize) -> Tensor<3> {
    let [rows, columns] = matrix.dims();
    matrix.reshape([rows, groups, columns / groups]).swap_dims(0, 1)
}

/// The sum of two changes, or of a weight and a change: the one that sees the channels of one group gets zeros for those
/// of the others where the other one sees all.
pub(crate) fn sum(one: Tensor<2>, other: Tensor<2>) -> Tensor<2> {
    let rows = one.dims()[0].max(other.dims()[0]);
    over_all(one, rows) + over_all(other, rows)
}

/// A matrix over the channels of one group as one over those of all groups, `rows` of them, which may be as many.
pub(super) fn over_all(matrix: Tensor<2>, rows: usize) -> Tensor<2> {
    let [own, columns] = matrix.dims();
    if own == rows {
        return matrix;
    }
    let groups = rows / own;
    let device = matrix.device();
    // Group of the row, row in it, group of the column, column in it.
    let own_group = Tensor::<2>::eye(groups, &device).reshape([groups, 1, groups, 1]);
    let spread = matrix.reshape([1, own, groups, columns / groups]) * own_group;
    spread.reshape([rows, columns])
}

/// `Σ (V − W) ∘ W` and `Σ (V − W)²` of each column, both over the scale and `[1, d_out]`, of the `V` whose norms PEFT takes
/// for DoRA on a convolution with groups, `weight: [d_in, d_out]` of one group's channels.
///
/// PEFT multiplies the factors as if there were no groups and gives the product the shape of the weight: row `o` of what it
/// adds is row `o / g` of `B'  A'`, of which it takes the channels of group `o mod g`; row `q` of `B'` is the parts of rank
/// of the outputs from `q · g` on, one behind the other. That is not the change, but what a magnitude was trained beside, and
/// a gain for each output all the same; so the same is computed here, a group's channels at a time, and never `B' A'`.
pub(super) fn pefts_terms(weight: Tensor<2>, a: Tensor<2>, b: Tensor<2>) -> [Tensor<2>; 2] {
    let ([d_in, d_out], [_, rank]) = (weight.dims(), a.dims());
    let groups = number(a.dims(), b.dims());
    let each = d_out / groups;
    let a = over_all(a, groups * d_in).reshape([groups, d_in, rank]);
    let a_t = a.clone().swap_dims(1, 2);
    // Outputs o = q · g + m, by m.
    let weight = weight.transpose().reshape([each, groups, d_in]).permute([1, 2, 0]);
    let b = b.transpose().reshape([each, rank]).transpose();
    let b = b.unsqueeze::<3>().repeat_dim(0, groups);
    let cross = (product(a_t.clone(), weight) * b.clone()).sum_dim(1);
    let own = (product(product(a_t, a), b.clone()) * b).sum_dim(1);
    [cross, own].map(|terms| terms.reshape([groups, each]).transpose().reshape([1, d_out]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, TensorData};

    use super::*;

    fn values(tensor: Tensor<2>) -> Vec<f64> {
        tensor.into_data().as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect()
    }

    fn random(shape: [usize; 2]) -> Tensor<2> {
        let device = crate::device::parse(&super::super::test_device::name()).unwrap();
        Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
    }

    const GROUPS: usize = 3;
    const RANK: usize = 6;
    const D_IN: usize = 4;
    const D_OUT: usize = 9;

    /// Sums of two products of size 1 in f32.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn an_output_sees_the_part_of_the_rank_that_its_group_has() {
        let (part, each) = (RANK / GROUPS, D_OUT / GROUPS);
        for rows in [D_IN, GROUPS * D_IN] {
            let (a, b) = (random([rows, RANK]), random([part, D_OUT]));
            let found = values(joined(a.clone(), b.clone()));
            let (a, b) = (values(a), values(b));
            for row in 0..rows {
                for column in 0..D_OUT {
                    let of =
                        |k: usize| a[row * RANK + column / each * part + k] * b[k * D_OUT + column];
                    let expected: f64 = (0..part).map(of).sum();
                    assert!((found[row * D_OUT + column] - expected).abs() < TOLERANCE);
                }
            }
        }
    }

    #[test]
    fn what_one_group_sees_is_zero_for_the_others() {
        let own = random([D_IN, D_OUT]);
        let all = values(sum(own.clone(), Tensor::zeros([GROUPS * D_IN, D_OUT], &own.device())));
        let own = values(own);
        for row in 0..GROUPS * D_IN {
            for column in 0..D_OUT {
                let is_own = row / D_IN == column / (D_OUT / GROUPS);
                let expected = if is_own { own[row % D_IN * D_OUT + column] } else { 0.0 };
                assert_eq!(all[row * D_OUT + column], expected, "{row} {column}");
            }
        }
    }

    /// By PEFT's own views, in f64: `(B.view(-1, r) @ A.view(r, -1)).reshape(weight.shape)`.
    #[test]
    fn the_terms_of_norms_are_those_of_pefts_views() {
        for rows in [D_IN, GROUPS * D_IN] {
            let weight = random([D_IN, D_OUT]);
            let (a, b) = (random([rows, RANK]), random([RANK / GROUPS, D_OUT]));
            let [cross, own] = pefts_terms(weight.clone(), a.clone(), b.clone()).map(values);
            let device = a.device();
            let part = RANK / GROUPS;
            // A over all channels: where it sees one group's, the rank of that group has them.
            let all = match rows {
                D_IN => {
                    let of = values(a);
                    let spread = (0..GROUPS * D_IN * RANK).map(|at| {
                        let (row, k) = (at / RANK, at % RANK);
                        let is_own = row / D_IN == k / part;
                        if is_own { of[row % D_IN * RANK + k] as f32 } else { 0.0 }
                    });
                    let data = TensorData::new(spread.collect::<Vec<f32>>(), [GROUPS * D_IN, RANK]);
                    Tensor::<2>::from_data(data, &device)
                }
                _ => a,
            };
            // As PyTorch has them: A [r, all channels], B [d_out, r / g], the weight [d_out, channels of a group].
            let (a, b) = (values(all.transpose()), values(b.transpose()));
            let weight = values(weight.transpose());
            let columns = GROUPS * D_IN;
            let mut view = Vec::new();
            for q in 0..D_OUT / GROUPS {
                for column in 0..columns {
                    let of = |k: usize| b[q * RANK + k] * a[k * columns + column];
                    view.push((0..RANK).map(of).sum::<f64>());
                }
            }
            for output in 0..D_OUT {
                let at = output * D_IN..(output + 1) * D_IN;
                let (added, weight) = (&view[at.clone()], &weight[at]);
                let expected: f64 = added.iter().zip(weight).map(|(l, w)| l * w).sum();
                assert!((cross[output] - expected).abs() < 10.0 * TOLERANCE, "{output}");
                let expected: f64 = added.iter().map(|l| l * l).sum();
                assert!((own[output] - expected).abs() < 30.0 * TOLERANCE, "{output}");
            }
        }
    }
}
