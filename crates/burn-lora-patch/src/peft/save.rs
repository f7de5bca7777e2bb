//! Saving the adapter of a model as a PEFT directory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use burn::module::Module;
use burn_lora::{Adapter, Adapters, FactorPath};
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::config::{AdapterConfig, Modules};
use super::files::{CONFIG_FILE, TENSORS_FILE, write_whole};
use super::keys::{Part, Slot};
use crate::config::PatchConfig;
use crate::error::PatchError;
use crate::path::parent;
use crate::report::LayerStatus;
use crate::rewrite::{adapter_names, names, sets_by_layer};
use crate::scan::{ParamInfo, ParamRole, Scan};
use crate::select::{Unmatched, saved_params, select};
use crate::targets::{ALL_LINEAR, minimal_suffixes};
use crate::tensors::read;

/// Writes `adapter_model.safetensors` (f32) and then `adapter_config.json` into `dir`, which is made
/// if need be. Each file is there whole or not at all, and never a configuration beside the tensors
/// of another one.
///
/// PEFT resolves targets by its own rules when it loads. Where they would not give exactly the
/// adapted layers (`all-linear`, or a pattern with numbers of layers), the layers are written by
/// name. The factors of a merged adapter are saved like any other's.
///
/// # Errors
///
/// No adapter, or several; a configuration of another rank or scale than the adapter's, or with
/// settings that are not supported; values that cannot be read; a file that cannot be written.
pub fn save<M: Module>(
    model: &M,
    dir: impl AsRef<Path>,
    config: &AdapterConfig,
) -> Result<(), PatchError> {
    match adapter_names(model).as_slice() {
        [] => Err(PatchError::NoAdapter),
        [only] => save_adapter(model, only, dir, config),
        several => Err(PatchError::SeveralAdapters { present: several.to_vec() }),
    }
}

/// As [`save`], of the adapter called `name` among several.
///
/// # Errors
///
/// No adapter of that name; as [`save`].
pub fn save_adapter<M: Module>(
    model: &M,
    name: &str,
    dir: impl AsRef<Path>,
    config: &AdapterConfig,
) -> Result<(), PatchError> {
    let dir = dir.as_ref();
    let config_path = dir.join(CONFIG_FILE);
    let patch = config
        .to_patch()
        .map_err(|settings| PatchError::Unsupported { path: config_path.clone(), settings })?
        .patch;
    let sets = sets_by_layer(model);
    let adapters: BTreeMap<&str, &Adapter> =
        sets.iter().filter_map(|(layer, set)| Some((layer.as_str(), set.get(name)?))).collect();
    if adapters.is_empty() {
        return Err(PatchError::UnknownAdapter { name: name.to_owned(), present: names(&sets) });
    }
    check_settings(&adapters, &patch)?;

    let scan = Scan::of(model);
    let saved = saved_params(&scan, &patch);
    let slots: Vec<Slot> = scan
        .params()
        .iter()
        .filter(|param| match param.role {
            ParamRole::Factor => !is_of_another(param, &sets, name),
            _ => saved.contains(&param.path),
        })
        .map(Slot::of)
        .collect();
    if let Some(slot) = slots.iter().find(|slot| matches!(slot.part, Part::Unknown)) {
        return Err(PatchError::UnknownFactor { path: slot.path.clone() });
    }
    let tensors = serialized(model, slots)?;
    let text = resolved(config, &scan, &patch, &adapters).to_json().map_err(|error| {
        PatchError::Config { path: config_path.clone(), reason: error.to_string() }
    })?;

    fs::create_dir_all(dir).map_err(|source| PatchError::Io {
        action: "create",
        path: dir.to_owned(),
        source,
    })?;
    match fs::read(&config_path) {
        // Another configuration must not stand beside the new tensors, even for a moment.
        Ok(old) if old != text.as_bytes() => fs::remove_file(&config_path).map_err(|source| {
            PatchError::Io { action: "replace", path: config_path.clone(), source }
        })?,
        _ => {}
    }
    write_whole(&dir.join(TENSORS_FILE), &tensors)?;
    write_whole(&config_path, text.as_bytes())
}

/// Whether the parameter is a factor of another adapter than the one called `name`.
fn is_of_another(param: &ParamInfo, sets: &BTreeMap<String, Adapters>, name: &str) -> bool {
    FactorPath::parse(&param.path).is_some_and(|place| {
        let set = sets.get(parent(place.weight));
        set.and_then(|set| set.iter().nth(place.index)).is_none_or(|it| it.name() != name)
    })
}

/// That the configuration describes the adapter that is attached.
fn check_settings(
    adapters: &BTreeMap<&str, &Adapter>,
    patch: &PatchConfig,
) -> Result<(), PatchError> {
    for (&layer, adapter) in adapters {
        let mismatch = |setting, configured: &dyn Display, attached: &dyn Display| {
            let (configured, attached) = (configured.to_string(), attached.to_string());
            Err(PatchError::Mismatch { setting, layer: layer.to_owned(), configured, attached })
        };
        if adapter.method() != patch.lora.method {
            return mismatch("method", &patch.lora.method, &adapter.method());
        }
        if adapter.rank() != patch.lora.rank {
            return mismatch("rank", &patch.lora.rank, &adapter.rank());
        }
        let (configured, attached) = (patch.lora.scale(), adapter.scale());
        if (configured - attached).abs() > 1e-9 * configured.abs().max(1.0) {
            return mismatch("scale", &configured, &attached);
        }
    }
    Ok(())
}

/// The configuration with targets that PEFT resolves to exactly the adapted layers.
fn resolved(
    config: &AdapterConfig,
    scan: &Scan,
    patch: &PatchConfig,
    adapters: &BTreeMap<&str, &Adapter>,
) -> AdapterConfig {
    let mut config = config.clone();
    let pattern = match &config.target_modules {
        Some(Modules::Pattern(pattern)) => Some(pattern.as_str()),
        _ => None,
    };
    let all_linear = pattern.is_some_and(|text| text.eq_ignore_ascii_case(ALL_LINEAR));
    let refused = pattern.is_some() && config.layers_to_transform.is_some();
    let adapted: BTreeSet<&str> = adapters.keys().copied().collect();
    let selected: BTreeSet<&str> = match select(scan, patch, Unmatched::Reported) {
        Ok(selection) => scan
            .linears()
            .iter()
            .zip(selection.statuses)
            .filter(|(_, status)| *status == LayerStatus::Adapted)
            .map(|(linear, _)| linear.path.as_str())
            .collect(),
        Err(_) => BTreeSet::new(),
    };
    if all_linear || refused || selected != adapted {
        let linears = scan.linears().iter().map(|linear| linear.path.as_str());
        let others = linears.chain(scan.modules().keys().map(String::as_str));
        let names = minimal_suffixes(
            adapted.iter().copied(),
            others.filter(|path| !adapted.contains(path)),
        );
        config.target_modules = Some(Modules::Names(names));
        config.exclude_modules = None;
        config.layers_to_transform = None;
        config.layers_pattern = None;
    }
    config
}

fn serialized<M: Module>(model: &M, slots: Vec<Slot>) -> Result<Vec<u8>, PatchError> {
    let mut values = read(model, slots.iter().map(|slot| slot.path.clone()).collect())?;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = slots
        .into_iter()
        .filter_map(|slot| {
            let tensor = {
                let values = values.remove(&slot.path)?;
                slot.named(values)
            };
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Some((tensor.key, tensor.shape, bytes))
        })
        .collect();
    let damaged = |error: safetensors::SafeTensorError| PatchError::Damaged {
        path: TENSORS_FILE.into(),
        reason: error.to_string(),
    };
    let views = tensors
        .iter()
        .map(|(key, shape, bytes)| {
            Ok((key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(damaged)?))
        })
        .collect::<Result<Vec<_>, PatchError>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize(views, Some(metadata)).map_err(damaged)
}
