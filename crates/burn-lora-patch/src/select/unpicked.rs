//! What is said of an entry that picks nothing.

use std::collections::BTreeSet;

use burn_lora_text::nearest_ends;

use super::{Counts, Entry};
use crate::config::{HEAD, LoraConfig};
use crate::error::{Role, TargetProblem};
use crate::path::{is_named, last_segments, parent};
use crate::report::LayerStatus;
use crate::scan::{ParamRole, Scan};

/// The problem of a number of a layer that no target is in.
pub(super) fn layer(scan: &Scan, index: usize, existing: &BTreeSet<usize>) -> TargetProblem {
    let numbered =
        scan.linears().iter().find(|l| l.path.split('.').any(|s| s.parse::<usize>().is_ok()));
    TargetProblem::Layer {
        index,
        existing: existing.iter().copied().collect(),
        example: numbered.or(scan.linears().first()).map(|linear| linear.path.clone()),
    }
}

/// The problem of a name before numbers of layers that no list of layers has.
pub(super) fn layers_pattern(scan: &Scan, pattern: &str) -> TargetProblem {
    let list = |path: &'_ str| -> Option<String> {
        let mut segments = path.split('.').peekable();
        while let Some(segment) = segments.next() {
            if segments.peek().is_some_and(|next| next.parse::<usize>().is_ok()) {
                return Some(segment.to_owned());
            }
        }
        None
    };
    let lists: Vec<String> =
        scan.linears().iter().filter_map(|linear| list(&linear.path)).collect();
    let lists = || lists.iter().map(String::as_str);
    TargetProblem::Unknown {
        role: Role::LayersPattern,
        entry: pattern.to_owned(),
        nearest: nearest_ends(pattern, lists()),
        existing: last_segments(lists()),
    }
}

/// The problem of a target of which nothing is left.
pub(super) fn target(
    scan: &Scan,
    config: &LoraConfig,
    entry: &Entry<'_>,
    counts: &Counts,
) -> TargetProblem {
    let matched = counts.saved + counts.other_layer + counts.excluded;
    if matched == 0 {
        return no_linear(scan, config, Role::Target, entry);
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

/// The problem of an entry that names the head of a model whose head is its token table: of a model without a linear layer that is
/// called as heads are.
pub(super) fn tied_head(
    scan: &Scan,
    config: &LoraConfig,
    role: Role,
    entry: &Entry<'_>,
) -> Option<TargetProblem> {
    let own = |head: &String| scan.linears().iter().any(|linear| is_named(&linear.path, head));
    let names_head = match entry {
        Entry::All => false,
        Entry::Name(name) => is_named(name, HEAD),
        Entry::Pattern(_, pattern) => pattern.is_match(HEAD),
    };
    if !names_head || config.heads.iter().chain(&config.task_heads()).any(own) {
        return None;
    }
    let tables = scan.params().iter().filter(|param| param.container == "Embedding");
    let table = tables.max_by_key(|param| param.shape.first().copied())?;
    let table = parent(&table.path).to_owned();
    Some(TargetProblem::TiedHead { role, entry: entry.text().to_owned(), table })
}

/// The problem of an entry that names no linear layer.
pub(super) fn no_linear(
    scan: &Scan,
    config: &LoraConfig,
    role: Role,
    entry: &Entry<'_>,
) -> TargetProblem {
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
    if let Some(problem) = tied_head(scan, config, role, entry) {
        return problem;
    }
    let convolves = config.adapter.method.convolves();
    let convolutions = || scan.convolutions().iter().filter(move |_| convolves);
    let linears = || scan.linears().iter().chain(convolutions()).map(|linear| linear.path.as_str());
    if let Entry::Pattern(text, pattern) = entry {
        let part = linears().find(|path| pattern.is_found_in(path));
        return TargetProblem::PatternUnmatched {
            role,
            pattern: (*text).to_owned(),
            inside: part.is_some(),
            example: part.or(linears().next()).unwrap_or_default().to_owned(),
        };
    }
    // The parameter of a layer for the layer.
    let of_layer = entry.text().rsplit_once('.').filter(|(layer, parameter)| {
        matches!(*parameter, "weight" | "bias") && linears().any(|path| is_named(path, layer))
    });
    TargetProblem::Unknown {
        role,
        entry: entry.text().to_owned(),
        nearest: match of_layer {
            Some((layer, _)) => vec![layer.to_owned()],
            None => nearest_ends(entry.text(), linears()),
        },
        existing: last_segments(linears()),
    }
}

/// The problem of a name of a parameter that names none that can be adapted by itself.
pub(super) fn parameter(scan: &Scan, entry: &str, saved: &BTreeSet<String>) -> TargetProblem {
    let named = scan.params().iter().find(|param| is_named(&param.path, entry));
    let named = named.filter(|param| param.role == ParamRole::Base);
    if let Some(param) = named {
        let layer = scan.layers().iter().find(|layer| layer.weight_path() == param.path);
        let reason = match layer {
            _ if saved.contains(&param.path) => {
                "modules_to_save trains it whole: keep one of the two".to_owned()
            }
            Some(layer) if layer.parameter.is_none() => {
                format!("it is the weight of a layer: name `{}` in the targets", layer.path)
            }
            _ => format!(
                "it has {} dimensions, and parameters of two or three are adapted",
                param.shape.len()
            ),
        };
        let (entry, path) = (entry.to_owned(), param.path.clone());
        return TargetProblem::NoParameter { entry, path, reason };
    }
    let paths: Vec<String> = scan.parameters().iter().map(|it| it.weight_path()).collect();
    let paths = || paths.iter().map(String::as_str);
    TargetProblem::Unknown {
        role: Role::Parameter,
        entry: entry.to_owned(),
        nearest: nearest_ends(entry, paths()),
        existing: last_segments(paths()),
    }
}

/// The problem of a model of which no linear layer is left.
pub(super) fn nothing_left(statuses: &[LayerStatus]) -> TargetProblem {
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
