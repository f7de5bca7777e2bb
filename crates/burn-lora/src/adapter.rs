//! One named adapter of one linear layer, of any kind: its factors and what scales them.
//!
//! A kind of adapter is one file of this folder that implements [`Adaptation`], and one line of the
//! table in `kinds.rs`. Everything outside asks the protocol or the table ([`Method`]) and knows no
//! kind: what is trained, counted and planned, the names in files, the forward pass, the merged
//! weight. What several adapters on one weight are is said at [`Adapters`](crate::Adapters).

mod dora;
pub(crate) mod groups;
mod initial;
mod kinds;
mod lora;
mod lora_bias;
mod lora_fa;
mod miss;
mod tokens;
mod windows;

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Int, Tensor, TensorData};

use crate::op::LowRank;
use crate::{AdapterConfig, FrozenWeight, Kernel, LoraError, Stack, dropout_mask, init};
pub(crate) use initial::Initial;
use kinds::Factors;
pub use kinds::Method;
pub(crate) use windows::{Convolution, Windows, as_kernel};

/// What a kind of adapter says of itself.
///
/// # Shapes
///
/// - x: `[rows, d_in]`, weight: `[d_in, d_out]`, results of `forward` and `branch`: `[rows, d_out]`
pub(crate) trait Adaptation: Module {
    /// What it is made of, one for each parameter, in the order of the fields.
    const FACTORS: &'static [Factor];
    /// The `peft_type` of this kind's `adapter_config.json`.
    const PEFT_TYPE: &'static str = "LORA";
    /// The key of `adapter_config.json` that PEFT sets to `true` for this kind.
    const SWITCH: Option<&'static str>;
    /// Whether its change is multiplied by `alpha / rank`.
    const SCALED: bool = true;
    /// Whether a factor starts as [`Init`](crate::Init) says.
    const DRAWN: bool = true;
    /// Whether a training step keeps the layer's input for the backward pass.
    const KEEPS_INPUT: bool = true;
    /// Whether its factors can start in a part of the weight.
    const SUBTRACTS: bool = false;
    /// Whether it adapts embeddings too.
    const EMBEDS: bool = false;
    /// Whether it adapts convolutions too.
    const CONVOLVES: bool = false;
    /// Whether the groups of a convolution have each its part of the rank.
    const DEALT: bool = true;
    /// Whether it adapts parameters that are no layer's weight, too, and matrices that lie in one.
    const STACKS: bool = false;
    /// Whether its factors start as [`Init::default`](crate::Init::default) says and no other way.
    const DEFAULT_START: bool = false;
    /// Whether a head that is the table it hangs on computes with `W'`, too.
    const FOLLOWED: bool = false;
    /// Whether such a head does where it is asked to.
    const TIES: bool = false;
    /// Whether it adds to the layer's output beside `x W'` ([`shift`](Self::shift)).
    const SHIFTS: bool = false;

    /// Factors to start training from, for the weight given: `W' = W`.
    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError>;

    /// Factors of known values, for the weight given.
    fn given(values: &mut Given<'_>, weight: &Param<Tensor<2>>) -> Result<Self, LoraError>;

    /// The sizes that the factors have.
    fn sizes(&self) -> Sizes;

    /// What was taken out of the weight when the factors started in a part of it.
    fn initial(&self) -> Option<&Initial> {
        None
    }

    /// The same factors, started elsewhere. A kind that [`SUBTRACTS`](Self::SUBTRACTS) says how.
    fn with_initial(self, _initial: Initial) -> Self {
        self
    }

    /// Whether there can be one of these sizes, none of which is 0.
    fn fits(_sizes: Sizes) -> Result<(), LoraError> {
        Ok(())
    }

    /// The rank beyond which nothing more can be learned.
    fn useful_rank(sizes: Sizes) -> usize {
        sizes.d_in.min(sizes.d_out)
    }

    /// Values that a training step keeps for the backward pass, a row, beside the layer's input.
    fn kept(sizes: Sizes, dropout: bool) -> usize;

    /// The products beside the weight's own.
    fn products(sizes: Sizes) -> Products;

    /// `x (W + multiplier · (W' − W))`: one adapter alone.
    fn forward(&self, input: Input, strength: Strength) -> Tensor<2>;

    /// `multiplier · x (W' − W)`: what an adapter adds beside others.
    fn branch(&self, input: Input, strength: Strength) -> Tensor<2>;

    /// Two factors whose product, with a scale, is `multiplier · (W' − W)`, and all that it adds; none of a kind that is
    /// another thing.
    fn low_rank(&self, _strength: Strength) -> Option<LowRank> {
        None
    }

    /// `multiplier · (W' − W)` at rows of an embedding's table, `[n, d_out]`.
    fn change_rows(&self, rows: &Rows, strength: Strength) -> Tensor<2> {
        self.change(rows.table.dense(), strength).select(0, rows.ids.clone())
    }

    /// `multiplier · (W' − W)` on every window of a convolution's input, `[batch, d_out, positions..]`.
    fn convolve<const D: usize>(&self, input: &Windows<'_, D>, strength: Strength) -> Tensor<D> {
        input.convolve(self.change(input.weight().dense(), strength))
    }

    /// `multiplier · (W' − W)`, dense, for merging and for model code that knows no adapters.
    fn change(&self, weight: Tensor<2>, strength: Strength) -> Tensor<2>;

    /// [`change_rows`](Self::change_rows) on top of what others made of the rows.
    fn onto_rows(&self, sum: Tensor<2>, rows: &Rows, strength: Strength) -> Tensor<2> {
        sum + self.change_rows(rows, strength)
    }

    /// [`change`](Self::change) on top of what others made of the weight.
    fn onto(&self, sum: Tensor<2>, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        groups::sum(sum, self.change(weight, strength))
    }

    /// What others made of the logits of a head that is the table, `[rows, d_in]`, with its change of them, where it is
    /// [`FOLLOWED`](Self::FOLLOWED) or [`TIES`](Self::TIES).
    fn onto_logits(&self, sum: Tensor<2>, _head: &Head, _strength: Strength) -> Tensor<2> {
        sum
    }

    /// What it adds to the layer's output whatever the input, `[d_out]`, beside `x W'`.
    fn shift(&self, _strength: Strength) -> Option<Tensor<1>> {
        None
    }
}

/// One tensor of a kind of adapter.
#[derive(Debug)]
pub struct Factor {
    /// The name of its field, the last segment of its parameter's path.
    pub name: &'static str,
    /// What follows the layer's path in PEFT's files.
    pub key: &'static str,
    /// The same where the layer is an embedding; that of a linear layer of a kind that adapts no embeddings.
    pub table_key: &'static str,
    /// Whether it is trained; otherwise it stays as it was drawn.
    pub trained: bool,
    /// Whether LoRA+ (arXiv 2402.12354) trains it at the larger rate, as PEFT does: B and all vectors.
    pub lora_plus: bool,
    shape: fn(Sizes) -> Vec<usize>,
}

impl Factor {
    /// The shape as Burn stores it. PEFT's files have the dimensions the other way round.
    pub fn shape(&self, sizes: Sizes) -> Vec<usize> {
        (self.shape)(sizes)
    }
}

/// The sizes that the shapes of factors follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Input features of the layer.
    pub d_in: usize,
    /// Output features of the layer.
    pub d_out: usize,
    /// Columns of A and rows of B; rows of MiSS's block.
    pub rank: usize,
    /// Groups of a convolution, of which each has its part of the rank and of the outputs; 1 of all else.
    pub groups: usize,
}

/// Multiplications in the products that a kind of adapter makes beside those of the weight with the layer's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Products {
    /// Of a row, in a forward pass.
    pub forward: usize,
    /// Of a row, in a backward pass.
    pub backward: usize,
    /// Of a forward pass, whatever its rows.
    pub once: usize,
}

/// How much of an adapter is in force.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strength {
    /// `alpha / rank` or `alpha / √rank`, 1 of a kind without a scale: a part of the adapter.
    pub(crate) scale: f64,
    /// The share of the change at run time.
    pub(crate) multiplier: f64,
}

impl Strength {
    /// What a change is multiplied by in which the scale is a factor of the whole.
    fn total(self) -> f64 {
        self.scale * self.multiplier
    }
}

/// What a forward pass is made of.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// The layer's input, `[rows, d_in]`.
    pub(crate) x: Tensor<2>,
    /// The frozen weight, `[d_in, d_out]`.
    pub(crate) weight: FrozenWeight,
    /// Zeros where an element is dropped and `1 / (1 - p)` elsewhere, `[rows, d_in]`.
    pub(crate) mask: Option<Tensor<2>>,
}

impl Input {
    /// `x`, or what dropout leaves of it.
    pub(crate) fn dropped(&self) -> Tensor<2> {
        match self.mask.clone() {
            Some(mask) => self.x.clone() * mask,
            None => self.x.clone(),
        }
    }
}

/// Rows of an embedding's table that are looked up.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Their numbers, `[n]`.
    pub(crate) ids: Tensor<1, Int>,
    /// What the frozen table has there in f32, `[n, d_out]`.
    pub(crate) base: Tensor<2>,
    /// The frozen table, `[d_in, d_out]`.
    pub(crate) table: FrozenWeight,
}

/// A head that is an embedding's table.
#[derive(Debug)]
pub(crate) struct Head {
    /// What goes in, `[rows, d_out]`.
    pub(crate) hidden: Tensor<2>,
    /// Its product with the frozen table, `[rows, d_in]`.
    pub(crate) base: Tensor<2>,
}

/// Values of factors by name, each in Burn's layout.
pub(crate) struct Given<'a> {
    sizes: Sizes,
    weight: &'a Param<Tensor<2>>,
    factors: &'static [Factor],
    values: &'a mut dyn FnMut(&'static Factor) -> Vec<f32>,
}

impl Given<'_> {
    /// The factor of that name as a parameter.
    pub(crate) fn param<const D: usize>(
        &mut self,
        name: &str,
    ) -> Result<Param<Tensor<D>>, LoraError> {
        let unfit =
            |shape, count| LoraError::FactorValues { factor: name.to_owned(), shape, count };
        let Some(factor) = self.factors.iter().find(|factor| factor.name == name) else {
            return Err(unfit(Vec::new(), 0));
        };
        let (shape, values) = (factor.shape(self.sizes), (self.values)(factor));
        if shape.len() != D || shape.iter().product::<usize>() != values.len() {
            return Err(unfit(shape, values.len()));
        }
        let data = TensorData::new(values, shape);
        Ok(Param::from_tensor(Tensor::from_data(data, &self.weight.lazy_device())))
    }
}

/// The change of one weight: factors of some kind (LoRA, arXiv 2106.09685; DoRA, arXiv 2402.09353; MiSS,
/// arXiv 2409.15371; LoRA-FA, arXiv 2308.03303), and how much of them is in force.
///
/// Its parameters appear below it as `factors.<Kind>.<name>`.
#[derive(Module, Debug)]
pub struct Adapter {
    factors: Factors,
    name: String,
    scale: f64,
    multiplier: f64,
    dropout: f64,
    active: bool,
    /// Whether a head that is the table computes with what it makes of it, for it was asked to.
    tied: bool,
    /// Places of a convolution's window, over which a channel's inputs lie in A's rows; 1 of all else.
    places: usize,
    /// Matrices of a [`Stack`], each of which has the rank; 1 of all else.
    stacked: usize,
    #[module(skip)]
    note: Arc<str>,
}

impl Adapter {
    /// A fresh adapter of the kind `config.method` for `weight: [d_in, d_out]`, which it leaves as it
    /// is: factors as `config.init` says, what is drawn from a generator seeded with `seed` (of MiSS: its block zero).
    ///
    /// # Errors
    ///
    /// The first problem of `config`; a weight without inputs or outputs, or too small for the rank; a weight that the factors cannot start in.
    pub fn init(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        sizes(config, weight, None)?;
        Self::new(name, Factors::init(config, weight, seed)?, config.scale(), config.dropout)
    }

    /// A fresh adapter for `weight: [d_in, d_out]`, which it leaves as it is: A with these values, `[d_in, rank]` row by
    /// row, such as the directions in which the layer's inputs vary most, and B zero.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init); a kind without a factor A; a wrong number of values.
    pub fn init_along(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        a: Vec<f32>,
    ) -> Result<Self, LoraError> {
        let method = config.method;
        if !method.drawn() || method.starts_by_default() {
            return Err(LoraError::OtherStart { init: config.init, method });
        }
        let sizes = sizes(config, weight, None)?;
        let magnitudes = start_of_magnitudes(config, weight)?;
        Self::from_values(name, config, weight, |factor| match factor.name {
            name if name == lora::A.name => a.clone(),
            name if name == lora::B.name => vec![0.0; factor.shape(sizes).into_iter().product()],
            _ => magnitudes.clone(),
        })
    }

    /// A fresh adapter for an embedding's table, `[rows, d]`, which it leaves as it is: A zero and B drawn from a standard
    /// normal distribution, as PEFT's; the initialisations of linear layers mean nothing here, and there is no dropout.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init); a kind that adapts no embeddings, an initialisation that takes a part out of the weight.
    pub fn init_embedding(
        name: &str,
        config: &AdapterConfig,
        table: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let config = config.of_embedding()?;
        let Sizes { d_in, d_out, rank, .. } = sizes(&config, table, None)?;
        let norms = start_of_magnitudes(&config, table)?;
        Self::from_values(name, &config, table, |factor| match factor.name {
            name if name == lora::A.name => vec![0.0; d_in * rank],
            name if name == lora::B.name => init::standard_normal(rank * d_out, seed),
            _ => norms.clone(),
        })
    }

    /// As [`init_embedding`](Self::init_embedding), for a table that is the head too, which is to compute with what the adapter
    /// makes of the table ([`with_tied`](Self::with_tied)). B is drawn as factor A of the head's own adapter would be, as PEFT's
    /// is (`ensure_weight_tying`).
    ///
    /// # Errors
    ///
    /// As [`init_embedding`](Self::init_embedding); a kind whose change a head cannot follow.
    pub fn init_tied_embedding(
        name: &str,
        config: &AdapterConfig,
        table: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let of_table = config.of_embedding()?;
        config.method.check_ties()?;
        let sizes = sizes(&of_table, table, None)?;
        let Sizes { d_in, d_out, rank, .. } = sizes;
        let b = init::drawn_tied(config, Sizes { d_in: d_out, d_out: d_in, ..sizes }, seed)?;
        let adapter = Self::from_values(name, &of_table, table, |factor| match factor.name {
            name if name == lora::A.name => vec![0.0; d_in * rank],
            _ => b.clone(),
        })?;
        Ok(adapter.with_tied(true))
    }

    /// A fresh adapter for a convolution, which it leaves as it is: A drawn as `config.init` says and B zero, as PEFT's.
    /// `weight: [d_in, d_out]` is the weight as [`Kernel::of`] gives it with `kernel`.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init); a kind that adapts no convolutions, an initialisation of linear layers alone, a rank that
    /// the groups do not divide.
    pub fn init_convolution(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        kernel: &Kernel,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let config = config.of_convolution()?;
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        let sizes = sizes(&config, weight, Some(kernel))?;
        let a = init::drawn_a(&config, sizes, seed)?;
        let magnitudes = start_of_magnitudes(&config, weight)?;
        Self::of_values(name, &config, weight, Some(kernel), |factor| match factor.name {
            name if name == lora::A.name => a.clone(),
            name if name == dora::MAGNITUDE.name => magnitudes.clone(),
            _ => vec![0.0; factor.shape(sizes).into_iter().product()],
        })
    }

    /// An adapter as `config` describes it, for `weight: [d_in, d_out]`, with the values that
    /// `values` gives for each factor, in Burn's layout ([`Factor::shape`]).
    ///
    /// # Errors
    ///
    /// The first problem of `config`; a weight without inputs or outputs, or too small for the rank; a wrong number of values.
    pub fn from_values(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        values: impl FnMut(&'static Factor) -> Vec<f32>,
    ) -> Result<Self, LoraError> {
        Self::of_values(name, config, weight, None, values)
    }

    /// As [`from_values`](Self::from_values), for a convolution: `weight: [d_in, d_out]` is the weight as
    /// [`Kernel::of`] gives it with `kernel`.
    ///
    /// # Errors
    ///
    /// As [`from_values`](Self::from_values); a kind that adapts no convolutions, a rank that the groups do not divide.
    pub fn convolution_from_values(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        kernel: &Kernel,
        values: impl FnMut(&'static Factor) -> Vec<f32>,
    ) -> Result<Self, LoraError> {
        if !config.method.convolves() {
            return Err(LoraError::ConvolutionMethod { method: config.method });
        }
        Self::of_values(name, config, weight, Some(kernel), values)
    }

    /// A fresh adapter for matrices that lie in one parameter, which it leaves as they are: A drawn as `config.init` says
    /// and B zero, as PEFT's. `weight: [d_in, count · d_out]` is the parameter as [`Stack::param`] gives it.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init); a kind that adapts layers alone, an initialisation of linear layers alone, dropout.
    pub fn init_stack(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        stack: Stack,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let config = config.of_parameter()?;
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        let sizes = stack_sizes(&config, weight, stack)?;
        let a = init::drawn_a(&config, sizes, seed)?;
        Self::stack_from_values(name, &config, weight, stack, |factor| {
            match factor.name == lora::A.name {
                true => a.clone(),
                false => vec![0.0; factor.shape(sizes).into_iter().product()],
            }
        })
    }

    /// As [`from_values`](Self::from_values), for matrices that lie in one parameter: `weight: [d_in, count · d_out]` is the
    /// parameter as [`Stack::param`] gives it.
    ///
    /// # Errors
    ///
    /// As [`from_values`](Self::from_values); a kind that adapts layers alone, dropout.
    pub fn stack_from_values(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        stack: Stack,
        mut values: impl FnMut(&'static Factor) -> Vec<f32>,
    ) -> Result<Self, LoraError> {
        let config = config.of_parameter()?;
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        let mut given = Given {
            sizes: stack_sizes(&config, weight, stack)?,
            weight,
            factors: config.method.factors(),
            values: &mut values,
        };
        let factors = Factors::given(config.method, &mut given, weight)?;
        let adapter = Self::new(name, factors, config.scale(), config.dropout)?;
        Ok(Self { stacked: stack.count.max(1), ..adapter })
    }

    fn of_values(
        name: &str,
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        kernel: Option<&Kernel>,
        mut values: impl FnMut(&'static Factor) -> Vec<f32>,
    ) -> Result<Self, LoraError> {
        if let Err(mut problems) = config.validate() {
            return Err(problems.swap_remove(0));
        }
        let mut given = Given {
            sizes: sizes(config, weight, kernel)?,
            weight,
            factors: config.method.factors(),
            values: &mut values,
        };
        let factors = Factors::given(config.method, &mut given, weight)?;
        let adapter = Self::new(name, factors, config.scale(), config.dropout)?;
        Ok(Self { places: kernel.map_or(1, Kernel::places), ..adapter })
    }

    /// Rows of an embedding's `table: [rows, d]` that are trained, in their order, starting as the table has them.
    ///
    /// # Errors
    ///
    /// No row, one that the table has not, one twice.
    pub fn tokens(name: &str, ids: &[usize], table: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        let rows = Param::from_tensor(tokens::own_rows(ids, table)?);
        Self::new(name, Factors::Tokens(tokens::Tokens::of(ids, rows, table)?), 1.0, 0.0)
    }

    /// As [`tokens`](Self::tokens), of a head that is no table of tokens: outputs of `head: [d, outputs]`, whose rows they are in
    /// PyTorch.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    pub fn head_tokens(
        name: &str,
        ids: &[usize],
        head: &Param<Tensor<2>>,
    ) -> Result<Self, LoraError> {
        let rows = Param::from_tensor(tokens::own_columns(ids, head)?);
        Self::new(name, Factors::Tokens(tokens::Tokens::of_head(ids, rows, head)?), 1.0, 0.0)
    }

    /// Whether these tokens are rows of a table of `rows`, each named once.
    ///
    /// # Errors
    ///
    /// No token, one that the table has not, one twice.
    pub fn check_tokens(ids: &[usize], rows: usize) -> Result<(), LoraError> {
        tokens::check(ids, rows)
    }

    /// As [`tokens`](Self::tokens), starting at these values, in Burn's layout ([`Factor::shape`]).
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens); a wrong number of values.
    pub fn tokens_from_values(
        name: &str,
        ids: &[usize],
        table: &Param<Tensor<2>>,
        values: Vec<f32>,
    ) -> Result<Self, LoraError> {
        let shape = table.lazy_shape();
        let rows = Self::given_rows([shape[0], shape[1]], ids, table, values)?;
        Self::new(name, Factors::Tokens(tokens::Tokens::of(ids, rows, table)?), 1.0, 0.0)
    }

    /// As [`head_tokens`](Self::head_tokens), starting at these values, `[d, ids.len()]`.
    ///
    /// # Errors
    ///
    /// As [`head_tokens`](Self::head_tokens); a wrong number of values.
    pub fn head_tokens_from_values(
        name: &str,
        ids: &[usize],
        head: &Param<Tensor<2>>,
        values: Vec<f32>,
    ) -> Result<Self, LoraError> {
        let shape = head.lazy_shape();
        let rows = Self::given_rows([shape[1], shape[0]], ids, head, values)?;
        Self::new(name, Factors::Tokens(tokens::Tokens::of_head(ids, rows, head)?), 1.0, 0.0)
    }

    /// Rows of a table `[rows, d]` with these values, `[d, ids.len()]`.
    fn given_rows(
        [d_in, d_out]: [usize; 2],
        ids: &[usize],
        weight: &Param<Tensor<2>>,
        values: Vec<f32>,
    ) -> Result<Param<Tensor<2>>, LoraError> {
        let mut given = Given {
            sizes: Sizes { d_in, d_out, rank: ids.len(), groups: 1 },
            weight,
            factors: Method::Tokens.factors(),
            values: &mut |_| values.clone(),
        };
        given.param(tokens::ROWS.name)
    }

    /// A LoRA adapter with given factors, `a: [d_in, rank]` and `b: [rank, d_out]`, both trainable.
    ///
    /// # Errors
    ///
    /// Factors that do not agree on the rank, a rank of zero, a scale that is not finite, a dropout
    /// outside `[0, 1)`.
    pub fn from_factors(
        name: &str,
        a: Tensor<2>,
        b: Tensor<2>,
        scale: f64,
        dropout: f64,
    ) -> Result<Self, LoraError> {
        Self::new(name, Factors::Lora(lora::Lora::of(a, b)?), scale, dropout)
    }

    fn new(name: &str, factors: Factors, scale: f64, dropout: f64) -> Result<Self, LoraError> {
        if !scale.is_finite() {
            return Err(LoraError::Scale { scale });
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(LoraError::Dropout { dropout });
        }
        Ok(Self {
            factors,
            name: name.to_owned(),
            scale,
            multiplier: 1.0,
            dropout,
            active: true,
            tied: false,
            places: 1,
            stacked: 1,
            note: Arc::from(""),
        })
    }

    /// The name that tells this adapter from others on the same weight; PEFT's is `default`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of adapter.
    pub fn method(&self) -> Method {
        self.factors.method()
    }

    /// Whether a head that is the table which it hangs on computes with what it makes of the table: rows that are trained, and
    /// what [`with_tied`](Self::with_tied) says of others.
    pub fn is_tied(&self) -> bool {
        self.tied || self.method().is_followed()
    }

    /// Chooses whether a head that is the table which it hangs on computes with what it makes of the table (PEFT's
    /// `ensure_weight_tying`), or stays as it was. Nothing changes of a kind that cannot ([`Method::ties`]).
    pub fn with_tied(mut self, tied: bool) -> Self {
        self.tied = tied && self.method().ties();
        self
    }

    /// The numbers of the rows that it trains, where it is rows of an embedding ([`tokens`](Self::tokens)) or of a head.
    pub fn token_ids(&self) -> Option<&[usize]> {
        match &self.factors {
            Factors::Tokens(tokens) => Some(tokens.ids()),
            _ => None,
        }
    }

    /// What it adds to the layer's output whatever the input, `[d_out]` in f32, beside what it makes of the weight; none
    /// where it adds nothing, or is not in force.
    pub fn shift(&self) -> Option<Tensor<1>> {
        self.is_effective().then(|| self.factors.shift(self.strength())).flatten()
    }

    /// The number of columns of A, or of the rows that MiSS repeats; of a [`Stack`] of the columns that each of its matrices
    /// has.
    pub fn rank(&self) -> usize {
        self.factors.sizes().rank / self.stacked
    }

    /// What stands beside a factor along the rank, in Burn's layout, where the adapter is written for the untouched
    /// weight ([`AdapterConfig::written`]): `A₀` beside A and `−B₀` below B, so that `[A A₀]` and `[B; −B₀]` have the
    /// product `A B − A₀ B₀`. None where nothing was taken out of the weight, or of a factor that has no rank.
    pub fn beside(&self, factor: &Factor) -> Option<&Tensor<2>> {
        self.factors.initial()?.part(factor)
    }

    /// The same adapter with other values in the place of what [`beside`](Self::beside) gives, of the same shapes.
    /// Nothing changes of one that has nothing there.
    pub fn with_beside(self, change: impl FnMut(&'static Factor, Tensor<2>) -> Tensor<2>) -> Self {
        let Some(initial) = self.factors.initial().cloned() else { return self };
        Self { factors: self.factors.with_initial(initial.with_parts(change)), ..self }
    }

    /// Whether its factors started in a part of the weight.
    pub fn is_moved(&self) -> bool {
        self.factors.initial().is_some()
    }

    /// The rank that it is written with: twice its own where it [is moved](Self::is_moved).
    pub fn written_rank(&self) -> usize {
        if self.is_moved() { 2 * self.rank() } else { self.rank() }
    }

    /// How many groups of a convolution it deals its rank out to; 1 of all else.
    pub fn groups(&self) -> usize {
        self.factors.sizes().groups
    }

    /// The shape of the weight that the factors are for, `[d_in, d_out]`.
    pub fn weight_shape(&self) -> [usize; 2] {
        let Sizes { d_in, d_out, .. } = self.factors.sizes();
        [d_in, d_out]
    }

    /// `alpha / rank` or `alpha / √rank`, 1 of a kind without a scale; without the multiplier.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The share of the change that is in force: 0 gives the base model, 1 the adapter as trained.
    pub fn multiplier(&self) -> f64 {
        self.multiplier
    }

    /// The probability that an element of A's input is zeroed while training.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Whether the adapter takes part in the forward pass.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// The same factors with another run-time multiplier.
    pub fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The same factors, taking part in the forward pass or not.
    pub fn with_active(mut self, active: bool) -> Self {
        self.active = active;
        self
    }

    /// What [`with_note`](Self::with_note) put there; empty at first.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The same factors with a text that goes where they go. Nothing here reads it: it is for whoever
    /// makes an adapter to find again how it was made.
    pub fn with_note(mut self, note: Arc<str>) -> Self {
        self.note = note;
        self
    }

    /// The factor of that name ([`Factor::name`]), such as `"a"`, if this kind has one of so many
    /// dimensions.
    pub fn factor<const D: usize>(&self, name: &str) -> Option<Param<Tensor<D>>> {
        struct Find<'a, const D: usize> {
            name: &'a str,
            at: String,
            found: Option<Param<Tensor<D>>>,
        }
        impl<const D: usize> ModuleVisitor for Find<'_, D> {
            fn enter_module(&mut self, name: &str, _container_type: &str) {
                name.clone_into(&mut self.at);
            }

            fn visit_float<const E: usize>(&mut self, param: &Param<Tensor<E>>) {
                let param: &dyn std::any::Any = param;
                if self.at == self.name
                    && let Some(param) = param.downcast_ref::<Param<Tensor<D>>>()
                {
                    self.found = Some(param.clone());
                }
            }
        }
        let mut find = Find { name, at: String::new(), found: None };
        self.factors.visit(&mut find);
        find.found
    }

    /// Whether the adapter changes the output: active, with a multiplier other than zero.
    pub(crate) fn is_effective(&self) -> bool {
        self.active && self.multiplier != 0.0
    }

    /// `x W'`, `x: [rows, d_in]`, as if this adapter were alone on `weight`.
    pub(crate) fn forward(&self, x: Tensor<2>, weight: FrozenWeight) -> Tensor<2> {
        self.factors.forward(self.input(x, weight), self.strength())
    }

    /// What this adapter adds to the output beside others, `[rows, d_out]`.
    pub(crate) fn branch(&self, x: Tensor<2>, weight: FrozenWeight) -> Tensor<2> {
        self.factors.branch(self.input(x, weight), self.strength())
    }

    /// What [`branch`](Self::branch) gives for x is a product with these two; none where it is more, or elements of x are
    /// dropped.
    pub(crate) fn low_rank(&self, x: &Tensor<2>) -> Option<LowRank> {
        let dropped = self.dropout > 0.0 && x.device().is_autodiff();
        (!dropped).then(|| self.factored()).flatten()
    }

    /// Two factors whose product with x, or with what dropout leaves of it, is what [`branch`](Self::branch) gives; none where it is more.
    pub(crate) fn factored(&self) -> Option<LowRank> {
        self.factors.low_rank(self.strength())
    }

    /// Rows of an embedding's table, `[n, d_out]`, with what this adapter changes of them.
    pub(crate) fn onto_rows(&self, sum: Tensor<2>, rows: &Rows) -> Tensor<2> {
        self.factors.onto_rows(sum, rows, self.strength())
    }

    /// Whether a head that is the table which it hangs on computes with what it makes of it.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_effective() && self.is_tied()
    }

    /// What others made of the logits of a head that is the table, `[rows, d_in]`, with what this adapter changes.
    pub(crate) fn onto_logits(&self, sum: Tensor<2>, head: &Head) -> Tensor<2> {
        self.factors.onto_logits(sum, head, self.strength())
    }

    /// A dense weight with what this adapter changes of it, on top of what others made of it.
    pub(crate) fn onto(&self, sum: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        self.factors.onto(sum, weight, self.strength())
    }

    /// What this adapter adds to what a convolution gives for x, `[batch, d_out, positions..]`; the mask of x is drawn here.
    pub(crate) fn convolve<const D: usize>(&self, mut input: Windows<'_, D>) -> Tensor<D> {
        input.mask = self.mask(&input.x);
        self.factors.convolve(&input, self.strength())
    }

    /// The dense change of `weight`, `[d_in, d_out]`, both in f32; of a convolution with groups of more rows where factor A
    /// sees the channels of all groups, as PEFT's does.
    ///
    /// For merging only: training and inference through [`LoraForward`](crate::LoraForward) never
    /// form it.
    pub fn change(&self, weight: Tensor<2>) -> Tensor<2> {
        match self.is_effective() {
            true => self.factors.change(weight, self.strength()),
            false => weight.zeros_like(),
        }
    }

    /// [`onto`](Self::onto) in a forward pass of model code that knows no adapters. While training, rows
    /// of the change are dropped, which is dropout of A's input with one mask for all rows of the pass
    /// (arXiv 1512.05287, variational dropout). Of a convolution a channel is dropped in all places of its windows.
    pub(crate) fn dropped_onto(&self, sum: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let device = weight.device();
        if self.dropout == 0.0 || !device.is_autodiff() {
            return self.onto(sum, weight);
        }
        let change = self.change(weight);
        let [d_in, _] = change.dims();
        let channels = Tensor::<2>::empty([d_in / self.places, 1], &device);
        let mask = dropout_mask(&channels, self.dropout);
        let mask = mask.repeat_dim(1, self.places).reshape([d_in, 1]);
        let dropped = change * mask.clone();
        let change = match self.factors.initial() {
            // What the factors started from is a part of the base, of which nothing is dropped.
            Some(initial) => {
                let scale = self.scale * self.multiplier;
                dropped + initial.change().mul_scalar(scale) * mask.neg().add_scalar(1.0)
            }
            None => dropped,
        };
        groups::sum(sum, change)
    }

    fn strength(&self) -> Strength {
        Strength { scale: self.scale, multiplier: self.multiplier }
    }

    fn input(&self, x: Tensor<2>, weight: FrozenWeight) -> Input {
        let mask = self.mask(&x);
        Input { x, weight, mask }
    }

    /// Zeros where dropout takes an element of x while training.
    pub(crate) fn mask<const D: usize>(&self, x: &Tensor<D>) -> Option<Tensor<D>> {
        (self.dropout > 0.0 && x.device().is_autodiff()).then(|| dropout_mask(x, self.dropout))
    }
}

/// The sizes of an adapter of a weight, where there is anything to adapt.
fn sizes(
    config: &AdapterConfig,
    weight: &Param<Tensor<2>>,
    kernel: Option<&Kernel>,
) -> Result<Sizes, LoraError> {
    let shape = weight.lazy_shape();
    let ([d_in, d_out], rank) = ([shape[0], shape[1]], config.rank);
    let sizes = match kernel {
        Some(kernel) => kernel.sizes([d_in, d_out], rank),
        None => Sizes { d_in, d_out, rank, groups: 1 },
    };
    config.method.fits(sizes)?;
    Ok(sizes)
}

/// The values of a factor that starts so: A, B, or else magnitudes.
pub(crate) fn start_at(factor: &Factor, a: &[f32], b: &[f32], magnitudes: &[f32]) -> Vec<f32> {
    let values = match factor.name {
        name if name == lora::A.name => a,
        name if name == lora::B.name => b,
        _ => magnitudes,
    };
    values.to_vec()
}

/// The sizes of an adapter of matrices that lie in one parameter, where there is anything to adapt.
fn stack_sizes(
    config: &AdapterConfig,
    weight: &Param<Tensor<2>>,
    stack: Stack,
) -> Result<Sizes, LoraError> {
    let shape = weight.lazy_shape();
    let sizes = stack.sizes([shape[0], shape[1] / stack.count.max(1)], config.rank);
    config.method.fits(sizes)?;
    Ok(sizes)
}

/// What the magnitudes of a kind that has some start at: the norms of the weight's columns.
fn start_of_magnitudes(
    config: &AdapterConfig,
    weight: &Param<Tensor<2>>,
) -> Result<Vec<f32>, LoraError> {
    if config.method.factor(dora::MAGNITUDE.name).is_none() {
        return Ok(Vec::new());
    }
    let weight = weight.base().detach().set_require_grad(false);
    let norms = FrozenWeight::from(weight).column_norms_squared().sqrt();
    norms
        .try_into_vec_as::<f32>()
        .map_err(|error| LoraError::Unreadable { init: config.init, reason: error.to_string() })
}

/// What the kinds' tests compare with, and the device that they run on.
#[cfg(test)]
#[path = "../tests/reference/mod.rs"]
mod reference;
#[cfg(test)]
#[path = "../tests/test_device/mod.rs"]
mod test_device;
