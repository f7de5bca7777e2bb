//! What an adapter is made from, as plain data.
//!
//! Which layers get one is not said here: that is the patching crate's matter.
//!
//! ```
//! use burn_lora::AdapterConfig;
//!
//! let config = AdapterConfig::new(16);
//! assert_eq!((config.alpha, config.scale()), (32.0, 2.0));
//! assert_eq!(config.with_alpha(8).with_rslora(true).scale(), 2.0);
//! ```

use burn::config::Config;
use serde::{Deserialize, Serialize};

use crate::{Init, LoraError, Method};

/// The hyper-parameters of an adapter, named as those of PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form")]
#[non_exhaustive]
pub struct AdapterConfig {
    /// The kind of adapter.
    pub method: Method,
    /// The number of columns of A and rows of B, of rows that MiSS repeats: `r`. At least 1.
    pub rank: usize,
    /// The numerator of the scale. At least 0; `2 · rank` unless it is set, so that the scale does not
    /// change with the rank. (PEFT's default is 8 whatever the rank.)
    pub alpha: f64,
    /// The probability, in `[0, 1)`, that an element of A's input is zeroed while training: of each row for
    /// itself in [`LoraForward`](crate::LoraForward), of all rows of a pass alike in model code that calls
    /// `Linear::forward`.
    pub dropout: f64,
    /// Divide alpha by `√rank` rather than by `rank` (rank-stabilised LoRA, arXiv 2312.03732).
    pub rslora: bool,
    /// How the factors start (of MiSS: at zero); training starts at the base model whichever it is.
    pub init: Init,
}

impl Config for AdapterConfig {}

/// [`AdapterConfig`] as it may stand in a file: what is not said has its default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "AdapterConfig")]
struct Form {
    rank: usize,
    alpha: Option<f64>,
    #[serde(default)]
    method: Method,
    #[serde(default)]
    dropout: f64,
    #[serde(default)]
    rslora: bool,
    #[serde(default)]
    init: Init,
}

impl From<Form> for AdapterConfig {
    fn from(form: Form) -> Self {
        let Form { rank, alpha, method, dropout, rslora, init } = form;
        let alpha = alpha.unwrap_or_else(|| Self::new(rank).alpha);
        Self { method, rank, alpha, dropout, rslora, init }
    }
}

impl AdapterConfig {
    /// LoRA of this rank with alpha `2 · rank`, without dropout, with the classic scale and the default
    /// initialisation.
    pub fn new(rank: usize) -> Self {
        Self {
            method: Method::default(),
            rank,
            alpha: 2.0 * rank as f64,
            dropout: 0.0,
            rslora: false,
            init: Init::default(),
        }
    }

    /// Sets the numerator of the scale.
    pub fn with_alpha(mut self, alpha: impl Into<f64>) -> Self {
        self.alpha = alpha.into();
        self
    }

    /// Sets the kind of adapter.
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the dropout probability of A's input.
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Chooses between `alpha / √rank` (true) and `alpha / rank` (false).
    pub fn with_rslora(mut self, rslora: bool) -> Self {
        self.rslora = rslora;
        self
    }

    /// Sets how the factors start.
    pub fn with_init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// What the low-rank product is multiplied by: `alpha / rank`, or `alpha / √rank` with rsLoRA; 1 of a kind
    /// without a scale ([`Method::scaled`]).
    pub fn scale(&self) -> f64 {
        if !self.method.scaled() {
            return 1.0;
        }
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// The adapter as it is written for the untouched base: itself, or where [`init`](Self::init) moves the base, plain
    /// LoRA (or DoRA) of twice the rank and the same scale, whose other half is what the factors started from.
    pub fn written(&self) -> Self {
        if !self.init.moves_base() {
            return self.clone();
        }
        let twice = if self.rslora { std::f64::consts::SQRT_2 } else { 2.0 };
        let (rank, alpha) = (2 * self.rank, twice * self.alpha);
        Self { rank, alpha, init: Init::default(), ..self.clone() }
    }

    /// The settings of an adapter on an embedding: without dropout, which PEFT has none of there.
    ///
    /// # Errors
    ///
    /// A kind that adapts no embeddings; an initialisation that takes a part out of the weight.
    pub fn of_embedding(&self) -> Result<Self, LoraError> {
        if !self.method.embeds() {
            return Err(LoraError::EmbeddingMethod { method: self.method });
        }
        if self.init.moves_base() {
            return Err(LoraError::EmbeddingInit { init: self.init });
        }
        Ok(Self { dropout: 0.0, ..self.clone() })
    }

    /// The settings of an adapter on a convolution.
    ///
    /// # Errors
    ///
    /// A kind that adapts no convolutions; an initialisation of linear layers alone.
    pub fn of_convolution(&self) -> Result<Self, LoraError> {
        if !self.method.convolves() {
            return Err(LoraError::ConvolutionMethod { method: self.method });
        }
        match self.init {
            Init::Kaiming | Init::Gaussian => Ok(self.clone()),
            init => Err(LoraError::ConvolutionInit { init }),
        }
    }

    /// The settings of an adapter on a parameter that is no layer's weight.
    ///
    /// # Errors
    ///
    /// A kind that adapts layers alone; an initialisation of linear layers alone; dropout.
    pub fn of_parameter(&self) -> Result<Self, LoraError> {
        if !self.method.stacks() {
            return Err(LoraError::ParameterMethod { method: self.method });
        }
        if self.dropout > 0.0 {
            return Err(LoraError::ParameterDropout { dropout: self.dropout });
        }
        match self.init {
            Init::Kaiming | Init::Gaussian => Ok(self.clone()),
            init => Err(LoraError::ParameterInit { init }),
        }
    }

    /// Whether the factors can start in a weight `[d_in, d_out]` as they are to.
    ///
    /// # Errors
    ///
    /// A rank of which the weight has not as many parts.
    pub fn fits(&self, d_in: usize, d_out: usize) -> Result<(), LoraError> {
        let of_parts = self.init.moves_base() || self.init.needs_dense();
        if of_parts && self.rank > d_in.min(d_out) {
            return Err(LoraError::InitRank { init: self.init, rank: self.rank, d_in, d_out });
        }
        Ok(())
    }

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// All problems at once, each with the value and the range allowed.
    pub fn validate(&self) -> Result<(), Vec<LoraError>> {
        let mut problems = Vec::new();
        if self.rank == 0 {
            problems.push(LoraError::Rank { rank: self.rank });
        }
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            problems.push(LoraError::Alpha { alpha: self.alpha });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(LoraError::Dropout { dropout: self.dropout });
        }
        if self.init == Init::Orthogonal && self.rank % 2 == 1 {
            problems.push(LoraError::OddRank { rank: self.rank });
        }
        if self.init.needs_dense() && self.alpha == 0.0 {
            problems.push(LoraError::DenseScale { init: self.init });
        }
        if self.init.moves_base() && self.alpha == 0.0 {
            problems.push(LoraError::InitScale { init: self.init });
        }
        if !Method::ALL.contains(&self.method) {
            problems.push(LoraError::NotByItself { method: self.method });
        }
        let one_start =
            self.method.starts_by_default() || (self.init.needs_inputs() && !self.method.drawn());
        if self.init != Init::default() && one_start {
            problems.push(LoraError::OtherStart { init: self.init, method: self.method });
        } else if self.init.needs_dense() && !self.method.subtracts() {
            problems.push(LoraError::DenseMethod { init: self.init, method: self.method });
        } else if self.init.moves_base() && !self.method.subtracts() {
            problems.push(LoraError::InitMethod { init: self.init, method: self.method });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_is_alpha_over_rank_or_over_its_root() {
        assert_eq!(AdapterConfig::new(4).with_alpha(8.0).scale(), 2.0);
        assert_eq!(AdapterConfig::new(4).with_alpha(8.0).with_rslora(true).scale(), 4.0);
        let miss = AdapterConfig::new(4).with_alpha(8.0).with_method(Method::Miss);
        assert_eq!((miss.scale(), miss.with_rslora(true).scale()), (1.0, 1.0));
    }

    /// What is written has the scale of what was trained, with rsLoRA too.
    #[test]
    fn what_moved_the_base_is_written_with_twice_the_rank_and_the_same_scale() {
        let config = AdapterConfig::new(6).with_alpha(5.0).with_dropout(0.1);
        assert_eq!(config.written(), config);
        for rslora in [false, true] {
            let moved = config.clone().with_rslora(rslora).with_init(Init::Pissa);
            let written = moved.written();
            assert_eq!((written.rank, written.init), (12, Init::Kaiming));
            assert!((written.scale() / moved.scale() - 1.0).abs() < 1e-15, "{rslora}");
            assert_eq!(written.written(), written);
        }
    }

    #[test]
    fn a_start_that_cannot_be_is_refused_with_what_it_needs() {
        let problem = |config: AdapterConfig| {
            let mut problems = config.validate().unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems.remove(0).to_string()
        };
        let odd = problem(AdapterConfig::new(5).with_init(Init::Orthogonal));
        assert!(odd.contains("needs an even rank, and 5 is odd: use 4 or 6"), "{odd}");
        let one = problem(AdapterConfig::new(1).with_init(Init::Orthogonal));
        assert!(one.contains("1 is odd: use 2"), "{one}");
        for init in [Init::Pissa, Init::PissaNiter(4), Init::Olora] {
            let none = problem(AdapterConfig::new(4).with_alpha(0.0).with_init(init));
            assert!(none.contains(&format!("{init} takes a part out of the weight")), "{none}");
            let config = AdapterConfig::new(4).with_init(init);
            assert_eq!(config.fits(4, 9), Ok(()));
            let wide = config.fits(9, 3).unwrap_err().to_string();
            assert!(wide.contains("[9, 3] has 3"), "{wide}");
        }
        assert_eq!(AdapterConfig::new(4).fits(1, 1), Ok(()), "others start anywhere");
        for &method in Method::ALL {
            let config = AdapterConfig::new(4).with_method(method).with_init(Init::Pissa);
            assert_eq!(config.validate().is_ok(), method.subtracts(), "{method}");
        }
        for init in Init::ALL.into_iter().filter(|init| *init != Init::default()) {
            let config = AdapterConfig::new(4).with_method(Method::LoraBias).with_init(init);
            let told = problem(config);
            assert!(
                told.contains(&format!("starts with kaiming alone, and not with {init}")),
                "{told}"
            );
        }
        let tokens = problem(AdapterConfig::new(4).with_method(Method::Tokens));
        assert!(tokens.contains("`trainable_token_indices`"), "{tokens}");
        assert!(
            serde_json::from_str::<AdapterConfig>(r#"{"rank": 3, "method": "tokens"}"#).is_err()
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_values() {
        let problems =
            AdapterConfig::new(0).with_alpha(-1.0).with_dropout(1.0).validate().unwrap_err();
        assert_eq!(
            problems,
            [
                LoraError::Rank { rank: 0 },
                LoraError::Alpha { alpha: -1.0 },
                LoraError::Dropout { dropout: 1.0 }
            ]
        );
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("alpha is -1, which is outside [0, ∞)"), "{text}");
        assert!(text.contains("dropout is 1, which is outside [0, 1)"), "{text}");
    }

    #[test]
    fn not_a_number_is_refused_everywhere() {
        let problems = AdapterConfig::new(1)
            .with_alpha(f64::NAN)
            .with_dropout(f64::NAN)
            .validate()
            .unwrap_err();
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn serde_fills_defaults_and_refuses_unknown_keys() {
        let config: AdapterConfig = serde_json::from_str(r#"{"rank": 8, "alpha": 16}"#).unwrap();
        assert_eq!(config, AdapterConfig::new(8));
        let config: AdapterConfig = serde_json::from_str(r#"{"rank": 3}"#).unwrap();
        assert_eq!(config.alpha, 6.0);
        let typo =
            serde_json::from_str::<AdapterConfig>(r#"{"rank": 8, "alpha": 16, "droput": 0.1}"#);
        assert!(typo.unwrap_err().to_string().contains("droput"));
    }
}
