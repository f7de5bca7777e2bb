//! Patching: an adapter on every selected linear layer, everything else frozen.
//!
//! [`plan`] reads the model and says what would be done; [`patch`] plans and then does it. Nothing
//! is touched before everything is known to work, so a failed patch leaves the model as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};
use burn_lora::{Adapter, AdapterConfig, Adapters, FrozenWeight, LoraError, Method, unshared};
use burn_lora_files::{fnv, splitmix};
use burn_lora_text::{and, listed};

use crate::config::{LoraConfig, TaskType};
use crate::error::PatchError;
use crate::layout::Layout;
use crate::path::{Trail, follow_trail, join, parent};
use crate::peft::PeftConfig;
use crate::report::{BiasReport, LayerReport, LayerStatus, PatchReport, SavedModule, TrainedRows};
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
/// Afterwards the factors, the modules of `modules_to_save` and the biases of `bias` require gradients and
/// nothing else does. Every factor starts from `config.seed`, its layer's path and, for some initialisations, its
/// layer's weight, so neither the order of the layers nor which others are adapted changes it.
///
/// # Errors
///
/// Whatever does not fit, all at once for targets; the model is then as it was. An initialisation that starts from what goes
/// into layers, or from weights as they were, for which [`Eva`](crate::Eva) and [`Loftq`](crate::Loftq) patch.
pub fn patch<M: Module>(model: &mut M, config: &LoraConfig) -> Result<PatchReport, PatchError> {
    let plan = Plan::with_weights(model, config, Unmatched::Refused)?;
    if config.adapter.init.needs_inputs() {
        return Err(PatchError::NeedsInputs { init: config.adapter.init });
    }
    if config.adapter.init.needs_dense() {
        return Err(PatchError::NeedsDense { init: config.adapter.init });
    }
    let made = PeftConfig::new(config);
    *model =
        plan.attached(model, config, &made, |linear, weight| plan.fresh(config, linear, weight))?;
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
        let mut scan = Scan::with_types(model, &config.linear_types);
        let sets = sets_by_layer(model);
        check_room(&sets, &scan, config)?;
        let selection = select(&scan, config, unmatched)
            .map_err(|problems| PatchError::Targets { problems })?;
        let whole = selection.saved_modules.first().or(selection.biases.first());
        if let (Some(present), Some(module)) = (names(&sets).into_iter().next(), whole) {
            return Err(PatchError::SavedBeside {
                wanted: config.name.clone(),
                module: module.clone(),
                present,
            });
        }
        check_formats(&scan, &selection)?;
        check_settings(&scan, &selection)?;
        // Where the adapter's files have its parameters: beside those of no other adapter.
        scan.wrap(|layer| selection.settings.contains_key(layer));
        let report = report(&scan, &selection, config);
        Ok(Self { scan, selection, report })
    }

    /// As [`new`](Self::new), where the weights that get an adapter are to be initialised if they are not
    /// yet: only then is it certain how they lie.
    pub(crate) fn with_weights<M: Module>(
        model: &M,
        config: &LoraConfig,
        unmatched: Unmatched,
    ) -> Result<Self, PatchError> {
        let plan = Self::new(model, config, unmatched)?;
        let layers = plan.adapted().map(|linear| (linear.path.clone(), ())).collect();
        let weights = weights(model, &layers);
        let mut lazy = weights.values().filter(|weight| !weight.is_initialized()).peekable();
        if lazy.peek().is_none() {
            return Ok(plan);
        }
        lazy.for_each(|weight| drop(weight.base()));
        Self::new(model, config, unmatched)
    }

    /// A fresh adapter of one layer, as the configuration says.
    pub(crate) fn fresh(
        &self,
        config: &LoraConfig,
        linear: &LinearLayer,
        weight: &Param<Tensor<2>>,
    ) -> Result<Adapter, LoraError> {
        let (seed, settings) = (layer_seed(config.seed, &linear.path), self.settings(linear));
        match (&linear.kernel, linear.stack()) {
            (Some(kernel), _) => {
                Adapter::init_convolution(&config.name, settings, weight, kernel, seed)
            }
            (None, Some(stack)) => Adapter::init_stack(&config.name, settings, weight, stack, seed),
            _ if self.is_tied(linear) => {
                Adapter::init_tied_embedding(&config.name, settings, weight, seed)
            }
            _ if linear.table => Adapter::init_embedding(&config.name, settings, weight, seed),
            _ => Adapter::init(&config.name, settings, weight, seed),
        }
    }

    /// A clone of the model, frozen but for what the plan trains, with an adapter on each layer that gets one and fresh
    /// rows on each table of which rows are trained.
    pub(crate) fn attached<M: Module>(
        &self,
        model: &M,
        config: &LoraConfig,
        made: &PeftConfig,
        adapter: impl FnMut(&LinearLayer, &Param<Tensor<2>>) -> Result<Adapter, LoraError>,
    ) -> Result<M, PatchError> {
        let mut sets = self.sets(model, made, adapter)?;
        sets.extend(self.token_sets(model, made, |layer, tokens, weight| match layer.table {
            true => Adapter::tokens(&config.name, tokens, weight),
            false => Adapter::head_tokens(&config.name, tokens, weight),
        })?);
        Ok(add_sets(self.frozen(model), sets))
    }

    /// A clone of the model in which exactly what the plan trains requires gradients, and what forward
    /// passes maintain is held still.
    pub(crate) fn frozen<M: Module>(&self, model: &M) -> M {
        let Selection { saved_params: whole, biases, .. } = &self.selection;
        let trained: &BTreeSet<String> = &whole.union(biases).cloned().collect();
        let stateful = self.scan.stateful();
        let model = match stateful.is_empty() {
            true => model.clone(),
            false => with_state_of_its_own(model),
        };
        let still = stateful
            .into_keys()
            .filter(|module| !is_trained(&self.scan, module, whole))
            .flat_map(|module| self.scan.flags_of(module).iter().cloned())
            .collect();
        freeze(model, trained, still)
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
            let linear = layers[&layer];
            let turned = linear.layout == Layout::OutIn;
            let parameter = linear.parameter.as_ref().filter(|parameter| parameter.is_stack);
            let weight = match parameter {
                Some(parameter) => {
                    let lies = weight.base().detach();
                    let apart = [parameter.stack.count, linear.d_in, linear.d_out];
                    let apart = match turned {
                        true => [apart[0], apart[2], apart[1]],
                        false => apart,
                    };
                    let lies = Param::initialized(ParamId::new(), lies.reshape(apart));
                    parameter.stack.param::<3>(&lies)
                }
                None => of_matrix(weight, turned),
            };
            let adapter = adapter(linear, &weight)
                .map_err(|source| PatchError::Adapter { layer: layer.clone(), source })?;
            let set = Adapters::single(adapter.with_note(note.clone()));
            let set = match parameter {
                Some(parameter) => set.with_stack(parameter.stack),
                None => set.with_turned(turned),
            };
            sets.insert(layer, set);
        }
        Ok(sets)
    }

    /// A set of one adapter of rows for each table, and each head, of which rows are trained, made for its weight. How it was
    /// made goes with it.
    pub(crate) fn token_sets<M: Module>(
        &self,
        model: &M,
        made: &PeftConfig,
        mut adapter: impl FnMut(&LinearLayer, &[usize], &Param<Tensor<2>>) -> Result<Adapter, LoraError>,
    ) -> Result<BTreeMap<String, Adapters>, PatchError> {
        let tokens = &self.selection.tokens;
        let note: Arc<str> = made.to_json().unwrap_or_default().into();
        let mut sets = BTreeMap::new();
        for (path, weight) in weights(model, tokens) {
            let Some(layer) = self.scan.layers().iter().find(|layer| layer.path == path) else {
                continue;
            };
            let turned = layer.layout == Layout::OutIn;
            let weight = of_matrix(weight, turned);
            let adapter = adapter(layer, &tokens[&path], &weight)
                .map_err(|source| PatchError::Adapter { layer: path.clone(), source })?;
            let set = Adapters::single(adapter.with_note(note.clone())).with_turned(turned);
            sets.insert(path, set);
        }
        Ok(sets)
    }

    /// Whether the head, which is this table, computes with the table's adapter.
    pub(crate) fn is_tied(&self, layer: &LinearLayer) -> bool {
        self.selection.tied.as_ref() == Some(&layer.path)
    }

    /// What the adapter of a layer that gets one is made from.
    pub(crate) fn settings(&self, linear: &LinearLayer) -> &AdapterConfig {
        &self.selection.settings[&linear.path]
    }

    /// The layers that get an adapter.
    pub(crate) fn adapted(&self) -> impl Iterator<Item = &LinearLayer> {
        self.scan
            .layers()
            .iter()
            .zip(&self.selection.statuses)
            .filter(|(_, status)| **status == LayerStatus::Adapted)
            .map(|(linear, _)| linear)
    }
}

/// A weight that lies turned, `[d_out, d_in]`, as adapters are made for it.
fn of_matrix(weight: Param<Tensor<2>>, turned: bool) -> Param<Tensor<2>> {
    match turned {
        true => Param::initialized(ParamId::new(), weight.base().detach().transpose()),
        false => weight,
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

/// That every weight is held in a format that can be adapted, or trained.
fn check_formats(scan: &Scan, selection: &Selection) -> Result<(), PatchError> {
    let concerned =
        scan.layers().iter().zip(&selection.statuses).filter(|(_, status)| {
            matches!(status, LayerStatus::Adapted | LayerStatus::TrainedWhole)
        });
    let refused = |format: &DType| !matches!(format, DType::F32 | DType::F16 | DType::BF16);
    let layers: Vec<(String, DType)> = concerned
        .filter_map(|(linear, _)| Some((linear.path.clone(), linear.dtype.filter(refused)?)))
        .collect();
    match layers.first() {
        Some((layer, format)) => {
            let (layer, format) = (layer.clone(), *format);
            Err(PatchError::Format { layer, format, layers: layers.len() })
        }
        None => Ok(()),
    }
}

/// That every layer that gets an adapter has room for the one that it gets.
fn check_settings(scan: &Scan, selection: &Selection) -> Result<(), PatchError> {
    for linear in scan.layers() {
        let Some(settings) = selection.settings.get(&linear.path) else { continue };
        let failed = |source| Err(PatchError::Adapter { layer: linear.path.clone(), source });
        // What patterns say is as wrong here as it would be for all layers.
        if let Err(problems) = settings.validate()
            && let Some(problem) = problems.into_iter().next()
        {
            return failed(problem);
        }
        let fits = settings.method.fits(linear.sizes(settings.rank));
        let fits = fits.and_then(|()| match linear.kernel {
            Some(_) => settings.of_convolution().map(drop),
            None if linear.table => settings.of_embedding().map(drop),
            None if linear.parameter.is_some() => settings.of_parameter().map(drop),
            None => settings.fits(linear.d_in, linear.d_out),
        });
        if let Err(source) = fits {
            return failed(source);
        }
    }
    Ok(())
}

/// Whether a module that holds state is trained whole, its state with it.
fn is_trained(scan: &Scan, module: &str, trained: &BTreeSet<String>) -> bool {
    scan.params_below(module).any(|param| trained.contains(&param.path))
}

/// A frozen clone of the model whose `RunningState`s are its own: those of a plain clone are shared, so that
/// training, or loading into, the one would move the statistics of the other.
fn with_state_of_its_own<M: Module>(model: &M) -> M {
    struct Trains(bool);
    impl ModuleVisitor for Trains {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.lazy_device().is_autodiff();
        }
    }
    let mut trains = Trains(false);
    model.visit(&mut trains);
    // The two ways that Burn makes new ones; each leaves a frozen model that is in that mode as it is.
    let frozen = freeze(model.clone(), &BTreeSet::new(), BTreeSet::new());
    match trains.0 {
        true => frozen.train(),
        false => frozen.valid(),
    }
}

/// What the user would want to know of state before an hour of training.
fn warn_of_state(scan: &Scan, selection: &Selection, warnings: &mut Vec<String>) {
    let untrained = |module: &&str| !is_trained(scan, module, &selection.saved_params);
    let stateful = scan.stateful();
    let still: Vec<&str> = stateful
        .iter()
        .filter(|(_, has_flag)| **has_flag)
        .map(|(module, _)| *module)
        .filter(untrained)
        .collect();
    if !still.is_empty() {
        warnings.push(format!(
            "{} {} running statistics, which are held still while the adapter is trained, as in inference: \
             name a module in modules_to_save to train it, and save its statistics, with the adapter",
            listed(&still),
            if still.len() == 1 { "keeps" } else { "keep" }
        ));
    }
    let moving: Vec<&str> = scan
        .params()
        .iter()
        .filter(|param| param.role == ParamRole::Buffer)
        .map(|param| param.path.as_str())
        .filter(|path| stateful.get(parent(path)) == Some(&false) && untrained(&parent(path)))
        .collect();
    if !moving.is_empty() {
        warnings.push(format!(
            "{} {} state that forward passes change and no flag stops: it is saved with the adapter, and \
             unloading does not undo it",
            listed(&moving),
            if moving.len() == 1 { "is" } else { "are" }
        ));
    }
}

/// A bias of factor B can be merged into a layer's own alone.
fn warn_of_no_bias(scan: &Scan, adapted: &[&str], warnings: &mut Vec<String>) {
    let without = scan.without_bias(adapted);
    if let Some(first) = without.first() {
        let more = match without.len() - 1 {
            0 => " has".to_owned(),
            more => format!(" and {more} more have"),
        };
        warnings.push(format!(
            "`{first}`{more} no bias, so that the bias of factor B cannot be merged there: the adapter has to stay beside the base"
        ));
    }
}

fn report(scan: &Scan, selection: &Selection, config: &LoraConfig) -> PatchReport {
    let layers: Vec<LayerReport> = scan
        .layers()
        .iter()
        .zip(&selection.statuses)
        // Whoever asks for no embedding and no convolution is told of none.
        .filter(|(layer, status)| layer.is_linear() || **status != LayerStatus::NotTargeted)
        .map(|(linear, status)| {
            let method = config.adapter.method;
            let settings = selection.settings.get(&linear.path);
            let (rank, scale) = settings.map_or((0, 0.0), |it| (it.rank, it.scale()));
            let sizes = linear.sizes(rank);
            let (adapter_params, trained_params) = match status {
                LayerStatus::Adapted => (method.count(sizes), method.trained(sizes)),
                _ => (0, 0),
            };
            LayerReport {
                path: linear.path.clone(),
                d_in: linear.d_in,
                d_out: linear.d_out,
                table: linear.table,
                kernel: linear.kernel.clone(),
                tied: selection.tied.as_ref() == Some(&linear.path),
                parameter: linear.parameter.clone(),
                status: status.clone(),
                rank,
                scale,
                adapter_params,
                trained_params,
            }
        })
        .collect();
    let adapted = || layers.iter().filter(|layer| layer.status == LayerStatus::Adapted);
    let sum = |params: fn(&LayerReport) -> usize| {
        adapted().map(params).fold(0, |sum: usize, params| sum.saturating_add(params))
    };
    let (adapters, trained) =
        (sum(|layer| layer.adapter_params), sum(|layer| layer.trained_params));
    let base = |param: &&ParamInfo| param.role == ParamRole::Base;
    let saved: Vec<SavedModule> = selection
        .saved_modules
        .iter()
        .map(|path| SavedModule {
            path: path.clone(),
            params: once(scan.params_below(path).filter(base)),
        })
        .collect();
    let biases = BiasReport {
        count: selection.biases.len(),
        params: once(scan.params().iter().filter(|it| selection.biases.contains(&it.path))),
    };
    let tokens: Vec<TrainedRows> = scan
        .layers()
        .iter()
        .filter_map(|layer| {
            let rows = selection.tokens.get(&layer.path)?.len();
            let params = rows.saturating_mul(if layer.table { layer.d_out } else { layer.d_in });
            Some(TrainedRows { path: layer.path.clone(), rows, params })
        })
        .collect();
    let of_rows = tokens.iter().fold(0_usize, |sum, rows| sum.saturating_add(rows.params));
    let mut warnings = selection.warnings.clone();
    warn_of_state(scan, selection, &mut warnings);
    if config.adapter.method.shifts() {
        let adapted: Vec<&str> = adapted().map(|layer| layer.path.as_str()).collect();
        warn_of_no_bias(scan, &adapted, &mut warnings);
    }
    if config.adapter.method == Method::Miss
        && let Some(layer) = adapted().find(|layer| layer.kernel.is_some())
    {
        warnings.push(format!(
            "PEFT has no MiSS of convolutions such as `{}`: the adapter is read here, and refused there",
            layer.path
        ));
    }
    for places in scan.tied() {
        if places.iter().filter(|path| adapted().any(|layer| layer.path == **path)).count() > 1 {
            warnings.push(format!(
                "{} hold one weight: each gets an adapter of its own, exclude all but one to keep them tied",
                and(&places)
            ));
        }
    }
    for table in scan.tables().iter().filter(|table| scan.is_tied(table)) {
        let writes = config.task_type.is_some_and(TaskType::writes);
        let tied = selection.tied.as_ref() == Some(&table.path);
        if writes && !tied && adapted().any(|layer| layer.path == table.path) {
            warnings.push(format!(
                "`{}` is the model's head too: the adapter changes what tokens go in as, and the head stays as it is, so that it \
                 cannot be merged for good (ensure_weight_tying adapts the two as one)",
                table.path
            ));
        }
    }
    let mut narrow: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for layer in adapted() {
        let sizes = layer.sizes();
        if layer.rank > config.adapter.method.useful_rank(sizes) {
            narrow.entry(layer.rank).or_default().push(&layer.path);
        }
    }
    for (rank, narrow) in narrow {
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
        rank: config.adapter.rank,
        alpha: config.adapter.alpha,
        scale: config.adapter.scale(),
        trainable: trained
            .saturating_add(saved.iter().map(|module| module.params).sum())
            .saturating_add(of_rows)
            .saturating_add(biases.params),
        total: adapters
            .saturating_add(of_rows)
            .saturating_add(once(scan.params().iter().filter(base))),
        layers,
        saved,
        tokens,
        biases,
        matched: selection.matched.clone(),
        warnings,
    }
}

/// How many values the parameters have, each counted once wherever else it stands.
fn once<'a>(params: impl Iterator<Item = &'a ParamInfo>) -> usize {
    let mut seen = BTreeSet::new();
    params.filter(|param| seen.insert(param.id)).map(ParamInfo::count).sum()
}

/// Lets exactly the parameters at `trained` require gradients, and turns the flags at `still` off. What is
/// trained and not held in f32 becomes f32: updates are far smaller than what 16 bits tell apart, and blocks have no gradient.
fn freeze<M: Module>(model: M, trained: &BTreeSet<String>, still: BTreeSet<String>) -> M {
    struct Freeze<'a> {
        trail: Trail,
        trained: &'a BTreeSet<String>,
        still: BTreeSet<String>,
    }
    impl ModuleMapper for Freeze<'_> {
        follow_trail!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let trained = self.trained.contains(&self.trail.path());
            let param = match trained && param.is_initialized() {
                true => {
                    match FrozenWeight::flattened(param.base().detach().set_require_grad(false)) {
                        FrozenWeight::Dense(_) => param,
                        held => param.map(|weight| held.dense().reshape(weight.shape())),
                    }
                }
                false => param,
            };
            unshared(param).set_require_grad(trained)
        }

        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            match self.still.contains(&self.trail.path()) {
                true => flag.with_value(false),
                false => flag,
            }
        }
    }
    model.map(&mut Freeze { trail: Trail::default(), trained, still })
}

/// The seed of one layer's factors: a hash of the path, mixed with the configured seed.
fn layer_seed(seed: u64, layer: &str) -> u64 {
    splitmix::mixed(fnv::hash(&join(layer, "weight")) ^ seed.wrapping_mul(splitmix::STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another seed would be another adapter for every configuration that was ever run.
    #[test]
    fn the_seed_of_a_layer_stays_what_it_was() {
        assert_eq!(layer_seed(0, "q"), 0x6c7e_2f13_3fe1_b64b);
        assert_eq!(layer_seed(7, "model.layers.3.self_attn.q_proj"), 0x148b_9b50_b0b8_bfde);
    }

    #[test]
    fn seeds_differ_by_layer_and_by_configured_seed() {
        let seeds: BTreeSet<u64> = (0..20)
            .flat_map(|layer| (0..20).map(move |seed| layer_seed(seed, &format!("layers.{layer}"))))
            .collect();
        assert_eq!(seeds.len(), 400);
    }
}
