//! Whether a run's model writes or classifies: the one place where the two kinds part.
//!
//! All code for runs is generic over [`TrainableModel`](crate::learner::TrainableModel); [`with_model!`] calls it with
//! the model's type.

use crate::observe::Observer;
use crate::{TrainError, base};
use burn_lora_config::RunConfig;

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It writes: a decoder, [`burn_lora_models::CausalLm`].
    Causal,
    /// It classifies: an encoder with a head, [`burn_lora_models::SequenceClassifier`].
    Classifier,
}

impl Kind {
    /// Of the model that the configuration names. Its device is looked for first, so that a mistake there
    /// shows before a model is fetched.
    ///
    /// # Errors
    ///
    /// A device that is not there; a `config.json` that cannot be read, or names a model that is not
    /// built here.
    pub fn of(config: &RunConfig, observer: &Observer) -> Result<Self, TrainError> {
        burn_lora::device::parse(&config.train.device)?;
        Ok(match base::architecture(&config.model.source, observer)?.is_causal() {
            true => Self::Causal,
            false => Self::Classifier,
        })
    }
}

/// The value of an expression in which a name is the type of the models of a [`Kind`].
///
/// ```no_run
/// use burn_lora_config::RunConfig;
/// use burn_lora_train::observe::Observer;
/// use burn_lora_train::prepare::{Adapt, Kind, prepare};
/// use burn_lora_train::with_model;
///
/// let observer = Observer::silent();
/// let config = RunConfig::read("configs/quickstart.toml", &[])?;
/// let line = with_model!(Kind::of(&config, &observer)?, Model => {
///     prepare::<Model>(config, Adapt::Fresh, &observer)?.trainable_line()
/// });
/// println!("{line}");
/// # Ok::<(), burn_lora_train::TrainError>(())
/// ```
#[macro_export]
macro_rules! with_model {
    ($kind:expr, $Model:ident => $value:expr) => {
        match $kind {
            $crate::prepare::Kind::Causal => {
                type $Model = $crate::learner::CausalLm;
                $value
            }
            $crate::prepare::Kind::Classifier => {
                type $Model = $crate::learner::SequenceClassifier;
                $value
            }
        }
    };
}
