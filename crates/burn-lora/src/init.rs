//! What factors start from.
//!
//! - `drawn`: numbers of a seeded generator, with a product of zero, so that the weight is as it was.
//! - `decomposed`: parts of the weight itself (PiSSA, OLoRA). Training then starts at `W − scale · A₀ B₀` with the
//!   factors `A₀` and `B₀`, which is the weight again; what is taken out goes with the factors
//!   ([`Initial`]) and never into the weight that is held.
//!
//! - EVA: A is given, along the directions in which a layer's inputs vary most ([`Principal`](crate::decomposition::Principal)
//!   finds them, [`Adapter::init_along`](crate::Adapter::init_along) starts there), and B is zero.
//!
//! - `residual`: what a weight that is held in blocks has lost (LoftQ), for which somebody has to give the weight as it was.
//!
//! Generators and decompositions run on the host, one generator to a factor's seed and one thread, so that an
//! adapter's start is the same on every backend, with any number of threads and in any order of creation.
//!
//! Left out: starts that need gradients, or data beside a decomposition of the weight (CorDA, LoRA-GA).

mod decomposed;
mod drawn;
mod residual;

use std::fmt;
use std::str::FromStr;

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::adapter::{Initial, Sizes};
use crate::{AdapterConfig, LoraError};
pub(crate) use drawn::standard_normal;
pub use residual::loftq;

/// How factors start. Whichever it is, the adapted layer computes at first what the base computes.
///
/// ```
/// use burn_lora::Init;
///
/// let init: Init = "pissa_niter_4".parse()?;
/// assert_eq!(init, Init::PissaNiter(4));
/// assert!(init.moves_base() && !Init::Orthogonal.moves_base());
/// # Ok::<(), burn_lora::LoraError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Init {
    /// A uniform on `±1/√d_in`: `kaiming_uniform(a = √5)`, the default of PEFT and of the paper's code; B zero.
    #[default]
    Kaiming,
    /// A normal with standard deviation `1/rank`, PEFT's `"gaussian"`; B zero.
    Gaussian,
    /// A and B of normal numbers along directions that are orthogonal to each other, so that neither is zero and
    /// their product is: PEFT's `"orthogonal"`. The rank is even.
    Orthogonal,
    /// PiSSA (arXiv 2404.02948): the largest singular values of the weight, with half of each in A and half in B,
    /// are trained, and what is left of it is frozen.
    Pissa,
    /// PiSSA with a randomised SVD of so many rounds (Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4
    /// without oversampling, as `torch.svd_lowrank`): of a large weight far faster, and close to it from 4 rounds on.
    PissaNiter(u8),
    /// OLoRA (arXiv 2406.01775): the first `rank` directions of a QR decomposition of the weight.
    Olora,
    /// EVA (arXiv 2410.07170): A lies along the directions in which the layer's inputs vary most, which somebody has to
    /// have looked at, and B is zero.
    Eva,
    /// LoftQ (arXiv 2310.08659): the best of its rank of what the weight lost when it was put into the format that it is held in,
    /// for which somebody has to give it as it was.
    Loftq,
}

impl Init {
    /// One of every kind.
    pub const ALL: [Self; 8] = [
        Self::Kaiming,
        Self::Gaussian,
        Self::Orthogonal,
        Self::Pissa,
        Self::PissaNiter(4),
        Self::Olora,
        Self::Eva,
        Self::Loftq,
    ];

    /// The names in configurations and messages; N stands for a number of rounds.
    pub const WORDS: &'static str = "\"kaiming\", \"gaussian\", \"orthogonal\", \"pissa\", \"pissa_niter_N\" (N from 0 to 255), \"olora\", \"eva\" or \"loftq\"";

    /// Whether training starts beside a weight from which a part was taken, which the factors give back: the adapter
    /// is then written with what it took ([`AdapterConfig::written`]).
    pub fn moves_base(self) -> bool {
        matches!(self, Self::Pissa | Self::PissaNiter(_) | Self::Olora)
    }

    /// Whether a weight has to be known as it was before it was put into the format that it is held in.
    pub fn needs_dense(self) -> bool {
        self == Self::Loftq
    }

    /// Whether what goes into a layer has to be known before its adapter can start.
    pub fn needs_inputs(self) -> bool {
        self == Self::Eva
    }
}

/// What stands before the number of rounds.
const NITER: &str = "pissa_niter_";

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kaiming => f.write_str("kaiming"),
            Self::Gaussian => f.write_str("gaussian"),
            Self::Orthogonal => f.write_str("orthogonal"),
            Self::Pissa => f.write_str("pissa"),
            Self::PissaNiter(rounds) => write!(f, "{NITER}{rounds}"),
            Self::Olora => f.write_str("olora"),
            Self::Eva => f.write_str("eva"),
            Self::Loftq => f.write_str("loftq"),
        }
    }
}

impl FromStr for Init {
    type Err = LoraError;

    fn from_str(name: &str) -> Result<Self, LoraError> {
        let rounds = name
            .strip_prefix(NITER)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        match (name, rounds) {
            (_, Some(rounds)) => Ok(Self::PissaNiter(rounds)),
            ("kaiming", _) => Ok(Self::Kaiming),
            ("gaussian", _) => Ok(Self::Gaussian),
            ("orthogonal", _) => Ok(Self::Orthogonal),
            ("pissa", _) => Ok(Self::Pissa),
            ("olora", _) => Ok(Self::Olora),
            ("eva", _) => Ok(Self::Eva),
            ("loftq", _) => Ok(Self::Loftq),
            _ => Err(LoraError::UnknownInit { found: name.to_owned() }),
        }
    }
}

impl TryFrom<String> for Init {
    type Error = LoraError;

    fn try_from(name: String) -> Result<Self, LoraError> {
        name.parse()
    }
}

impl From<Init> for String {
    fn from(init: Init) -> Self {
        init.to_string()
    }
}

/// Both factors as they start, and what stands for them in the weight.
pub(crate) struct Start {
    /// `[d_in, rank]`.
    pub(crate) a: Tensor<2>,
    /// `[rank, d_out]`.
    pub(crate) b: Tensor<2>,
    /// What was taken out of the weight, where something was.
    pub(crate) initial: Option<Initial>,
}

/// The values of both factors, row by row.
struct Values {
    /// `[d_in, rank]`.
    a: Vec<f32>,
    /// `[rank, d_out]`.
    b: Vec<f32>,
}

/// Both factors for a weight `[d_in, d_out]`.
pub(crate) fn factors(
    config: &AdapterConfig,
    weight: &Param<Tensor<2>>,
    seed: u64,
) -> Result<Start, LoraError> {
    let (shape, device, rank) = (weight.lazy_shape(), weight.lazy_device(), config.rank);
    let (d_in, d_out) = (shape[0], shape[1]);
    config.fits(d_in, d_out)?;
    let values = match config.init {
        Init::Kaiming => drawn::kaiming(d_in, d_out, rank, seed)?,
        Init::Gaussian => drawn::gaussian(d_in, d_out, rank, rank, seed)?,
        Init::Orthogonal => drawn::orthogonal(d_in, d_out, rank, seed),
        Init::Pissa | Init::PissaNiter(_) | Init::Olora => {
            decomposed::of(weight, config, [d_in, d_out], seed)?
        }
        Init::Eva => return Err(LoraError::Inputs { init: config.init }),
        Init::Loftq => return Err(LoraError::Dense { init: config.init }),
    };
    let a = Tensor::from_data(TensorData::new(values.a, [d_in, rank]), &device);
    let b = Tensor::from_data(TensorData::new(values.b, [rank, d_out]), &device);
    let initial = config.init.moves_base().then(|| Initial::of(a.clone(), b.clone()));
    Ok(Start { a, b, initial })
}

/// Factor B of an adapter on a table that is the head too, row by row, `[rank, d]`: factor A of the head's adapter, as it is drawn
/// for the head `[d, rows of the table]`, turned.
pub(crate) fn drawn_tied(
    config: &AdapterConfig,
    Sizes { d_in, d_out, rank, .. }: Sizes,
    seed: u64,
) -> Result<Vec<f32>, LoraError> {
    let values = match config.init {
        Init::Gaussian => drawn::gaussian(d_in, d_out, rank, rank, seed)?,
        _ => drawn::kaiming(d_in, d_out, rank, seed)?,
    };
    // Independent draws of one distribution: turned they are what they were.
    Ok(values.a)
}

/// Factor A of a convolution's adapter, or a stack's, row by row, `[d_in, rank]`; B is zero.
pub(crate) fn drawn_a(
    config: &AdapterConfig,
    Sizes { d_in, d_out, rank, .. }: Sizes,
    seed: u64,
) -> Result<Vec<f32>, LoraError> {
    let values = match config.init {
        Init::Kaiming => drawn::kaiming(d_in, d_out, rank, seed)?,
        // Of a stack, by the rank of one of its matrices.
        Init::Gaussian => drawn::gaussian(d_in, d_out, rank, config.rank, seed)?,
        init => return Err(LoraError::ConvolutionInit { init }),
    };
    Ok(values.a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_is_called_the_same_in_every_file() {
        for init in Init::ALL.into_iter().chain([Init::PissaNiter(0), Init::PissaNiter(255)]) {
            assert_eq!(serde_json::to_value(init).unwrap(), init.to_string());
            assert_eq!(init.to_string().parse(), Ok(init));
        }
        for none in
            ["", "Pissa", "pissa_niter_", "pissa_niter_+4", "pissa_niter_256", "pissa_4", "olora "]
        {
            let error = none.parse::<Init>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{none}` is no initialisation")), "{error}");
            assert!(error.contains("\"pissa_niter_N\""), "{error}");
        }
    }
}
