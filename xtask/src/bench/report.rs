//! `report.md`: what results files say, a question a section, with plots beside it.
//!
//! - [`rows`], [`row`], [`figure`]: the lines of the files as rows of labels and figures;
//! - [`questions`]: the tables and plots, declared; [`question`]: what a declaration is made of, and how it is carried out;
//! - [`circumstances`]: on what and how; [`planned`]: plans of memory beside what came; [`claims`]: what others published; [`excuses`]:
//!   what is missing;
//! - [`markdown`], [`numbers`]: what sections are written with; plots are drawn by `burn_lora_report::plot`.

use std::path::{Path, PathBuf};

use super::record::Line;

mod circumstances;
mod claims;
mod excuses;
pub mod figure;
pub mod markdown;
pub mod numbers;
mod planned;
mod question;
mod questions;
pub mod row;
pub mod rows;

pub use excuses::excused;
use markdown::Section;

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot cannot be drawn.
    #[error("cannot draw a plot: {0}")]
    Draw(#[from] burn_lora_report::ReportError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] burn_lora_files::IoError),
}

/// Renders the lines of results files into a directory: `report.md`, whose path is returned, and plots.
///
/// # Errors
///
/// A plot that cannot be drawn, or a file that cannot be written.
pub fn write(lines: &[Line], results: &[&Path], out_dir: &Path) -> Result<PathBuf, ReportError> {
    let sections = sections(lines, results)?;
    for (name, svg) in sections.iter().flat_map(Section::plots) {
        burn_lora_files::write(&out_dir.join(name), svg.as_bytes())?;
    }
    let parts: Vec<String> = sections.iter().map(Section::markdown).collect();
    let path = out_dir.join("report.md");
    let text = format!("# Benchmark report\n\n{}", parts.join("\n"));
    burn_lora_files::write(&path, text.as_bytes())?;
    Ok(path)
}

fn sections(
    lines: &[Line],
    results: &[&Path],
) -> Result<Vec<Section>, burn_lora_report::ReportError> {
    let rows = rows::rows(lines);
    let names: Vec<String> = results.iter().map(|path| format!("`{}`", path.display())).collect();
    let mut sections = vec![circumstances::section(lines, &names.join(", "))];
    for question in questions::QUESTIONS {
        sections.push(question.section(&rows)?);
    }
    sections.extend([planned::section(&rows), claims::section(&rows), excuses::section(lines)]);
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::{outcome, peer, run, sample};
    use crate::bench::record::{Latency, Method};

    fn written(lines: &[Line]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = write(lines, &["results.jsonl".as_ref()], dir.path()).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        (dir, text)
    }

    fn changed(line: Line, change: impl FnOnce(&mut crate::bench::record::Sample)) -> Line {
        let Line::Sample(mut sample) = line else { panic!("a sample") };
        change(&mut sample);
        Line::Sample(sample)
    }

    /// A base of fewer bits is held against the f32 one of the same library on the same workload, and the row says which those are.
    #[test]
    fn a_base_of_fewer_bits_is_told_with_its_workload_and_its_library() {
        let packed = |who, seconds| {
            let Line::Peer(mut peer) = peer(who, &[seconds], vec![3.0]) else { panic!("a peer") };
            peer.dtype = burn_lora_models::weights::WeightDtype::Nf4;
            Line::Peer(peer)
        };
        let (_dir, text) = written(&[
            run("A"),
            peer("burn-lora", &[2.0], vec![3.0]),
            packed("burn-lora", 4.0),
            peer("PEFT", &[4.0], vec![3.0]),
            packed("PEFT", 5.0),
        ]);
        for part in [
            "| workload | library | cell | tokens/s: f32 | fewer bits |",
            "| all | burn-lora | nf4 | 100 | 50.0 | 0.500x |",
            "| all | PEFT | nf4 | 50.0 | 40.0 | 0.800x |",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    /// Every value is counted by hand from 8 tokens a step and the seconds given.
    #[test]
    fn every_question_is_answered_with_the_figures_of_the_lines_and_every_linked_plot_exists() {
        let latency = Latency { base: vec![0.1], adapter: vec![0.12], merged: vec![0.099] };
        let (dir, text) = written(&[
            run("A"),
            sample(Method::Lora, Some(1), 0, &[1.0]),
            sample(Method::Lora, Some(2), 0, &[2.0]),
            sample(Method::Lora, Some(2), 1, &[4.0]),
            sample(Method::Full, None, 0, &[4.0]),
            sample(Method::Composed, Some(1), 0, &[3.0]),
            changed(sample(Method::Full, None, 0, &[2.0]), |one| {
                one.cell.model = "b".into();
                one.measured.parameters = 10;
            }),
            changed(sample(Method::Full, None, 0, &[16.0]), |one| one.cell.length = 16),
            changed(sample(Method::Full, None, 0, &[2.0]), |one| one.cell.backend = "cuda".into()),
            changed(sample(Method::Merged, Some(2), 0, &[]), |one| {
                one.measured.latency = Some(latency);
            }),
            peer("burn-lora", &[2.0], vec![3.0, 2.0]),
            peer("PEFT", &[4.0], vec![3.0, 2.5]),
            outcome(Some(2), 0.7),
            outcome(None, 0.9),
        ]);
        for part in [
            // Half the range of 2 and 4 tokens a second is a third of their middle.
            "| lora r=1 | 8.00 | 750 ms | 250 ms | 1.00 MiB | 100 |",
            "| lora r=2 | 3.00 ± 33.3 % | 2.25 s | 750 ms | 1.00 MiB | 100 |",
            "| full | 2.00 | 3.00 s | 1.00 s |",
            "![tokens/s over rank: tiny flex 2x4](rank-tokens-1.svg)",
            "| tiny flex 2x4 | r=1 | 2.00 | 8.00 | 4.00x | 1.00 MiB | 1.00 MiB | 1.00x | 0.0114 MiB | 0.00114 MiB | 0.100x | 10.0 % |",
            "| tiny flex 2x4 | r=1 | 2.67 | 8.00 | 3.00x |",
            "| tiny full cuda 2x4 | 2.00 | 4.00 | 2.00x |",
            "| full | b | 10 | 4.00 | 2.00 s | 1.00 MiB |",
            "| full | 2x16 | 32 | 2.00 | 16.0 s | 1.00 MiB |",
            "| 100 ms | 120 ms | 99.0 ms | 1.20x | 0.990x |",
            "| tiny full flex 2x4 | 0.0000000800 |",
            "| all | 50.0 | 100 | 2.00x |",
            "| 5.0e-1 nats |",
            "### words, 20 steps: accuracy",
            "| lora r=2 | 1,234 | 70.0 % | 0.5000 |",
            "| untrained | 0 | 25.0 % | n/a |",
            "No cell of LoRA was measured with DoRA too.",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let links: Vec<&str> = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .filter(|link| link.ends_with(".svg"))
            .collect();
        assert!(links.len() >= 10, "{links:?}");
        for link in links {
            let svg = std::fs::read_to_string(dir.path().join(link)).unwrap();
            assert!(svg.contains("height=\"480\"") && svg.ends_with("</svg>\n"), "{link}");
        }
    }

    #[test]
    fn without_cells_every_question_is_a_line_and_no_table_is_empty() {
        let (dir, text) = written(&[]);
        for question in questions::QUESTIONS {
            assert!(text.contains(question.missing), "{} is not in {text}", question.missing);
        }
        // The published figures are the one table there is.
        assert_eq!(text.matches("\n| --- ").count(), 1, "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn figures_of_two_processors_stand_side_by_side_and_are_never_taken_together() {
        let peers =
            |ours: f64| [peer("burn-lora", &[ours], vec![3.0]), peer("PEFT", &[4.0], vec![3.0])];
        let lines = [vec![run("A")], peers(2.0).into(), vec![run("B")], peers(8.0).into()].concat();
        let (_, text) = written(&lines);
        for part in
            ["| all | A (AVX2) | 50.0 | 100 | 2.00x |", "| all | B (AVX2) | 50.0 | 25.0 | 0.500x |"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = write(&[], &[], &file.join("out")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create") && error.contains("out"), "{error}");
    }
}
