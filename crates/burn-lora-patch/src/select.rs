//! Which linear layers and modules of a model a configuration picks, and what it fails to pick.
//!
//! Exclusion is asked first and wins; then what is trained whole; then targets; then the numbers of
//! layers, which a target that is a whole path is not asked for. What is said of an entry that picks
//! nothing stands in `select/unpicked.rs`.

mod unpicked;

use std::collections::{BTreeMap, BTreeSet};

use burn_lora::AdapterConfig;
use burn_lora_text::{nearest_ends, or};

use crate::config::{Bias, HEAD, LoraConfig};
use crate::error::{Role, TargetProblem, adaptable};
use crate::path::{is_named, join, last_segments, parent};
use crate::peft::keys::Slot;
use crate::report::{EntryMatch, LayerStatus};
use crate::scan::{LinearLayer, ModuleKind, ParamInfo, ParamRole, Scan};
use crate::settings::Settings;
use crate::targets::{ALL_LINEAR, FullMatch, LayerIndex, Targets};
use crate::tokens::{self, Picked};

/// What becomes of an entry that picks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// It is an error: a person wrote it for this model.
    Refused,
    /// It is a warning: the configuration comes with tensors, which are checked one by one.
    Reported,
}

/// What a configuration picks out of a model.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// What becomes of every layer, in the order of [`Scan::layers`].
    pub(crate) statuses: Vec<LayerStatus>,
    /// What the adapter of every layer that gets one is made from, by path.
    pub(crate) settings: BTreeMap<String, AdapterConfig>,
    /// The modules trained whole, outermost first.
    pub(crate) saved_modules: Vec<String>,
    /// The parameters of the base that are trained whole.
    pub(crate) saved_params: BTreeSet<String>,
    /// The biases of the base that are trained beside those.
    pub(crate) biases: BTreeSet<String>,
    /// The tokens of every table of which rows are trained, by its path.
    pub(crate) tokens: BTreeMap<String, Vec<usize>>,
    /// The table that gets an adapter which the head, that is the table, computes with, by its path.
    pub(crate) tied: Option<String>,
    /// What every entry matched.
    pub(crate) matched: Vec<EntryMatch>,
    /// What should be looked at.
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn select(
    scan: &Scan,
    config: &LoraConfig,
    unmatched: Unmatched,
) -> Result<Selection, Vec<TargetProblem>> {
    let mut selector = Selector::new(scan, config);
    selector.saved();
    let excluded = selector.excluded();
    let index = selector.layer_index();
    let entries = selector.entries();
    let settings = selector.settings();
    selector.tokens();
    if !selector.problems.is_empty() {
        selector.problems.extend(selector.unpicked);
        return Err(selector.problems);
    }
    let layers = selector.linears(&entries, excluded, &index);
    selector.parameters();
    selector.layers(&layers, &index);
    if let Some(settings) = settings {
        selector.patterns(&settings);
    }
    selector.tables()?;
    selector.tied()?;
    selector.biases();
    selector.heads();
    selector.warn_of_last();
    selector.finished(unmatched)
}

/// The parameters of the base that `config` trains whole and saves, for adapters on the layers for which
/// `adapted` holds: those of modules, and biases beside them.
pub(crate) fn saved_params(
    scan: &Scan,
    config: &LoraConfig,
    adapted: impl Fn(&str) -> bool,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut selector = Selector::new(scan, config);
    selector.saved();
    let saved = selector.selection.saved_params;
    let biases = biases(scan, config.bias, &saved, adapted);
    (saved, biases)
}

/// The biases of the base that are trained beside what is trained whole.
fn biases(
    scan: &Scan,
    bias: Bias,
    saved: &BTreeSet<String>,
    adapted: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let base = scan.params().iter().filter(|param| param.role == ParamRole::Base);
    let all = base.filter(|param| !saved.contains(&param.path) && Slot::of(param).is_bias());
    let trained = |param: &&ParamInfo| match bias {
        Bias::None => false,
        Bias::All => true,
        Bias::LoraOnly => adapted(parent(&param.path)),
    };
    all.filter(trained).map(|param| param.path.clone()).collect()
}

/// One entry of the targets.
enum Entry<'a> {
    All,
    Name(&'a str),
    Pattern(&'a str, FullMatch),
}

impl Entry<'_> {
    fn text(&self) -> &str {
        match self {
            Self::All => ALL_LINEAR,
            Self::Name(text) | Self::Pattern(text, _) => text,
        }
    }

    fn matches(&self, path: &str, config: &LoraConfig) -> bool {
        match self {
            Self::All => !config.heads.iter().any(|head| is_named(path, head)),
            Self::Name(name) => is_named(path, name),
            Self::Pattern(_, pattern) => pattern.is_match(path),
        }
    }

    fn is_exactly(&self, path: &str) -> bool {
        matches!(self, Self::Name(name) if *name == path)
    }
}

/// What became of the linear layers that an entry names.
#[derive(Debug, Clone, Default)]
struct Counts {
    adapted: usize,
    saved: usize,
    other_layer: usize,
    excluded: usize,
    excluded_by: Option<String>,
}

impl Counts {
    fn add(&mut self, status: &LayerStatus) {
        match status {
            LayerStatus::Adapted => self.adapted += 1,
            LayerStatus::TrainedWhole => self.saved += 1,
            LayerStatus::OtherLayer => self.other_layer += 1,
            LayerStatus::Excluded { by } => {
                self.excluded += 1;
                self.excluded_by = Some(by.clone());
            }
            LayerStatus::Head | LayerStatus::NotTargeted => {}
        }
    }
}

fn bad_pattern(role: Role, pattern: &str, reason: String) -> TargetProblem {
    TargetProblem::Pattern { role, pattern: pattern.to_owned(), reason }
}

/// A selection on its way.
struct Selector<'a> {
    scan: &'a Scan,
    config: &'a LoraConfig,
    selection: Selection,
    /// What is wrong with the configuration, whatever the model.
    problems: Vec<TargetProblem>,
    /// The entries that pick nothing of this model.
    unpicked: Vec<TargetProblem>,
}

impl<'a> Selector<'a> {
    fn new(scan: &'a Scan, config: &'a LoraConfig) -> Self {
        let selection = Selection::default();
        Self { scan, config, selection, problems: Vec::new(), unpicked: Vec::new() }
    }

    fn matched(&mut self, role: Role, entry: impl Into<String>, count: usize) {
        self.selection.matched.push(EntryMatch { role, entry: entry.into(), count });
    }

    /// The numbers of layers that are asked for.
    fn wanted_layers(&self) -> Option<&'a [usize]> {
        self.config.layers_to_transform.as_deref().filter(|layers| !layers.is_empty())
    }

    /// Picks the modules that are trained whole, by PEFT's rule: a path that ends in the key.
    fn saved(&mut self) {
        let linears = self.scan.linears().iter().map(|linear| linear.path.as_str());
        let modules: Vec<&str> =
            linears.chain(self.scan.modules().keys().map(String::as_str)).collect();
        let automatic = self.config.task_heads();
        let named = self.config.modules_to_save.iter().map(|key| (key.as_str(), true));
        for (key, by_user) in named.chain(automatic.iter().map(|key| (key.as_str(), false))) {
            let ends = |module: &&str| !key.is_empty() && module.ends_with(key);
            let found: Vec<&str> = modules.iter().copied().filter(ends).collect();
            if !by_user
                && (found.is_empty() || self.config.modules_to_save.iter().any(|m| m == key))
            {
                continue;
            }
            self.matched(Role::ModulesToSave, key, found.len());
            if found.is_empty() {
                let head = Entry::Name(key);
                let tied = unpicked::tied_head(self.scan, self.config, Role::ModulesToSave, &head);
                self.unpicked.push(tied.unwrap_or_else(|| TargetProblem::Unknown {
                    role: Role::ModulesToSave,
                    entry: key.to_owned(),
                    nearest: nearest_ends(key, modules.iter().copied()),
                    existing: last_segments(modules.iter().copied()),
                }));
            }
            self.selection.saved_modules.extend(found.into_iter().map(str::to_owned));
        }
        self.selection.saved_modules.sort();
        self.selection.saved_modules.dedup();
        for module in std::mem::take(&mut self.selection.saved_modules) {
            let inside =
                |outer: &String| module.strip_prefix(outer).is_some_and(|r| r.starts_with('.'));
            if self.selection.saved_modules.iter().any(inside) {
                continue;
            }
            let params = self.scan.params_below(&module);
            let of_base = params.filter(|param| param.role != ParamRole::Factor);
            self.selection.saved_params.extend(of_base.map(|param| param.path.clone()));
            self.selection.saved_modules.push(module);
        }
    }

    /// For every linear layer, the entry that excludes it.
    fn excluded(&mut self) -> Vec<Option<String>> {
        let (scan, config) = (self.scan, self.config);
        let mut entries: Vec<Entry<'_>> =
            config.exclude.iter().map(|name| Entry::Name(name)).collect();
        if let Some(text) = &config.exclude_regex {
            match FullMatch::new(text) {
                Ok(pattern) => entries.push(Entry::Pattern(text, pattern)),
                Err(error) => self.problems.push(bad_pattern(Role::Exclude, text, error)),
            }
        }
        // A parameter by itself is no module.
        let layers = || scan.layers().iter().filter(|layer| layer.parameter.is_none());
        // The name of a module stands for all that is in it.
        let names = |entry: &Entry<'_>, path: &str| match entry {
            Entry::Name(name) => {
                let above = path.match_indices('.').map(|(at, _)| &path[..at]);
                above.chain([path]).any(|module| is_named(module, name))
            }
            entry => entry.matches(path, config),
        };
        for entry in &entries {
            let count = layers().filter(|layer| names(entry, &layer.path)).count();
            self.matched(Role::Exclude, entry.text(), count);
            if count == 0 {
                self.unpicked.push(unpicked::no_linear(scan, config, Role::Exclude, entry));
            }
        }
        let by = |path: &str| entries.iter().find(|entry| names(entry, path));
        layers().map(|layer| by(&layer.path).map(|entry| entry.text().to_owned())).collect()
    }

    fn layer_index(&mut self) -> LayerIndex {
        if self.wanted_layers().is_none() && !self.config.layers_pattern.is_empty() {
            self.problems.push(TargetProblem::PatternWithoutLayers);
        }
        LayerIndex::new(&self.config.layers_pattern).unwrap_or_else(|(pattern, error)| {
            self.problems.push(bad_pattern(Role::LayersPattern, &pattern, error));
            LayerIndex::Anywhere
        })
    }

    /// The targets.
    fn entries(&mut self) -> Vec<Entry<'a>> {
        match &self.config.targets {
            Targets::AllLinear => vec![Entry::All],
            Targets::Names(names) if names.is_empty() => {
                if self.config.target_parameters.is_empty() {
                    self.problems.push(TargetProblem::Empty);
                }
                Vec::new()
            }
            Targets::Names(names) => {
                let mut seen = BTreeSet::new();
                let once = names.iter().filter(|name| seen.insert(*name));
                once.map(|name| Entry::Name(name)).collect()
            }
            Targets::Regex(text) => match FullMatch::new(text) {
                Ok(pattern) => vec![Entry::Pattern(text, pattern)],
                Err(error) => {
                    self.problems.push(bad_pattern(Role::Target, text, error));
                    Vec::new()
                }
            },
        }
    }

    /// The settings of layers, with the ranks and alphas of patterns.
    fn settings(&mut self) -> Option<Settings<'a>> {
        let method = self.config.adapter.method;
        let is_lora = method.is_of_lora();
        for (role, is_empty) in [
            (Role::RankPattern, self.config.rank_pattern.is_empty()),
            (Role::AlphaPattern, self.config.alpha_pattern.is_empty()),
        ] {
            if !is_lora && !is_empty {
                self.problems.push(TargetProblem::PatternOfKind { role, method });
            }
        }
        match Settings::new(self.config) {
            Ok(settings) => Some(settings),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    /// What the patterns of ranks and alphas decide, of the layers that get an adapter.
    fn patterns(&mut self, settings: &Settings<'_>) {
        let layers = self.scan.layers().iter().zip(&self.selection.statuses);
        let adapted: Vec<&str> = layers
            .filter(|(_, status)| **status == LayerStatus::Adapted)
            .map(|(layer, _)| layer.path.as_str())
            .collect();
        let ranks = self.config.rank_pattern.iter().map(|(pattern, _)| pattern);
        let alphas = self.config.alpha_pattern.iter().map(|(pattern, _)| pattern);
        let ranks = ranks.enumerate().map(|(at, pattern)| (Role::RankPattern, at, pattern));
        let alphas = alphas.enumerate().map(|(at, pattern)| (Role::AlphaPattern, at, pattern));
        let mut decided: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for layer in &adapted {
            let (of_layer, by) = settings.decided(layer);
            for (kind, at) in by.into_iter().enumerate() {
                if let Some(at) = at {
                    *decided.entry((kind, at)).or_default() += 1;
                }
            }
            self.selection.settings.insert((*layer).to_owned(), of_layer);
        }
        for (role, at, pattern) in ranks.chain(alphas) {
            let kind = usize::from(role == Role::AlphaPattern);
            let count = decided.get(&(kind, at)).copied().unwrap_or(0);
            self.matched(role, pattern, count);
            if count > 0 {
                continue;
            }
            if adapted.iter().any(|layer| settings.matches(role, at, layer)) {
                self.selection.warnings.push(format!(
                    "{role} `{pattern}` decides nothing: entries before it match all of its layers, put it before them"
                ));
                continue;
            }
            self.unpicked.push(TargetProblem::NoLayer {
                role,
                entry: pattern.to_owned(),
                nearest: nearest_ends(pattern, adapted.iter().copied()),
                existing: last_segments(adapted.iter().copied()),
            });
        }
    }

    /// Decides on every layer, and gives the numbers of the layers that targets are in.
    fn linears(
        &mut self,
        entries: &[Entry<'_>],
        excluded: Vec<Option<String>>,
        index: &LayerIndex,
    ) -> BTreeSet<usize> {
        let mut layers_seen = BTreeSet::new();
        let mut counts = vec![Counts::default(); entries.len()];
        for (layer, excluded) in self.scan.layers().iter().zip(excluded) {
            let path = layer.path.as_str();
            let matches = |&entry: &usize| {
                let named = self.can_be_named(layer) && !matches!(entries[entry], Entry::All);
                let entry = &entries[entry];
                (layer.is_linear() || named)
                    && (entry.matches(path, self.config) || self.is_head_of(entry, layer))
            };
            let named: Vec<usize> = (0..entries.len()).filter(matches).collect();
            let exact = named.iter().any(|&entry| entries[entry].is_exactly(path));
            let status = if let Some(by) = excluded {
                LayerStatus::Excluded { by }
            } else if self.selection.saved_params.contains(&join(path, "weight")) {
                LayerStatus::TrainedWhole
            } else if named.is_empty() {
                match self.config.targets {
                    _ if !layer.is_linear() => LayerStatus::NotTargeted,
                    Targets::AllLinear => LayerStatus::Head,
                    Targets::Names(_) | Targets::Regex(_) => LayerStatus::NotTargeted,
                }
            } else {
                let number = index.of(path);
                layers_seen.extend(number);
                match self.wanted_layers() {
                    Some(layers) if !exact && !number.is_some_and(|at| layers.contains(&at)) => {
                        LayerStatus::OtherLayer
                    }
                    _ => LayerStatus::Adapted,
                }
            };
            for entry in named {
                counts[entry].add(&status);
            }
            self.selection.statuses.push(status);
        }
        for (entry, counts) in entries.iter().zip(&counts) {
            self.matched(Role::Target, entry.text(), counts.adapted);
            if counts.adapted == 0 {
                self.unpicked.push(unpicked::target(self.scan, self.config, entry, counts));
            } else {
                self.warn_of_others(entry);
            }
        }
        layers_seen
    }

    /// Decides on every parameter that is no layer's weight; they come after the layers.
    fn parameters(&mut self) {
        let (scan, config) = (self.scan, self.config);
        let mut counts = vec![0; config.target_parameters.len()];
        for layer in scan.parameters() {
            let weight = layer.weight_path();
            let mut status = LayerStatus::NotTargeted;
            for (entry, count) in config.target_parameters.iter().zip(&mut counts) {
                if !is_named(&weight, entry) {
                    continue;
                }
                status = match self.selection.saved_params.contains(&weight) {
                    true => LayerStatus::TrainedWhole,
                    false => LayerStatus::Adapted,
                };
                *count += usize::from(status == LayerStatus::Adapted);
            }
            self.selection.statuses.push(status);
        }
        for (entry, count) in config.target_parameters.iter().zip(counts) {
            self.matched(Role::Parameter, entry.as_str(), count);
            if count == 0 {
                self.unpicked.push(unpicked::parameter(scan, entry, &self.selection.saved_params));
            }
        }
    }

    /// Whether a layer that is no linear is one that this kind of adapter adapts.
    fn can_be_named(&self, layer: &LinearLayer) -> bool {
        let method = self.config.adapter.method;
        (layer.table && method.embeds()) || (layer.kernel.is_some() && method.convolves())
    }

    /// Whether an entry names the head that the layer, a table, is, and the two are to stay one.
    fn is_head_of(&self, entry: &Entry<'_>, layer: &LinearLayer) -> bool {
        let named = match entry {
            Entry::All => false,
            Entry::Name(name) => is_named(name, HEAD),
            Entry::Pattern(_, pattern) => pattern.is_match(HEAD),
        };
        named
            && self.config.ensure_weight_tying
            && tokens::is_tied_head(self.scan, HEAD)
            && tokens::tied_table(self.scan).is_some_and(|table| table.path == layer.path)
    }

    /// Which table's adapter is the head's, too.
    fn tied(&mut self) -> Result<(), Vec<TargetProblem>> {
        if !self.config.ensure_weight_tying {
            return Ok(());
        }
        let Some(table) = tokens::tied_table(self.scan) else {
            self.selection.warnings.push(
                "ensure_weight_tying ties nothing: the model's head is not its token table"
                    .to_owned(),
            );
            return Ok(());
        };
        let mut layers = self.scan.layers().iter().zip(&self.selection.statuses);
        let status = layers.find(|(layer, _)| layer.path == table.path).map(|(_, status)| status);
        match status {
            Some(LayerStatus::Adapted) if !self.config.adapter.method.ties() => {
                let (table, method) = (table.path.clone(), self.config.adapter.method);
                return Err(vec![TargetProblem::TiedKind { table, method }]);
            }
            Some(LayerStatus::Adapted) => self.selection.tied = Some(table.path.clone()),
            // They are one in any case.
            Some(LayerStatus::TrainedWhole) => {}
            _ if self.selection.tokens.contains_key(&table.path) => {}
            _ => self.selection.warnings.push(format!(
                "ensure_weight_tying ties nothing: name the token table `{}` in targets, or leave it out",
                table.path
            )),
        }
        Ok(())
    }

    /// A pattern may match modules that cannot be adapted, beside those that are.
    fn warn_of_others(&mut self, entry: &Entry<'_>) {
        let Entry::Pattern(text, pattern) = entry else { return };
        let mut others = self.scan.modules().iter();
        let other = |(path, kind): &(&String, &ModuleKind)| {
            let layers = self.scan.layers().iter();
            let adapted =
                layers.filter(|it| self.can_be_named(it)).any(|layer| layer.path == **path);
            **kind != ModuleKind::Container && !adapted && pattern.is_match(path)
        };
        if let Some((path, kind)) = others.find(other) {
            self.selection.warnings.push(format!(
                "target `{text}` also matches {} (`{path}`): {}",
                kind.described(),
                adaptable(*kind)
            ));
        }
    }

    /// What the numbers of layers, and the names before them, picked.
    fn layers(&mut self, seen: &BTreeSet<usize>, index: &LayerIndex) {
        let Some(layers) = self.wanted_layers() else { return };
        let linears = self.scan.layers();
        for &wanted in layers {
            let statuses = linears.iter().zip(&self.selection.statuses);
            let in_layer = statuses.filter(|(linear, status)| {
                **status == LayerStatus::Adapted && index.of(&linear.path) == Some(wanted)
            });
            let count = in_layer.count();
            self.matched(Role::Layer, wanted.to_string(), count);
            if !seen.contains(&wanted) {
                self.unpicked.push(unpicked::layer(self.scan, wanted, seen));
            }
        }
        for pattern in &self.config.layers_pattern {
            let Ok(index) = LayerIndex::new(std::slice::from_ref(pattern)) else { continue };
            if !linears.iter().any(|linear| index.of(&linear.path).is_some()) {
                self.unpicked.push(unpicked::layers_pattern(self.scan, pattern));
            }
        }
    }

    /// The tokens whose rows are trained.
    fn tokens(&mut self) {
        let Picked { tables, problems, unpicked } = tokens::pick(self.scan, self.config);
        self.problems.extend(problems);
        self.unpicked.extend(unpicked);
        for (table, tokens) in &tables {
            if self.selection.saved_params.contains(&join(table, "weight")) {
                let (table, other) = (table.clone(), "modules_to_save trains whole");
                self.problems.push(TargetProblem::TokensBeside { table, other });
            }
            self.matched(Role::Tokens, table.as_str(), tokens.len());
        }
        self.selection.tokens = tables;
    }

    /// That no table of which rows are trained gets an adapter.
    fn tables(&self) -> Result<(), Vec<TargetProblem>> {
        let layers = self.scan.layers().iter().zip(&self.selection.statuses);
        let both = layers.filter(|(layer, status)| {
            **status == LayerStatus::Adapted && self.selection.tokens.contains_key(&layer.path)
        });
        let problems: Vec<TargetProblem> = both
            .map(|(layer, _)| TargetProblem::TokensBeside {
                table: layer.path.clone(),
                other: "a target gives an adapter",
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The biases that are trained.
    fn biases(&mut self) {
        let bias = self.config.bias;
        let statuses = self.scan.layers().iter().zip(&self.selection.statuses);
        let adapted: BTreeSet<&str> = statuses
            .filter(|(_, status)| **status == LayerStatus::Adapted)
            .map(|(linear, _)| linear.path.as_str())
            .collect();
        let found =
            biases(self.scan, bias, &self.selection.saved_params, |path| adapted.contains(path));
        if found.is_empty() && bias != Bias::None {
            self.selection.warnings.push(format!(
                "bias = \"{}\" trains nothing more: there is no such bias in the model",
                bias.name()
            ));
        }
        self.selection.biases = found;
    }

    /// A task trains its head, which the model may not have.
    fn heads(&mut self) {
        let Some(task) = self.config.task_type else { return };
        let heads = self.config.task_heads();
        if !heads.is_empty() && self.selection.saved_modules.is_empty() {
            self.selection.warnings.push(format!(
                "task {} trains a head called {}, but the model has none: no head is trained. Name the \
                 model's own in heads",
                task.as_str(),
                or(&heads)
            ));
        }
    }

    /// `all-linear` knows output layers by name only.
    fn warn_of_last(&mut self) {
        let linears = self.scan.linears();
        let last = linears.iter().zip(&self.selection.statuses).next_back();
        if let (Targets::AllLinear, Some((linear, LayerStatus::Adapted))) =
            (&self.config.targets, last)
            && linears.len() > 1
            && !self.config.names_heads()
            // What stands in a numbered layer comes in several layers.
            && !linear.path.split('.').any(|segment| segment.parse::<usize>().is_ok())
        {
            self.selection.warnings.push(format!(
                "{ALL_LINEAR} takes the model's last linear, `{}`, too: if that is its output layer, name it in \
                 heads",
                linear.path
            ));
        }
    }

    fn finished(mut self, unmatched: Unmatched) -> Result<Selection, Vec<TargetProblem>> {
        match unmatched {
            Unmatched::Refused if !self.unpicked.is_empty() => return Err(self.unpicked),
            Unmatched::Refused => {}
            Unmatched::Reported => {
                let said = self.unpicked.iter().map(ToString::to_string);
                self.selection.warnings.extend(said);
            }
        }
        if !self.selection.statuses.contains(&LayerStatus::Adapted) {
            // What each entry lacks says more than that none is left.
            return Err(match self.unpicked.is_empty() {
                true => {
                    let parameters = self.scan.parameters().len();
                    let layers = self.selection.statuses.len() - parameters;
                    vec![unpicked::nothing_left(&self.selection.statuses[..layers])]
                }
                false => self.unpicked,
            });
        }
        Ok(self.selection)
    }
}
