//! The name that somebody may have meant: what stands behind every `did you mean …?` of this crate.
//!
//! Names are compared by their Jaro-Winkler similarity, which counts shared letters near each other, swapped
//! ones less, and favours a shared beginning; upper and lower case are the same. Below [`ALIKE`] nothing is
//! suggested: a wrong suggestion is worse than none.

/// From this similarity on, of 0 to 1, two names count as one name misspelt.
const ALIKE: f64 = 0.84;

/// The name most like `wanted`, if any is like it; the first of equals.
pub(crate) fn nearest<N: AsRef<str>>(
    wanted: &str,
    names: impl IntoIterator<Item = N>,
) -> Option<N> {
    let wanted = wanted.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.as_ref().to_lowercase()), name))
        .filter(|(similarity, _)| *similarity >= ALIKE)
        // `max_by` would take the last of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn a_name_that_is_like_none_gets_none() {
        check("learning", &["rank", "alpha"], None);
        check("", &["rank"], None);
        check("rank", &[], None);
    }

    #[test]
    fn similarity_is_enough_from_the_threshold_on() {
        // By hand: 4 of 5 and of 6 letters match in order, the first 2 are the same, so that Jaro's is
        // (4/5 + 4/6 + 1) / 3 = 0.8222 and Winkler's 0.8222 + 2 · 0.1 · 0.1778 = 0.8578.
        check("abcdx", &["abyzcd"], Some("abyzcd"));
        // With 3 of 5 letters: (3/5 + 3/5 + 1) / 3 = 0.7333 and 0.7333 + 3 · 0.1 · 0.2667 = 0.8133.
        check("abcxy", &["abczw"], None);
    }

    #[test]
    fn the_first_of_equals_is_taken() {
        check("q_prox", &["q_proj", "q_prob"], Some("q_proj"));
    }
}
