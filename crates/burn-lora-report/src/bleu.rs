//! BLEU with several references a prompt, as the E2E NLG challenge is scored.
//!
//! BLEU is the geometric mean of the precisions of 1- to 4-grams times a penalty for being short
//! (Papineni et al., 2002). What is followed is `mteval-v13a`, which the challenge's `measure_scores.py` of
//! `e2e-metrics` runs, and its Python port `pymteval`:
//!
//! - texts are cut into tokens by the 13a rules (`bleu/tokens.rs`);
//! - both lowercase the texts: [`Case::Ignored`]. sacreBLEU's default is [`Case::Kept`];
//! - matches are clipped by the reference that has most of an n-gram, and counted over the whole corpus;
//! - the penalty compares with the reference closest in length to the candidate, the shorter of two;
//! - nothing is smoothed. `mteval-v13a` puts something in place of a precision that is zero, which happens
//!   in a corpus only where next to nothing is right; here the score is then zero. `pymteval` makes it
//!   almost zero.
//!
//! One difference is meant: an empty candidate is one of no tokens, as sacreBLEU has it, and a candidate of
//! fewer than four tokens has no 4-grams; `pymteval` counts one and less than none. NIST, METEOR, ROUGE-L and
//! CIDEr are left out.
//!
//! ```
//! use burn_lora_report::bleu::{Case, corpus_bleu};
//!
//! let references = vec![vec!["The cat sat on the mat.", "A cat was on the mat."]];
//! let bleu = corpus_bleu(&["the cat was on the mat."], &references, Case::Ignored)?;
//! assert_eq!(format!("{:.2}", 100.0 * bleu.score), "88.01");
//! # Ok::<(), burn_lora_report::bleu::BleuError>(())
//! ```

mod references;
mod tokens;

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

pub use references::{PromptReferences, group_references};

/// The longest n-grams that are counted.
const ORDERS: usize = 4;

/// Whether `The` and `the` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They differ.
    Kept,
    /// They are the same; the E2E challenge's choice.
    Ignored,
}

/// The score of a corpus and what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bleu {
    /// 0 to 1; papers mostly print it in percent. Not serialised: it stands beside its parts.
    #[serde(skip)]
    pub score: f64,
    /// The share of the candidates' 1-, 2-, 3- and 4-grams that are in a reference, 0 to 1; 0 where there
    /// are none.
    pub precisions: [f64; ORDERS],
    /// What the score is multiplied with because candidates are short, 0 to 1.
    pub brevity_penalty: f64,
    /// Tokens of all candidates.
    pub candidate_length: usize,
    /// Tokens of the references that are closest to their candidates in length.
    pub reference_length: usize,
}

/// In percent, with the precisions and the lengths.
impl fmt::Display for Bleu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, two, three, four] = self.precisions.map(|share| 100.0 * share);
        write!(
            f,
            "BLEU {:.2} ({one:.1}/{two:.1}/{three:.1}/{four:.1}, brevity penalty {:.3}, {} tokens for {})",
            100.0 * self.score,
            self.brevity_penalty,
            self.candidate_length,
            self.reference_length
        )
    }
}

/// Why there is no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BleuError {
    /// There is nothing to score.
    #[error("BLEU of no candidates is not defined: give at least one")]
    Empty,
    /// Candidates and references do not belong together.
    #[error(
        "BLEU needs a list of references for each candidate: there are {candidates} candidates and {references} lists"
    )]
    Lengths {
        /// How many candidates there are.
        candidates: usize,
        /// How many lists of references.
        references: usize,
    },
    /// A candidate has nothing to be compared with.
    #[error(
        "BLEU: candidate {index} (counted from 0) has no reference: give it one or leave it out"
    )]
    NoReferences {
        /// Which candidate, counted from 0.
        index: usize,
    },
}

/// Scores the candidates, each against its list of references.
///
/// # Errors
///
/// There are no candidates, not as many lists as candidates, or a list is empty.
pub fn corpus_bleu<C, L, R>(
    candidates: &[C],
    references: &[L],
    case: Case,
) -> Result<Bleu, BleuError>
where
    C: AsRef<str>,
    L: AsRef<[R]>,
    R: AsRef<str>,
{
    if candidates.is_empty() && references.is_empty() {
        return Err(BleuError::Empty);
    }
    if candidates.len() != references.len() {
        let (candidates, references) = (candidates.len(), references.len());
        return Err(BleuError::Lengths { candidates, references });
    }
    let mut counts = Counts::default();
    for (index, (candidate, references)) in candidates.iter().zip(references).enumerate() {
        let candidate = tokens::tokens(candidate.as_ref(), case);
        let references: Vec<Vec<String>> =
            references.as_ref().iter().map(|text| tokens::tokens(text.as_ref(), case)).collect();
        counts.add(&candidate, &references).ok_or(BleuError::NoReferences { index })?;
    }
    Ok(counts.bleu())
}

/// The sums over a corpus that its score is made of.
#[derive(Debug, Default)]
struct Counts {
    matches: [usize; ORDERS],
    totals: [usize; ORDERS],
    candidate_length: usize,
    reference_length: usize,
}

impl Counts {
    /// Adds a candidate; nothing where there is no reference.
    fn add(&mut self, candidate: &[String], references: &[Vec<String>]) -> Option<()> {
        let length = candidate.len();
        let lengths = references.iter().map(Vec::len);
        let closest = lengths.min_by_key(|&reference| (reference.abs_diff(length), reference))?;
        self.candidate_length += length;
        self.reference_length += closest;
        for order in 1..=ORDERS {
            let references: Vec<_> =
                references.iter().map(|reference| ngrams(reference, order)).collect();
            for (ngram, count) in ngrams(candidate, order) {
                let of = |reference: &Ngrams<'_>| reference.get(ngram).copied().unwrap_or(0);
                let most = references.iter().map(of).max().unwrap_or(0);
                self.matches[order - 1] += count.min(most);
                self.totals[order - 1] += count;
            }
        }
        Some(())
    }

    fn bleu(&self) -> Bleu {
        let precisions = std::array::from_fn(|order| {
            self.matches[order] as f64 / self.totals[order].max(1) as f64
        });
        let (length, wanted) = (self.candidate_length as f64, self.reference_length as f64);
        let brevity_penalty = match self.candidate_length {
            _ if length >= wanted => 1.0,
            0 => 0.0,
            _ => (1.0 - wanted / length).exp(),
        };
        // The logarithm of no precision at all is minus infinity, and the mean then zero.
        let mean = precisions.iter().map(|share: &f64| share.ln()).sum::<f64>() / ORDERS as f64;
        Bleu {
            score: brevity_penalty * mean.exp(),
            precisions,
            brevity_penalty,
            candidate_length: self.candidate_length,
            reference_length: self.reference_length,
        }
    }
}

/// How often each n-gram is there.
type Ngrams<'a> = HashMap<&'a [String], usize>;

fn ngrams(tokens: &[String], order: usize) -> Ngrams<'_> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
