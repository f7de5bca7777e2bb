//! What is trained, as Burn groups parameters.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::tensor::Tensor;

use crate::error::PatchError;
use crate::path::{normalized, parent};
use crate::rewrite::sets_by_layer;
use crate::scan::{ParamRole, Scan};
use crate::tensors::tracked;

/// The parameters that are trained, with the state that training moves: the factors, the modules trained
/// whole and their running statistics. By path, so that it holds for every model that is patched alike.
///
/// It is what a record of the adapter alone is made of, and a group of an optimiser or of a schedule:
///
/// ```
/// use burn::module::Module;
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora_patch::device::parse("cpu")?.autodiff();
/// let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
/// let config = LoraConfig::new(2).with_targets(["query", "value"]);
/// let (model, _) = base.clone().with_lora(&config)?;
/// let record = model.clone().into_record_group(model.trainable_group()?);
/// assert_eq!(record.len(), 4);
///
/// let (fresh, _) = base.with_lora(&config)?;
/// let resumed = fresh.try_load_record(record.allow_partial(true))?;
/// # let _ = resumed;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Nothing is trained: the adapters are merged, or were loaded frozen.
pub fn trainable_group<M: Module>(model: &M) -> Result<ParamGroup, PatchError> {
    let trained = tracked(model);
    if trained.is_empty() {
        let merged = sets_by_layer(model).values().any(|set| set.is_merged());
        return Err(PatchError::NothingTrained { merged });
    }
    let scan = Scan::of(model);
    let stateful = scan.stateful();
    let moves = |module: &str| {
        let whole = scan.params_below(module).any(|param| trained.contains(&param.path));
        whole || stateful.get(module) == Some(&false)
    };
    let state = scan
        .params()
        .iter()
        .filter(|param| param.role == ParamRole::Buffer && moves(parent(&param.path)))
        .map(|param| param.path.clone());
    let wanted: BTreeSet<String> = trained.iter().cloned().chain(state).collect();
    Ok(ParamGroup::from_paths(spelled_by_burn(model, &wanted)))
}

/// The paths as Burn spells them.
fn spelled_by_burn<M: Module>(model: &M, paths: &BTreeSet<String>) -> Vec<String> {
    struct Spelled<'a> {
        segments: Vec<String>,
        paths: &'a BTreeSet<String>,
        found: Vec<String>,
    }
    impl ModuleVisitor for Spelled<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.segments.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.segments.pop();
        }

        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
            let path = self.segments.join(".");
            if self.paths.contains(&normalized(&path)) {
                self.found.push(path);
            }
        }
    }
    let mut spelled = Spelled { segments: Vec::new(), paths, found: Vec::new() };
    model.visit(&mut spelled);
    spelled.found
}
