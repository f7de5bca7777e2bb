//! The points as one Markdown table, aligned so that it reads in a terminal too.

use std::fmt;

use burn_lora_report::figure::{self, Figure};
use burn_lora_report::record::EvalRecord;
use burn_lora_text::grouped;

use super::results::{PointResult, PointState, Results};

/// Stands where nothing was measured.
const NOTHING: &str = "-";

/// A column: its head, and whether it holds numbers.
type Head = (String, bool);

/// The table, best point first and marked, and below it why points failed.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Scores of generated texts are shown only where they were asked for.
        let records: Vec<EvalRecord> = self
            .points
            .iter()
            .flat_map(|point| [point.before, point.after].into_iter().flatten())
            .collect();
        let asked = |figure: &Figure| records.iter().any(|record| figure.value(record).is_some());
        let (first, scores) = figure::ALL.split_at(3);
        let figures: Vec<Figure> =
            first.iter().chain(scores.iter().filter(|figure| asked(figure))).copied().collect();
        let mut heads: Vec<Head> = vec![(String::new(), false)];
        heads.extend(self.axes.iter().map(|axis| (axis.short().to_owned(), false)));
        heads.extend(figures.iter().map(|figure| (figure.head(), true)));
        let costs = ["trainable", "seconds", "tokens/s"];
        heads.extend(costs.map(|head| (head.to_owned(), true)));
        heads.extend(["state", "run"].map(|head| (head.to_owned(), false)));

        let ranked = self.ranked();
        let rows: Vec<Vec<String>> = ranked.iter().map(|point| self.row(point, &figures)).collect();
        write_table(f, &heads, &rows)?;
        let failed: Vec<_> =
            ranked.iter().filter_map(|point| Some((point, point.error.as_ref()?))).collect();
        if !failed.is_empty() {
            writeln!(f)?;
        }
        for (point, error) in failed {
            writeln!(f, "- {}: {}", point.name, one_line(error))?;
        }
        Ok(())
    }
}

impl Results {
    fn row(&self, point: &PointResult, figures: &[Figure]) -> Vec<String> {
        let best = self.best.as_ref() == Some(&point.name) && point.state == PointState::Finished;
        let mut row = vec![if best { "best" } else { "" }.to_owned()];
        row.extend(point.values.iter().map(|value| one_line(value)));
        let shown = |figure: &Figure, record: Option<EvalRecord>| {
            record.and_then(|record| figure.digits(&record)).unwrap_or_else(|| NOTHING.to_owned())
        };
        row.extend(figures.iter().map(|figure| {
            match (shown(figure, point.before), shown(figure, point.after)) {
                (before, after) if before == NOTHING && after == NOTHING => before,
                (before, after) => format!("{before} -> {after}"),
            }
        }));
        let number = |places: usize, value: Option<f64>| {
            value.map_or_else(|| NOTHING.to_owned(), |value| format!("{value:.places$}"))
        };
        let trainable = point.trainable.and_then(|count| usize::try_from(count).ok());
        row.push(trainable.map_or_else(|| NOTHING.to_owned(), grouped));
        row.push(number(1, point.seconds));
        row.push(number(0, point.tokens_per_second));
        row.push(point.state.name().to_owned());
        row.push(point.name.clone());
        row
    }
}

/// The text without what ends a line or a cell.
fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn write_table(f: &mut fmt::Formatter<'_>, heads: &[Head], rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        // Markdown wants three characters in the line below the heads.
        widest.max(heads[column].0.chars().count()).max(3)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let write_row = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &String>| {
        f.write_str("|")?;
        for ((cell, width), (_, number)) in cells.zip(&widths).zip(heads) {
            match number {
                true => write!(f, " {cell:>width$} |")?,
                false => write!(f, " {cell:<width$} |")?,
            }
        }
        writeln!(f)
    };
    write_row(f, &mut heads.iter().map(|(head, _)| head))?;
    f.write_str("|")?;
    for (width, (_, number)) in widths.iter().zip(heads) {
        let line = "-".repeat(width - 1);
        match number {
            true => write!(f, " {line}: |")?,
            false => write!(f, " {line}- |")?,
        }
    }
    writeln!(f)?;
    for row in rows {
        write_row(f, &mut row.iter())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fake::results;

    #[test]
    fn the_best_stands_first_and_is_marked_and_failures_say_why() {
        let mut results = results(&[Some(2.0), Some(1.0), None]);
        results.points[2].state = PointState::Failed;
        results.points[2].error = Some("step 3: the loss\nis NaN".to_owned());
        results.points[0].values[0] = "a|b".to_owned();
        results.choose();
        let table = results.to_string();
        let lines: Vec<&str> = table.lines().collect();
        // The widths are compared below; here only what stands in the cells.
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let heads = "| | rank | held-out loss | perplexity | accuracy % | trainable | seconds | \
                     tokens/s | state | run |";
        assert_eq!(squeezed(lines[0]), heads);
        let row = "| best | 1 | 3.0000 -> 1.0000 | 20.086 -> 2.718 | 30.0 -> 10.0 | 1,234 | 1.5 | \
                   40 | finished | p1 |";
        assert_eq!(squeezed(lines[2]), row);
        assert!(lines[3].contains("| a\\|b "), "{table}");
        assert!(lines[4].contains("| failed "), "{table}");
        assert_eq!(lines[5], "", "{table}");
        assert_eq!(lines[6], "- p2: step 3: the loss is NaN");
        assert_eq!(lines.len(), 7);
        let widths: Vec<usize> = lines[..5].iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }

    #[test]
    fn a_column_of_scores_is_there_only_where_they_were_asked_for() {
        let mut results = results(&[Some(2.0)]);
        assert!(!results.to_string().contains("exact match"));
        results.points[0].after.as_mut().unwrap().exact_match = Some(0.25);
        let table = results.to_string();
        assert!(table.contains("exact match %") && table.contains("- -> 25.0 "), "{table}");
        assert!(!table.contains("BLEU"), "{table}");
        results.points[0].before.as_mut().unwrap().bleu = Some(0.125);
        results.points[0].after.as_mut().unwrap().bleu = Some(0.5);
        let table = results.to_string();
        assert!(table.contains("BLEU |") && table.contains("| 12.50 -> 50.00 |"), "{table}");
    }
}
