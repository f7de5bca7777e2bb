//! The table of kinds of adapter: one line each. All that depends on a kind is looked up here.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::dora::Dora;
use super::lora::Lora;
use super::lora_bias::LoraBias;
use super::lora_fa::LoraFa;
use super::miss::Miss;
use super::tokens::Tokens;
use super::{
    Adaptation, Factor, Given, Head, Initial, Input, Products, Rows, Sizes, Strength, Windows,
};
use crate::op::LowRank;
use crate::{AdapterConfig, LoraError};

macro_rules! kinds {
    ($($(#[$about:meta])* $Kind:ident = $word:literal, called $name:literal;)+) => {
        /// The kinds of adapter, by the words of configuration files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Method {
            $($(#[$about])* #[serde(rename = $word)] $Kind,)+
        }

        impl Method {
            /// All kinds, with the one that stands beside others alone.
            pub(crate) const EVERY: &'static [Self] = &[$(Self::$Kind),+];

            /// The word of configuration files.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Kind => $word,)+ }
            }

            /// What people call it.
            pub fn title(self) -> &'static str {
                match self { $(Self::$Kind => $name,)+ }
            }

            /// What it is made of, in the order of traversal.
            pub fn factors(self) -> &'static [Factor] {
                match self { $(Self::$Kind => <$Kind as Adaptation>::FACTORS,)+ }
            }

            /// The `peft_type` of PEFT's `adapter_config.json` for this kind.
            pub fn peft_type(self) -> &'static str {
                match self { $(Self::$Kind => <$Kind as Adaptation>::PEFT_TYPE,)+ }
            }

            /// The key of `adapter_config.json` that PEFT sets to `true` for this kind.
            pub fn switch(self) -> Option<&'static str> {
                match self { $(Self::$Kind => <$Kind as Adaptation>::SWITCH,)+ }
            }

            /// Whether its factors can start in a part of the weight ([`Init::moves_base`](crate::Init::moves_base)).
            pub fn subtracts(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::SUBTRACTS,)+ }
            }

            /// Whether it adapts embeddings too.
            pub fn embeds(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::EMBEDS,)+ }
            }

            /// Whether it adapts convolutions too.
            pub fn convolves(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::CONVOLVES,)+ }
            }

            /// Whether the groups of a convolution have each its part of the rank.
            fn is_dealt(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::DEALT,)+ }
            }

            /// Whether it adapts parameters that are no layer's weight, too, and matrices that lie in one
            /// ([`Stack`](crate::Stack)).
            pub fn stacks(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::STACKS,)+ }
            }

            /// Whether its factors start as [`Init::default`](crate::Init::default) says and no other way.
            pub fn starts_by_default(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::DEFAULT_START,)+ }
            }

            /// Whether a head that is the table which it hangs on computes with what it makes of it.
            pub fn is_followed(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::FOLLOWED,)+ }
            }

            /// Whether such a head does where it is asked to ([`Adapter::with_tied`](crate::Adapter::with_tied)).
            pub fn ties(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::TIES,)+ }
            }

            /// Whether it adds to a layer's output beside what it makes of the weight ([`Adapter::shift`](crate::Adapter::shift)).
            pub fn shifts(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::SHIFTS,)+ }
            }

            /// Whether its change is multiplied by a scale, so that alpha and rsLoRA mean something.
            pub fn scaled(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::SCALED,)+ }
            }

            /// Whether a factor is drawn at the start, so that [`Init`](crate::Init) means something.
            pub fn drawn(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::DRAWN,)+ }
            }

            /// Whether a training step keeps the layer's input for the backward pass.
            pub fn keeps_input(self) -> bool {
                match self { $(Self::$Kind => <$Kind as Adaptation>::KEEPS_INPUT,)+ }
            }

            /// What the kind itself says of these sizes, none of which is 0.
            fn has_room(self, sizes: Sizes) -> Result<(), LoraError> {
                match self { $(Self::$Kind => <$Kind as Adaptation>::fits(sizes),)+ }
            }

            /// The rank beyond which an adapter of these sizes can learn nothing more.
            pub fn useful_rank(self, sizes: Sizes) -> usize {
                match self { $(Self::$Kind => <$Kind as Adaptation>::useful_rank(sizes),)+ }
            }

            /// Values that a training step keeps for the backward pass, for each row of the layer's
            /// input and beside that input itself.
            pub fn kept(self, sizes: Sizes, dropout: bool) -> usize {
                match self { $(Self::$Kind => <$Kind as Adaptation>::kept(sizes, dropout),)+ }
            }

            /// The products that a training step makes for it beside the weight's own.
            pub fn products(self, sizes: Sizes) -> Products {
                match self { $(Self::$Kind => <$Kind as Adaptation>::products(sizes),)+ }
            }

            /// The segment that stands for this kind in the paths of its parameters.
            pub(crate) fn segment(self) -> &'static str {
                match self { $(Self::$Kind => stringify!($Kind),)+ }
            }
        }

        /// The factors of an adapter of any kind.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant, reason = "one an adapted layer")]
        pub(crate) enum Factors {
            $(
                #[doc = $word]
                $Kind($Kind),
            )+
        }

        impl Factors {
            pub(super) fn init(
                config: &AdapterConfig,
                weight: &Param<Tensor<2>>,
                seed: u64,
            ) -> Result<Self, LoraError> {
                match config.method {
                    $(Method::$Kind => $Kind::init(config, weight, seed).map(Self::$Kind),)+
                }
            }

            pub(super) fn given(
                method: Method,
                values: &mut Given<'_>,
                weight: &Param<Tensor<2>>,
            ) -> Result<Self, LoraError> {
                match method {
                    $(Method::$Kind => $Kind::given(values, weight).map(Self::$Kind),)+
                }
            }

            pub(super) fn method(&self) -> Method {
                match self { $(Self::$Kind(_) => Method::$Kind,)+ }
            }

            pub(super) fn sizes(&self) -> Sizes {
                match self { $(Self::$Kind(factors) => factors.sizes(),)+ }
            }

            pub(super) fn initial(&self) -> Option<&Initial> {
                match self { $(Self::$Kind(factors) => factors.initial(),)+ }
            }

            pub(super) fn with_initial(self, initial: Initial) -> Self {
                match self { $(Self::$Kind(factors) => Self::$Kind(factors.with_initial(initial)),)+ }
            }

            pub(super) fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.forward(input, strength),)+ }
            }

            pub(super) fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.branch(input, strength),)+ }
            }

            pub(super) fn low_rank(&self, strength: Strength) -> Option<LowRank> {
                match self { $(Self::$Kind(factors) => factors.low_rank(strength),)+ }
            }

            pub(super) fn onto_rows(&self, sum: Tensor<2>, rows: &Rows, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.onto_rows(sum, rows, strength),)+ }
            }

            pub(super) fn onto(&self, sum: Tensor<2>, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.onto(sum, weight, strength),)+ }
            }

            pub(super) fn onto_logits(&self, sum: Tensor<2>, head: &Head, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.onto_logits(sum, head, strength),)+ }
            }

            pub(super) fn shift(&self, strength: Strength) -> Option<Tensor<1>> {
                match self { $(Self::$Kind(factors) => factors.shift(strength),)+ }
            }

            pub(super) fn convolve<const D: usize>(
                &self,
                input: &Windows<'_, D>,
                strength: Strength,
            ) -> Tensor<D> {
                match self { $(Self::$Kind(factors) => factors.convolve(input, strength),)+ }
            }

            pub(super) fn change(&self, weight: Tensor<2>, strength: Strength) -> Tensor<2> {
                match self { $(Self::$Kind(factors) => factors.change(weight, strength),)+ }
            }
        }
    };
}

kinds! {
    /// Low-rank adaptation: `W' = W + scale · A B` (arXiv 2106.09685).
    #[default]
    Lora = "lora", called "LoRA";
    /// Weight-decomposed: the columns of `W + scale · A B`, each with a magnitude of its own
    /// (arXiv 2402.09353).
    Dora = "dora", called "DoRA";
    /// One block of rows that all stretches of the inputs share: `W' = W + R D` (arXiv 2409.15371).
    Miss = "miss", called "MiSS";
    /// LoRA whose factor A is frozen, so that no input is kept while training (arXiv 2308.03303).
    LoraFa = "lora-fa", called "LoRA-FA";
    /// LoRA whose factor B has a bias, which is added to the output (PEFT's `lora_bias`).
    LoraBias = "lora-bias", called "biased LoRA";
    /// Rows of an embedding's table that are trained (PEFT's `trainable_token_indices`): beside another kind, and none of
    /// [`ALL`](Method::ALL) ([`Adapter::tokens`](crate::Adapter::tokens)).
    #[serde(skip_deserializing)]
    Tokens = "tokens", called "trained tokens";
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Method {
    /// All kinds that can be chosen.
    pub const ALL: &'static [Self] = match Self::EVERY.split_last() {
        // The last stands beside others.
        Some((_, all)) => all,
        None => &[],
    };

    /// That a head that is the table which it hangs on can compute with what it makes of it.
    ///
    /// # Errors
    ///
    /// A kind whose change of the table is none of the head.
    pub fn check_ties(self) -> Result<(), LoraError> {
        if self.ties() { Ok(()) } else { Err(LoraError::TiedMethod { method: self }) }
    }

    /// The factor of that name.
    pub fn factor(self, name: &str) -> Option<&'static Factor> {
        self.factors().iter().find(|factor| factor.name == name)
    }

    /// Whether an adapter of these sizes can be.
    ///
    /// # Errors
    ///
    /// A weight without inputs or outputs; a rank that this kind cannot have there, or that the groups do not divide.
    pub fn fits(self, sizes: Sizes) -> Result<(), LoraError> {
        match sizes {
            Sizes { d_in, d_out, .. } if d_in == 0 || d_out == 0 => {
                Err(LoraError::Weight { d_in, d_out })
            }
            Sizes { rank, groups, .. }
                if self.is_dealt() && !rank.is_multiple_of(groups.max(1)) =>
            {
                Err(LoraError::Groups { rank, groups })
            }
            sizes => self.has_room(sizes),
        }
    }

    /// Whether PEFT's files hold it as LoRA, with whatever LoRA's configuration has beside the kind.
    pub fn is_of_lora(self) -> bool {
        self.peft_type() == Self::default().peft_type()
    }

    /// The kind that PEFT's files know this one as: the first of the table that they write alike.
    pub fn saved_as(self) -> Self {
        let written = |method: &Self| (method.peft_type(), method.switch());
        Self::ALL.iter().copied().find(|it| written(it) == written(&self)).unwrap_or(self)
    }

    /// How many parameters an adapter has.
    pub fn count(self, sizes: Sizes) -> usize {
        total(self.factors().iter(), sizes)
    }

    /// How many of them are trained.
    pub fn trained(self, sizes: Sizes) -> usize {
        total(self.factors().iter().filter(|factor| factor.trained), sizes)
    }
}

/// How many values the factors have together.
fn total<'a>(factors: impl Iterator<Item = &'a Factor>, sizes: Sizes) -> usize {
    factors
        .map(|factor| factor.shape(sizes).into_iter().fold(1, usize::saturating_mul))
        .fold(0, usize::saturating_add)
}
