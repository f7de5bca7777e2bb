//! Results that stay in the tree: a folder of `benches/results`, and the table of README or `docs/gpu.md`, whichever has
//! its two comments.

use burn_lora_files as files;
use burn_lora_models::weights::WeightDtype;

use super::marks::{LARGE, SMALL, Shape, Verdict, marks};
use super::steps::{EAGER, LIGER, gib, held, ratio};
use super::{Done, Found, Report, table};
use crate::bench::Method;

/// The pages that may have the table, and how they link to the tree.
const PAGES: [(&str, &str); 2] = [("README.md", ""), ("docs/gpu.md", "../")];
/// What stands before and after the table.
const BEGIN: &str = "<!-- gpu table -->";
const END: &str = "<!-- end of gpu table -->";

/// The files of a run that stay.
const FILES: [&str; 4] = ["results.jsonl", "report.md", "machine.txt", "parity.md"];

/// The GPU's name of a machine.txt, as a folder is named: the line after nvidia-smi's head.
pub fn gpu(machine: &str) -> Option<String> {
    let mut lines = machine.lines().skip_while(|line| !line.starts_with("name, driver_version"));
    let (name, _) = lines.nth(1)?.split_once(',')?;
    let words = name.to_lowercase();
    let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    (!name.is_empty()).then_some(name)
}

/// Copies the run's files and writes the page's table.
///
/// # Errors
///
/// A file that cannot be read or written; no page with the comments that hold the table.
pub fn keep(report: &Report, name: &str, found: &Found) -> Done {
    let mut changed = None;
    for (page, up) in PAGES {
        let path = report.tree.join(page);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let text = replaced(&text, &page_table(found, name, up));
        changed = changed.or(text.map(|text| (path, text)));
    }
    let (path, text) = changed.ok_or_else(|| {
        let pages = PAGES.map(|(page, _)| page).join(" or ");
        format!(
            "the table goes into {pages} of {}, between the lines `{BEGIN}` and `{END}`, which are not there",
            report.tree.display()
        )
    })?;
    let kept = report.tree.join("benches/results").join(name);
    for file in FILES {
        let (from, to) = (report.dir.join(file), kept.join(file));
        if from.exists() && from != to {
            files::write(&to, &files::read(&from)?)?;
        }
    }
    files::write(&path, text.as_bytes())?;
    println!("{} and {}", kept.display(), path.display());
    Ok(())
}

/// The page with another table between the comments.
fn replaced(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

fn page_table(found: &Found, name: &str, up: &str) -> String {
    let shapes: Vec<(Shape, &str)> = vec![
        (SMALL[0], "SmolLM2-135M's shape, 4 x 128"),
        (SMALL[1], "SmolLM2-135M's shape, 8 x 512"),
        (LARGE, "Llama-3.2-1B's shape, 4 x 1024"),
    ];
    let formats = [(WeightDtype::F32, "f32"), (WeightDtype::Bf16, "bf16")];
    let mut rows = Vec::new();
    for ((shape, title), (dtype, format)) in
        shapes.into_iter().flat_map(|shape| formats.map(|format| (shape, format)))
    {
        let Some(ours) = found.ours(shape, Method::Lora, dtype) else { continue };
        let [eager, liger] = [EAGER, LIGER].map(|who| found.peers(who, shape, dtype));
        let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.0}"));
        let over = |peer| ratio(ours, peer).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        rows.push(vec![
            title.to_owned(),
            format.to_owned(),
            rate(ours.tokens_per_second()),
            format!("{} ({})", rate(eager.map(|peer| peer.tokens_per_s)), over(eager)),
            format!("{} ({})", rate(liger.map(|peer| peer.tokens_per_s)), over(liger)),
            gib(held(ours)),
            gib(eager.and_then(|peer| peer.peak_device_gib)),
        ]);
    }
    let marks = marks(found);
    let count = |verdict| marks.iter().filter(|mark| mark.verdict == verdict).count();
    let head = [
        "LoRA r=16, all linears",
        "base",
        "burn-lora, tokens/s",
        "PEFT (ratio)",
        "PEFT with Liger (ratio)",
        "device memory",
        "PEFT's",
    ];
    let mut text = format!(
        "{} of {} marks met, {} missed, {} not shown: [benches/results/{name}]({up}benches/results/{name}/report.md).\n",
        count(Verdict::Met),
        marks.len(),
        count(Verdict::Missed),
        count(Verdict::NotShown)
    );
    if !rows.is_empty() {
        text += &format!("\n{}", table(&head, &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::marks::tests::{cell, peer};
    use super::*;

    #[test]
    fn a_gpu_is_named_by_nvidia_smi() {
        let machine = "Thu Nov 26\nname, driver_version, memory.total [MiB]\nNVIDIA H100 80GB HBM3, 580.1, 81559 MiB\n";
        assert_eq!(gpu(machine).as_deref(), Some("nvidia-h100-80gb-hbm3"));
        assert_eq!(gpu("Thu Nov 26\nmodel name: EPYC, Xeon\n"), None);
    }

    #[test]
    fn the_table_stands_between_its_comments_and_nothing_else_changes() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let once = replaced(&page, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replaced(&once, "new\n").unwrap(), once);
        assert_eq!(replaced("a\nb\n", "new\n"), None);
    }

    #[test]
    fn the_table_has_the_shapes_that_were_measured() {
        let lines = vec![
            cell(SMALL[0], (Method::Lora, WeightDtype::F32), 0.1, Some(1)),
            cell(LARGE, (Method::Lora, WeightDtype::Bf16), 2.0, Some(8)),
            peer(SMALL[0], EAGER, "tf32", 0.2),
            peer(LARGE, LIGER, "bf16", 1.0),
        ];
        let text = page_table(&Found::sorted((lines, 0)), "nvidia-h200", "../");
        for row in [
            "| SmolLM2-135M's shape, 4 x 128 | f32 | 5120 | 2560 (2.00) | - (-) | 1.00 GiB | 2.00 GiB |\n",
            "| Llama-3.2-1B's shape, 4 x 1024 | bf16 | 2048 | - (-) | 4096 (0.50) | 8.00 GiB | - |\n",
            "(../benches/results/nvidia-h200/report.md)",
        ] {
            assert!(text.contains(row), "{row} is not in {text}");
        }
        assert_eq!(text.matches("\n| ").count(), 4, "{text}");
    }
}
