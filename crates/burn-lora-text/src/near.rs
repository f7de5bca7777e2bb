//! The name that somebody may have meant.
//!
//! Names are compared by the edits that lead from one to the other (letters put in, left out, exchanged, or two
//! neighbours swapped: Damerau and Levenshtein), as a share of the longer name; upper and lower case are the
//! same. Below [`NEAR`] nothing is suggested: a wrong suggestion is worse than none.

use std::collections::BTreeSet;

/// From this similarity on, of 0 to 1, a name is taken for another one misspelt: two edits of five letters.
const NEAR: f64 = 0.6;
/// How many ends of paths are offered.
const OFFERED: usize = 3;

/// The name most like `wanted`, if any is like it; the first of equals.
pub fn nearest<N: AsRef<str>>(wanted: &str, names: impl IntoIterator<Item = N>) -> Option<N> {
    let wanted = wanted.to_lowercase();
    names
        .into_iter()
        .map(|name| (similarity(&wanted, name.as_ref()), name))
        .filter(|(score, _)| *score >= NEAR)
        // `max_by` would take the last of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

/// The ends of dotted paths most like `wanted`, best first and at most three: last segments, ends of as many
/// segments as `wanted` has, and whole paths compete; the shortest of equally near ones comes first.
///
/// ```
/// let paths = ["model.layers.0.self_attn.q_proj", "lm_head"];
/// assert_eq!(burn_lora_text::nearest_ends("attn.q_proj", paths)[0], "self_attn.q_proj");
/// ```
pub fn nearest_ends<'a>(wanted: &str, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let depth = wanted.split('.').count();
    let ends: BTreeSet<&str> =
        paths.into_iter().flat_map(|path| [end(path, 1), end(path, depth), path]).collect();
    let lower = wanted.to_lowercase();
    let mut near: Vec<(f64, &str)> = ends
        .into_iter()
        .map(|name| (similarity(&lower, name), name))
        .filter(|(score, _)| *score >= NEAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.len().cmp(&b.1.len())).then(a.1.cmp(b.1)));
    near.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

/// The last `segments` of a path; the whole path where it has fewer.
fn end(path: &str, segments: usize) -> &str {
    path.rmatch_indices('.').nth(segments - 1).map_or(path, |(at, _)| &path[at + 1..])
}

/// Of 0 to 1, for a `wanted` in lower case.
fn similarity(wanted: &str, name: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(wanted, &name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 3] =
        ["model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "lm_head"];

    fn check(wanted: &str, names: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(wanted, names.iter().copied()), expected, "{wanted}");
    }

    #[test]
    fn a_misspelt_name_gets_the_one_that_was_meant() {
        let names = ["rank", "alpha", "dropout", "targets"];
        check("rnak", &names, Some("rank"));
        check("alhpa", &names, Some("alpha"));
        check("dropuot", &names, Some("dropout"));
        check("target", &names, Some("targets"));
    }

    #[test]
    fn upper_and_lower_case_are_the_same() {
        check("RANK", &["rank"], Some("rank"));
        check("card_arrival", &["Card_Arrival"], Some("Card_Arrival"));
        assert_eq!(nearest_ends("Q_PROJ", PATHS)[0], "q_proj");
    }

    #[test]
    fn a_name_that_is_like_none_gets_none() {
        check("learning", &["rank", "alpha"], None);
        check("", &["rank"], None);
        check("rank", &[], None);
        assert!(nearest_ends("zzzzzzzz", PATHS).is_empty());
    }

    #[test]
    fn two_edits_of_five_letters_are_near_and_two_of_four_are_not() {
        check("abxyz", &["abcdz"], Some("abcdz"));
        check("axyd", &["abcd"], None);
    }

    #[test]
    fn the_first_of_equals_is_taken() {
        check("q_prox", &["q_proj", "q_prob"], Some("q_proj"));
    }

    #[test]
    fn a_path_is_met_by_its_last_segment_or_by_as_many_as_were_written() {
        assert_eq!(nearest_ends("q_prj", PATHS)[0], "q_proj");
        assert_eq!(nearest_ends("lmhead", PATHS), ["lm_head"]);
        assert_eq!(nearest_ends("attn.q_proj", PATHS)[0], "self_attn.q_proj");
        assert_eq!(
            nearest_ends("model.layer.0.self_attn.k_proj", PATHS)[0],
            "model.layers.0.self_attn.k_proj"
        );
    }
}
