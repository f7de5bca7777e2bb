//! Which existing names come nearest to one that does not exist.

use std::collections::BTreeSet;

use crate::path::last_segment;

/// How many names are offered.
const OFFERED: usize = 3;
/// How many of the existing names are listed when none is near.
const LISTED: usize = 8;
/// The similarity, from 0 to 1, from which a name is taken for the one that was meant.
const NEAR: f64 = 0.6;

/// The names of `paths` nearest to `wanted`: suffixes of as many segments as `wanted` has, last
/// segments, and full paths compete; the shortest spelling of equally near ones comes first.
pub(crate) fn nearest<'a>(wanted: &str, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let depth = wanted.split('.').count();
    let mut names = BTreeSet::new();
    for path in paths {
        names.insert(last_segment(path));
        names.insert(suffix(path, depth));
        names.insert(path);
    }
    let lower = wanted.to_lowercase();
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(score, _)| *score >= NEAR)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(b.1)));
    scored.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

/// The different last segments of `paths`, in order of first appearance, as many as can be read.
pub(crate) fn last_segments<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in paths.into_iter().map(last_segment) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names.truncate(LISTED);
    names
}

/// `did you mean …?`, or else what there is.
pub(crate) fn hint(nearest: &[String], existing: &[String]) -> String {
    match (nearest, existing) {
        ([], []) => "the model has none".to_owned(),
        ([], existing) => format!("there are {}", quoted(existing, "and")),
        (nearest, _) => format!("did you mean {}?", quoted(nearest, "or")),
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn quoted<S: AsRef<str>>(names: &[S], conjunction: &str) -> String {
    let quote = |name: &S| format!("`{}`", name.as_ref());
    match names {
        [] => String::new(),
        [only] => quote(only),
        [head @ .., last] => {
            let head: Vec<String> = head.iter().map(quote).collect();
            format!("{} {conjunction} {}", head.join(", "), quote(last))
        }
    }
}

fn suffix(path: &str, depth: usize) -> &str {
    path.rmatch_indices('.').nth(depth.saturating_sub(1)).map_or(path, |(at, _)| &path[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 3] =
        ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "lm_head"];

    #[test]
    fn a_typo_is_met_by_the_last_segment() {
        assert_eq!(nearest("q_prj", PATHS)[0], "q_proj");
        assert_eq!(nearest("Q_PROJ", PATHS)[0], "q_proj");
    }

    #[test]
    fn a_longer_name_is_met_by_as_many_segments() {
        assert_eq!(nearest("attn.q_proj", PATHS)[0], "self_attn.q_proj");
        assert_eq!(
            nearest("model.layer.0.self_attn.k_proj", PATHS)[0],
            "model.layers.0.self_attn.k_proj"
        );
    }

    #[test]
    fn nothing_near_lists_what_there_is() {
        let near = nearest("zzzzzzzz", PATHS);
        assert!(near.is_empty());
        assert_eq!(
            hint(&near, &last_segments(PATHS)),
            "there are `q_proj`, `k_proj` and `lm_head`"
        );
        assert_eq!(hint(&nearest("lmhead", PATHS), &[]), "did you mean `lm_head`?");
    }
}
