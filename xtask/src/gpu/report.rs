//! What a pack found, as tables and marks: `report.md` beside its `results.jsonl`, and, with `--keep`, in the tree.
//!
//! - [`marks`]: what the first GPU is held against, met or missed;
//! - [`steps`]: our cells and PEFT's, side by side;
//! - [`keep`]: `benches/results/GPU/` and the table of README or `docs/gpu.md`.

mod keep;
mod marks;
mod steps;

use std::path::PathBuf;

use clap::Args;

use super::Done;
use super::line::{self, CellLine, Check, Line, Part, Peer, Quickstart, Rate, Warm};
use crate::bench::Table;
use crate::root;

/// Writes report.md of what run.sh found
#[derive(Args)]
pub struct Report {
    /// The folder that run.sh wrote
    dir: PathBuf,
    /// Keep it in the tree too: benches/results/GPU, and the table of README or docs/gpu.md
    #[arg(long)]
    keep: bool,
    /// The GPU's name in benches/results [default: as nvidia-smi names it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The tree
    #[arg(long, value_name = "DIR", default_value_os_t = root())]
    tree: PathBuf,
}

/// Losses of two devices may differ by that much over [`COMPARED`] steps.
const LOSSES: f64 = 1e-3;
const COMPARED: usize = 50;

/// The lines of a pack, a kind each.
#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    rates: Vec<Rate>,
    checks: Vec<Check>,
    quickstarts: Vec<Quickstart>,
    warms: Vec<Warm>,
    cells: Vec<CellLine>,
    peers: Vec<Peer>,
    /// Lines that are none.
    strange: usize,
}

impl Found {
    fn sorted((lines, strange): (Vec<Line>, usize)) -> Self {
        let mut found = Self { strange, ..Self::default() };
        for line in lines {
            match line {
                Line::Part(part) => found.parts.push(part),
                Line::Rate(rate) => found.rates.push(rate),
                Line::Check(check) => found.checks.push(check),
                Line::Quickstart(run) => found.quickstarts.push(run),
                Line::Warm(warm) => found.warms.push(warm),
                Line::Cell(cell) => found.cells.push(cell),
                Line::Peer(peer) => found.peers.push(peer),
            }
        }
        found
    }

    /// The CPU's run of as many steps, and how far the other one's losses are from it over the first
    /// [`COMPARED`] of them (or over those that both took, which is told too).
    fn beside_the_cpu(&self, run: &Quickstart) -> Option<(usize, f64)> {
        let steps = |run: &Quickstart| run.planned.max(run.losses.len());
        let cpu = self
            .quickstarts
            .iter()
            .find(|other| is_cpu(&other.device) && steps(other) == steps(run))?;
        if std::ptr::eq(cpu, run) {
            return None;
        }
        let pairs = run.losses.iter().zip(&cpu.losses).take(COMPARED);
        let apart = pairs.clone().map(|(a, b)| (a - b).abs());
        // A maximum that keeps what is no number.
        let worst = apart.fold(0.0, |worst: f64, apart| match apart <= worst {
            true => worst,
            false => apart,
        });
        Some((pairs.count(), worst))
    }
}

fn is_cpu(device: &str) -> bool {
    matches!(device, "cpu" | "flex" | "ndarray")
}

pub fn run(report: &Report) -> Done {
    let results = report.dir.join("results.jsonl");
    let found = Found::sorted(line::read(&results)?);
    let beside = |name: &str| std::fs::read_to_string(report.dir.join(name)).unwrap_or_default();
    let (machine, parity) = (beside("machine.txt"), beside("parity.md"));
    let text = text(&found, &machine, &parity);
    let path = report.dir.join("report.md");
    burn_lora_files::write(&path, text.as_bytes())?;
    println!("{}", path.display());
    if report.keep {
        let name = report.name.clone().or_else(|| keep::gpu(&machine));
        let name = name.ok_or("machine.txt names no GPU: give this run a name with --name")?;
        keep::keep(report, &name, &found)?;
    }
    Ok(())
}

/// The whole report.
fn text(found: &Found, machine: &str, parity: &str) -> String {
    let mut text = String::from("# What the GPU pack measured\n");
    if !machine.trim().is_empty() {
        text += &format!("\n```text\n{}\n```\n", machine.trim_end());
    }
    text += &marks::section(found);
    text += &checks(&found.checks);
    if !parity.trim().is_empty() {
        text += &format!("\n## Against PEFT's values\n\n{parity}");
    }
    text += &quickstarts(found);
    text += &steps::section(found);
    text += &rates(&found.rates);
    text += &parts(&found.parts);
    if found.strange > 0 {
        text += &format!("\n{} lines of results.jsonl could not be read.\n", found.strange);
    }
    text
}

/// A table, or nothing where there are no rows.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new(head.iter().copied());
    rows.iter().for_each(|row| table.row(row.iter().cloned()));
    table.to_string()
}

/// A table below a title, or nothing.
fn titled(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    match rows.is_empty() {
        true => String::new(),
        false => format!("\n## {title}\n\n{}", table(head, rows)),
    }
}

fn checks(found: &[Check]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|check| {
            vec![
                check.device.clone(),
                check.operation.clone(),
                check.part.clone(),
                format!("{:.1e}", check.error),
                if check.passes() { "ok" } else { "beyond tolerance" }.to_owned(),
            ]
        })
        .collect();
    let title = format!(
        "Operations against float64 ({} of {} within tolerance)",
        found.iter().filter(|check| check.passes()).count(),
        found.len()
    );
    titled(&title, &["device", "operation", "part", "relative error", ""], &rows)
}

fn quickstarts(found: &Found) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let loss = |loss: Option<&f64>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
    let rows: Vec<Vec<String>> = found
        .quickstarts
        .iter()
        .map(|run| {
            let steps = match run.planned {
                planned if planned > run.losses.len() => {
                    format!("{} of {planned}", run.losses.len())
                }
                _ => run.losses.len().to_string(),
            };
            let matches = run
                .exact_match
                .map(|(before, after)| format!("{} -> {}", percent(before), percent(after)));
            let apart = found
                .beside_the_cpu(run)
                .map(|(steps, apart)| format!("{apart:.1e} over {steps} steps"));
            vec![
                run.device.clone(),
                steps,
                loss(run.losses.first()),
                loss(run.losses.last()),
                apart.unwrap_or("-".to_owned()),
                matches.unwrap_or("-".to_owned()),
                format!("{:.2} s", run.first_step_seconds),
                format!("{:.1} ms", 1e3 * run.step_seconds),
            ]
        })
        .collect();
    let head = [
        "device",
        "steps",
        "first loss",
        "last loss",
        "from the CPU's",
        "exact match",
        "first step",
        "median step",
    ];
    let mut text = titled("The quickstart", &head, &rows);
    if !rows.is_empty() {
        text += "\nThe runs went beside one another and the checks: their times are no speeds.\n";
    }
    text
}

fn rates(rates: &[Rate]) -> String {
    let rows: Vec<Vec<String>> = rates
        .iter()
        .map(|rate| {
            let unit = if rate.what.starts_with("copy") { "GB/s" } else { "GFLOP/s" };
            vec![
                rate.who.clone(),
                rate.device.clone(),
                rate.what.clone(),
                rate.size.to_string(),
                format!("{:.0} {unit}", rate.per_second / 1e9),
            ]
        })
        .collect();
    titled("Rates", &["who", "device", "what", "size", "rate"], &rows)
}

/// How a part ended, for people.
fn ended(part: &Part) -> String {
    match part.code {
        0 => "ok".to_owned(),
        124 | 137 => "its time was up".to_owned(),
        125 => "no time was left".to_owned(),
        127 => "what it needs is not installed".to_owned(),
        code => format!("failed ({code})"),
    }
}

fn parts(parts: &[Part]) -> String {
    let rows: Vec<Vec<String>> = parts
        .iter()
        .map(|part| {
            let turn = part.turn.map_or("-".to_owned(), |turn| format!("{turn:.0} s"));
            vec![part.name.clone(), format!("{:.0} s", part.seconds), turn, ended(part)]
        })
        .collect();
    titled("Parts", &["part", "time", "of it alone on the machine", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quickstart(device: &str, planned: usize, losses: &[f64]) -> Quickstart {
        Quickstart {
            device: device.to_owned(),
            planned,
            losses: losses.to_vec(),
            exact_match: Some((0.0, 0.915)),
            seconds: 1.0,
            first_step_seconds: 0.5,
            step_seconds: 0.25,
            tokens: 10,
        }
    }

    #[test]
    fn losses_are_set_beside_the_cpu_run_of_as_many_steps() {
        let quickstarts = vec![
            quickstart("cpu", 3, &[9.0, 9.0, 9.0]),
            quickstart("cpu", 2, &[2.0, 1.0]),
            quickstart("cuda:0", 2, &[2.0, 1.5]),
            quickstart("cuda:0", 3, &[9.5]),
            quickstart("cuda:0", 2, &[2.0, f64::NAN]),
        ];
        let found = Found { quickstarts, ..Found::default() };
        let beside = |run: usize| found.beside_the_cpu(&found.quickstarts[run]);
        assert_eq!((beside(0), beside(1)), (None, None));
        assert_eq!((beside(2), beside(3)), (Some((2, 0.5)), Some((1, 0.5))));
        assert!(beside(4).unwrap().1.is_nan());
        let text = text(&found, "NVIDIA H200\n", "");
        assert!(
            text.contains("| cuda:0 | 1 of 3 | 9.5000 | 9.5000 | 5.0e-1 over 1 steps |"),
            "{text}"
        );
        assert!(text.contains("0.0 % -> 91.5 %") && !text.contains("## Rates"), "{text}");
    }

    /// Lines as the first pack wrote them.
    #[test]
    fn results_of_earlier_packs_can_be_read() {
        let text = r#"{"kind":"quickstart","device":"cpu","losses":[4.5,4.25],"exact_match":[0.0,0.5],"seconds":1.0,"first_step_seconds":0.5,"step_seconds":0.25,"tokens":9}
{"kind":"peer","peer":"PEFT","model":"smollm2-135m","version":"peft 0.21.0","method":"lora","batch":4,"length":128,"rank":16,"data":null,"tokens_per_s":3419.0,"first_step_s":15.6,"nf4":false,"dtype":"tf32","device":"NVIDIA H200","peak_device_gib":1.72,"losses":[11.0]}
{"kind":"part","name":"rates","seconds":0,"code":125}
{"kind":"part","name":"half
"#;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("results.jsonl");
        std::fs::write(&file, text).unwrap();
        let found = Found::sorted(line::read(&file).unwrap());
        assert_eq!(found.strange, 1);
        let text = super::text(&found, "", "");
        for part in [
            "| cpu | 2 | 4.5000 | 4.2500 | - | 0.0 % -> 50.0 % |",
            "| smollm2-135m 4x128 | PEFT lora tf32 | NVIDIA H200 | 3419 |",
            "| rates | 0 s | - | no time was left |",
            "1 lines of results.jsonl could not be read",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
