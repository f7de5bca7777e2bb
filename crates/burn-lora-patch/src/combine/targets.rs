//! The configuration of an adapter that was made of others, or of a change that was found.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{StoredAdapter, StoredLayer};
use crate::peft::{Modules, PeftConfig};

/// The first adapter's configuration, or that of the one that trained modules whole, for these layers.
///
/// Where all adapters picked layers by names alone, all their names pick these layers; otherwise they are named one by
/// one.
pub(super) fn config_of(
    adapters: &[StoredAdapter],
    whole: Option<&StoredAdapter>,
    layers: &BTreeMap<String, StoredLayer>,
) -> PeftConfig {
    let Some(first) = whole.or(adapters.first()) else { return PeftConfig::default() };
    let mut config = first.config.clone();
    let picks = |config: &PeftConfig| {
        let PeftConfig {
            target_modules, exclude_modules, layers_to_transform, layers_pattern, ..
        } = config.clone();
        (target_modules, exclude_modules, layers_to_transform, layers_pattern)
    };
    if adapters.iter().all(|adapter| picks(&adapter.config) == picks(&first.config)) {
        return config;
    }
    config.target_modules =
        Some(Modules::Names(names(adapters).unwrap_or_else(|| layers.keys().cloned().collect())));
    config.exclude_modules = None;
    config.layers_to_transform = None;
    config.layers_pattern = None;
    config
}

/// All names, where there is nothing but names.
fn names(adapters: &[StoredAdapter]) -> Option<Vec<String>> {
    let mut names = BTreeSet::new();
    for StoredAdapter { config, .. } in adapters {
        match (&config.target_modules, &config.exclude_modules, &config.layers_to_transform) {
            (Some(Modules::Names(some)), None, None) => names.extend(some.iter().cloned()),
            _ => return None,
        }
    }
    Some(names.into_iter().collect())
}

/// The configuration with the layers picked by names and by nothing else: its own names where they are all that picks, and
/// otherwise the layers' paths.
pub(super) fn by_name(config: PeftConfig, layers: &BTreeMap<String, StoredLayer>) -> PeftConfig {
    let picks = (&config.target_modules, &config.exclude_modules, &config.layers_to_transform);
    if let (Some(Modules::Names(_)), None, None) = picks {
        return config;
    }
    PeftConfig {
        target_modules: Some(Modules::Names(layers.keys().cloned().collect())),
        exclude_modules: None,
        layers_to_transform: None,
        layers_pattern: None,
        ..config
    }
}

/// The configuration with that rank and the scale 1 on every layer.
pub(super) fn of_rank(config: PeftConfig, rank: usize) -> PeftConfig {
    PeftConfig {
        r: rank,
        lora_alpha: rank as f64,
        use_rslora: false,
        rank_pattern: Map::new(),
        alpha_pattern: Map::new(),
        init_lora_weights: Value::Bool(true),
        ..config
    }
}
