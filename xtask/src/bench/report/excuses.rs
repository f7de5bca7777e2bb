//! The cells without a measurement, and why.

use std::collections::BTreeMap;

use super::section::Section;
use super::table::Table;
use crate::bench::record::{Cell, Excuse, Line};

/// A cell that was skipped or that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Excused<'a> {
    /// `skipped` or `failed`.
    pub how: &'static str,
    /// The cell and why.
    pub excuse: &'a Excuse,
}

impl Excused<'_> {
    /// Why, on one line.
    pub fn reason(&self) -> String {
        self.excuse.reason.split_whitespace().collect::<Vec<_>>().join(" ")
    }
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
        cells.insert(&excuse.cell, Excused { how, excuse });
    }
    cells.into_values().collect()
}

/// All of them in a table.
pub fn section(excused: &[Excused<'_>]) -> Section {
    let title = "Skipped and failed";
    if excused.is_empty() {
        return Section::unanswered(title, "None.");
    }
    let mut table = Table::new(&["cell", "", "why"]);
    for one in excused {
        table.row([one.excuse.cell.to_string(), one.how.to_owned(), one.reason()]);
    }
    let mut section = Section::new(title);
    section.block(table);
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Method;
    use crate::bench::statistics::tests::sample;

    #[test]
    fn a_cell_that_was_measured_after_all_needs_no_excuse() {
        let measured = sample(Method::Full, None, 0, &[1.0]);
        let Line::Sample(one) = &measured else { panic!("a sample") };
        let failed = Line::Failed(Excuse { cell: one.cell.clone(), reason: "out\nof it".into() });
        assert!(excused(&[failed.clone(), measured.clone()]).is_empty());
        let lines = [measured, failed];
        let text = section(&excused(&lines)).markdown();
        assert!(text.contains("| tiny full flex 2x4 | failed | out of it |"), "{text}");
    }
}
