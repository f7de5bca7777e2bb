//! A part of the report: a heading, text and tables, and the plots they are shown with.

use std::fmt::Display;

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

    /// A question that the results do not answer, and why in one line.
    pub fn unanswered(title: &str, why: &str) -> Self {
        let mut section = Self::new(title);
        section.block(why);
        section
    }

    /// Adds a paragraph, a list or a table.
    pub fn block(&mut self, block: impl Display) {
        self.blocks.push(block.to_string().trim_end().to_owned());
    }

    /// Adds a heading below the section's.
    pub fn heading(&mut self, text: impl Display) {
        self.blocks.push(format!("### {text}"));
    }

    /// Adds a plot: the stem of its file, what it shows, and the SVG.
    pub fn plot(&mut self, stem: &str, shows: &str, svg: String) {
        self.blocks.push(format!("![{shows}]({stem}.svg)"));
        self.plots.push((format!("{stem}.svg"), svg));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_apart_and_plots_are_linked() {
        let mut section = Section::new("Rank");
        section.block("Text.\n");
        section.plot("rank-1", "tokens", "<svg/>".to_owned());
        assert_eq!(section.markdown(), "## Rank\n\nText.\n\n![tokens](rank-1.svg)\n");
        assert_eq!(section.plots(), [("rank-1.svg".to_owned(), "<svg/>".to_owned())]);
    }
}
