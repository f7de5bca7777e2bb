//! DoRA (arXiv 2402.09353): direction and magnitude of each column of the weight, learned apart.
//!
//! ```text
//! V  = W + scale · A B                        [d_in, d_out]
//! W' = V ∘ g      g = m / ‖V‖                 m and ‖V‖, of each column: [d_out]
//! ```
//!
//! The norm is a constant of the step: no gradient passes through it (section 4.3). It is computed
//! without forming `V`, column by column from
//!
//! ```text
//! ‖V‖² = ‖W‖² + 2 scale · Σ_rank (Aᵀ W) ∘ B + scale² · Σ_rank (Aᵀ A B) ∘ B
//! ```
//!
//! where `‖W‖²` is computed once and `Aᵀ W`, `[rank, d_out]`, is a product that the frozen weight is
//! asked for. So a training step makes nothing of the shape of `W`, where PEFT forms `A B`.
//!
//! With dropout the columns that are scaled see the dropped input `x_d`, as in PEFT, the rest of the
//! base's output the whole one: `y = (x − x_d) W + g ∘ (x_d W + scale · x_d A B)`.
//!
//! Where the factors started in a part of the weight ([`Initial`]), `V` is `W + scale · (A B − A₀ B₀)`: the product of
//! `[A A₀]` and `[B; −B₀]` in the place of A and B.
//!
//! On a convolution a column is all that one output sees of its windows. With groups the norm is the one that PEFT takes
//! (`groups.rs`), which is not that of `V`: magnitudes are trained beside it, here and there.
//!
//! Left out: a cache of `g` for inference. It costs a product of `rank` rows in every pass: merge the
//! adapter before long texts are written token by token.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::lora::{self, A, B, low_rank_rows, plus};
use super::{
    Adaptation, Factor, Given, Initial, Input, Products, Rows, Sizes, Strength, Windows, groups,
};
use crate::{AdapterConfig, FrozenWeight, LoraError, init, lora_linear, product};

/// The magnitudes `m`, `[d_out]`. PEFT saves them without the `.weight` of the parameter.
pub(super) const MAGNITUDE: Factor = Factor {
    name: "magnitude",
    key: "lora_magnitude_vector",
    table_key: "lora_magnitude_vector",
    trained: true,
    lora_plus: true,
    shape: |sizes| vec![sizes.d_out],
};

/// Two factors whose product turns the columns, and the lengths of the columns.
#[derive(Module, Debug)]
pub(crate) struct Dora {
    /// `[d_in, rank]`.
    a: Param<Tensor<2>>,
    /// `[rank, d_out]`.
    b: Param<Tensor<2>>,
    /// `[d_out]`; starts at the norms of the weight's columns.
    magnitude: Param<Tensor<1>>,
    /// `‖W‖²` of each column, `[d_out]`. A plain tensor, not a parameter: it follows from the weight.
    squares: Tensor<1>,
    initial: Option<Initial>,
}

impl Dora {
    /// `x V`, `x: [rows, d_in]`.
    fn turned(&self, x: Tensor<2>, weight: FrozenWeight, scale: f64) -> Tensor<2> {
        let taken = self.taken(&x, scale);
        plus(lora_linear(x, weight, self.a.val(), self.b.val(), scale, None), taken)
    }

    /// `−scale · x A₀ B₀`, where the factors started in a part of the weight. `x: [rows, d_in]`.
    fn taken(&self, x: &Tensor<2>, scale: f64) -> Option<Tensor<2>> {
        self.initial.as_ref().map(|initial| initial.taken(x.clone(), scale))
    }

    /// `g` for the frozen weight, `[1, d_out]`: a function of the magnitudes alone to a gradient.
    fn gain(&self, weight: &FrozenWeight, scale: f64) -> Tensor<2> {
        let (mut a, mut b) = (constant(self.a.val()), constant(self.b.val()));
        if let Some(initial) = &self.initial {
            (a, b) = (initial.beside_a(a), initial.below_b(b));
        }
        let [cross, own] = match groups::of(&self.a, &self.b) {
            1 => {
                let a_t = a.clone().transpose();
                let cross = (weight.multiply(a_t.clone()) * b.clone()).sum_dim(0);
                [cross, (product(product(a_t, a), b.clone()) * b).sum_dim(0)]
            }
            _ => groups::pefts_terms(weight.dense(), a, b),
        };
        let squares = self.squares.clone().unsqueeze::<2>()
            + cross.mul_scalar(2.0 * scale)
            + own.mul_scalar(scale * scale);
        // A column of zeros has no direction: its gain is large, but what it scales is zero.
        let norms = squares.clamp_min(f32::MIN_POSITIVE).sqrt();
        self.magnitude.val().unsqueeze::<2>() / norms
    }
}

/// The tensor's values, which no gradient reaches: `detach` alone makes a new leaf of a tracked one.
fn constant<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.detach().set_require_grad(false)
}

/// `‖W‖²` of each column, `[d_out]`.
fn squares(weight: &Param<Tensor<2>>) -> Tensor<1> {
    FrozenWeight::from(constant(weight.base())).column_norms_squared()
}

impl Adaptation for Dora {
    const FACTORS: &'static [Factor] = &[A, B, MAGNITUDE];
    const SWITCH: Option<&'static str> = Some("use_dora");
    const SUBTRACTS: bool = true;
    const EMBEDS: bool = true;
    const CONVOLVES: bool = true;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let init::Start { a, b, initial } = init::factors(config, weight, seed)?;
        let squares = squares(weight);
        Ok(Self {
            a: Param::from_tensor(a),
            b: Param::from_tensor(b),
            magnitude: Param::from_tensor(squares.clone().sqrt()),
            squares,
            initial,
        })
    }

    fn given(values: &mut Given<'_>, weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        Ok(Self {
            a: values.param("a")?,
            b: values.param("b")?,
            magnitude: values.param("magnitude")?,
            squares: squares(weight),
            initial: None,
        })
    }

    fn sizes(&self) -> Sizes {
        lora::sizes(&self.a, &self.b)
    }

    fn initial(&self) -> Option<&Initial> {
        self.initial.as_ref()
    }

    fn with_initial(self, initial: Initial) -> Self {
        Self { initial: Some(initial), ..self }
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        // The low-rank activation, the output before it is scaled; the dropped input and its mask.
        sizes.rank + sizes.d_out + if dropout { 2 * sizes.d_in } else { 0 }
    }

    fn products(sizes: Sizes) -> Products {
        let Sizes { d_in, d_out, rank, .. } = sizes;
        // The norms: Aᵀ W, Aᵀ A and that times B.
        let once = rank * d_in * d_out + rank * rank * (d_in + d_out);
        Products { once, ..lora::products(sizes) }
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        if strength.multiplier != 1.0 {
            return input.weight.multiply(input.x.clone()) + self.branch(input, strength);
        }
        let gain = self.gain(&input.weight, strength.scale);
        let dropped = input.dropped();
        let turned = self.turned(dropped.clone(), input.weight.clone(), strength.scale) * gain;
        match input.mask {
            Some(_) => {
                let rest = input.x - dropped;
                let taken = self.taken(&rest, strength.scale);
                turned + plus(input.weight.multiply(rest), taken)
            }
            None => turned,
        }
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        let gain = self.gain(&input.weight, strength.scale);
        let dropped = input.dropped();
        let turned = self.turned(dropped.clone(), input.weight.clone(), strength.scale) * gain;
        (turned - input.weight.multiply(dropped)).mul_scalar(strength.multiplier)
    }

    fn change_rows(&self, rows: &Rows, strength: Strength) -> Tensor<2> {
        let low = low_rank_rows(&self.a, &self.b, rows, strength.scale);
        let turned = (rows.base.clone() + low) * self.gain(&rows.table, strength.scale);
        (turned - rows.base.clone()).mul_scalar(strength.multiplier)
    }

    fn convolve<const D: usize>(&self, input: &Windows<'_, D>, strength: Strength) -> Tensor<D> {
        let gain = input.beside_outputs(self.gain(&input.weight(), strength.scale));
        let low = input.low_rank(self.a.val(), self.b.val(), strength.scale);
        let change = gain.clone().sub_scalar(1.0) * input.base_of_dropped() + gain * low;
        change.mul_scalar(strength.multiplier)
    }

    fn change(&self, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        let own = groups::joined(self.a.val(), self.b.val());
        let own = plus(own, self.initial.as_ref().map(Initial::change));
        let frozen = FrozenWeight::from(constant(weight.clone()));
        let weight = groups::over_all(weight, own.dims()[0]);
        let turned = own.mul_scalar(strength.scale) + weight.clone();
        let turned = turned * self.gain(&frozen, strength.scale);
        (turned - weight).mul_scalar(strength.multiplier)
    }
}

#[cfg(test)]
mod tests;
