//! LoRA (arXiv 2106.09685): `W' = W + scale · A B`, or `W + scale · (A B − A₀ B₀)` where it started in a part of the
//! weight ([`Initial`]).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{
    Adaptation, Factor, Given, Head, Initial, Input, Products, Rows, Sizes, Strength, Windows,
    groups,
};
use crate::op::LowRank;
use crate::{AdapterConfig, LoraError, init, lora_linear, product};

/// Factor A, `[d_in, rank]`.
pub(super) const A: Factor = Factor {
    name: "a",
    key: "lora_A.weight",
    table_key: "lora_embedding_A",
    trained: true,
    lora_plus: false,
    shape: |sizes| vec![sizes.d_in, sizes.rank],
};

/// Factor B, `[rank, d_out]`; of a convolution with groups without the zeros between them, `[rank / groups, d_out]`.
pub(super) const B: Factor = Factor {
    name: "b",
    key: "lora_B.weight",
    table_key: "lora_embedding_B",
    trained: true,
    lora_plus: true,
    shape: |sizes| vec![sizes.rank / sizes.groups.max(1), sizes.d_out],
};

/// Two factors whose product is added.
#[derive(Module, Debug)]
pub(crate) struct Lora {
    /// `[d_in, rank]`.
    a: Param<Tensor<2>>,
    /// `[rank / groups, d_out]`.
    b: Param<Tensor<2>>,
    initial: Option<Initial>,
}

impl Lora {
    /// These factors.
    pub(super) fn of(a: Tensor<2>, b: Tensor<2>) -> Result<Self, LoraError> {
        let (shape_a, shape_b) = (a.dims(), b.dims());
        if shape_a[1] != shape_b[0] {
            return Err(LoraError::FactorShapes { a: shape_a, b: shape_b });
        }
        if shape_a[1] == 0 {
            return Err(LoraError::Rank { rank: 0 });
        }
        Ok(Self { a: Param::from_tensor(a), b: Param::from_tensor(b), initial: None })
    }

    /// What is taken off again where training started in a part of the weight: of the input as it came, for dropout
    /// is no part of it.
    fn taken(&self, input: &Input, strength: Strength) -> Option<Tensor<2>> {
        let scale = strength.total();
        self.initial.as_ref().map(|initial| initial.taken(input.x.clone(), scale))
    }
}

impl Adaptation for Lora {
    const FACTORS: &'static [Factor] = &[A, B];
    const SWITCH: Option<&'static str> = None;
    const SUBTRACTS: bool = true;
    const EMBEDS: bool = true;
    const CONVOLVES: bool = true;
    const TIES: bool = true;
    const STACKS: bool = true;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let init::Start { a, b, initial } = init::factors(config, weight, seed)?;
        Ok(Self { initial, ..Self::of(a, b)? })
    }

    fn given(values: &mut Given<'_>, _weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        Ok(Self { a: values.param("a")?, b: values.param("b")?, initial: None })
    }

    fn sizes(&self) -> Sizes {
        sizes(&self.a, &self.b)
    }

    fn initial(&self) -> Option<&Initial> {
        self.initial.as_ref()
    }

    fn with_initial(self, initial: Initial) -> Self {
        Self { initial: Some(initial), ..self }
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        kept(sizes, dropout)
    }

    fn products(sizes: Sizes) -> Products {
        products(sizes)
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        let taken = self.taken(&input, strength);
        plus(forward(&self.a, &self.b, input, strength), taken)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        let taken = self.taken(&input, strength);
        plus(branch(&self.a, &self.b, input, strength), taken)
    }

    fn low_rank(&self, strength: Strength) -> Option<LowRank> {
        self.initial.is_none().then(|| low_rank(&self.a, &self.b, strength))
    }

    fn change_rows(&self, rows: &Rows, strength: Strength) -> Tensor<2> {
        low_rank_rows(&self.a, &self.b, rows, strength.total())
    }

    fn onto_logits(&self, sum: Tensor<2>, head: &Head, strength: Strength) -> Tensor<2> {
        // The table's change, A B, the other way round.
        let low = product(head.hidden.clone(), self.b.val().transpose());
        sum + product(low.mul_scalar(strength.total()), self.a.val().transpose())
    }

    fn convolve<const D: usize>(&self, input: &Windows<'_, D>, strength: Strength) -> Tensor<D> {
        input.low_rank(self.a.val(), self.b.val(), strength.total())
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        let scale = strength.total();
        let taken = self.initial.as_ref().map(|initial| initial.change().mul_scalar(scale));
        plus(change(&self.a, &self.b, strength), taken)
    }
}

/// The sum, where there is something to add.
pub(super) fn plus(to: Tensor<2>, added: Option<Tensor<2>>) -> Tensor<2> {
    match added {
        Some(added) => to + added,
        None => to,
    }
}

/// `scale · A[ids] B`: rows of A alone are read, and their gradients are scattered into A's own, so that nothing of the
/// table's shape is made.
pub(super) fn low_rank_rows(
    a: &Param<Tensor<2>>,
    b: &Param<Tensor<2>>,
    rows: &Rows,
    scale: f64,
) -> Tensor<2> {
    let low = a.val().select(0, rows.ids.clone()).mul_scalar(scale);
    product(low, b.val())
}

// What follows from two factors whose product is added, whichever of them are trained.

pub(super) fn sizes(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>) -> Sizes {
    let ([d_in, rank], [_, d_out]) = (a.dims(), b.dims());
    Sizes { d_in, d_out, rank, groups: groups::of(a, b) }
}

pub(super) fn kept(sizes: Sizes, dropout: bool) -> usize {
    // The low-rank activation, and the mask of the input.
    sizes.rank + if dropout { sizes.d_in } else { 0 }
}

/// Of A and of B: the output; then the gradient of what goes in and that of the factor.
pub(super) fn products(Sizes { d_in, d_out, rank, groups }: Sizes) -> Products {
    let both = rank * (d_in + d_out / groups.max(1));
    Products { forward: both, backward: 2 * both, once: 0 }
}

pub(super) fn forward(
    a: &Param<Tensor<2>>,
    b: &Param<Tensor<2>>,
    input: Input,
    strength: Strength,
) -> Tensor<2> {
    let scale = strength.total();
    lora_linear(input.x, input.weight, a.val(), b.val(), scale, input.mask)
}

pub(super) fn branch(
    a: &Param<Tensor<2>>,
    b: &Param<Tensor<2>>,
    input: Input,
    strength: Strength,
) -> Tensor<2> {
    let scale = strength.total();
    let low = product(input.dropped(), a.val()).mul_scalar(scale);
    product(low, b.val())
}

pub(super) fn low_rank(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>, strength: Strength) -> LowRank {
    LowRank { a: a.val(), b: b.val(), scale: strength.total() }
}

pub(super) fn change(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>, strength: Strength) -> Tensor<2> {
    let scale = strength.total();
    groups::joined(a.val(), b.val()).mul_scalar(scale)
}
