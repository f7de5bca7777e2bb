//! What to do about a row whose keys fit no format: the format that is nearest, what to rename for
//! it, and what each format needs.

use burn_lora_text::{listed, nearest};

use crate::format::{Format, Key};

/// Advice for a row with these keys.
pub(crate) fn advice(found: &[String]) -> String {
    if found.iter().any(|key| key == "input_ids") {
        return "ids of tokens are not read: bring the texts that they were made of".to_owned();
    }
    let has = |name: &str| found.iter().any(|key| key == name);
    if (has("role") && has("content")) || (has("from") && has("value")) {
        return "these are turns, and a row is a conversation of them: where all of the file are one, `jq -cs 'flatten|{messages:.}' FILE > OTHER`"
            .to_owned();
    }
    let needed = |format: Format| {
        let keys: Vec<_> = format.spec().keys.iter().map(|key| key.name).collect();
        format!("{} ({format})", listed(&keys))
    };
    let needs = format!("a row has {}", Format::ALL.map(needed).join(", or "));
    match nearest_format(found) {
        Some((format, steps)) => format!("the nearest is {format}: {}; {needs}", steps.join(", ")),
        None => needs,
    }
}

/// The format that most of its keys are there for, with what to rename and to add.
fn nearest_format(found: &[String]) -> Option<(Format, Vec<String>)> {
    let mut best = None;
    let mut best_score = (0, 0, 0);
    for format in Format::ALL {
        let (keys, optional) = (format.spec().keys, format.spec().optional);
        let (mut exact, mut renames, mut missing) = (0, Vec::new(), Vec::new());
        let is_own = |name: &str| optional.contains(&name) || keys.iter().any(|key| key.is(name));
        let mut left: Vec<&String> = found.iter().filter(|theirs| !is_own(theirs)).collect();
        for key in keys {
            if found.iter().any(|theirs| key.is(theirs)) {
                exact += 1;
            } else if let Some(at) = like(key, &left) {
                renames.push(format!("rename `{}` to `{}`", left.remove(at), key.name));
            } else {
                missing.push(format!("add `{}`", key.name));
            }
        }
        // Whole before partial, then more keys, then fewer renames.
        let score = (usize::from(missing.is_empty()), exact + renames.len(), exact);
        if exact + renames.len() > 0 && score > best_score {
            (best, best_score) = (Some((format, [renames, missing].concat())), score);
        }
    }
    best
}

/// The place of the name that stands for `key`: one known from elsewhere, or one misspelled.
fn like(key: &Key, names: &[&String]) -> Option<usize> {
    let known =
        key.elsewhere.iter().find_map(|theirs| names.iter().position(|name| name == theirs));
    known.or_else(|| {
        let near = nearest(key.name, names)?;
        names.iter().position(|name| name == near)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[&str], expected: &str) {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        let needs = "a row has `messages` (messages), or `prompt`, `completion` (prompt-completion), \
                     or `instruction`, `output` (instruction), or `context`, `question`, `answers` (squad), \
                     or `text`, `label` (classification), or `text` (text)";
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
            &["prompt", "chosen", "rejected"],
            "the nearest is prompt-completion: rename `chosen` to `completion`; ",
        );
        check(&["chosen", "rejected"], "the nearest is messages: rename `chosen` to `messages`; ");
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
    fn rows_of_token_ids_are_asked_for_their_texts() {
        assert!(advice(&["labels".to_owned(), "input_ids".to_owned()]).contains("bring the texts"));
    }

    #[test]
    fn keys_that_are_like_none_get_the_formats_alone() {
        check(&["a"], "");
        check(&[], "");
    }
}
