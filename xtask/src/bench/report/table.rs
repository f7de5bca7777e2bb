//! A Markdown table.

use std::fmt;

/// Columns and rows, as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, &self.columns)?;
        line(f, &vec!["---".to_owned(); self.columns.len()])?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String]) -> fmt::Result {
    write!(f, "|")?;
    for cell in cells {
        // A bar or a newline, as in an error message, would end the cell.
        let cell = cell.replace('|', "\\|").replace(['\n', '\r'], " ");
        write!(f, " {cell} |")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_escaped() {
        let mut table = Table::new(&["a", "b"]);
        assert!(table.is_empty());
        table.row(["x|y".to_owned(), "two\nlines".to_owned()]);
        assert_eq!(table.to_string(), "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n");
    }
}
