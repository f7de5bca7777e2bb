//! Holding rows of a training file out of training, to evaluate on.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::DataError;
use crate::row::PlacedRow;
use crate::row_file::{Portion, RowFile};

/// The stream of the run's generator that divides files; a sampler's are the numbers of epochs.
const STREAM: u64 = u64::MAX;

impl RowFile {
    /// Divides the rows into those to train on and those held out, `share` of them (rounded, but
    /// at least one on either side). Which, a permutation drawn with `seed` decides: one file and
    /// one seed always give the same rows. Both parts keep the order of the file.
    ///
    /// Of a file of articles, whole articles are held out, until they have that share of the rows:
    /// what the model is asked about is then in no row that it was trained on. Rows that stand twice
    /// in other files may come to lie on either side.
    ///
    /// # Errors
    ///
    /// A share that is not above 0 and below 1, or a file with a single row or article.
    pub fn hold_out(self, share: f64, seed: u64) -> Result<(Self, Self), DataError> {
        let Self { path, format, rows, unused, .. } = self;
        if !(share > 0.0 && share < 1.0) {
            return Err(DataError::HeldOutShare { path, share });
        }
        let of = rows.len();
        let units = units(&rows);
        let &[_, _, ..] = units.as_slice() else {
            let articles = rows.iter().any(|placed| placed.article.is_some());
            let unit = if articles { "article" } else { "row" };
            return Err(DataError::NothingToHoldOut { path, unit });
        };
        let wanted = ((share * of as f64).round() as usize).clamp(1, of - 1);
        let mut order: Vec<usize> = (0..units.len()).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(STREAM);
        order.shuffle(&mut random);
        let mut is_held_out = vec![false; of];
        let mut held_out = 0;
        // The last unit of the order stays, that there is something to train on.
        for unit in &order[..order.len() - 1] {
            if held_out >= wanted {
                break;
            }
            held_out += units[*unit].len();
            is_held_out[units[*unit].clone()].fill(true);
        }
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        for (row, is_held_out) in rows.into_iter().zip(is_held_out) {
            if is_held_out { held.push(row) } else { kept.push(row) }
        }
        let kept = Self {
            path: path.clone(),
            format,
            portion: Portion::Kept { held_out },
            rows: kept,
            unused: unused.clone(),
        };
        let held = Self { path, format, portion: Portion::HeldOut { of }, rows: held, unused };
        Ok((kept, held))
    }
}

/// The rows that are held out together or not at all: those of each article, and every other one.
fn units(rows: &[PlacedRow]) -> Vec<Range<usize>> {
    let together = |a: &PlacedRow, b: &PlacedRow| a.article.is_some() && a.article == b.article;
    let mut start = 0;
    let unit = |rows: &[PlacedRow]| {
        start += rows.len();
        start - rows.len()..start
    };
    rows.chunk_by(together).map(unit).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::row::{Place, Row};
    use crate::row_file::Reading;

    fn file(rows: usize) -> RowFile {
        let text: String = (0..rows).map(|row| format!("{{\"text\": \"{row}\"}}\n")).collect();
        RowFile::parse(&text, Path::new("rows.jsonl"), &Reading::default()).unwrap()
    }

    fn lines(file: &RowFile) -> Vec<usize> {
        let line = |placed: &PlacedRow| match placed.place {
            Place::Line(line) => line,
            Place::Named(_) => unreachable!("lines alone"),
        };
        file.rows.iter().map(line).collect()
    }

    #[test]
    fn a_seed_always_holds_out_the_same_rows() {
        let held = |seed| lines(&file(100).hold_out(0.1, seed).unwrap().1);
        assert_eq!(held(3), held(3));
        assert_ne!(held(3), held(4));
        let (kept, held) = file(100).hold_out(0.1, 3).unwrap();
        assert_eq!(kept.portion, Portion::Kept { held_out: 10 });
        assert_eq!(held.portion, Portion::HeldOut { of: 100 });
    }

    #[test]
    fn shares_that_leave_nothing_on_a_side_are_refused() {
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let error = file(9).hold_out(share, 0).unwrap_err();
            assert!(matches!(error, DataError::HeldOutShare { .. }), "{error}");
        }
        assert_eq!(
            file(1).hold_out(0.5, 0).unwrap_err().to_string(),
            "rows.jsonl: the file has a single row, but holding out needs one to train on and one to evaluate on: add rows, or leave held_out out"
        );
    }

    /// A file of articles with so many rows each.
    fn articles(sizes: &[usize]) -> RowFile {
        let article = |(number, rows): (usize, &usize)| {
            let row = move |row| PlacedRow {
                place: Place::Named(format!("article {number}, question {row}")),
                article: Some(number),
                row: Row::Text("a".into()),
            };
            (0..*rows).map(row)
        };
        let rows = sizes.iter().enumerate().flat_map(article).collect();
        RowFile { rows, ..file(1) }
    }

    #[test]
    fn a_single_article_is_not_divided() {
        let message = articles(&[9]).hold_out(0.5, 0).unwrap_err().to_string();
        assert!(message.contains("the file has a single article"), "{message}");
    }

    proptest! {
        #[test]
        fn articles_stay_whole_and_have_the_share_or_a_little_more(
            sizes in prop::collection::vec(1_usize..40, 2..12),
            share in 0.001_f64..0.999,
            seed in any::<u64>(),
        ) {
            let numbers = |file: &RowFile| {
                let mut all: Vec<_> = file.rows.iter().map(|row| row.article.unwrap()).collect();
                all.dedup();
                all
            };
            let (kept, held) = articles(&sizes).hold_out(share, seed).unwrap();
            let mut all = [numbers(&kept), numbers(&held)].concat();
            prop_assert!(!kept.rows.is_empty() && !held.rows.is_empty());
            all.sort_unstable();
            prop_assert_eq!(all, (0..sizes.len()).collect::<Vec<_>>());
            let rows: usize = sizes.iter().sum();
            let wanted = (share * rows as f64).round().clamp(1.0, rows as f64 - 1.0) as usize;
            // Short of it only where but one article is left to train on.
            prop_assert!(held.rows.len() >= wanted || numbers(&kept).len() == 1);
            let largest = sizes.iter().max().unwrap();
            prop_assert!(held.rows.len() < wanted + largest);
        }

        #[test]
        fn every_row_lies_on_one_side_in_the_order_of_the_file(
            rows in 2_usize..200,
            share in 0.001_f64..0.999,
            seed in any::<u64>(),
        ) {
            let (kept, held) = file(rows).hold_out(share, seed).unwrap();
            let (kept, held) = (lines(&kept), lines(&held));
            prop_assert!(kept.is_sorted() && held.is_sorted());
            prop_assert!(!kept.is_empty() && !held.is_empty());
            let expected = (share * rows as f64).round().clamp(1.0, rows as f64 - 1.0);
            prop_assert_eq!(held.len() as f64, expected);
            let mut all = [kept, held].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (1..=rows).collect::<Vec<_>>());
        }
    }
}
