//! `burn-lora combine A B .. --weights W,W --out DIR`: several adapters as one.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::combine::{Combination, CombineOptions, MajoritySign, combine};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ValueEnum, ValueHint};

use super::NewAdapter;
use crate::output;
use crate::place::place;

/// Write several adapters as one, each with a weight
#[derive(clap::Args)]
pub struct Combine {
    /// PEFT adapter directories, or run directories
    #[arg(required = true, value_name = "ADAPTER", value_hint = ValueHint::DirPath, value_parser = place())]
    adapters: Vec<PathBuf>,
    /// What each adapter's change is multiplied by, in their order, such as 0.7,0.4; may be negative
    #[arg(long, required = true, num_args = 1.., value_delimiter = ',', allow_negative_numbers = true, value_name = "WEIGHT")]
    weights: Vec<f64>,
    /// How: cat is the exact sum, of the sum of the ranks; svd the best of one rank that it has
    #[arg(long, default_value = Combination::default().name(), value_parser = combination())]
    method: Combination,
    /// The share of entries that ties, dare and magnitude_prune keep, above 0 and up to 1
    #[arg(long)]
    density: Option<f64>,
    /// Whose sign wins with ties: that of the sum, or of more adapters
    #[arg(long, value_enum, default_value_t = Majority::Total)]
    majority_sign: Majority,
    /// The rank of svd and the methods that end in _svd [default: the adapters' largest]
    #[arg(long)]
    rank: Option<usize>,
    /// The quantile, from 0.5 to 1, of the factors' entries to which svd and the methods that end in _svd clamp them
    #[arg(long, value_name = "QUANTILE")]
    svd_clamp: Option<f64>,
    /// The seed of what dare keeps
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    new: NewAdapter,
}

/// Whose sign wins.
#[derive(Clone, Copy, ValueEnum)]
enum Majority {
    Total,
    Frequency,
}

/// The ways, by name.
fn combination() -> impl TypedValueParser<Value = Combination> {
    PossibleValuesParser::new(Combination::ALL.map(Combination::name))
        .try_map(|name| name.parse::<Combination>())
}

impl Combine {
    pub fn run(self) -> Result<(), AppError> {
        let mut options = CombineOptions::new(self.method, self.weights);
        options.density = self.density;
        options.majority_sign = match self.majority_sign {
            Majority::Total => MajoritySign::Total,
            Majority::Frequency => MajoritySign::Frequency,
        };
        options.rank = self.rank;
        options.svd_clamp = self.svd_clamp;
        options.seed = self.seed;
        output::told(&combine(&self.adapters, &options, &self.new.out)?, self.new.json)
    }
}
