//! `report.md`: what a results file says, a question a section, with plots beside it.
//!
//! - [`circumstances`]: on what and how; [`rank`], [`versus`], [`backend`], [`growth`],
//!   [`inference`], [`limit`]: the matrix; [`peers`], [`quality`], [`claims`]: held against others;
//!   [`excuses`]: what is missing;
//! - [`conditions`]: what may be compared; [`costs`], [`numbers`]: figures as text;
//! - [`section`](mod@section), [`table`], [`curves`], [`bars`], [`frame`], [`axis`]: what sections
//!   are made of.

use std::path::{Path, PathBuf};

use super::record::Line;
use super::statistics::summaries;

mod axis;
mod backend;
mod bars;
mod circumstances;
mod claims;
mod conditions;
mod costs;
mod curves;
mod excuses;
mod frame;
mod growth;
mod inference;
mod limit;
pub mod numbers;
mod peers;
mod quality;
mod rank;
mod section;
pub mod table;
mod versus;

pub use claims::Claim;
pub use excuses::excused;
use frame::DrawError;
use section::Section;

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error("cannot draw a plot: {0}")]
    Draw(DrawError),
    /// A file cannot be written.
    #[error("cannot write {path}: {reason}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// Renders the lines of a results file into a directory: `report.md`, whose path is returned, and
/// plots.
///
/// # Errors
///
/// A plot that cannot be drawn, or a file that cannot be written.
pub fn write(lines: &[Line], results: &Path, out_dir: &Path) -> Result<PathBuf, ReportError> {
    write_with_claims(lines, results, out_dir, &[])
}

/// The same, with rows for the table of published figures that were not measured but counted.
///
/// # Errors
///
/// A plot that cannot be drawn, or a file that cannot be written.
pub fn write_with_claims(
    lines: &[Line],
    results: &Path,
    out_dir: &Path,
    claims: &[Claim],
) -> Result<PathBuf, ReportError> {
    let sections = sections(lines, results, claims).map_err(ReportError::Draw)?;
    std::fs::create_dir_all(out_dir)
        .map_err(|reason| ReportError::Write { path: out_dir.to_owned(), reason })?;
    let file = |name: &str, text: &str| {
        let path = out_dir.join(name);
        match std::fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(reason) => Err(ReportError::Write { path, reason }),
        }
    };
    for (name, svg) in sections.iter().flat_map(Section::plots) {
        file(name, svg)?;
    }
    let parts: Vec<String> = sections.iter().map(Section::markdown).collect();
    file("report.md", &format!("# Benchmark report\n\n{}", parts.join("\n")))
}

fn sections(lines: &[Line], results: &Path, claims: &[Claim]) -> Result<Vec<Section>, DrawError> {
    let found = conditions::by_size(summaries(lines));
    let excused = excused(lines);
    Ok(vec![
        circumstances::section(lines, results),
        rank::section(&found)?,
        versus::full(&found)?,
        versus::composed(&found)?,
        backend::section(&found, &excused)?,
        growth::with_size(&found)?,
        growth::with_tokens(&found)?,
        inference::section(&found)?,
        limit::section(&found)?,
        peers::section(lines)?,
        quality::section(lines)?,
        claims::section(&found, lines, claims),
        excuses::section(&excused),
    ])
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::bench::record::Method;
    use crate::bench::statistics::tests::sample;

    pub use circumstances::tests::run;

    #[test]
    fn a_report_and_its_plots_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("new");
        let lines = [
            run("A"),
            sample(Method::Lora, Some(1), 0, &[1.0]),
            sample(Method::Lora, Some(2), 0, &[2.0]),
            sample(Method::Full, None, 0, &[4.0]),
        ];
        let path = write(&lines, "results.jsonl".as_ref(), &out).unwrap();
        assert_eq!(path, out.join("report.md"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("| 2 | 4.00 |"), "{text}");
        // Every plot that is linked exists.
        let links: Vec<&str> = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| link.ends_with(".svg"))
            .collect();
        assert!(links.len() >= 4, "{links:?}");
        for link in links {
            let svg = std::fs::read_to_string(out.join(link)).unwrap();
            assert!(svg.contains("height=\"480\"") && svg.ends_with("</svg>\n"), "{link}");
        }
    }

    #[test]
    fn without_cells_every_question_is_a_line_and_no_table_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(&[], "results.jsonl".as_ref(), dir.path()).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("No two cells of LoRA differ only in their rank."), "{text}");
        assert!(text.contains("No inference was measured."), "{text}");
        // The published figures are the one table there is.
        assert_eq!(text.matches("\n| --- ").count(), 1, "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = write(&[], "r".as_ref(), &file.join("out")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write") && error.contains("out"), "{error}");
    }
}
