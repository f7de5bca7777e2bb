//! Patching: an adapter on every selected linear layer, everything else frozen.
//!
//! [`plan`] reads the model and says what would be done; [`patch`] plans and then does it. Nothing
//! is touched before everything is known to work, so a failed patch leaves the model as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor};
use burn_lora::{Adapter, Adapters, LoraError, Sizes};
use burn_lora_files::fnv;
use burn_lora_text::and;

use crate::config::LoraConfig;
use crate::error::PatchError;
use crate::path::{Trail, join};
use crate::peft::PeftConfig;
use crate::report::{LayerReport, LayerStatus, PatchReport, SavedModule};
use crate::rewrite::{add_sets, names, sets_by_layer, weights};
use crate::scan::{LinearLayer, ParamInfo, ParamRole, Scan};
use crate::select::{Selection, Unmatched, select};

/// Attaches a fresh adapter to the layers that `config` selects and freezes the rest, adapters of other
/// names that the model has already among it: they stay in force beside the new one
/// ([`set_active`](crate::set_active) chooses).
///
/// [`with_lora`](crate::LoraModule::with_lora) is the same for a model that is owned.
///
/// ```
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::{LoraConfig, patch};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora_patch::device::parse("cpu")?.autodiff();
/// let mut encoder = TransformerEncoderConfig::new(16, 32, 2, 3).init(&device);
/// let report = patch(&mut encoder, &LoraConfig::new(2).with_targets(["query", "value"]))?;
/// assert_eq!((report.adapted(), report.linears()), (6, 18));
/// assert_eq!(report.trainable(), 6 * 2 * (16 + 16));
/// # Ok(())
/// # }
/// ```
///
/// Afterwards the factors and the modules of `modules_to_save` require gradients and nothing else
/// does. Every factor is drawn from `config.seed` and its layer's path, so neither the order of the
/// layers nor which others are adapted changes it.
///
/// # Errors
///
/// Whatever does not fit, all at once for targets; the model is then as it was.
pub fn patch<M: Module>(model: &mut M, config: &LoraConfig) -> Result<PatchReport, PatchError> {
    let plan = Plan::new(model, config, Unmatched::Refused)?;
    let sets = plan.sets(model, &PeftConfig::new(config), |linear, weight| {
        let seed = layer_seed(config.seed, &linear.path);
        Adapter::init(&config.name, &config.adapter, weight, seed)
    })?;
    *model = add_sets(freeze(model.clone(), &plan.selection.saved_params), sets);
    Ok(plan.report)
}

/// What [`patch`] would do and report, without doing it.
///
/// # Errors
///
/// As [`patch`].
pub fn plan<M: Module>(model: &M, config: &LoraConfig) -> Result<PatchReport, PatchError> {
    Plan::new(model, config, Unmatched::Refused).map(|plan| plan.report)
}

/// A checked patch: what the model is, what is picked out of it, what the report will say.
pub(crate) struct Plan {
    pub(crate) scan: Scan,
    pub(crate) selection: Selection,
    pub(crate) report: PatchReport,
}

impl Plan {
    pub(crate) fn new<M: Module>(
        model: &M,
        config: &LoraConfig,
        unmatched: Unmatched,
    ) -> Result<Self, PatchError> {
        config.adapter.validate().map_err(|problems| PatchError::Settings { problems })?;
        let scan = Scan::of(model);
        let sets = sets_by_layer(model);
        check_room(&sets, &scan, config)?;
        let selection = select(&scan, config, unmatched)
            .map_err(|problems| PatchError::Targets { problems })?;
        if let (Some(present), Some(module)) =
            (names(&sets).into_iter().next(), selection.saved_modules.first())
        {
            return Err(PatchError::SavedBeside {
                wanted: config.name.clone(),
                module: module.clone(),
                present,
            });
        }
        let report = report(&scan, &selection, config);
        Ok(Self { scan, selection, report })
    }

    /// A set of one adapter for each layer that gets one, made for that layer's weight. How it was made
    /// goes with it.
    pub(crate) fn sets<M: Module>(
        &self,
        model: &M,
        made: &PeftConfig,
        mut adapter: impl FnMut(&LinearLayer, &Param<Tensor<2>>) -> Result<Adapter, LoraError>,
    ) -> Result<BTreeMap<String, Adapters>, PatchError> {
        let layers = self.adapted().map(|linear| (linear.path.clone(), linear)).collect();
        let note: Arc<str> = made.to_json().unwrap_or_default().into();
        let mut sets = BTreeMap::new();
        for (layer, weight) in weights(model, &layers) {
            let adapter = adapter(layers[&layer], &weight)
                .map_err(|source| PatchError::Adapter { layer: layer.clone(), source })?;
            sets.insert(layer, Adapters::single(adapter.with_note(note.clone())));
        }
        Ok(sets)
    }

    /// The linear layers that get an adapter.
    pub(crate) fn adapted(&self) -> impl Iterator<Item = &LinearLayer> {
        self.scan
            .linears()
            .iter()
            .zip(&self.selection.statuses)
            .filter(|(_, status)| **status == LayerStatus::Adapted)
            .map(|(linear, _)| linear)
    }
}

/// That there is room for one more adapter of that name, and that paths are unambiguous.
fn check_room(
    sets: &BTreeMap<String, Adapters>,
    scan: &Scan,
    config: &LoraConfig,
) -> Result<(), PatchError> {
    let same = sets.values().filter(|set| set.get(&config.name).is_some()).count();
    if same > 0 {
        return Err(PatchError::AlreadyPatched { name: config.name.clone(), layers: same });
    }
    if sets.values().any(Adapters::is_merged) {
        return Err(PatchError::Merged { name: config.name.clone() });
    }
    if let Some((path, name)) = scan.foreign().first() {
        return Err(PatchError::ForeignReparameterization {
            path: path.clone(),
            name: name.clone(),
        });
    }
    match scan.ambiguous() {
        Some(path) => Err(PatchError::AmbiguousPath { path: path.to_owned() }),
        None => Ok(()),
    }
}

fn report(scan: &Scan, selection: &Selection, config: &LoraConfig) -> PatchReport {
    let rank = config.adapter.rank;
    let layers: Vec<LayerReport> = scan
        .linears()
        .iter()
        .zip(&selection.statuses)
        .map(|(linear, status)| LayerReport {
            path: linear.path.clone(),
            d_in: linear.d_in,
            d_out: linear.d_out,
            status: status.clone(),
            adapter_params: match status {
                LayerStatus::Adapted => {
                    let sizes = Sizes { d_in: linear.d_in, d_out: linear.d_out, rank };
                    config.adapter.method.count(sizes)
                }
                _ => 0,
            },
        })
        .collect();
    let adapted = || layers.iter().filter(|layer| layer.status == LayerStatus::Adapted);
    let adapters: usize =
        adapted().fold(0, |sum: usize, layer| sum.saturating_add(layer.adapter_params));
    let base = |param: &&ParamInfo| param.role == ParamRole::Base;
    let saved: Vec<SavedModule> = selection
        .saved_modules
        .iter()
        .map(|path| SavedModule {
            path: path.clone(),
            params: scan.params_below(path).filter(base).map(|param| param.count()).sum(),
        })
        .collect();
    let mut warnings = selection.warnings.clone();
    let narrow: Vec<&str> = adapted()
        .filter(|layer| rank > layer.d_in.min(layer.d_out))
        .map(|layer| layer.path.as_str())
        .collect();
    if !narrow.is_empty() {
        warnings.push(format!(
            "rank {rank} is above min(d_in, d_out) of {} linears ({}{}): a smaller rank can learn the same there",
            narrow.len(),
            and(&narrow[..narrow.len().min(3)]),
            if narrow.len() > 3 { ", …" } else { "" }
        ));
    }
    PatchReport {
        name: config.name.clone(),
        method: config.adapter.method,
        rank,
        alpha: config.adapter.alpha,
        scale: config.adapter.scale(),
        trainable: adapters.saturating_add(saved.iter().map(|module| module.params).sum()),
        total: adapters
            .saturating_add(scan.params().iter().filter(base).map(|param| param.count()).sum()),
        layers,
        saved,
        matched: selection.matched.clone(),
        warnings,
    }
}

/// Lets exactly the parameters at `trained` require gradients. Those that are held in 16 bits become
/// f32: updates are far smaller than what 16 bits tell apart.
pub(crate) fn freeze<M: Module>(model: M, trained: &BTreeSet<String>) -> M {
    struct Freeze<'a> {
        trail: Trail,
        trained: &'a BTreeSet<String>,
    }
    impl ModuleMapper for Freeze<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.trail.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.trail.exit();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let trained = self.trained.contains(&self.trail.path());
            let half = |param: &Param<Tensor<D>>| {
                param.is_initialized() && matches!(param.base().dtype(), DType::F16 | DType::BF16)
            };
            let param = match trained && half(&param) {
                true => param.map(|weight| weight.cast(FloatDType::F32)),
                false => param,
            };
            param.set_require_grad(trained)
        }
    }
    model.map(&mut Freeze { trail: Trail::default(), trained })
}

/// The seed of one layer's factors: a hash of the path, mixed with the configured seed.
fn layer_seed(seed: u64, layer: &str) -> u64 {
    let hash = fnv::hash(&join(layer, "weight"));
    let mut mixed = hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ_by_layer_and_by_configured_seed() {
        let seeds: BTreeSet<u64> = (0..20)
            .flat_map(|layer| (0..20).map(move |seed| layer_seed(seed, &format!("layers.{layer}"))))
            .collect();
        assert_eq!(seeds.len(), 400);
    }
}
