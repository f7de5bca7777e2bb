//! The dry run: what a model would ask for.

use super::{Source, TensorSpec, Values};
use crate::ModelError;

/// Notes every tensor that is asked for and gives none.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) specs: Vec<TensorSpec>,
}

impl Source for Manifest {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        self.specs.push(spec.clone());
        Ok(None)
    }
}
