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
        let (a, b) = (parts.right(rank, |_| 1.0), parts.left(rank, |value| value));
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
