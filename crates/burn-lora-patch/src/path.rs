//! Module paths: how a place in a model is spelled.
//!
//! A path is what a `ModuleVisitor` enters on its way down, joined by dots, and is Hugging Face's
//! name of the same module where the struct's fields are called as there. One rule bridges Rust and
//! Python: a trailing underscore of a segment is dropped, so that the field `self_` (`self` is a
//! Rust keyword) is `self`.
//!
//! ```text
//! bert.encoder.layer.0.attention.self_.query.weight    what Burn says
//! bert.encoder.layer.0.attention.self.query.weight     what this crate, and PEFT, say
//! ```

/// The segments on the way from the root of a model to where a traversal stands.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    segments: Vec<String>,
}

impl Trail {
    pub(crate) fn enter(&mut self, name: &str) {
        self.segments.push(segment(name).to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.segments.pop();
    }

    /// The whole path, joined by dots.
    pub(crate) fn path(&self) -> String {
        self.segments.join(".")
    }
}

/// What a visitor or mapper with a `trail` does on its way.
macro_rules! follow_trail {
    () => {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.trail.enter(name);
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.trail.exit();
        }
    };
}
pub(crate) use follow_trail;

fn segment(name: &str) -> &str {
    match name.strip_suffix('_') {
        Some(stripped) if !stripped.is_empty() => stripped,
        _ => name,
    }
}

/// A dotted path as Burn spells it, with the rule of this module applied to every segment.
pub(crate) fn normalized(path: &str) -> String {
    path.split('.').map(segment).collect::<Vec<_>>().join(".")
}

/// The module that a parameter belongs to: the path without its last segment.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The layer that a weight is of: the module that holds it, or, of a parameter of another name, the parameter itself.
pub(crate) fn layer_of(weight: &str) -> &str {
    if last_segment(weight) == "weight" { parent(weight) } else { weight }
}

/// The last segment of a path.
pub(crate) fn last_segment(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

/// How many of the existing names are listed when none is near.
const LISTED: usize = 8;

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

/// A path and what comes below it; the root of a model has the empty path.
pub(crate) fn join(path: &str, below: &str) -> String {
    if path.is_empty() { below.to_owned() } else { format!("{path}.{below}") }
}

/// Whether `entry` is the whole of `path` or a suffix of it that starts at a dot.
pub(crate) fn is_named(path: &str, entry: &str) -> bool {
    path == entry
        || path.strip_suffix(entry).is_some_and(|rest| !entry.is_empty() && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_underscore_is_dropped_from_every_segment() {
        assert_eq!(normalized("attention.self_.query"), "attention.self.query");
        assert_eq!(normalized("a_.b_c._"), "a.b_c._");
    }

    #[test]
    fn a_suffix_counts_only_from_a_dot_on() {
        assert!(is_named("layers.0.q_proj", "q_proj"));
        assert!(is_named("layers.0.q_proj", "0.q_proj"));
        assert!(is_named("q_proj", "q_proj"));
        assert!(!is_named("layers.0.q_proj", "proj"));
        assert!(!is_named("layers.0.q_proj", ""));
        assert!(!is_named("layers.10.q_proj", "0.q_proj"));
    }
}
