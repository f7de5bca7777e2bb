//! The cells without a measurement, and why.

use std::collections::BTreeMap;

use super::markdown::{Section, Table};
use crate::bench::record::{Cell, Line};

/// A cell that was skipped or that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Excused<'a> {
    /// The cell.
    pub cell: &'a Cell,
    /// `skipped` or `failed`.
    pub how: &'static str,
    /// Why, on one line.
    pub reason: String,
}

/// Each cell's last excuse; a cell that was measured after it needs none.
pub fn excused(lines: &[Line]) -> Vec<Excused<'_>> {
    let mut cells: BTreeMap<&Cell, Excused<'_>> = BTreeMap::new();
    for line in lines {
        let (how, excuse) = match line {
            Line::Skipped(excuse) => ("skipped", excuse),
            Line::Failed(excuse) => ("failed", excuse),
            Line::Sample(sample) => {
                cells.remove(&sample.cell);
                continue;
            }
            _ => continue,
        };
        let reason = excuse.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        cells.insert(&excuse.cell, Excused { cell: &excuse.cell, how, reason });
    }
    cells.into_values().collect()
}

/// All of them in a table.
pub fn section(lines: &[Line]) -> Section {
    let mut section = Section::new("Skipped and failed");
    let mut table = Table::new(["cell", "", "why"]);
    for Excused { cell, how, reason } in excused(lines) {
        table.row([cell.to_string(), how.to_owned(), reason]);
    }
    match table.is_empty() {
        true => section.block("None."),
        false => section.block(table),
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;
    use crate::bench::record::{Excuse, Method};

    #[test]
    fn a_cell_that_was_measured_after_all_needs_no_excuse() {
        let measured = sample(Method::Full, None, 0, &[1.0]);
        let Line::Sample(one) = &measured else { panic!("a sample") };
        let failed = Line::Failed(Excuse { cell: one.cell.clone(), reason: "out\nof it".into() });
        assert!(excused(&[failed.clone(), measured.clone()]).is_empty());
        let text = section(&[measured, failed]).markdown();
        assert!(text.contains("| tiny full flex 2x4 | failed | out of it |"), "{text}");
    }
}
