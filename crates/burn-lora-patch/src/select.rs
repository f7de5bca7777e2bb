//! Which linear layers and modules of a model a configuration picks, and what it fails to pick.
//!
//! Exclusion is asked first and wins; then what is trained whole; then targets; then the numbers of
//! layers, which a target that is a whole path is not asked for.

use std::collections::BTreeSet;

use crate::config::PatchConfig;
use crate::error::{Role, TargetProblem};
use crate::path::is_named;
use crate::report::{EntryMatch, LayerStatus};
use crate::scan::{ModuleKind, ParamRole, Scan};
use crate::suggest::{last_segments, nearest, quoted};
use crate::targets::{ALL_LINEAR, FullMatch, LayerIndex, Targets};

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
    /// What becomes of every linear layer, in the order of the scan.
    pub(crate) statuses: Vec<LayerStatus>,
    /// The modules trained whole, outermost first.
    pub(crate) saved_modules: Vec<String>,
    /// The parameters of the base that are trained whole.
    pub(crate) saved_params: BTreeSet<String>,
    /// What every entry matched.
    pub(crate) matched: Vec<EntryMatch>,
    /// What should be looked at.
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn select(
    scan: &Scan,
    config: &PatchConfig,
    unmatched: Unmatched,
) -> Result<Selection, Vec<TargetProblem>> {
    let mut selection = Selection::default();
    let mut problems = Vec::new();
    let mut unpicked = Vec::new();

    select_saved(scan, config, &mut selection, &mut unpicked);
    let excluded = excluded(scan, config, &mut selection, &mut problems, &mut unpicked);
    let index = layer_index(config, &mut problems);
    let entries = entries(config, &mut problems);
    if !problems.is_empty() {
        problems.extend(unpicked);
        return Err(problems);
    }

    let layers = config.layers_to_transform.as_deref().filter(|layers| !layers.is_empty());
    let mut layers_seen = BTreeSet::new();
    let mut counts = vec![Counts::default(); entries.len()];
    for (linear, excluded) in scan.linears().iter().zip(excluded) {
        let path = linear.path.as_str();
        let named: Vec<usize> =
            (0..entries.len()).filter(|&entry| entries[entry].matches(path, config)).collect();
        let exact = named.iter().any(|&entry| entries[entry].is_exactly(path));
        let saved = selection.saved_params.contains(&crate::path::join(path, "weight"));
        let layer = index.of(path);
        let status = if let Some(by) = excluded {
            LayerStatus::Excluded { by }
        } else if saved {
            LayerStatus::TrainedWhole
        } else if named.is_empty() {
            match config.targets {
                Targets::AllLinear => LayerStatus::Head,
                Targets::Names(_) | Targets::Regex(_) => LayerStatus::NotTargeted,
            }
        } else {
            layers_seen.extend(layer);
            match layers {
                Some(layers) if !exact && !layer.is_some_and(|at| layers.contains(&at)) => {
                    LayerStatus::OtherLayer
                }
                _ => LayerStatus::Adapted,
            }
        };
        for entry in named {
            counts[entry].add(&status);
        }
        selection.statuses.push(status);
    }

    for (entry, counts) in entries.iter().zip(&counts) {
        selection.matched.push(EntryMatch {
            role: Role::Target,
            entry: entry.text().to_owned(),
            count: counts.adapted,
        });
        if counts.adapted == 0 {
            unpicked.push(unpicked_target(scan, entry, counts));
        } else if let Entry::Pattern(text, pattern) = entry
            && let Some((path, kind)) = scan
                .modules()
                .iter()
                .find(|(path, kind)| **kind != ModuleKind::Container && pattern.is_match(path))
        {
            selection.warnings.push(format!(
                "target `{text}` also matches {} (`{path}`): only linear layers are adapted",
                kind.described()
            ));
        }
    }
    if let Some(layers) = layers {
        select_layers(scan, layers, &layers_seen, &index, &mut selection, &mut unpicked);
        unused_layers_patterns(scan, config, &mut unpicked);
    }
    if let Some(task) = config.task_type
        && !task.heads().is_empty()
        && !task
            .heads()
            .iter()
            .any(|head| selection.saved_modules.iter().any(|m| m.ends_with(head)))
    {
        selection.warnings.push(format!(
            "task {} trains a head called {}, but the model has none: no head is trained",
            task.as_str(),
            quoted(task.heads(), "or")
        ));
    }

    match unmatched {
        Unmatched::Refused if !unpicked.is_empty() => return Err(unpicked),
        Unmatched::Refused => {}
        Unmatched::Reported => {
            selection.warnings.extend(unpicked.iter().map(ToString::to_string));
        }
    }
    if !selection.statuses.contains(&LayerStatus::Adapted) {
        return Err(vec![nothing_left(&selection.statuses)]);
    }
    Ok(selection)
}

/// The parameters of the base that `config` trains whole and saves.
pub(crate) fn saved_params(scan: &Scan, config: &PatchConfig) -> BTreeSet<String> {
    let mut selection = Selection::default();
    select_saved(scan, config, &mut selection, &mut Vec::new());
    selection.saved_params
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

    fn matches(&self, path: &str, config: &PatchConfig) -> bool {
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

fn entries<'a>(config: &'a PatchConfig, problems: &mut Vec<TargetProblem>) -> Vec<Entry<'a>> {
    match &config.targets {
        Targets::AllLinear => vec![Entry::All],
        Targets::Names(names) if names.is_empty() => {
            problems.push(TargetProblem::Empty);
            Vec::new()
        }
        Targets::Names(names) => {
            let mut seen = BTreeSet::new();
            names.iter().filter(|name| seen.insert(*name)).map(|name| Entry::Name(name)).collect()
        }
        Targets::Regex(text) => match FullMatch::new(text) {
            Ok(pattern) => vec![Entry::Pattern(text, pattern)],
            Err(error) => {
                problems.push(bad_pattern(Role::Target, text, &error));
                Vec::new()
            }
        },
    }
}

fn bad_pattern(role: Role, pattern: &str, error: &regex::Error) -> TargetProblem {
    TargetProblem::Pattern { role, pattern: pattern.to_owned(), reason: error.to_string() }
}

/// For every linear layer, the entry that excludes it.
fn excluded(
    scan: &Scan,
    config: &PatchConfig,
    selection: &mut Selection,
    problems: &mut Vec<TargetProblem>,
    unpicked: &mut Vec<TargetProblem>,
) -> Vec<Option<String>> {
    let mut entries: Vec<Entry<'_>> = config.exclude.iter().map(|name| Entry::Name(name)).collect();
    if let Some(text) = &config.exclude_regex {
        match FullMatch::new(text) {
            Ok(pattern) => entries.push(Entry::Pattern(text, pattern)),
            Err(error) => problems.push(bad_pattern(Role::Exclude, text, &error)),
        }
    }
    for entry in &entries {
        let count = scan.linears().iter().filter(|l| entry.matches(&l.path, config)).count();
        selection.matched.push(EntryMatch {
            role: Role::Exclude,
            entry: entry.text().to_owned(),
            count,
        });
        if count == 0 {
            unpicked.push(no_linear(scan, Role::Exclude, entry));
        }
    }
    scan.linears()
        .iter()
        .map(|linear| {
            entries
                .iter()
                .find(|entry| entry.matches(&linear.path, config))
                .map(|entry| entry.text().to_owned())
        })
        .collect()
}

/// The modules that are trained whole, by PEFT's rule: a path that ends in the key.
fn select_saved(
    scan: &Scan,
    config: &PatchConfig,
    selection: &mut Selection,
    unpicked: &mut Vec<TargetProblem>,
) {
    let linears = scan.linears().iter().map(|linear| linear.path.as_str());
    let modules: Vec<&str> = linears.chain(scan.modules().keys().map(String::as_str)).collect();
    let automatic = config.task_type.map_or(&[][..], |task| task.heads());
    let named = config.modules_to_save.iter().map(|key| (key.as_str(), true));
    for (key, by_user) in named.chain(automatic.iter().map(|key| (*key, false))) {
        let found: Vec<&str> = modules
            .iter()
            .copied()
            .filter(|module| !key.is_empty() && module.ends_with(key))
            .collect();
        if !by_user && (found.is_empty() || config.modules_to_save.iter().any(|m| m == key)) {
            continue;
        }
        selection.matched.push(EntryMatch {
            role: Role::ModulesToSave,
            entry: key.to_owned(),
            count: found.len(),
        });
        if found.is_empty() {
            unpicked.push(TargetProblem::Unknown {
                role: Role::ModulesToSave,
                entry: key.to_owned(),
                nearest: nearest(key, modules.iter().copied()),
                existing: last_segments(modules.iter().copied()),
            });
        }
        selection.saved_modules.extend(found.into_iter().map(str::to_owned));
    }
    selection.saved_modules.sort();
    selection.saved_modules.dedup();
    let modules = std::mem::take(&mut selection.saved_modules);
    for module in modules {
        let inside =
            |outer: &String| module.strip_prefix(outer).is_some_and(|r| r.starts_with('.'));
        if selection.saved_modules.iter().any(inside) {
            continue;
        }
        let params = scan.params_below(&module).filter(|param| param.role != ParamRole::Factor);
        selection.saved_params.extend(params.map(|param| param.path.clone()));
        selection.saved_modules.push(module);
    }
}

fn layer_index(config: &PatchConfig, problems: &mut Vec<TargetProblem>) -> LayerIndex {
    let unset = config.layers_to_transform.as_ref().is_none_or(Vec::is_empty);
    if unset && !config.layers_pattern.is_empty() {
        problems.push(TargetProblem::PatternWithoutLayers);
    }
    LayerIndex::new(&config.layers_pattern).unwrap_or_else(|(pattern, error)| {
        problems.push(bad_pattern(Role::LayersPattern, &pattern, &error));
        LayerIndex::Anywhere
    })
}

fn select_layers(
    scan: &Scan,
    layers: &[usize],
    seen: &BTreeSet<usize>,
    index: &LayerIndex,
    selection: &mut Selection,
    unpicked: &mut Vec<TargetProblem>,
) {
    for &wanted in layers {
        let in_layer = scan.linears().iter().zip(&selection.statuses).filter(|(linear, status)| {
            **status == LayerStatus::Adapted && index.of(&linear.path) == Some(wanted)
        });
        let count = in_layer.count();
        selection.matched.push(EntryMatch { role: Role::Layer, entry: wanted.to_string(), count });
        if !seen.contains(&wanted) {
            let numbered = scan
                .linears()
                .iter()
                .find(|l| l.path.split('.').any(|s| s.parse::<usize>().is_ok()));
            unpicked.push(TargetProblem::Layer {
                index: wanted,
                existing: seen.iter().copied().collect(),
                example: numbered.or(scan.linears().first()).map(|linear| linear.path.clone()),
            });
        }
    }
}

fn unused_layers_patterns(scan: &Scan, config: &PatchConfig, unpicked: &mut Vec<TargetProblem>) {
    for pattern in &config.layers_pattern {
        let Ok(index) = LayerIndex::new(std::slice::from_ref(pattern)) else { continue };
        if scan.linears().iter().any(|linear| index.of(&linear.path).is_some()) {
            continue;
        }
        let lists: Vec<&str> = scan
            .linears()
            .iter()
            .filter_map(|linear| {
                let mut segments = linear.path.split('.').peekable();
                while let Some(segment) = segments.next() {
                    if segments.peek().is_some_and(|next| next.parse::<usize>().is_ok()) {
                        return Some(segment);
                    }
                }
                None
            })
            .collect();
        unpicked.push(TargetProblem::Unknown {
            role: Role::LayersPattern,
            entry: pattern.clone(),
            nearest: nearest(pattern, lists.iter().copied()),
            existing: last_segments(lists.iter().copied()),
        });
    }
}

fn unpicked_target(scan: &Scan, entry: &Entry<'_>, counts: &Counts) -> TargetProblem {
    let matched = counts.saved + counts.other_layer + counts.excluded;
    if matched == 0 {
        return no_linear(scan, Role::Target, entry);
    }
    let mut reasons = Vec::new();
    if let Some(by) = &counts.excluded_by {
        reasons.push(format!("{} are excluded by `{by}`", counts.excluded));
    }
    if counts.saved > 0 {
        reasons.push(format!("{} are trained whole (modules_to_save)", counts.saved));
    }
    if counts.other_layer > 0 {
        reasons.push(format!("{} are outside layers_to_transform", counts.other_layer));
    }
    TargetProblem::Overruled {
        entry: entry.text().to_owned(),
        matched,
        reason: reasons.join(" and "),
    }
}

/// The problem of an entry that names no linear layer.
fn no_linear(scan: &Scan, role: Role, entry: &Entry<'_>) -> TargetProblem {
    let matches = |path: &str| match entry {
        Entry::All => false,
        Entry::Name(name) => is_named(path, name),
        Entry::Pattern(_, pattern) => pattern.is_match(path),
    };
    if let Entry::All = entry {
        return TargetProblem::NothingLeft {
            linears: scan.linears().len(),
            reason: "and all of them are output layers".to_owned(),
        };
    }
    if let Some((path, kind)) = scan.modules().iter().find(|(path, _)| matches(path)) {
        let below = scan.linears().iter().filter_map(|linear| {
            linear.path.strip_prefix(path.as_str())?.strip_prefix('.').map(|_| linear.path.as_str())
        });
        return TargetProblem::NotLinear {
            role,
            entry: entry.text().to_owned(),
            path: path.clone(),
            kind: *kind,
            within: last_segments(below),
        };
    }
    let linears = || scan.linears().iter().map(|linear| linear.path.as_str());
    if let Entry::Pattern(text, pattern) = entry {
        let part = linears().find(|path| pattern.is_found_in(path));
        return TargetProblem::PatternUnmatched {
            role,
            pattern: (*text).to_owned(),
            inside: part.is_some(),
            example: part.or(linears().next()).unwrap_or_default().to_owned(),
        };
    }
    TargetProblem::Unknown {
        role,
        entry: entry.text().to_owned(),
        nearest: nearest(entry.text(), linears()),
        existing: last_segments(linears()),
    }
}

fn nothing_left(statuses: &[LayerStatus]) -> TargetProblem {
    let count = |wanted: fn(&LayerStatus) -> bool| statuses.iter().filter(|s| wanted(s)).count();
    let parts = [
        (count(|s| matches!(s, LayerStatus::Excluded { .. })), "excluded"),
        (count(|s| *s == LayerStatus::TrainedWhole), "trained whole"),
        (count(|s| *s == LayerStatus::Head), "output layers"),
        (count(|s| *s == LayerStatus::OtherLayer), "outside layers_to_transform"),
        (count(|s| *s == LayerStatus::NotTargeted), "not targeted"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let reason =
        if said.is_empty() { "so there is nothing to adapt".to_owned() } else { said.join(", ") };
    TargetProblem::NothingLeft { linears: statuses.len(), reason }
}
