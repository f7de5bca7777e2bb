//! Changing what hangs on the weights of a patched model: multiplier, merge, unmerge, unload.
//!
//! Burn offers no way to exchange a parameter's reparameterisation, so every change is the same
//! three steps: read the sets of adapters, take all of them off, hang changed ones back on. Tensors
//! are reference counted; only merging computes anything.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Shape, Tensor, TensorReadError};
use burn_lora::{Adapter, Adapters, FrozenWeight, attach_sets, detach, sets};

use crate::LoadOptions;
use crate::config::TaskType;
use crate::error::PatchError;
use crate::path::{Trail, follow_trail, join, layer_of, normalized};
use crate::peft::PeftConfig;
use crate::scan::Scan;

/// Sets what the scale of the adapter `name` is multiplied by: 0 gives the adapted layers of the base
/// model, 1 the adapter as trained. A merged model is merged anew.
///
/// Modules that were trained whole have no multiplier: they are what training made of them, whatever it
/// is set to ([`unload`] says how to have them back as they were).
///
/// # Errors
///
/// No adapter of that name; a multiplier, or merged weights, that are not finite.
pub fn set_multiplier<M: Module>(
    model: &mut M,
    name: &str,
    multiplier: f64,
) -> Result<(), PatchError> {
    if !multiplier.is_finite() {
        return Err(PatchError::Multiplier { multiplier });
    }
    let sets = attached_sets(model)?;
    check_known(&sets, name)?;
    change_adapters(model, sets, |adapter| match adapter.name() == name {
        true => adapter.with_multiplier(multiplier),
        false => adapter,
    })
}

/// Lets exactly the adapters of these names take part; the others stay on the model and change nothing.
/// A merged model is merged anew.
///
/// # Errors
///
/// No adapter of one of the names; merged weights that are not finite.
pub fn set_active<M: Module>(model: &mut M, active: &[&str]) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    active.iter().try_for_each(|name| check_known(&sets, name))?;
    change_adapters(model, sets, |adapter| {
        let is_active = active.contains(&adapter.name());
        adapter.with_active(is_active)
    })
}

/// Takes one adapter off the model and leaves the others.
///
/// # Errors
///
/// No adapter of that name; a merged model.
pub fn delete_adapter<M: Module>(model: &mut M, name: &str) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    check_known(&sets, name)?;
    if sets.values().any(Adapters::is_merged) {
        return Err(PatchError::Merged { name: name.to_owned() });
    }
    let left = sets.into_iter().filter_map(|(layer, set)| Some((layer, set.without(name)?)));
    *model = attach_to_layers(detach(model.clone()), left.collect());
    Ok(())
}

/// Puts the adapter in `dir` in the place of the one called `name`, whatever the ranks, kinds and layers of the two:
/// active or not and with the multiplier that it had. Of the base not a tensor is touched or copied; another adapter's
/// factors stay as well.
///
/// ```
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let dir = directory.path();
/// let device = burn_lora_patch::device::parse("cpu")?;
/// let base = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
/// let wide = LoraConfig::new(4).with_targets(["query"]);
/// base.clone().with_lora(&wide)?.0.save_adapter(dir)?;
///
/// let (model, _) = base.with_lora(&LoraConfig::new(2).with_targets(["value"]))?;
/// let model = model.lora_scale("default", 0.5)?.swap_adapter("default", dir)?;
/// assert_eq!(model.adapter_names(), ["default"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// No adapter of that name; a merged model; what [`peft::load`](crate::peft::load) says of the directory. The model is
/// then as it was.
pub fn swap_adapter<M: Module>(
    model: &mut M,
    name: &str,
    dir: impl AsRef<Path>,
) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    check_known(&sets, name)?;
    let before = sets.values().find_map(|set| set.get(name));
    let (active, multiplier) =
        before.map_or((true, 1.0), |adapter| (adapter.is_active(), adapter.multiplier()));
    let mut swapped = model.clone();
    delete_adapter(&mut swapped, name)?;
    crate::peft::load(&mut swapped, dir, &LoadOptions::new().with_name(name))?;
    let sets = attached_sets(&swapped)?;
    change_adapters(&mut swapped, sets, |adapter| match adapter.name() == name {
        true => adapter.with_multiplier(multiplier).with_active(active),
        false => adapter,
    })?;
    *model = swapped;
    Ok(())
}

/// Sees to it that rows can go each through the adapter that it names.
pub(crate) fn check_rows<M: Module>(model: &M, names: &[Option<&str>]) -> Result<(), PatchError> {
    let Some(name) = names.iter().flatten().next() else { return Ok(()) };
    let sets = attached_sets(model)?;
    names.iter().flatten().try_for_each(|name| check_known(&sets, name))?;
    match sets.values().any(Adapters::is_merged) {
        true => Err(PatchError::Merged { name: (*name).to_owned() }),
        false => Ok(()),
    }
}

/// Replaces every adapter by what `change` makes of it, under what is merged.
fn change_adapters<M: Module>(
    model: &mut M,
    sets: BTreeMap<String, Adapters>,
    change: impl Fn(Adapter) -> Adapter,
) -> Result<(), PatchError> {
    rewrite(model, sets, |base, set| match set.is_merged() {
        true => set.unmerge().map(&change).merge(base),
        false => set.map(&change),
    })
}

pub(crate) fn check_known(sets: &BTreeMap<String, Adapters>, name: &str) -> Result<(), PatchError> {
    if sets.values().any(|set| set.get(name).is_some()) {
        return Ok(());
    }
    Err(PatchError::UnknownAdapter { name: name.to_owned(), present: names(sets) })
}

/// Lets every adapted layer multiply with one dense weight, the base with the change of every active
/// adapter, so that nothing is computed beside it.
///
/// The base stays where it is ([`unmerge`] is exact, and a Burn record of the model holds base and
/// factors as ever), so that a merged model takes the memory of its adapted weights twice;
/// [`merge_and_unload`] does not. **A merged model does not train**: its factors require no gradients
/// until it is unmerged. Merging a merged model changes nothing.
///
/// ```
/// use burn::nn::transformer::TransformerEncoderConfig;
/// use burn_lora_patch::{LoraConfig, merge, patch, unmerge};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora_patch::device::parse("cpu")?;
/// let mut encoder = TransformerEncoderConfig::new(16, 32, 2, 1).init(&device);
/// patch(&mut encoder, &LoraConfig::new(2))?;
/// merge(&mut encoder)?; // inference at the speed of the base model
/// unmerge(&mut encoder)?; // bit for bit what it was
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// No adapter; merged weights that are not finite; a bias of factor B on a layer that has none.
pub fn merge<M: Module>(model: &mut M) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    check_biases(model, &sets)?;
    rewrite(model, sets, |base, set| set.merge(base))
}

/// Takes the change out again: the model is bit for bit what it was, and trains again.
///
/// Unmerging a model that is not merged changes nothing.
///
/// # Errors
///
/// No adapter.
pub fn unmerge<M: Module>(model: &mut M) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    rewrite(model, sets, |_, set| set.unmerge())
}

/// The base model without any adapter, its parameters bit for bit as they were before patching, merged or
/// not.
///
/// What is frozen stays frozen ([`Module::unfreeze`] is for that), and what was trained whole keeps its
/// trained values: keep a clone of the model from before it was patched to have those back too (a clone
/// copies no weights).
pub fn unload<M: Module>(model: M) -> M {
    detach(model)
}

/// The model with every active adapter merged for good and no adapter left, each weight in the number
/// format that its base was held in; in f32 where that was blocks. Everything is frozen ([`Module::unfreeze`] is for that).
///
/// # Errors
///
/// As [`merge`].
pub fn merge_and_unload<M: Module>(model: M) -> Result<M, PatchError> {
    folded(model, |merged, format| match merged.dtype() == format {
        true => merged,
        false => merged.cast(format),
    })
}

/// As [`merge_and_unload`], with the merged weights in f32 whatever their bases were held in, so that
/// nothing of the change is rounded away before it is saved.
///
/// # Errors
///
/// As [`merge`].
pub fn merge_and_unload_f32<M: Module>(model: M) -> Result<M, PatchError> {
    folded(model, |merged, _| merged)
}

/// Whether the model's adapters can be merged for good, as far as is known before a weight is computed.
///
/// # Errors
///
/// No adapter; one on a table that is the head of a model that writes, and that the head does not follow; a bias of
/// factor B on a layer that has none.
pub fn check_mergeable<M: Module>(model: &M) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    check_tables(model, &sets)?;
    check_biases(model, &sets)
}

/// That a layer has a bias where an adapter has one to add to it.
fn check_biases<M: Module>(model: &M, sets: &BTreeMap<String, Adapters>) -> Result<(), PatchError> {
    let shifted: Vec<&str> = sets
        .iter()
        .filter(|(_, set)| set.shift().is_some())
        .map(|(layer, _)| layer.as_str())
        .collect();
    if shifted.is_empty() {
        return Ok(());
    }
    let without = Scan::of(model).without_bias(&shifted);
    match without.first() {
        Some(layer) => {
            Err(PatchError::NoBias { layer: (*layer).to_owned(), layers: without.len() })
        }
        None => Ok(()),
    }
}

/// That no adapter which the head does not follow is on a table that is the head of a model that writes.
fn check_tables<M: Module>(model: &M, sets: &BTreeMap<String, Adapters>) -> Result<(), PatchError> {
    let writes = |set: &Adapters| {
        let made = set.iter().filter(|it| !it.is_tied());
        let made = made.filter_map(|it| serde_json::from_str::<PeftConfig>(it.note()).ok());
        let mut tasks = made.filter_map(|made| TaskType::parse(made.task_type.as_deref()?));
        tasks.any(TaskType::writes)
    };
    let scan = Scan::of(model);
    let adapted = scan.tables().iter().filter(|it| sets.get(&it.path).is_some_and(writes));
    match adapted.into_iter().find(|table| scan.is_tied(table)) {
        Some(table) => Err(PatchError::TiedTable { table: table.path.clone() }),
        None => Ok(()),
    }
}

/// One weight after the other, so that of each only the base or what it became is there.
fn folded<M: Module>(
    model: M,
    in_format: impl Fn(Tensor<2>, DType) -> Tensor<2> + Copy,
) -> Result<M, PatchError> {
    check_mergeable(&model)?;
    let sets = attached_sets(&model)?;
    let shifts: BTreeMap<String, Tensor<1>> = sets
        .iter()
        .filter_map(|(layer, set)| Some((join(layer, "bias"), set.shift()?.detach())))
        .collect();
    let model = put_bases(detach(model), sets, |layer, base, set| {
        let (format, size) = (base.dtype(), base.shape().num_elements());
        let set = finite(layer, set.merge(base.clone()))?;
        if set.merged().is_some_and(|merged| merged.shape().num_elements() != size) {
            return Err(PatchError::CrossesGroups { layer: layer.to_owned() });
        }
        Ok(set.merged().map_or(base, |merged| in_format(merged.clone(), format)))
    })?;
    Ok(shifted(model, shifts, in_format))
}

/// The model with what is given for them added to biases at these paths, in f32, and put into a format as weights are.
fn shifted<M: Module>(
    model: M,
    shifts: BTreeMap<String, Tensor<1>>,
    in_format: impl Fn(Tensor<2>, DType) -> Tensor<2>,
) -> M {
    struct Shift<F> {
        trail: Trail,
        shifts: BTreeMap<String, Tensor<1>>,
        in_format: F,
    }
    impl<F: Fn(Tensor<2>, DType) -> Tensor<2>> ModuleMapper for Shift<F> {
        follow_trail!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(shift) = self.shifts.remove(&self.trail.path()) else { return param };
            let bias = param.base().flatten::<1>(0, D - 1);
            let format = bias.dtype();
            let sum = bias.detach().cast(DType::F32) + shift;
            let sum = (self.in_format)(sum.unsqueeze::<2>(), format).squeeze_dim::<1>(0);
            param.map(|old| {
                sum.reshape(old.shape()).detach().set_require_grad(old.is_require_grad())
            })
        }
    }
    match shifts.is_empty() {
        true => model,
        false => model.map(&mut Shift { trail: Trail::default(), shifts, in_format }),
    }
}

/// The names of the adapters on a model, each once.
pub fn adapter_names<M: Module>(model: &M) -> Vec<String> {
    names(&sets_by_layer(model))
}

pub(crate) fn names(sets: &BTreeMap<String, Adapters>) -> Vec<String> {
    let mut names: Vec<String> =
        sets.values().flat_map(Adapters::iter).map(|adapter| adapter.name().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// Every set of adapters, by the path of its linear layer.
pub(crate) fn sets_by_layer<M: Module>(model: &M) -> BTreeMap<String, Adapters> {
    sets(model)
        .into_iter()
        .map(|(weight, set)| (layer_of(&normalized(&weight)).to_owned(), set))
        .collect()
}

pub(crate) fn attached_sets<M: Module>(
    model: &M,
) -> Result<BTreeMap<String, Adapters>, PatchError> {
    let sets = sets_by_layer(model);
    if sets.is_empty() { Err(PatchError::NoAdapter) } else { Ok(sets) }
}

/// Replaces every set by what `change` makes of it and the weight that it hangs on.
///
/// All results are checked before the model is touched.
fn rewrite<M: Module>(
    model: &mut M,
    sets: BTreeMap<String, Adapters>,
    change: impl Fn(Tensor<2>, Adapters) -> Adapters,
) -> Result<(), PatchError> {
    let mut changed = BTreeMap::new();
    for (layer, weight) in weights(model, &sets) {
        let Some(set) = sets.get(&layer) else { continue };
        let set = finite(&layer, change(weight.base(), set.clone()))?;
        changed.insert(layer, set);
    }
    *model = attach_to_layers(detach(model.clone()), changed);
    Ok(())
}

/// The set of a layer, whose merged weight is finite where it has one.
fn finite(layer: &str, set: Adapters) -> Result<Adapters, PatchError> {
    let unreadable = |error: TensorReadError| PatchError::Unreadable {
        path: join(layer, "weight"),
        reason: error.to_string(),
    };
    match set.merged() {
        Some(merged) if !FrozenWeight::from(merged.clone()).is_finite().map_err(unreadable)? => {
            Err(PatchError::NotFinite { layer: layer.to_owned() })
        }
        _ => Ok(set),
    }
}

/// The weights of layers as matrices, that of a convolution flattened. Those of linear layers and embeddings are not
/// initialised by being looked at.
pub(crate) fn weights<M: Module, T>(
    model: &M,
    layers: &BTreeMap<String, T>,
) -> BTreeMap<String, Param<Tensor<2>>> {
    struct Weights<'a, T> {
        trail: Trail,
        layers: &'a BTreeMap<String, T>,
        found: BTreeMap<String, Param<Tensor<2>>>,
    }
    impl<T> ModuleVisitor for Weights<'_, T> {
        follow_trail!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let any: &dyn Any = param;
            if let Some(layer) = layer_at(&self.trail, self.layers) {
                let weight = match any.downcast_ref::<Param<Tensor<2>>>() {
                    Some(weight) => weight.clone(),
                    None => {
                        let flat = FrozenWeight::flattened(param.base()).into_tensor();
                        Param::initialized(ParamId::new(), flat)
                    }
                };
                self.found.insert(layer, weight);
            }
        }
    }
    let mut weights = Weights { trail: Trail::default(), layers, found: BTreeMap::new() };
    model.visit(&mut weights);
    weights.found
}

/// The layer whose weight the traversal stands at, if it is one of those asked about.
fn layer_at<T>(trail: &Trail, layers: &BTreeMap<String, T>) -> Option<String> {
    let path = trail.path();
    let layer = layer_of(&path);
    layers.contains_key(layer).then(|| layer.to_owned())
}

/// Replaces the weights of layers by what `value` makes of each; identity, trainability and layout of the parameters
/// stay. After an error the rest is left alone.
pub(crate) fn put_bases<M: Module, T>(
    model: M,
    replaced: BTreeMap<String, T>,
    value: impl Fn(&str, Tensor<2>, T) -> Result<Tensor<2>, PatchError>,
) -> Result<M, PatchError> {
    struct Put<T, F> {
        trail: Trail,
        replaced: BTreeMap<String, T>,
        value: F,
        failed: Option<PatchError>,
    }
    impl<T, F: Fn(&str, Tensor<2>, T) -> Result<Tensor<2>, PatchError>> ModuleMapper for Put<T, F> {
        follow_trail!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.failed.is_some() {
                return param;
            }
            let Some(layer) = layer_at(&self.trail, &self.replaced) else { return param };
            let base = FrozenWeight::flattened(param.base()).into_tensor();
            let Some(of_layer) = self.replaced.remove(&layer) else { return param };
            let new = match (self.value)(&layer, base, of_layer) {
                Ok(new) => new,
                Err(error) => {
                    self.failed = Some(error);
                    return param;
                }
            };
            param.map(|old| {
                as_rank::<D>(new, old.shape()).detach().set_require_grad(old.is_require_grad())
            })
        }
    }
    let mut put = Put { trail: Trail::default(), replaced, value, failed: None };
    let model = model.map(&mut put);
    put.failed.map_or(Ok(model), Err)
}

/// A matrix as the weight of that shape that it is.
fn as_rank<const D: usize>(matrix: Tensor<2>, shape: Shape) -> Tensor<D> {
    // No reshape where it is one already: a tensor that carries blocks is no carrier after it.
    let any: Box<dyn Any> = Box::new(matrix.clone());
    match any.downcast::<Tensor<D>>() {
        Ok(same) => *same,
        Err(_) => matrix.reshape(shape),
    }
}

/// Hangs the adapters of every set on the weight of its layer, beside those that hang there already.
pub(crate) fn add_sets<M: Module>(model: M, added: BTreeMap<String, Adapters>) -> M {
    let mut sets = sets_by_layer(&model);
    for (layer, set) in added {
        let set = match sets.remove(&layer) {
            Some(present) => set.iter().cloned().fold(present, Adapters::with),
            None => set,
        };
        sets.insert(layer, set);
    }
    attach_to_layers(detach(model), sets)
}

/// Hangs every set on the weight of its layer. The model must carry none.
pub(crate) fn attach_to_layers<M: Module>(model: M, mut sets: BTreeMap<String, Adapters>) -> M {
    attach_sets(model, |path| sets.remove(layer_of(&normalized(path))))
}
