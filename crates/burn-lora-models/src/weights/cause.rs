//! Why the tensors of a checkpoint are not those of the model, where all that is missing has one cause: one sentence
//! in the place of a line a tensor.

use std::collections::{BTreeMap, BTreeSet};

use burn_lora_files::floats::Dtype;

use super::scheme;

/// What is in a name that PEFT gives to the parts of an adapted layer.
const ADAPTED: [&str; 4] = [".base_layer.", ".lora_A.", ".lora_B.", ".lora_magnitude_vector"];

/// What training in parallel, a compiler and activation checkpoints put among the names of a model's parts.
const WRAPPERS: [&str; 5] =
    ["_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_orig_mod", "module"];

/// What all tensors that are missing have in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorCause {
    /// An adapter was saved with its base.
    #[error(
        "`{key}` is part of a layer with an adapter of PEFT ({count} such tensors): merge it before the model is \
         saved, `model.merge_and_unload().save_pretrained(DIR)` in Python"
    )]
    Adapted {
        /// The first of them.
        key: String,
        /// How many there are.
        count: usize,
    },
    /// The weights are held in a format that is not read.
    #[error(
        "the weights are {called} ({count} {}, the first `{key}`), and only f32, f16 and bf16 are read: {way}",
        if *count == 1 { "tensor shows it" } else { "tensors show it" }
    )]
    Quantised {
        /// What the format is called.
        called: &'static str,
        /// What to do.
        way: &'static str,
        /// The first tensor that shows it.
        key: String,
        /// How many there are.
        count: usize,
    },
    /// The model was saved inside something that wraps it.
    #[error(
        "names begin with `{prefix}`, as those of a model inside something that wraps it ({count} tensors): save the \
         model inside, `model.{}.save_pretrained(DIR)` in Python, or take `{prefix}` off the names",
        prefix.trim_end_matches('.')
    )]
    Wrapped {
        /// What the names begin with.
        prefix: String,
        /// How many tensors are missing without it.
        count: usize,
    },
    /// The model was saved while its parts were wrapped.
    #[error(
        "names have `{name}.` within, as those of a model whose parts were wrapped when it was saved ({count} tensors): save it \
         unwrapped, `accelerator.unwrap_model(model).save_pretrained(DIR, state_dict=accelerator.get_state_dict(model))` in Python, or \
         take `{name}.` out of the names"
    )]
    Within {
        /// What is in the names.
        name: &'static str,
        /// How many tensors are missing without it.
        count: usize,
    },
}

/// What of the tensors in the files is not as the model needs it.
pub(super) struct Differences<'a> {
    /// The keys that the model needs and the files lack.
    pub(super) missing: BTreeSet<&'a str>,
    /// Those that the files have and the model has no use for.
    pub(super) unused: BTreeSet<&'a str>,
    /// Those that the model needs, in a format that is not read.
    pub(super) unread: BTreeMap<&'a str, Dtype>,
}

/// The cause, given the differences, whether any tensor has a format, and the prefix that files of the family may have or not.
pub(super) fn cause(
    differences: &Differences<'_>,
    has: impl Fn(Dtype) -> bool,
    optional: &str,
) -> Option<TensorCause> {
    let Differences { missing, unused, unread } = differences;
    let mut adapted = unused.iter().filter(|key| ADAPTED.iter().any(|part| key.contains(part)));
    if let Some(key) = adapted.next() {
        let (key, count) = ((*key).to_owned(), 1 + adapted.count());
        return Some(TensorCause::Adapted { key, count });
    }
    if let Some((scheme, key, count)) = scheme::of_tensors(unused.iter().copied(), unread, has) {
        let (called, way, key) = (scheme.called, scheme.way, key.to_owned());
        return Some(TensorCause::Quantised { called, way, key, count });
    }
    wrapped_whole(missing, unused, optional).or_else(|| wrapped_in_parts(missing, unused, optional))
}

/// Whether the names of all that is missing begin with one and the same.
fn wrapped_whole(
    missing: &BTreeSet<&str>,
    unused: &BTreeSet<&str>,
    optional: &str,
) -> Option<TensorCause> {
    let bare = |key: &str| key.strip_prefix(optional).map(str::to_owned);
    let is_missing = |name: &str| {
        missing.contains(name) || missing.contains(format!("{optional}{name}").as_str())
    };
    let prefix = unused.iter().find_map(|key| {
        let ends = key.match_indices('.').map(|(at, _)| at + 1);
        ends.map(|at| key.split_at(at)).find(|(_, rest)| is_missing(rest))
    })?;
    let prefix = prefix.0;
    let wrapped = |key: &&str| {
        let mut names = [Some((*key).to_owned()), bare(key)].into_iter().flatten();
        names.any(|name| unused.contains(format!("{prefix}{name}").as_str()))
    };
    missing
        .iter()
        .all(wrapped)
        .then(|| TensorCause::Wrapped { prefix: prefix.to_owned(), count: missing.len() })
}

/// Whether all that is missing is there under names with those of wrappers among them.
fn wrapped_in_parts(
    missing: &BTreeSet<&str>,
    unused: &BTreeSet<&str>,
    optional: &str,
) -> Option<TensorCause> {
    let name = WRAPPERS.into_iter().find(|name| unused.iter().any(|key| has(key, name)))?;
    let plain = |key: &&str| {
        key.split('.').filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join(".")
    };
    let plain: BTreeSet<String> = unused.iter().map(plain).collect();
    let there = |key: &&str| {
        plain.contains(*key) || key.strip_prefix(optional).is_some_and(|bare| plain.contains(bare))
    };
    let count = missing.len();
    (count > 0 && missing.iter().all(there)).then_some(TensorCause::Within { name, count })
}

fn has(key: &str, name: &str) -> bool {
    key.split('.').any(|part| part == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(missing: &[&str], unused: &[&str]) -> Option<TensorCause> {
        let differences = Differences {
            missing: missing.iter().copied().collect(),
            unused: unused.iter().copied().collect(),
            unread: BTreeMap::new(),
        };
        cause(&differences, |_| false, "model.")
    }

    #[test]
    fn names_that_are_wrapped_are_told_by_what_they_begin_with() {
        let missing = ["model.norm.weight", "model.layers.0.q.weight", "lm_head.weight"];
        for prefix in ["_orig_mod.", "module.", "base_model.model.", "language_model."] {
            let unused = missing.map(|key| format!("{prefix}{key}"));
            let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
            let expected = TensorCause::Wrapped { prefix: prefix.into(), count: 3 };
            assert_eq!(found(&missing, &unused), Some(expected));
        }
        // Without the family's own prefix, and with tensors of something else beside them.
        let unused = ["w.norm.weight", "w.layers.0.q.weight", "w.lm_head.weight", "vision.weight"];
        let expected = TensorCause::Wrapped { prefix: "w.".into(), count: 3 };
        assert_eq!(found(&missing, &unused), Some(expected));
    }

    #[test]
    fn names_whose_parts_were_wrapped_are_told_by_what_is_in_them() {
        let missing = ["model.norm.weight", "model.layers.0.q.weight"];
        let wrapped = [
            "_fsdp_wrapped_module.model.norm.weight",
            "_fsdp_wrapped_module.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.q.weight",
        ];
        let expected = TensorCause::Within { name: "_fsdp_wrapped_module", count: 2 };
        assert_eq!(found(&missing, &wrapped), Some(expected));
        let compiled = ["norm.weight", "layers._orig_mod.0.q.weight"];
        let expected = TensorCause::Within { name: "_orig_mod", count: 2 };
        assert_eq!(found(&missing, &compiled), Some(expected));
        assert_eq!(found(&missing, &wrapped[..1]), None, "one of two");
    }

    #[test]
    fn what_has_no_one_cause_has_none() {
        assert_eq!(found(&["model.a", "model.b"], &["w.model.a"]), None, "one of two");
        assert_eq!(found(&["model.a"], &["model.c"]), None);
        assert_eq!(found(&["model.a"], &[]), None);
        assert_eq!(found(&[], &["x.y"]), None);
    }

    #[test]
    fn adapters_and_quantised_weights_are_told_by_their_names() {
        let key = "model.layers.0.q_proj.base_layer.weight";
        let expected = TensorCause::Adapted { key: key.into(), count: 2 };
        let factor = "model.layers.0.q_proj.lora_A.default.weight";
        assert_eq!(found(&["model.layers.0.q_proj.weight"], &[key, factor]), Some(expected));
        let key = "model.layers.0.q_proj.W_q";
        let Some(TensorCause::Quantised { called, key: first, count, .. }) =
            found(&["model.layers.0.q_proj.weight"], &[key])
        else {
            panic!("nothing is told")
        };
        assert_eq!((called, first.as_str(), count), ("quantised by HQQ", key, 1));
    }
}
