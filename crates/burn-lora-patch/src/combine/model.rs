//! Adapters on a model, combined into one more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use burn_lora::{Adapter, Adapters, Factor, Method, detach};

use super::layer::Layer;
use super::targets::of_rank;
use super::{CombineOptions, CombineProblem, Factors, rank_of};
use crate::error::PatchError;
use crate::path::join;
use crate::peft::{self, Modules};
use crate::rewrite::{attach_to_layers, attached_sets, check_known, names, weights};

/// Puts one more adapter on the model, called `into`, which is what those of `names` are together
/// ([`Combination`](super::Combination)), frozen and not active: [`set_active`](crate::set_active) chooses it. Multipliers
/// of the others do not enter, and their factors and the base stay as they are.
///
/// # Errors
///
/// No adapter of one of the names, one called `into` already, a merged model; kinds whose change is no product of
/// factors; options that do not fit.
pub fn combine_adapters<M: Module>(
    model: &mut M,
    of: &[&str],
    options: &CombineOptions,
    into: &str,
) -> Result<(), PatchError> {
    let sets = attached_sets(model)?;
    of.iter().try_for_each(|name| check_known(&sets, name))?;
    let options = options.checked(of.len())?;
    let name = into.to_owned();
    if names(&sets).contains(&name) {
        let layers = sets.values().filter(|set| set.get(into).is_some()).count();
        return Err(PatchError::AlreadyPatched { name, layers });
    }
    if sets.values().any(Adapters::is_merged) {
        return Err(PatchError::Merged { name });
    }
    for name in of {
        let parameters = peft::config_of(model, Some(name))?.target_parameters.unwrap_or_default();
        if !parameters.is_empty() {
            let dir = PathBuf::from(*name);
            return Err(CombineProblem::Parameters { dir, parameters }.into());
        }
    }
    let mut combined = BTreeMap::new();
    let ranks = sets.values().flat_map(Adapters::iter).filter(|it| of.contains(&it.name()));
    let rank = rank_of(&options, ranks.map(Adapter::written_rank));
    for (path, set) in &sets {
        let mut parts = Vec::new();
        for (at, name) in of.iter().enumerate() {
            if let Some(adapter) = set.get(name) {
                parts.push((at, factors_of(path, adapter)?));
            }
        }
        if parts.is_empty() {
            continue;
        }
        let parts: Vec<(usize, &Factors)> = parts.iter().map(|(at, it)| (*at, it)).collect();
        combined.insert(path.clone(), Layer { path, parts: &parts }.combined(&options, rank)?);
    }
    let rank = combined.values().map(|factors| factors.rank).max().unwrap_or(rank);
    let mut config = of_rank(peft::config_of(model, of.first().copied())?, rank);
    config.target_modules = Some(Modules::Names(combined.keys().cloned().collect()));
    (config.exclude_modules, config.layers_to_transform, config.layers_pattern) =
        (None, None, None);
    let note: Arc<str> = Arc::from(serde_json::to_string(&config).unwrap_or_default());

    let devices: BTreeMap<String, _> = weights(model, &sets)
        .into_iter()
        .map(|(path, weight)| (path, weight.lazy_device()))
        .collect();
    let mut changed = BTreeMap::new();
    for (path, set) in sets {
        let set = match (combined.remove(&path), devices.get(&path)) {
            (Some(factors), Some(device)) => {
                let Factors { a, b, rank, d_in, d_out, .. } = factors.widened(rank);
                let tensor = |values: Vec<f64>, shape: [usize; 2]| {
                    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
                    Tensor::<2>::from_data(TensorData::new(values, shape), device).transpose()
                };
                let (a, b) = (tensor(a, [rank, d_in]), tensor(b, [d_out, rank]));
                let adapter = Adapter::from_factors(into, a, b, 1.0, 0.0)
                    .map_err(|source| PatchError::Adapter { layer: path.clone(), source })?;
                set.with(adapter.no_grad().with_active(false).with_note(note.clone()))
            }
            _ => set,
        };
        changed.insert(path, set);
    }
    *model = attach_to_layers(detach(model.clone()), changed);
    Ok(())
}

/// An adapter's factors as its file would have them: with what it took out of the base beside them.
fn factors_of(layer: &str, adapter: &Adapter) -> Result<Factors, PatchError> {
    let method = adapter.method();
    if method.saved_as() != Method::Lora {
        let reason =
            "its change is no product of factors; merge it for good (`merge_and_unload`) instead";
        let (dir, title) = (PathBuf::from(adapter.name()), method.title());
        return Err(CombineProblem::Kind { dir, title, reason }.into());
    }
    if adapter.groups() > 1 {
        let ([d_in, d_out], rank) = (adapter.weight_shape(), adapter.rank());
        let (dir, layer) = (PathBuf::from(adapter.name()), layer.to_owned());
        let (a, b) = (vec![rank, d_in], vec![d_out, rank / adapter.groups()]);
        return Err(CombineProblem::Shapes { dir, layer, a, b, grouped: true }.into());
    }
    let read = |name: &str, at: usize| -> Result<Vec<f64>, PatchError> {
        let factor: Option<&'static Factor> = method.factor(name);
        let (Some(factor), Some(param)) = (factor, adapter.factor::<2>(name)) else {
            return Err(PatchError::UnknownFactor { path: join(layer, name) });
        };
        let mut whole = param.val().detach();
        if let Some(beside) = adapter.beside(factor) {
            whole = Tensor::cat(vec![whole, beside.clone().detach()], at);
        }
        let values = whole.transpose().try_into_vec_as::<f32>().map_err(|error| {
            PatchError::Unreadable { path: join(layer, name), reason: error.to_string() }
        })?;
        Ok(values.into_iter().map(f64::from).collect())
    };
    // A is [d_in, rank] here and B [rank, d_out].
    let (a, b) = (read("a", 1)?, read("b", 0)?);
    let ([d_in, d_out], rank) = (adapter.weight_shape(), adapter.written_rank());
    Ok(Factors { a, b, rank, d_in, d_out, scale: adapter.scale() })
}
