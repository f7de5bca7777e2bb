//! What to do about a row whose keys fit no format: the format that is nearest, what to rename for
//! it, and what each format needs.

use super::problem::list;
use super::row::{Format, stand_in};
use crate::suggest;

/// Names that other tools use for what is called so here.
const ELSEWHERE: [(&str, &[&str]); 7] = [
    ("messages", &["conversation", "dialog", "dialogue", "chat", "turns"]),
    ("prompt", &["question", "query", "instruction", "input"]),
    ("completion", &["output", "response", "answer", "target"]),
    ("instruction", &[]),
    ("output", &["response", "answer", "completion", "target"]),
    ("text", &["sentence", "content", "document"]),
    ("label", &["labels", "class", "category", "intent"]),
];

/// Advice for a row with these keys.
pub(super) fn advice(found: &[String]) -> String {
    let formats = Format::ALL.map(|format| format!("{} ({format})", list(format.keys())));
    let needs = format!("a row has {}", formats.join(", or "));
    match nearest(found) {
        Some((format, renames, missing)) => {
            let mut steps = renames;
            steps.extend(missing.iter().map(|key| format!("add `{key}`")));
            format!("the nearest is {format}: {}; {needs}", steps.join(", "))
        }
        None => needs,
    }
}

/// The format that most of its keys are there for, with what to rename and what is missing.
fn nearest(found: &[String]) -> Option<(Format, Vec<String>, Vec<&'static str>)> {
    let mut best = None;
    let mut best_score = (0, 0, 0);
    for format in Format::ALL {
        let (mut exact, mut renames, mut missing) = (0, Vec::new(), Vec::new());
        let mut left: Vec<&String> = found
            .iter()
            .filter(|theirs| !format.keys().iter().any(|key| is(theirs, key)))
            .collect();
        for key in format.keys() {
            if found.iter().any(|theirs| is(theirs, key)) {
                exact += 1;
            } else if let Some(at) = like(key, &left) {
                renames.push(format!("rename `{}` to `{key}`", left.remove(at)));
            } else {
                missing.push(*key);
            }
        }
        // Whole before partial, then more keys, then fewer renames.
        let score = (usize::from(missing.is_empty()), exact + renames.len(), exact);
        if exact + renames.len() > 0 && score > best_score {
            (best, best_score) = (Some((format, renames, missing)), score);
        }
    }
    best
}

/// Whether the name is this key, or the one that may stand for it.
fn is(theirs: &str, key: &str) -> bool {
    theirs == key || stand_in(key) == Some(theirs)
}

/// The place of the name that stands for `key`: one known from elsewhere, or one misspelled.
fn like(key: &str, names: &[&String]) -> Option<usize> {
    let elsewhere = ELSEWHERE.iter().find(|(ours, _)| *ours == key).map_or(&[][..], |(_, all)| all);
    let known = elsewhere.iter().find_map(|theirs| names.iter().position(|name| name == theirs));
    known.or_else(|| {
        let near = suggest::nearest(key, names)?;
        names.iter().position(|name| name == near)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[&str], expected: &str) {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        let needs = "a row has `messages` (messages), or `instruction`, `output` (instruction), \
                     or `prompt`, `completion` (prompt-completion), or `text` (text), \
                     or `text`, `label` (classification)";
        assert_eq!(advice(&keys), format!("{expected}{needs}"), "{keys:?}");
    }

    #[test]
    fn names_from_elsewhere_are_renamed() {
        check(
            &["question", "answer"],
            "the nearest is prompt-completion: rename `question` to `prompt`, rename `answer` to `completion`; ",
        );
        check(
            &["instruction", "response"],
            "the nearest is instruction: rename `response` to `output`; ",
        );
        check(
            &["sentence", "class"],
            "the nearest is classification: rename `sentence` to `text`, rename `class` to `label`; ",
        );
    }

    #[test]
    fn misspelled_keys_are_found_and_missing_ones_named() {
        check(
            &["promt", "completion"],
            "the nearest is prompt-completion: rename `promt` to `prompt`; ",
        );
        check(&["Messages"], "the nearest is messages: rename `Messages` to `messages`; ");
        check(&["prompt", "id"], "the nearest is prompt-completion: add `completion`; ");
        // References need no completion beside them.
        check(
            &["question", "references"],
            "the nearest is prompt-completion: rename `question` to `prompt`; ",
        );
    }

    #[test]
    fn keys_that_are_like_none_get_the_formats_alone() {
        check(&["a"], "");
        check(&[], "");
    }
}
