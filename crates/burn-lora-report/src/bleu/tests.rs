//! Scores computed once by sacreBLEU 2.6.0 (`tokenize='13a'`, `smooth_method='none'`), in percent there;
//! those of whole sentences are the same to 1e-12 by NLTK 3.10.4's `corpus_bleu` on sacreBLEU's tokens. NLTK
//! counts an n-gram where a candidate is too short to have one, so it says something else where one is.

use super::*;

/// Whole; empty; without a match of four; one word; words repeated more often than in any reference.
const CANDIDATES: [&str; 5] = [
    "The Eagle is a cheap coffee shop near Burger King , with a rating of 3.5 out of 5.",
    "",
    "Wildwood pub: family-friendly (and cheap) & by the riverside!",
    "Aromi",
    "a price range of less than £20 the the the the city centre is what it's in, it's in the 1,000-seat hall.",
];

const REFERENCES: [&[&str]; 5] = [
    &[
        "The Eagle is a cheap coffee shop located near Burger King , rated 3.5 out of 5.",
        "Near Burger King is The Eagle , a cheap coffee shop with a rating of 3.5 out of 5 .",
        "the eagle: coffee.",
    ],
    &["There is a pub.", "Pub."],
    &[
        "Wildwood is a family-friendly pub by the riverside; it's cheap.",
        "By the riverside, Wildwood (a pub) is family-friendly &amp; cheap!",
    ],
    &["Aromi is a pub.", "Go to Aromi.", "Aromi pub"],
    &[
        "The price range is less than £20 in the city centre.",
        "It's in the city centre, in the 1,000-seat hall, at a price range of less than £20.",
    ],
];

/// Matches, totals and lengths are exact; the score's logarithms and exponentials may round differently in
/// the last places.
fn check_bleu(
    rows: &[usize],
    case: Case,
    score: f64,
    matches_of_totals: [(usize, usize); 4],
    lengths: (usize, usize),
) {
    let candidates: Vec<&str> = rows.iter().map(|&row| CANDIDATES[row]).collect();
    let references: Vec<&[&str]> = rows.iter().map(|&row| REFERENCES[row]).collect();
    let bleu = corpus_bleu(&candidates, &references, case).unwrap();
    let precisions = matches_of_totals.map(|(matches, total)| matches as f64 / total.max(1) as f64);
    assert_eq!(bleu.precisions, precisions, "{rows:?} {case:?}");
    assert_eq!((bleu.candidate_length, bleu.reference_length), lengths, "{rows:?} {case:?}");
    assert!((100.0 * bleu.score - score).abs() < 1e-10, "{rows:?} {case:?}: {}", bleu.score);
}

#[test]
fn a_corpus_with_empty_and_short_candidates_scores_what_sacrebleu_says() {
    let counts = [(52, 60), (32, 56), (25, 53), (18, 50)];
    check_bleu(&[0, 1, 2, 3, 4], Case::Kept, 53.851173427854576, counts, (60, 58));
    let counts = [(53, 60), (33, 56), (26, 53), (18, 50)];
    check_bleu(&[0, 1, 2, 3, 4], Case::Ignored, 55.06334973333478, counts, (60, 58));
}

#[test]
fn whole_sentences_score_what_sacrebleu_and_nltk_say() {
    let counts = [(51, 59), (32, 56), (25, 53), (18, 50)];
    check_bleu(&[0, 2, 4], Case::Kept, 53.816033981134105, counts, (59, 54));
    let counts = [(52, 59), (33, 56), (26, 53), (18, 50)];
    check_bleu(&[0, 2, 4], Case::Ignored, 55.032508077057145, counts, (59, 54));
    let counts = [(20, 20), (17, 19), (14, 18), (11, 17)];
    check_bleu(&[0], Case::Kept, 81.91692732318536, counts, (20, 20));
    let counts = [(20, 26), (13, 25), (10, 24), (7, 23)];
    check_bleu(&[4], Case::Kept, 47.45748710485264, counts, (26, 22));
}

#[test]
fn an_empty_candidate_one_word_and_no_match_of_four_score_zero() {
    check_bleu(&[1], Case::Kept, 0.0, [(0, 0); 4], (0, 2));
    check_bleu(&[2], Case::Kept, 0.0, [(11, 13), (2, 12), (1, 11), (0, 10)], (13, 12));
    check_bleu(&[3], Case::Kept, 0.0, [(1, 1), (0, 0), (0, 0), (0, 0)], (1, 2));
}

#[test]
fn a_short_candidate_pays_for_its_shortness() {
    let candidate = "The Eagle is a cheap coffee shop near Burger King , with a r";
    let bleu = corpus_bleu(&[candidate], &REFERENCES[..1], Case::Kept).unwrap();
    assert_eq!((bleu.candidate_length, bleu.reference_length), (14, 18));
    assert!((bleu.brevity_penalty - 0.7514772930752859).abs() < 1e-15, "{bleu:?}");
    assert!((bleu.score - 0.4957439030255806).abs() < 1e-12, "{bleu:?}");
    assert_eq!(
        bleu.to_string(),
        "BLEU 49.57 (92.9/76.9/58.3/45.5, brevity penalty 0.751, 14 tokens for 18)"
    );
    assert_eq!(corpus_bleu(&[""], &REFERENCES[..1], Case::Kept).unwrap().brevity_penalty, 0.0);
}

#[test]
fn of_two_references_equally_close_in_length_the_shorter_counts() {
    let references = [["a b c d e", "a b c"]];
    let bleu = corpus_bleu(&["a b c d"], &references, Case::Kept).unwrap();
    assert_eq!((bleu.reference_length, bleu.score), (3, 1.0));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let none: [&[&str]; 0] = [];
    let corpus = |candidates: &[&str], references: &[&[&str]]| {
        corpus_bleu(candidates, references, Case::Kept).unwrap_err()
    };
    assert_eq!(corpus(&[], &none), BleuError::Empty);
    let differ = BleuError::Lengths { candidates: 1, references: 2 };
    assert_eq!(corpus(&["a"], &[&["a"], &["a"]]), differ);
    assert_eq!(corpus(&["a", "b"], &[&["a"], &[]]), BleuError::NoReferences { index: 1 });
}

/// What sacreBLEU's `Tokenizer13a` makes of the text.
fn check_tokens(text: &str, expected: &[&str]) {
    assert_eq!(tokens::tokens(text, Case::Kept), expected, "{text:?}");
}

#[test]
fn texts_are_cut_as_sacrebleu_cuts_them() {
    check_tokens("a..b", &["a", ".", ".", "b"]);
    check_tokens("a.,b, c", &["a", ".", ",", "b", ",", "c"]);
    check_tokens("1,234.5 3.", &["1,234.5", "3", "."]);
    check_tokens("2-3 x-3 3-x", &["2", "-", "3", "x-3", "3", "-", "x"]);
    check_tokens("&amp;lt;b&gt; &quot;q&quot;", &["<", "b", ">", "\"", "q", "\""]);
    check_tokens("end-\nline\nnext-\n", &["endline", "next-"]);
    check_tokens("it's <skipped>£5/£6", &["it's", "£5", "/", "£6"]);
    check_tokens("A\u{a0}B\u{1c}C 5,", &["A", "B", "C", "5", ","]);
    check_tokens("...", &[".", ".", "."]);
    check_tokens(" \n", &[]);
}

#[test]
fn case_is_ignored_where_that_is_asked_for() {
    assert_eq!(tokens::tokens("Café ÉTÉ", Case::Ignored), ["café", "été"]);
    let score = |case| corpus_bleu(&["A B C D"], &[["a b c d"]], case).unwrap().score;
    assert_eq!((score(Case::Ignored), score(Case::Kept)), (1.0, 0.0));
}
