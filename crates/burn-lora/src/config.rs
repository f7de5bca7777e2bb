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

use crate::{LoraError, Method};

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
    /// How A starts; B (and MiSS's block) always starts at zero, so that training starts at the base model.
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

/// The distribution that factor A is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Init {
    /// Uniform on `±1/√d_in`: `kaiming_uniform(a = √5)`, the default of PEFT and of the paper's code.
    #[default]
    Kaiming,
    /// Normal with standard deviation `1/rank`, PEFT's `"gaussian"`.
    Gaussian,
}

impl Init {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Kaiming, Self::Gaussian];

    /// The name in configurations and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kaiming => "kaiming",
            Self::Gaussian => "gaussian",
        }
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

    /// Sets how A starts.
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

    #[test]
    fn an_init_is_called_the_same_in_every_file() {
        for init in Init::ALL {
            assert_eq!(serde_json::to_value(init).unwrap(), init.name());
        }
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
