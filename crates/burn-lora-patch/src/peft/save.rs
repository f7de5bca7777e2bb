//! Saving the adapter of a model as a PEFT directory.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use burn::module::Module;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::attached::{Attached, check_settings};
use super::config::{Modules, PeftConfig};
use super::convert::{whole_or_not, written};
use super::files::{CONFIG_FILE, TENSORS_FILE, write_whole};
use super::keys::{NamedTensor, Slot, of_tied_head, prefixed, transpose};
use super::moved;
use crate::config::{HEAD, LoraConfig, TaskType};
use crate::error::PatchError;
use crate::path::{is_named, join, last_segment};
use crate::report::LayerStatus;
use crate::scan::Scan;
use crate::select::{Unmatched, select};
use crate::settings::{Patterns, Settings};
use crate::targets::{ALL_LINEAR, FullMatch, minimal_suffixes};
use crate::tensors::read;
use crate::tokens::TABLE;

/// Writes `adapter_model.safetensors` (f32) and then `adapter_config.json` into `dir`, which is made
/// if need be. Each file is there whole or not at all, and never a configuration beside the tensors
/// of another one.
///
/// PEFT resolves targets by its own rules when it loads. Where they would not give exactly the
/// adapted layers (`all-linear`, or a pattern with numbers of layers), the layers are written by
/// name. The factors of a merged adapter are saved like any other's; an adapter that started in a part of the base
/// ([`Init::moves_base`](burn_lora::Init::moves_base)) is written with twice its rank, so that it is what it is on the
/// base that nobody touched.
///
/// # Errors
///
/// No adapter, or several; a configuration of another rank or scale than the adapter's, or with
/// settings that are not supported; values that cannot be read; a file that cannot be written.
pub fn save<M: Module>(
    model: &M,
    dir: impl AsRef<Path>,
    config: &PeftConfig,
) -> Result<(), PatchError> {
    write(model, &Attached::only(model)?, dir.as_ref(), config)
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
    config: &PeftConfig,
) -> Result<(), PatchError> {
    write(model, &Attached::of(model, name)?, dir.as_ref(), config)
}

/// How the adapter called `name` was made, or the only one: what it is saved with unless something else
/// is to be said.
///
/// # Errors
///
/// No adapter of that name; no adapter, or several, where none is named.
pub fn config_of<M: Module>(model: &M, name: Option<&str>) -> Result<PeftConfig, PatchError> {
    let attached = match name {
        Some(name) => Attached::of(model, name)?,
        None => Attached::only(model)?,
    };
    Ok(attached.config())
}

fn write<M: Module>(
    model: &M,
    attached: &Attached,
    dir: &Path,
    config: &PeftConfig,
) -> Result<(), PatchError> {
    let config_path = dir.join(CONFIG_FILE);
    let described = config
        .to_config()
        .map_err(|settings| PatchError::Unsupported { path: config_path.clone(), settings })?
        .config;
    let scan = Scan::of(model);
    check_settings(attached, &described, &scan)?;
    let slots = attached.slots(&scan, &described)?;
    let shared = shared_table(&scan, &slots, &described);
    let parameters: BTreeSet<&str> = scan.parameters().iter().map(|it| it.path.as_str()).collect();
    let every: BTreeSet<&str> = attached.layers().map(|(layer, _)| layer).collect();
    let adapted = every.difference(&parameters).copied().collect();
    let mut resolved = resolved(config, &scan, &described, &adapted, &every);
    resolved.ensure_weight_tying |= shared.is_some();
    if attached.tied().is_some() {
        name_head(&mut resolved);
    }
    let tensors = serialized(model, attached, slots, shared)?;
    let text = resolved.to_json().map_err(|error| PatchError::Config {
        path: config_path.clone(),
        reason: error.to_string(),
    })?;

    fs::create_dir_all(dir).map_err(|source| PatchError::Io {
        action: "create",
        path: dir.to_owned(),
        source,
    })?;
    match burn_lora_files::bytes(&config_path) {
        // Another configuration must not stand beside the new tensors, even for a moment.
        Ok(old) if old != text.as_bytes() => fs::remove_file(&config_path).map_err(|source| {
            PatchError::Io { action: "replace", path: config_path.clone(), source }
        })?,
        _ => {}
    }
    write_whole(&dir.join(TENSORS_FILE), &tensors)?;
    write_whole(&config_path, text.as_bytes())
}

/// The key of a table that is trained whole and is the head of a model that writes. PEFT takes such a table and its head
/// apart unless it is told to keep them tied, and then reads both from the file.
pub(super) fn shared_table(scan: &Scan, slots: &[Slot], described: &LoraConfig) -> Option<String> {
    let writes = described.task_type.is_some_and(TaskType::writes);
    let mut tables = scan.tables().iter().filter(|table| writes && scan.is_tied(table));
    tables.find_map(|table| {
        let weight = join(&table.path, "weight");
        let slot = slots.iter().find(|slot| slot.path == weight && !slot.optional)?;
        Some(slot.key.clone())
    })
}

/// The configuration with targets that PEFT resolves to exactly the adapted layers, which are `every` but parameters.
fn resolved(
    config: &PeftConfig,
    scan: &Scan,
    described: &LoraConfig,
    adapted: &BTreeSet<&str>,
    every: &BTreeSet<&str>,
) -> PeftConfig {
    let mut config = config.clone();
    let pattern = match &config.target_modules {
        Some(Modules::Pattern(pattern)) => Some(pattern.as_str()),
        _ => None,
    };
    let all_linear = pattern.is_some_and(|text| text.eq_ignore_ascii_case(ALL_LINEAR));
    let refused = pattern.is_some() && config.layers_to_transform.is_some();
    let selected: BTreeSet<&str> = match select(scan, described, Unmatched::Reported) {
        Ok(selection) => scan
            .layers()
            .iter()
            .zip(selection.statuses)
            .filter(|(layer, status)| *status == LayerStatus::Adapted && layer.parameter.is_none())
            .map(|(linear, _)| linear.path.as_str())
            .collect(),
        Err(_) => BTreeSet::new(),
    };
    // PEFT excludes layers by their own names only.
    let groups = described
        .exclude
        .iter()
        .any(|entry| !scan.layers().iter().any(|layer| is_named(&layer.path, entry)));
    if all_linear || refused || groups || selected != *adapted {
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
    in_pefts_order(&mut config, described, every);
    config
}

/// PEFT ties where targets name `embed_tokens` or `lm_head`, whatever the table of a model is called.
fn name_head(config: &mut PeftConfig) {
    let names = [TABLE, HEAD];
    match &mut config.target_modules {
        Some(Modules::Names(targets))
            if !targets.iter().any(|target| names.contains(&last_segment(target))) =>
        {
            targets.push(HEAD.to_owned());
        }
        Some(Modules::Pattern(pattern)) => {
            let found = |name: &&str| FullMatch::new(pattern).is_ok_and(|it| it.is_match(name));
            if !names.iter().any(found) {
                *pattern = format!("(?:{pattern})|{HEAD}");
            }
        }
        _ => {}
    }
}

/// PEFT writes patterns in the order of the alphabet and asks them in the order in which they stand, so that another one
/// would hold for a layer that several match. Where that is so, the layers are written by name.
fn in_pefts_order(config: &mut PeftConfig, described: &LoraConfig, adapted: &BTreeSet<&str>) {
    let mut sorted = described.clone();
    sorted.rank_pattern = described.rank_pattern.sorted();
    sorted.alpha_pattern = described.alpha_pattern.sorted();
    let (Ok(own), Ok(of_sorted)) = (Settings::new(described), Settings::new(&sorted)) else {
        return;
    };
    let same = |layer: &&str| own.of(layer) == of_sorted.of(layer);
    if !adapted.iter().all(same) {
        let ranks: Vec<_> = adapted.iter().map(|layer| (*layer, own.of(layer).rank)).collect();
        let alphas: Vec<_> = adapted.iter().map(|layer| (*layer, own.of(layer).alpha)).collect();
        sorted.rank_pattern = Patterns::exact(&ranks, described.adapter.rank);
        sorted.alpha_pattern = Patterns::exact(&alphas, described.adapter.alpha);
    }
    config.rank_pattern = written(&sorted.rank_pattern, |rank| rank.into());
    config.alpha_pattern = written(&sorted.alpha_pattern, whole_or_not);
}

/// The factors of a head that is this table: PEFT has them beside the table's, turned.
fn tied_head(table: &str, tensors: &[NamedTensor]) -> Vec<NamedTensor> {
    let pairs = of_tied_head(table).into_iter();
    let turned = pairs.filter_map(|(key, of)| {
        let of = tensors.iter().find(|tensor| tensor.key == of)?;
        let [rows, columns] = *of.shape.first_chunk::<2>()?;
        let values = transpose(&of.values, rows, columns);
        Some(NamedTensor { key, shape: vec![columns, rows], values })
    });
    turned.collect()
}

fn serialized<M: Module>(
    model: &M,
    attached: &Attached,
    slots: Vec<Slot>,
    shared: Option<String>,
) -> Result<Vec<u8>, PatchError> {
    let mut values = read(model, slots.iter().map(|slot| slot.path.clone()).collect())?;
    let named = slots
        .into_iter()
        .filter_map(|slot| {
            let values = values.remove(&slot.path)?;
            Some(moved::named(&attached.sets, slot, values))
        })
        .collect::<Result<Vec<_>, PatchError>>()?;
    let of_head = attached.tied().map(|table| tied_head(table, &named)).unwrap_or_default();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = named
        .into_iter()
        .chain(of_head)
        .map(|tensor| {
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (tensor.key, tensor.shape, bytes)
        })
        .collect();
    let head = prefixed("", &join(HEAD, "weight"));
    let taken = tensors.iter().any(|(key, _, _)| *key == head);
    let table = tensors.iter().find(|(key, _, _)| Some(key) == shared.as_ref() && !taken);
    let copy = table.map(|(_, shape, bytes)| (head, shape.clone(), bytes.clone()));
    tensors.extend(copy);
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
