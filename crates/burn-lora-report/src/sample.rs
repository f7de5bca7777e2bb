//! Generated texts against what was expected: exact match and BLEU, whichever is asked for.

use std::collections::HashMap;

use serde::Serialize;

use crate::bleu::{Bleu, Case, corpus_bleu, group_references};

/// One prompt, what was expected and what came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// What the model was given.
    pub prompt: String,
    /// What the data says.
    pub expected: String,
    /// What the data says would be as right.
    #[serde(skip)]
    pub alternatives: Vec<String>,
    /// What the model wrote before it was trained, where it was asked then too.
    pub before: Option<String>,
    /// What the model wrote.
    #[serde(rename = "after")]
    pub output: String,
}

impl Sample {
    /// Every text that is right, the expected one first.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        [&self.expected].into_iter().chain(&self.alternatives).map(String::as_str)
    }

    /// Whether a text is one of those that are right, but for white space around them.
    pub fn is_right(&self, text: &str) -> bool {
        self.references().any(|reference| text.trim() == reference.trim())
    }
}

/// The share of samples that are exactly right, 0 to 1; 0 where there are none.
pub fn exact_match(samples: &[Sample]) -> f64 {
    let exact = samples.iter().filter(|sample| sample.is_right(&sample.output)).count();
    exact as f64 / samples.len().max(1) as f64
}

/// BLEU of the outputs, case ignored; nothing where there are no samples. Samples of the same prompt are
/// one prompt with all of their references, and the output of the first of them is scored.
pub fn bleu(samples: &[Sample]) -> Option<Bleu> {
    let pairs = samples.iter().flat_map(|sample| {
        sample.references().map(|reference| (sample.prompt.as_str(), reference))
    });
    let groups = group_references(pairs);
    let mut outputs = HashMap::new();
    for sample in samples {
        outputs.entry(sample.prompt.as_str()).or_insert(sample.output.as_str());
    }
    let candidates: Vec<&str> =
        groups.iter().filter_map(|group| outputs.get(group.prompt.as_str()).copied()).collect();
    let references: Vec<&Vec<String>> = groups.iter().map(|group| &group.references).collect();
    // Every group has an output and a reference: what is refused is an empty corpus.
    corpus_bleu(&candidates, &references, Case::Ignored).ok()
}

/// Which scores of generated texts are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scoring {
    /// Exact match.
    pub exact_match: bool,
    /// BLEU.
    pub bleu: bool,
}

impl Scoring {
    /// Whether any is, so that every prompt is to be continued.
    pub fn is_asked(self) -> bool {
        self.exact_match || self.bleu
    }

    /// The scores of these samples that are asked for; none of no samples.
    pub fn scores(self, samples: &[Sample]) -> Scores {
        Scores {
            exact_match: (self.exact_match && !samples.is_empty()).then(|| exact_match(samples)),
            bleu: self.bleu.then(|| bleu(samples)).flatten(),
        }
    }
}

/// What generated texts are worth, where that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    /// The share of texts that are exactly right, 0 to 1.
    pub exact_match: Option<f64>,
    /// BLEU and its parts.
    pub bleu: Option<Bleu>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(prompt: &str, references: &[&str], output: &str) -> Sample {
        let mut references = references.iter().map(ToString::to_string);
        Sample {
            prompt: prompt.into(),
            expected: references.next().unwrap(),
            alternatives: references.collect(),
            before: None,
            output: output.into(),
        }
    }

    #[test]
    fn white_space_around_does_not_count_and_anything_else_does() {
        let pairs = [("a b", " a b\n"), ("a b", "a  b"), ("a", "A")];
        let samples = pairs.map(|(expected, output)| sample("", &[expected], output));
        assert_eq!(exact_match(&samples), 1.0 / 3.0);
        assert_eq!(exact_match(&[]), 0.0);
    }

    #[test]
    fn any_of_several_references_is_exactly_right() {
        let samples = ["one", " two", "three"].map(|output| sample("p", &["one", "two"], output));
        assert_eq!(exact_match(&samples), 2.0 / 3.0);
    }

    #[test]
    fn bleu_counts_a_prompt_once_with_the_references_of_all_its_rows() {
        let (cat, dog) = ("the cat sat on the mat .", "the dog ran into the park .");
        let (first, second) = ("A cat sat there .", "The Cat sat on a mat .");
        let apart = [
            sample("p", &[first], cat),
            sample("q", &["the dog ran to the park ."], dog),
            sample("p", &[second], cat),
        ];
        let together =
            [sample("p", &[first, second], cat), sample("q", &["the dog ran to the park ."], dog)];
        let bleu_of = |samples: &[Sample]| bleu(samples).unwrap();
        assert_eq!(bleu_of(&apart), bleu_of(&together));
        // Counted by hand, lowercased. Of 14 tokens, `into` is in no reference, nor the second `the` of
        // the cat's. Of 12 pairs, `on the`, `the mat`, `ran into` and `into the` are in none. Of 10
        // triples, `the cat sat`, `cat sat on`, `the dog ran` and `the park .` are in one, and of 8
        // fours, `the cat sat on`. The closest lengths are 7 and 7.
        let found = bleu_of(&together);
        assert_eq!(found.precisions, [12.0 / 14.0, 8.0 / 12.0, 4.0 / 10.0, 1.0 / 8.0]);
        assert_eq!((found.candidate_length, found.reference_length), (14, 14));
        let expected = (12.0 / 14.0 * 8.0 / 12.0 * 4.0 / 10.0 / 8.0_f64).powf(0.25);
        assert!((found.score - expected).abs() < 1e-12, "{found:?}");
        assert_eq!(bleu(&[]), None);
    }

    #[test]
    fn only_what_is_asked_for_is_scored() {
        let samples = [sample("p", &["a b c d"], "a b c d")];
        let scores = |exact_match, bleu| Scoring { exact_match, bleu }.scores(&samples);
        assert_eq!(scores(false, false), Scores::default());
        assert_eq!((scores(true, false).exact_match, scores(true, false).bleu), (Some(1.0), None));
        let both = scores(true, true);
        assert_eq!((both.exact_match, both.bleu.map(|bleu| bleu.score)), (Some(1.0), Some(1.0)));
        let nothing = Scoring { exact_match: true, bleu: true }.scores(&[]);
        assert_eq!(nothing, Scores::default());
    }
}
