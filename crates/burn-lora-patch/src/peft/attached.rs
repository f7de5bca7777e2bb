//! The adapter of one name as it hangs on a model: how it was made, what belongs to it, and whether a
//! configuration describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use burn::module::Module;
use burn_lora::{Adapter, AdapterConfig, FactorPath};

use super::config::PeftConfig;
use super::keys::{Part, Slot};
use super::moved;
use crate::config::LoraConfig;
use crate::error::PatchError;
use crate::path::parent;
use crate::rewrite::{names, sets_by_layer};
use crate::scan::{ParamInfo, ParamRole, Scan};
use crate::select::saved_params;
use crate::settings::{Patterns, Settings};
use crate::tokens;

/// The adapter of one name, and the sets of the model that it is in.
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) sets: moved::Sets,
}

impl Attached {
    /// The adapter called `name`.
    pub(super) fn of<M: Module>(model: &M, name: &str) -> Result<Self, PatchError> {
        let sets = sets_by_layer(model);
        let attached = Self { name: name.to_owned(), sets };
        if attached.layers().next().is_some() {
            return Ok(attached);
        }
        Err(match names(&attached.sets) {
            present if present.is_empty() => PatchError::NoAdapter,
            present => PatchError::UnknownAdapter { name: name.to_owned(), present },
        })
    }

    /// The only adapter on the model.
    pub(super) fn only<M: Module>(model: &M) -> Result<Self, PatchError> {
        let sets = sets_by_layer(model);
        match names(&sets).as_slice() {
            [] => Err(PatchError::NoAdapter),
            [name] => Ok(Self { name: name.clone(), sets }),
            several => Err(PatchError::SeveralAdapters { present: several.to_vec() }),
        }
    }

    /// The layers that it adapts, with its part of each.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&str, &Adapter)> {
        self.parts().filter(|(_, adapter)| adapter.token_ids().is_none())
    }

    /// The tokens of every table of which it trains rows, by its path.
    fn tokens(&self) -> BTreeMap<String, Vec<usize>> {
        let of_rows = self.parts();
        let tables = of_rows.filter_map(|(table, adapter)| Some((table, adapter.token_ids()?)));
        tables.map(|(table, tokens)| (table.to_owned(), tokens.to_vec())).collect()
    }

    /// The table whose adapter the head, that is the table, computes with.
    pub(super) fn tied(&self) -> Option<&str> {
        self.layers().find(|(_, adapter)| adapter.is_tied()).map(|(layer, _)| layer)
    }

    /// What hangs on layers and tables.
    fn parts(&self) -> impl Iterator<Item = (&str, &Adapter)> {
        self.sets.iter().filter_map(|(layer, set)| Some((layer.as_str(), set.get(&self.name)?)))
    }

    /// How it was made. Of one that was attached by hand, what can be seen of it: the layers by name.
    pub(super) fn config(&self) -> PeftConfig {
        let mut parts = self.layers();
        let Some((_, first)) = parts.next() else { return PeftConfig::default() };
        serde_json::from_str(first.note()).unwrap_or_else(|_| {
            let alpha = |adapter: &Adapter| adapter.scale() * adapter.written_rank() as f64;
            let adapter = AdapterConfig::new(first.written_rank())
                .with_method(first.method())
                .with_alpha(alpha(first))
                .with_dropout(first.dropout());
            let layers: Vec<&str> = self.layers().map(|(layer, _)| layer).collect();
            let ranks: Vec<_> =
                self.layers().map(|(layer, it)| (layer, it.written_rank())).collect();
            let alphas: Vec<_> = self.layers().map(|(layer, it)| (layer, alpha(it))).collect();
            let mut config = LoraConfig::from(adapter).with_targets(layers);
            config.rank_pattern = Patterns::exact(&ranks, first.written_rank());
            config.alpha_pattern = Patterns::exact(&alphas, alpha(first));
            config.trainable_token_indices = self.tokens().into_iter().collect();
            config.ensure_weight_tying = self.tied().is_some();
            PeftConfig::new(&config)
        })
    }

    /// The places of its factors, and of what `config` says is trained whole with them.
    pub(super) fn slots(&self, scan: &Scan, config: &LoraConfig) -> Result<Vec<Slot>, PatchError> {
        let adapted = |path: &str| self.layers().any(|(layer, _)| layer == path);
        let (saved, biases) = saved_params(scan, config, adapted);
        // Where PEFT has parameters depends on which others this adapter has.
        let mut scan = scan.clone();
        scan.wrap(adapted);
        let scan = &scan;
        let slots: Vec<Slot> = scan
            .params()
            .iter()
            .filter(|param| match param.role {
                ParamRole::Factor => !self.is_of_another(param),
                _ => saved.contains(&param.path) || biases.contains(&param.path),
            })
            .map(|param| moved::widened(&self.sets, Slot::of(param)))
            .chain(unstoppable(scan, &saved))
            .collect();
        match slots.iter().find(|slot| matches!(slot.part, Part::Unknown)) {
            Some(slot) => Err(PatchError::UnknownFactor { path: slot.path.clone() }),
            None => Ok(slots),
        }
    }

    /// Whether the parameter is a factor of an adapter of another name.
    fn is_of_another(&self, param: &ParamInfo) -> bool {
        FactorPath::parse(&param.path).is_some()
            && moved::adapter_of(&self.sets, &param.path).is_none_or(|it| it.name() != self.name)
    }
}

/// The places of state that training moves whatever is frozen, and that files may have or not.
pub(super) fn unstoppable(scan: &Scan, saved: &BTreeSet<String>) -> Vec<Slot> {
    let stateful = scan.stateful();
    let moves = |param: &&ParamInfo| {
        param.role == ParamRole::Buffer
            && !saved.contains(&param.path)
            && stateful.get(parent(&param.path)) == Some(&false)
    };
    let places = scan.params().iter().filter(moves).map(Slot::of);
    places.map(|slot| Slot { optional: true, ..slot }).collect()
}

/// That the configuration describes the adapter that is attached to the model.
pub(super) fn check_settings(
    attached: &Attached,
    config: &LoraConfig,
    scan: &Scan,
) -> Result<(), PatchError> {
    let (configured, found) = (tokens::pick(scan, config).tables, attached.tokens());
    if let Some(layer) =
        configured.keys().chain(found.keys()).find(|it| configured.get(*it) != found.get(*it))
    {
        let told = |tokens: Option<&Vec<usize>>| match tokens {
            Some(tokens) => format!("{tokens:?}"),
            None => "none".to_owned(),
        };
        return Err(PatchError::Mismatch {
            setting: "trainable_token_indices",
            layer: layer.clone(),
            configured: told(configured.get(layer)),
            attached: told(found.get(layer)),
        });
    }
    let settings = Settings::new(config).map_err(|problems| PatchError::Targets { problems })?;
    for (layer, adapter) in attached.layers() {
        let mismatch = |setting, configured: &dyn Display, attached: &dyn Display| {
            let (configured, attached) = (configured.to_string(), attached.to_string());
            Err(PatchError::Mismatch { setting, layer: layer.to_owned(), configured, attached })
        };
        let is_tied = config.ensure_weight_tying
            && tokens::tied_table(scan).is_some_and(|table| table.path == layer);
        if adapter.is_tied() != is_tied {
            return mismatch("ensure_weight_tying", &is_tied, &adapter.is_tied());
        }
        let settings = settings.of(layer);
        // A kind that PEFT saves as another one is described as that.
        if adapter.method().saved_as() != settings.method.saved_as() {
            return mismatch("method", &settings.method, &adapter.method());
        }
        if adapter.written_rank() != settings.rank {
            return mismatch("rank", &settings.rank, &adapter.written_rank());
        }
        let (configured, attached) = (settings.scale(), adapter.scale());
        if (configured - attached).abs() > 1e-9 * configured.abs().max(1.0) {
            return mismatch("scale", &configured, &attached);
        }
    }
    Ok(())
}
