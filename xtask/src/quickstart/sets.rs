//! The four sets of rows, as functions of a seed.
//!
//! No tool call occurs twice in what [`pretraining`] draws, nor in what [`fine_tuning`] draws, so a
//! held-out row's slots never occur together in training, and neither does its sentence.

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::QuickstartError;
use super::grammar::Grammar;
use super::row::Row;

/// The seed of the committed files.
pub const SEED: u64 = 2;
/// Rows of the pre-training: training, held out.
pub const PRETRAINING_ROWS: (usize, usize) = (60_000, 200);
/// Rows of the fine-tuning: training, held out.
pub const FINE_TUNING_ROWS: (usize, usize) = (2_000, 200);

/// Draws without a new call after which a tool counts as used up.
const TRIES: usize = 100;

/// Rows to train on, and rows held out from them.
#[derive(Debug, PartialEq)]
pub struct Sets {
    /// Rows to train on.
    pub train: Vec<Row>,
    /// Rows held out.
    pub eval: Vec<Row>,
}

/// The rows of the pre-training: `(training, held out)` of them, the tools in shares of their weights.
pub fn pretraining(seed: u64, rows: (usize, usize)) -> Result<Sets, QuickstartError> {
    draw(&Grammar::base()?, &new_names()?, rows, ChaCha8Rng::seed_from_u64(seed))
}

/// The rows of the fine-tuning, on tools that the pre-training does not have.
pub fn fine_tuning(seed: u64, rows: (usize, usize)) -> Result<Sets, QuickstartError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(1);
    draw(&Grammar::new_tools()?, &[], rows, rng)
}

/// What the new tools and their arguments are called, where it is more than a word of the language.
fn new_names() -> Result<Vec<String>, QuickstartError> {
    let tools = Grammar::new_tools()?.tools;
    let names = tools.into_iter().flat_map(|tool| {
        tool.arguments.into_iter().map(|(argument, _)| argument).chain([tool.name])
    });
    Ok(names.filter(|name| name.contains('_')).collect())
}

fn draw(
    grammar: &Grammar,
    forbidden: &[String],
    (train, eval): (usize, usize),
    mut rng: ChaCha8Rng,
) -> Result<Sets, QuickstartError> {
    let mut seen = HashSet::new();
    let held_out = draw_rows(grammar, forbidden, eval, &mut seen, &mut rng)?;
    let train = draw_rows(grammar, forbidden, train, &mut seen, &mut rng)?;
    Ok(Sets { train, eval: held_out })
}

/// Rows of which none has a call that was seen before, or a forbidden name.
fn draw_rows(
    grammar: &Grammar,
    forbidden: &[String],
    wanted: usize,
    seen: &mut HashSet<String>,
    rng: &mut impl Rng,
) -> Result<Vec<Row>, QuickstartError> {
    let mut rows = Vec::with_capacity(wanted);
    let mut tools: Vec<_> =
        grammar.tools.iter().flat_map(|tool| std::iter::repeat_n(tool, tool.weight)).collect();
    while rows.len() < wanted {
        // A tool whose calls are used up drops out, and the others go on.
        tools.retain(|tool| {
            if rows.len() == wanted {
                return true;
            }
            let row = (0..TRIES)
                .filter_map(|_| Row::draw(grammar, tool, rng))
                .filter(|row| !forbidden.iter().any(|name| row.prompt.contains(name)))
                .find(|row| seen.insert(row.completion.clone()));
            rows.extend(row.clone());
            row.is_some()
        });
        if tools.is_empty() {
            return Err(QuickstartError::Exhausted { drawn: rows.len(), wanted });
        }
    }
    rows.shuffle(rng);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_rows(grammar: &Grammar, rows: &[Row]) {
        for row in rows {
            let call: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&row.completion).unwrap();
            let tool =
                grammar.tools.iter().find(|tool| call["tool"] == tool.name.as_str()).unwrap();
            assert!(call.len() > 1, "{row:?}");
            for (name, value) in call.iter().skip(1) {
                assert!(tool.arguments.iter().any(|(argument, _)| argument == name), "{row:?}");
                let text = match value {
                    serde_json::Value::String(text) => text.clone(),
                    // Numbers end in what follows them, so look for them as they stand in the call.
                    _ => row
                        .completion
                        .split(&format!("\"{name}\":"))
                        .nth(1)
                        .unwrap()
                        .split([',', '}'])
                        .next()
                        .unwrap()
                        .into(),
                };
                assert!(row.prompt.contains(&text), "{text:?} is not in {row:?}");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_rows_and_another_seed_others() {
        let rows = pretraining(SEED, (300, 30)).unwrap();
        assert_eq!(rows, pretraining(SEED, (300, 30)).unwrap());
        assert_ne!(rows, pretraining(SEED + 1, (300, 30)).unwrap());
    }

    #[test]
    fn calls_are_json_and_copy_their_values_from_the_sentence() {
        check_rows(&Grammar::base().unwrap(), &pretraining(7, (5_000, 0)).unwrap().train);
        let sets = fine_tuning(SEED, FINE_TUNING_ROWS).unwrap();
        let grammar = Grammar::new_tools().unwrap();
        check_rows(&grammar, &sets.train);
        check_rows(&grammar, &sets.eval);
    }

    #[test]
    fn held_out_sentences_and_calls_are_not_in_training() {
        let sets = fine_tuning(SEED, FINE_TUNING_ROWS).unwrap();
        let prompts: HashSet<_> = sets.train.iter().map(|row| row.prompt.to_lowercase()).collect();
        let calls: HashSet<_> = sets.train.iter().map(|row| &row.completion).collect();
        for row in &sets.eval {
            assert!(!prompts.contains(&row.prompt.to_lowercase()), "{row:?}");
            assert!(!calls.contains(&row.completion), "{row:?}");
        }
    }

    /// The base cannot know the new tools: what they are called never stands in its text.
    #[test]
    fn no_new_name_occurs_in_the_pretraining() {
        let names = new_names().unwrap();
        assert!(names.len() >= 8, "{names:?}");
        for row in pretraining(SEED, PRETRAINING_ROWS).unwrap().train {
            let text = format!("{} {}", row.prompt, row.completion);
            assert!(!names.iter().any(|name| text.contains(name)), "{row:?}");
        }
    }

    #[test]
    fn the_committed_rows_are_those_of_the_generator() {
        let sets = fine_tuning(SEED, FINE_TUNING_ROWS).unwrap();
        let lines = |rows: &[Row]| rows.iter().map(Row::to_line).collect::<String>();
        assert!(
            lines(&sets.train) == include_str!("../../../datasets/quickstart/train.jsonl"),
            "run `cargo xtask quickstart data`"
        );
        assert!(
            lines(&sets.eval) == include_str!("../../../datasets/quickstart/eval.jsonl"),
            "run `cargo xtask quickstart data`"
        );
    }

    #[test]
    fn a_grammar_with_too_few_calls_says_how_many_it_has() {
        let mut grammar = Grammar::base().unwrap();
        grammar.tools.truncate(1);
        grammar.tools[0].phrasings.clear();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let error = draw_rows(&grammar, &[], 1, &mut HashSet::new(), &mut rng).unwrap_err();
        assert!(matches!(error, QuickstartError::Exhausted { drawn: 0, wanted: 1 }));
    }
}
