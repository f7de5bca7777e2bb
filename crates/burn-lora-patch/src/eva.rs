//! EVA (arXiv 2410.07170): adapters that start along the directions in which what goes into their layers varies most, with
//! the rank where most of it varies.
//!
//! The model reads some batches before it is patched ([`Eva::pass`]). Of every layer that is to be adapted the principal
//! directions of its input are followed ([`Principal`]: a few vectors, whatever the number of rows), those of layers with
//! the same input once. Then the ranks of all layers together are dealt out anew: to the directions that say most of
//! their layer's input, wherever they are, of each layer at most `rho` times its rank (of layers with the same input, the
//! largest of theirs); a layer that gets none is left out. A of a layer is its directions, B is zero, so that the model
//! computes what it computed.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Distribution, Tensor};
//! use burn_lora_patch::prelude::*;
//! use burn_lora_patch::Eva;
//!
//! #[derive(Module, Debug)]
//! struct Net {
//!     fc1: Linear,
//!     fc2: Linear,
//! }
//!
//! impl Net {
//!     fn forward(&self, x: Tensor<2>) -> Tensor<2> {
//!         self.fc2.lora_forward(self.fc1.lora_forward(x).tanh())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora_patch::device::parse("cpu")?;
//! let net = Net {
//!     fc1: LinearConfig::new(8, 6).init(&device),
//!     fc2: LinearConfig::new(6, 4).init(&device),
//! };
//! let config = LoraConfig::new(2).with_targets(["fc1", "fc2"]).with_init(Init::Eva);
//! let mut eva = Eva::new(&net, &config)?;
//! for _ in 0..100 {
//!     if eva.has_converged() {
//!         break;
//!     }
//!     let batch = Tensor::random([32, 8], Distribution::Default, &device);
//!     eva.pass(None, || net.forward(batch))?;
//! }
//! let (net, report) = eva.patch(net)?;
//! assert_eq!(report.layers().iter().map(|layer| layer.rank).sum::<usize>(), 4);
//! # let _ = net;
//! # Ok(())
//! # }
//! ```
//!
//! It is PEFT's `get_eva_state_dict` with `initialize_lora_eva_weights`; what is said of it in files is what PEFT says: the
//! ranks and alphas of layers, by pattern.
//!
//! Left out: embeddings, whose adapters start as ever, and layers that are called by `Linear::forward`, into which nobody
//! can look.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn_lora::decomposition::Principal;
use burn_lora::{Adapter, Init, with_inputs};
use serde::{Deserialize, Serialize};

use crate::config::LoraConfig;
use crate::error::PatchError;
use crate::patch::Plan;
use crate::path::{is_named, join};
use crate::pattern::escaped;
use crate::peft::PeftConfig;
use crate::report::PatchReport;
use crate::select::Unmatched;
use crate::settings::Patterns;
use crate::targets::{Targets, minimal_suffixes};

/// How ranks are dealt out by EVA, and where it ends: PEFT's `EvaConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EvaConfig {
    /// How many times its rank a layer can get, from 1 up; with 1, and one rank for all, every layer keeps its rank. Half a
    /// rank counts to the even side. Of layers with the same input, each can get as many as the one with the largest rank.
    pub rho: f64,
    /// The cosine of each direction with the one in its place before the last batch from which on a layer is not looked at
    /// any more, in `[0, 1]`.
    pub tau: f64,
    /// Divide each direction by the root of its singular value.
    pub whiten: bool,
    /// Let alpha go with the rank that a layer gets, so that `alpha / rank` stays.
    pub adjust_scaling_factors: bool,
}

impl Default for EvaConfig {
    fn default() -> Self {
        Self { rho: 2.0, tau: 0.99, whiten: false, adjust_scaling_factors: true }
    }
}

impl EvaConfig {
    /// Sets how many times its rank a layer can get.
    pub fn with_rho(mut self, rho: f64) -> Self {
        self.rho = rho;
        self
    }

    /// Sets the cosine from which on a layer has converged.
    pub fn with_tau(mut self, tau: f64) -> Self {
        self.tau = tau;
        self
    }

    /// Chooses whether directions are divided by the root of their singular value.
    pub fn with_whiten(mut self, whiten: bool) -> Self {
        self.whiten = whiten;
        self
    }

    /// Chooses whether alpha goes with the rank that a layer gets.
    pub fn with_adjust_scaling_factors(mut self, adjust: bool) -> Self {
        self.adjust_scaling_factors = adjust;
        self
    }

    /// Whether the values are in their ranges.
    fn check(&self) -> Result<(), PatchError> {
        if !(self.rho >= 1.0 && self.rho.is_finite()) {
            return Err(PatchError::Eva { key: "rho", value: self.rho, range: "[1, ∞)" });
        }
        if !(0.0..=1.0).contains(&self.tau) {
            return Err(PatchError::Eva { key: "tau", value: self.tau, range: "[0, 1]" });
        }
        Ok(())
    }
}

/// A layer that is to be adapted.
#[derive(Debug, Clone)]
struct Layer {
    path: String,
    weight: ParamId,
    d_in: usize,
    rank: usize,
    alpha: f64,
}

/// What was seen of a layer.
enum Seen {
    /// Its own input.
    Own(Principal),
    /// The input of the layer of this number.
    As(usize),
}

/// What goes into the layers, as far as it was looked at.
#[derive(Default)]
struct Inputs {
    layers: Vec<Layer>,
    /// By number of the layer.
    seen: BTreeMap<usize, Seen>,
    /// Whose input has this hash, within the first pass.
    same: BTreeMap<u64, usize>,
    /// The rows that count, where not all do.
    rows: Option<Vec<bool>>,
    /// Layers that have converged.
    settled: BTreeSet<usize>,
    /// Directions of a layer at most, were its input no other layer's.
    most: Vec<usize>,
    failed: Option<PatchError>,
}

/// A pass over data before a model is patched, for the initialisation [`Init::Eva`].
pub struct Eva {
    config: LoraConfig,
    plan: Plan,
    inputs: Rc<RefCell<Inputs>>,
    passes: usize,
}

impl Eva {
    /// To patch this model, or one like it, by this configuration, whose initialisation is [`Init::Eva`].
    ///
    /// # Errors
    ///
    /// As [`patch`](crate::patch()); another initialisation; settings that are out of range.
    pub fn new<M: Module>(model: &M, config: &LoraConfig) -> Result<Self, PatchError> {
        if config.adapter.init != Init::Eva {
            return Err(PatchError::NotEva { init: config.adapter.init });
        }
        config.eva.check()?;
        let plan = Plan::with_weights(model, config, Unmatched::Refused)?;
        let ids: BTreeMap<&str, ParamId> =
            plan.scan.params().iter().map(|param| (param.path.as_str(), param.id)).collect();
        let linears = plan.adapted().filter(|layer| layer.is_linear());
        let layers: Vec<Layer> = linears
            .filter_map(|layer| {
                let settings = plan.settings(layer);
                let weight = *ids.get(join(&layer.path, "weight").as_str())?;
                let (path, d_in) = (layer.path.clone(), layer.d_in);
                Some(Layer { path, weight, d_in, rank: settings.rank, alpha: settings.alpha })
            })
            .collect();
        // Half a rank to the even side, as Python rounds.
        let most =
            layers.iter().map(|it| (it.rank as f64 * config.eva.rho).round_ties_even() as usize);
        let most = most.collect();
        let inputs = Inputs { layers, most, ..Inputs::default() };
        let inputs = Rc::new(RefCell::new(inputs));
        Ok(Self { config: config.clone(), plan, inputs, passes: 0 })
    }

    /// What `scope` makes, which runs the model on a batch, while what goes into its layers is looked at: of an input that
    /// has as many rows as `rows` those that are true there (tokens that are no padding), of any other all.
    ///
    /// A model that computes without gradients (`model.valid()`) keeps less, and drops nothing.
    ///
    /// # Errors
    ///
    /// An input that cannot be read, or is not finite.
    pub fn pass<R>(
        &mut self,
        rows: Option<&[bool]>,
        scope: impl FnOnce() -> R,
    ) -> Result<R, PatchError> {
        self.inputs.borrow_mut().rows = rows.map(<[bool]>::to_vec);
        let inputs = Rc::clone(&self.inputs);
        let made = with_inputs(move |weight, x| inputs.borrow_mut().see(weight, x), scope);
        let mut inputs = self.inputs.borrow_mut();
        inputs.same.clear();
        // Which layers read the same is known now, and with that how many directions are to be followed.
        inputs.narrow();
        self.passes += 1;
        if let Some(failed) = inputs.failed.take() {
            return Err(failed);
        }
        inputs.settle(self.config.eva.tau);
        Ok(made)
    }

    /// How many times the model ran.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Whether the directions that count turned by no more than `tau` with the last batches. It need not be waited for.
    pub fn has_converged(&self) -> bool {
        let inputs = self.inputs.borrow();
        let followed = inputs.seen.values().filter(|seen| matches!(seen, Seen::Own(_))).count();
        inputs.seen.len() == inputs.layers.len() && inputs.settled.len() == followed
    }

    /// The configuration with the ranks that were found: as patterns of layers, without layers that get none. What
    /// [`patch`](Self::patch) patches with.
    ///
    /// # Errors
    ///
    /// A layer into which nothing went.
    pub fn found(&self) -> Result<LoraConfig, PatchError> {
        let inputs = self.inputs.borrow();
        let unseen: Vec<String> = (0..inputs.layers.len())
            .filter(|layer| !inputs.principal(*layer).is_some_and(Principal::is_found))
            .map(|layer| inputs.layers[layer].path.clone())
            .collect();
        if !unseen.is_empty() {
            return Err(PatchError::Unseen { layers: unseen });
        }
        let ranks = inputs.ranks();
        let mut config = self.config.clone();
        let of_layers = || inputs.layers.iter().zip(&ranks).filter(|(_, rank)| **rank > 0);
        let adjusts = config.eva.adjust_scaling_factors;
        let by_layer: Vec<(&str, usize)> =
            of_layers().map(|(layer, rank)| (layer.path.as_str(), *rank)).collect();
        let alphas: Vec<(&str, f64)> = of_layers()
            .map(|(layer, rank)| {
                let share = *rank as f64 / layer.rank as f64;
                (layer.path.as_str(), if adjusts { layer.alpha * share } else { layer.alpha })
            })
            .collect();
        config.rank_pattern = Patterns::exact(&by_layer, config.adapter.rank);
        config.alpha_pattern = Patterns::exact(&alphas, config.adapter.alpha);
        if by_layer.len() == inputs.layers.len() {
            return Ok(config);
        }
        let tables = self.plan.adapted().filter(|layer| !layer.is_linear());
        let kept: BTreeSet<&str> = by_layer
            .iter()
            .map(|(path, _)| *path)
            .chain(tables.map(|layer| layer.path.as_str()))
            .collect();
        let others = self.plan.scan.layers().iter().map(|layer| layer.path.as_str());
        let others: Vec<&str> = others.filter(|path| !kept.contains(path)).collect();
        let names = minimal_suffixes(kept.iter().copied(), others.iter().copied());
        let exact = !others.iter().any(|other| names.iter().any(|name| is_named(other, name)));
        config.targets = match exact {
            true => Targets::Names(names),
            // A path that another one ends in is told from it by a pattern alone.
            false => {
                let whole: Vec<String> = kept.iter().map(|path| escaped(path)).collect();
                Targets::Regex(whole.join("|"))
            }
        };
        config.exclude = Vec::new();
        config.exclude_regex = None;
        config.layers_to_transform = None;
        config.layers_pattern = Vec::new();
        Ok(config)
    }

    /// The model with a fresh adapter that starts along what was found, as [`with_lora`](crate::LoraModule::with_lora)
    /// attaches one.
    ///
    /// # Errors
    ///
    /// A layer into which nothing went; a model of other layers.
    pub fn patch<M: Module>(&self, model: M) -> Result<(M, PatchReport), PatchError> {
        let config = self.found()?;
        let inputs = self.inputs.borrow();
        let plan = Plan::with_weights(&model, &config, Unmatched::Refused)?;
        let numbered = inputs.layers.iter().enumerate();
        let number: BTreeMap<&str, usize> =
            numbered.map(|(at, layer)| (layer.path.as_str(), at)).collect();
        let made = PeftConfig::new(&config);
        let model = plan.attached(&model, &config, &made, |linear, weight| {
            let settings = plan.settings(linear);
            let principal = number.get(linear.path.as_str()).and_then(|at| inputs.principal(*at));
            let Some(principal) = principal else {
                return plan.fresh(&config, linear, weight);
            };
            let a = principal.directions(settings.rank, config.eva.whiten);
            Adapter::init_along(&config.name, settings, weight, a)
        })?;
        Ok((model, plan.report))
    }
}

impl Inputs {
    /// What goes into the layer of this weight, `[rows, d_in]`.
    fn see(&mut self, weight: ParamId, x: Tensor<2>) {
        let wanted: Vec<usize> = (0..self.layers.len())
            .filter(|at| self.layers[*at].weight == weight && !self.settled.contains(at))
            .filter(|at| !matches!(self.seen.get(at), Some(Seen::As(_))))
            .collect();
        let Some(first) = wanted.first().map(|at| &self.layers[*at]) else { return };
        if self.failed.is_some() {
            return;
        }
        let (path, width) = (first.path.clone(), first.d_in);
        let values = match x.detach().try_into_vec_as::<f32>() {
            Ok(values) => self.that_count(values, width),
            Err(error) => {
                let (path, reason) = (join(&path, "input"), error.to_string());
                self.failed = Some(PatchError::Unreadable { path, reason });
                return;
            }
        };
        if values.is_empty() {
            return;
        }
        for at in wanted {
            self.take(at, &values);
        }
    }

    /// The rows that count of an input of this width.
    fn that_count(&self, values: Vec<f32>, width: usize) -> Vec<f32> {
        match &self.rows {
            Some(rows) if rows.len() * width == values.len() => {
                let counted = values.chunks_exact(width).zip(rows).filter(|(_, counts)| **counts);
                counted.flat_map(|(row, _)| row).copied().collect()
            }
            _ => values,
        }
    }

    /// Takes in what went into the layer of this number.
    fn take(&mut self, at: usize, values: &[f32]) {
        if !self.seen.contains_key(&at) {
            let mut hash = DefaultHasher::new();
            self.layers[at].d_in.hash(&mut hash);
            values.iter().for_each(|value| value.to_bits().hash(&mut hash));
            let first = *self.same.entry(hash.finish()).or_insert(at);
            if first != at {
                self.seen.insert(at, Seen::As(first));
                return;
            }
            let count = self.most.iter().copied().max().unwrap_or(0);
            let principal = Principal::new(count, self.layers[at].d_in);
            self.seen.insert(at, Seen::Own(principal));
        }
        if let Some(Seen::Own(principal)) = self.seen.get_mut(&at)
            && !principal.add(values)
        {
            self.failed = Some(PatchError::InputNotFinite { layer: self.layers[at].path.clone() });
        }
    }

    /// The number of the layer whose input this one has.
    fn owner(&self, at: usize) -> usize {
        match self.seen.get(&at) {
            Some(Seen::As(first)) => *first,
            _ => at,
        }
    }

    /// The directions of a layer's input; none of one that nothing went into.
    fn principal(&self, at: usize) -> Option<&Principal> {
        match self.seen.get(&self.owner(at)) {
            Some(Seen::Own(principal)) => Some(principal),
            _ => None,
        }
    }

    /// How many directions layers with the input of each can get at most; zero of one that has another's.
    fn most_of_owners(&self) -> Vec<usize> {
        let mut most = vec![0; self.most.len()];
        for (at, own) in self.most.iter().enumerate() {
            let of = &mut most[self.owner(at)];
            *of = (*of).max(*own);
        }
        most
    }

    /// Follows no more directions of an input than can count, as PEFT: what more of them keep of earlier batches turns the others.
    fn narrow(&mut self) {
        let most = self.most_of_owners();
        for (at, seen) in &mut self.seen {
            if let Seen::Own(principal) = seen {
                principal.narrow(most[*at]);
            }
        }
    }

    /// The rank of every layer: as many as all have together, each to the direction that says most of its layer's input
    /// of those that are left. Of equal ones the layer that comes first has it. Layers with one input can get as many as the
    /// one of them that can get most.
    fn ranks(&self) -> Vec<usize> {
        let most = self.most_of_owners();
        let mut all: Vec<(f64, usize)> = Vec::new();
        for at in 0..self.most.len() {
            let ratios = self.principal(at).map(Principal::ratios).unwrap_or_default();
            all.extend(ratios.into_iter().take(most[self.owner(at)]).map(|ratio| (ratio, at)));
        }
        all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let budget = self.layers.iter().map(|layer| layer.rank).sum();
        let mut ranks = vec![0; self.layers.len()];
        all.into_iter().take(budget).for_each(|(_, at)| ranks[at] += 1);
        ranks
    }

    /// Finds the layers of which the directions that count turn no more.
    fn settle(&mut self, tau: f64) {
        let count = self.layers.len();
        if !(0..count).all(|at| self.principal(at).is_some_and(Principal::is_found)) {
            return;
        }
        let ranks = self.ranks();
        let mut counting = vec![0; count];
        for (at, rank) in ranks.into_iter().enumerate() {
            let of = &mut counting[self.owner(at)];
            *of = rank.max(*of);
        }
        self.settled = (0..count)
            .filter(|at| match self.seen.get(at) {
                Some(Seen::Own(principal)) => principal.has_converged(counting[*at], tau),
                _ => false,
            })
            .collect();
    }
}
