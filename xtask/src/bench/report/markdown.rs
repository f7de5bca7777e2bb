//! What the report is written in: sections of Markdown with tables, and the plots that they link.

use std::fmt;

/// A heading and what stands under it.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    title: String,
    blocks: Vec<String>,
    plots: Vec<(String, String)>,
}

impl Section {
    /// One with a heading only.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), blocks: Vec::new(), plots: Vec::new() }
    }

    /// Adds a paragraph, a list or a table; an empty one is nothing.
    pub fn block(&mut self, block: impl fmt::Display) {
        let block = block.to_string().trim_end().to_owned();
        self.blocks.extend(Some(block).filter(|block| !block.is_empty()));
    }

    /// Adds a heading below the section's; an empty one is nothing.
    pub fn heading(&mut self, text: &str) {
        self.blocks.extend((!text.is_empty()).then(|| format!("### {text}")));
    }

    /// Adds a plot: the stem of its file, what it shows, and the SVG.
    pub fn plot(&mut self, stem: &str, shows: &str, svg: String) {
        self.blocks.push(format!("![{shows}]({stem}.svg)"));
        self.plots.push((format!("{stem}.svg"), svg));
    }

    /// Whether nothing stands under the heading.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The plots: file name and SVG.
    pub fn plots(&self) -> &[(String, String)] {
        &self.plots
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        format!("## {}\n\n{}\n", self.title, self.blocks.join("\n\n"))
    }
}

/// Columns and rows, as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One without rows.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
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
    fn blocks_stand_apart_and_what_would_end_a_cell_is_escaped() {
        let mut section = Section::new("Rank");
        section.block("Text.\n");
        section.block("");
        section.plot("rank-1", "tokens", "<svg/>".to_owned());
        assert_eq!(section.markdown(), "## Rank\n\nText.\n\n![tokens](rank-1.svg)\n");
        let mut table = Table::new(["a", "b"]);
        assert!(table.is_empty());
        table.row(["x|y".to_owned(), "two\nlines".to_owned()]);
        assert_eq!(table.to_string(), "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n");
    }
}
