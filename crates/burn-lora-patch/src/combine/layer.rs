//! One layer's factors of one layer's factors.

use burn_lora::decomposition::Parts;
use burn_lora_files::fnv;

use super::prune::{Draw, Pruned, elected, pruned, sum};
use super::{CombineOptions, CombineProblem, Of};

/// The factors of a layer: its change is `scale · B A`, `[d_out, d_in]`. Of a convolution `d_in` counts the inputs of one
/// output: channels times the kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// `[rank, d_in]`, row by row.
    pub a: Vec<f64>,
    /// `[d_out, rank]`, row by row.
    pub b: Vec<f64>,
    /// Rows of A and columns of B.
    pub rank: usize,
    /// Inputs.
    pub d_in: usize,
    /// Outputs.
    pub d_out: usize,
    /// What the product is multiplied with.
    pub scale: f64,
}

impl Factors {
    /// The singular values of the change and their vectors, without forming it; none where they are not found.
    pub fn parts(&self) -> Option<Parts> {
        let scaled: Vec<f64> = self.a.iter().map(|value| value * self.scale).collect();
        Parts::of_product(&self.b, &scaled, [self.d_out, self.rank, self.d_in])
    }

    /// The first `rank` parts of a change, with the scale 1: half of each singular value in either factor.
    pub fn halved(parts: &Parts, rank: usize, [d_out, d_in]: [usize; 2]) -> Self {
        let (a, b) = (parts.right(rank, f64::sqrt), parts.left(rank, f64::sqrt));
        Self { a, b, rank, d_in, d_out, scale: 1.0 }
    }

    /// The change, `[d_out, d_in]`, row by row.
    pub fn change(&self) -> Vec<f64> {
        let mut change = vec![0.0; self.d_out * self.d_in];
        for (row, b) in change.chunks_exact_mut(self.d_in).zip(self.b.chunks_exact(self.rank)) {
            for (a, b) in self.a.chunks_exact(self.d_in).zip(b) {
                let b = b * self.scale;
                row.iter_mut().zip(a).for_each(|(entry, a)| *entry += b * a);
            }
        }
        change
    }

    /// The same change with another scale, which is not 0: what this one has beyond it goes into B.
    pub fn with_scale(mut self, scale: f64) -> Self {
        if self.scale != scale {
            let rest = self.scale / scale;
            self.b.iter_mut().for_each(|value| *value *= rest);
            self.scale = scale;
        }
        self
    }

    /// The same change of a rank that is no smaller: zeros fill it up.
    pub(super) fn widened(mut self, rank: usize) -> Self {
        if rank > self.rank {
            self.a.resize(rank * self.d_in, 0.0);
            let mut b = Vec::with_capacity(self.d_out * rank);
            for row in self.b.chunks_exact(self.rank) {
                b.extend_from_slice(row);
                b.resize(b.len() + rank - row.len(), 0.0);
            }
            self.b = b;
            self.rank = rank;
        }
        self
    }
}

/// A layer, and those adapters' factors that have it, by the adapters' numbers.
pub(super) struct Layer<'a> {
    pub(super) path: &'a str,
    pub(super) parts: &'a [(usize, &'a Factors)],
}

impl Layer<'_> {
    /// One pair of factors with the scale 1; what is cut is cut to `rank`.
    pub(super) fn combined(
        &self,
        options: &CombineOptions,
        rank: usize,
    ) -> Result<Factors, CombineProblem> {
        match options.combination.of() {
            Of::Ranks => Ok(self.beside(options)),
            Of::Factors => self.added(options),
            Of::Changes => self.cut(options, rank),
        }
    }

    fn weight(&self, options: &CombineOptions, at: usize) -> f64 {
        options.weights.get(at).copied().unwrap_or(0.0)
    }

    fn sizes(&self) -> [usize; 2] {
        self.parts.first().map_or([0, 0], |(_, factors)| [factors.d_out, factors.d_in])
    }

    /// All As, weighted, one below the other, and all Bs side by side.
    fn beside(&self, options: &CombineOptions) -> Factors {
        let [d_out, d_in] = self.sizes();
        let rank = self.parts.iter().map(|(_, factors)| factors.rank).sum();
        let (mut a, mut b) = (Vec::with_capacity(rank * d_in), Vec::with_capacity(d_out * rank));
        for (at, factors) in self.parts {
            let weight = self.weight(options, *at) * factors.scale;
            a.extend(factors.a.iter().map(|value| value * weight));
        }
        for row in 0..d_out {
            for (_, factors) in self.parts {
                b.extend_from_slice(&factors.b[row * factors.rank..][..factors.rank]);
            }
        }
        Factors { a, b, rank, d_in, d_out, scale: 1.0 }
    }

    /// As by themselves and Bs by themselves, each with the root of the weight, whose sign A has.
    fn added(&self, options: &CombineOptions) -> Result<Factors, CombineProblem> {
        let [d_out, d_in] = self.sizes();
        let ranks: Vec<usize> = self.parts.iter().map(|(_, factors)| factors.rank).collect();
        let rank = ranks.first().copied().unwrap_or(0);
        if ranks.iter().any(|other| *other != rank) {
            let (layer, combination) = (self.path.to_owned(), options.combination);
            return Err(CombineProblem::Ranks { layer, combination, ranks });
        }
        let weights =
            || self.parts.iter().map(|(at, factors)| self.weight(options, *at) * factors.scale);
        let root = |weight: f64| weight.abs().sqrt();
        let signed = |weight: f64| if weight >= 0.0 { root(weight) } else { -root(weight) };
        let values = |of: fn(&Factors) -> &Vec<f64>| {
            self.parts.iter().map(move |(at, factors)| (*at, of(factors).clone()))
        };
        let a: Vec<f64> = weights().map(signed).collect();
        let b: Vec<f64> = weights().map(root).collect();
        Ok(Factors {
            a: self.one(values(|factors| &factors.a), &a, "a", options),
            b: self.one(values(|factors| &factors.b), &b, "b", options),
            rank,
            d_in,
            d_out,
            scale: 1.0,
        })
    }

    /// The changes as one, cut to a rank.
    fn cut(&self, options: &CombineOptions, rank: usize) -> Result<Factors, CombineProblem> {
        let [d_out, d_in] = self.sizes();
        let parts = if options.combination.pruned() == Pruned::Whole {
            self.beside(options).parts()
        } else {
            let changes = self.parts.iter().map(|(at, factors)| (*at, factors.change()));
            let weights: Vec<f64> =
                self.parts.iter().map(|(at, _)| self.weight(options, *at)).collect();
            Parts::of(&self.one(changes, &weights, "change", options), [d_out, d_in])
        };
        let parts =
            parts.ok_or_else(|| CombineProblem::NoConvergence { layer: self.path.to_owned() })?;
        let (mut a, mut b) = (parts.right(rank, |_| 1.0), parts.left(rank, |value| value));
        if let Some(quantile) = options.svd_clamp {
            // Zeros fill up a layer with fewer parts than the rank: they are none of its entries.
            let own = rank.min(parts.singular().len());
            let of_b = b.chunks_exact(rank).flat_map(|row| &row[..own]);
            let entries = a[..own * d_in].iter().chain(of_b).copied().collect();
            let bound = of_sorted(entries, quantile);
            let clamp = |value: &mut f64| *value = value.max(-bound).min(bound);
            a.iter_mut().chain(&mut b).for_each(clamp);
        }
        Ok(Factors { a, b, rank, d_in, d_out, scale: 1.0 })
    }

    /// One tensor of one of each adapter.
    fn one(
        &self,
        tensors: impl Iterator<Item = (usize, Vec<f64>)>,
        weights: &[f64],
        name: &str,
        options: &CombineOptions,
    ) -> Vec<f64> {
        let (how, density) = (options.combination.pruned(), options.density.unwrap_or(1.0));
        let tensors: Vec<Vec<f64>> = tensors
            .map(|(at, values)| {
                let place = fnv::hash(&format!("{}.{name}.{at}", self.path));
                pruned(values, how, density, &mut Draw::of(options.seed ^ place))
            })
            .collect();
        match options.combination.elects() {
            true => elected(&tensors, weights, options.majority_sign),
            false => sum(&tensors, weights),
        }
    }
}

/// The quantile of these entries, between two of them in proportion, as `torch.quantile`; 0 of none.
fn of_sorted(mut entries: Vec<f64>, quantile: f64) -> f64 {
    entries.sort_unstable_by(f64::total_cmp);
    let Some(last) = entries.len().checked_sub(1) else { return 0.0 };
    let at = quantile * last as f64;
    let below = entries[(at.floor() as usize).min(last)];
    let above = entries[(at.ceil() as usize).min(last)];
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::super::{Combination, MajoritySign};
    use super::*;

    const D_OUT: usize = 4;
    const D_IN: usize = 5;
    const RANK: usize = 2;
    const WEIGHTS: [f64; 2] = [0.7, -0.4];
    const DENSITY: f64 = 0.6;

    fn factors(seed: f64, scale: f64) -> Factors {
        let value = |at: usize| (12.9898 * (at + 1) as f64 + seed).sin();
        Factors {
            a: (0..RANK * D_IN).map(value).collect(),
            b: (0..D_OUT * RANK).map(|at| value(at + 50)).collect(),
            rank: RANK,
            d_in: D_IN,
            d_out: D_OUT,
            scale,
        }
    }

    fn combined(options: &CombineOptions) -> Factors {
        let (one, other) = (factors(0.3, 2.0), factors(1.9, 0.5));
        let parts = [(0, &one), (1, &other)];
        Layer { path: "l.q", parts: &parts }.combined(options, RANK).unwrap()
    }

    /// Which entries of a tensor of the adapter of that number are kept: what pruning leaves of ones.
    fn mask(name: &str, at: usize, count: usize, seed: u64) -> Vec<bool> {
        let place = fnv::hash(&format!("l.q.{name}.{at}"));
        let draw = &mut Draw::of(seed ^ place);
        let left = pruned(vec![1.0; count], Pruned::Drawn, DENSITY, draw);
        left.into_iter().map(|value| value != 0.0).collect()
    }

    /// `dare_linear` and `dare_ties` of these tensors under these masks, each value over the density.
    fn by_hand(
        tensors: [&[f64]; 2],
        masks: &[Vec<bool>; 2],
        weights: [f64; 2],
        ties: bool,
    ) -> Vec<f64> {
        (0..tensors[0].len())
            .map(|at| {
                let value = |i: usize| if masks[i][at] { tensors[i][at] / DENSITY } else { 0.0 };
                let (x, y) = (value(0), value(1));
                if !ties {
                    return weights[0] * x + weights[1] * y;
                }
                let positive = x + y >= 0.0;
                let agrees = |v: f64| v != 0.0 && (v > 0.0) == positive;
                let (mut sum, mut count) = (0.0, 0.0);
                for (v, weight) in [(x, weights[0]), (y, weights[1])] {
                    if agrees(v) {
                        sum += weight * v;
                        count += 1.0;
                    }
                }
                if count == 0.0 { 0.0 } else { sum / count }
            })
            .collect()
    }

    fn close(ours: &[f64], expected: &[f64], what: &str) {
        assert_eq!(ours.len(), expected.len(), "{what}");
        for (at, (one, other)) in ours.iter().zip(expected).enumerate() {
            assert!((one - other).abs() < 1e-12, "{what}, {at}: {one} {other}");
        }
    }

    /// Each factor by itself, over the density, with the root of its weight and scale.
    #[test]
    fn what_dare_draws_is_kept_over_the_density_and_nothing_else_is() {
        let (one, other) = (factors(0.3, 2.0), factors(1.9, 0.5));
        for (combination, ties) in [(Combination::DareLinear, false), (Combination::DareTies, true)]
        {
            for seed in [0, 7] {
                let options = CombineOptions::new(combination, WEIGHTS).with_density(DENSITY);
                let found = combined(&options.with_seed(seed));
                let masks = |name, count| [0, 1].map(|at| mask(name, at, count, seed));
                let scaled = [WEIGHTS[0] * one.scale, WEIGHTS[1] * other.scale];
                let signed = scaled.map(|weight| weight.signum() * weight.abs().sqrt());
                let roots = scaled.map(|weight| weight.abs().sqrt());
                let of_a = masks("a", RANK * D_IN);
                assert!(of_a.iter().flatten().any(|kept| *kept));
                assert!(of_a.iter().flatten().any(|kept| !*kept));
                let a = by_hand([&one.a, &other.a], &of_a, signed, ties);
                let b = by_hand([&one.b, &other.b], &masks("b", D_OUT * RANK), roots, ties);
                close(&found.a, &a, combination.name());
                close(&found.b, &b, combination.name());
            }
        }
    }

    /// Each change by itself, and the best of its rank of what comes out.
    #[test]
    fn what_dare_draws_of_changes_is_kept_over_the_density_and_then_cut() {
        let (one, other) = (factors(0.3, 2.0), factors(1.9, 0.5));
        for (combination, ties) in
            [(Combination::DareLinearSvd, false), (Combination::DareTiesSvd, true)]
        {
            let options = CombineOptions::new(combination, WEIGHTS)
                .with_density(DENSITY)
                .with_majority_sign(MajoritySign::Total)
                .with_seed(3);
            let found = combined(&options);
            let masks = [0, 1].map(|at| mask("change", at, D_OUT * D_IN, 3));
            let whole = by_hand([&one.change(), &other.change()], &masks, WEIGHTS, ties);
            let parts = Parts::of(&whole, [D_OUT, D_IN]).unwrap();
            let mut best = vec![0.0; D_OUT * D_IN];
            let (u, v) = (parts.left(RANK, |s| s), parts.right(RANK, |_| 1.0));
            for (at, entry) in best.iter_mut().enumerate() {
                let (row, column) = (at / D_IN, at % D_IN);
                *entry = (0..RANK).map(|k| u[row * RANK + k] * v[k * D_IN + column]).sum();
            }
            close(&found.change(), &best, combination.name());
        }
    }

    /// PEFT's `torch.quantile(torch.cat([U S, Vh]), clamp)`, and both between it and its opposite.
    #[test]
    fn what_is_cut_is_clamped_to_the_quantile_of_its_entries() {
        let plain = combined(&CombineOptions::new(Combination::Svd, WEIGHTS));
        let mut entries: Vec<f64> = plain.a.iter().chain(&plain.b).copied().collect();
        entries.sort_unstable_by(f64::total_cmp);
        // 18 entries: 0.9 of the way from the first to the last is 15.3.
        assert_eq!(entries.len(), 18);
        let bound = entries[15] + (entries[16] - entries[15]) * 0.3;
        let options = CombineOptions::new(Combination::Svd, WEIGHTS).with_svd_clamp(0.9);
        let clamped = combined(&options);
        let by_hand = |values: &[f64]| -> Vec<f64> {
            values.iter().map(|value| value.clamp(-bound, bound)).collect()
        };
        close(&clamped.a, &by_hand(&plain.a), "a");
        close(&clamped.b, &by_hand(&plain.b), "b");
        assert!(clamped.b != plain.b);

        // Of the rank 4 there are four parts, and of rank 6 no more: zeros are no entries.
        let (one, other) = (factors(0.3, 2.0), factors(1.9, 0.5));
        let parts = [(0, &one), (1, &other)];
        let layer = Layer { path: "l.q", parts: &parts };
        let [own, more] = [4, 6].map(|rank| layer.combined(&options, rank).unwrap());
        assert_eq!(more.a[..4 * D_IN], own.a[..]);

        let whole = combined(&CombineOptions::new(Combination::Svd, WEIGHTS).with_svd_clamp(1.0));
        let largest = entries[17];
        assert!(whole.b.iter().all(|value| value.abs() <= largest + 1e-15));
    }

    #[test]
    fn a_clamp_that_means_nothing_is_refused() {
        let told = |combination, clamp, adapters: usize| {
            let options = CombineOptions::new(combination, vec![1.0; adapters]);
            options.with_svd_clamp(clamp).checked(adapters).unwrap_err().to_string()
        };
        assert!(told(Combination::Svd, 0.3, 2).contains("svd_clamp is 0.3"));
        assert!(told(Combination::Svd, f64::NAN, 2).contains("from 0.5 to 1"));
        assert!(told(Combination::Cat, 0.9, 2).contains("cat cuts nothing"));
        assert!(told(Combination::Svd, 0.9, 1).contains("leave svd_clamp out"));
    }
}
