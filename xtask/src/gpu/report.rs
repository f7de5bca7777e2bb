//! What a pack found, as tables in a `report.md` beside its `results.jsonl`.

use std::fmt::Write;
use std::path::Path;

use super::Done;
use super::line::{self, CellLine, Check, Line, Part, Peer, Quickstart, Rate};

/// Losses of two devices may differ by that much over [`COMPARED`] steps.
const LOSSES: f64 = 1e-3;
const COMPARED: usize = 50;

pub fn run(results: &Path) -> Done {
    let (lines, strange) = line::read(results)?;
    let beside = |name: &str| std::fs::read_to_string(results.with_file_name(name)).ok();
    let mut text = String::from("# What the GPU pack measured\n");
    if let Some(machine) = beside("machine.txt") {
        text += &format!("\n```text\n{}\n```\n", machine.trim_end());
    }
    text += &checks(&picked(&lines, |line| match line {
        Line::Check(check) => Some(check),
        _ => None,
    }));
    if let Some(parity) = beside("parity.md").filter(|parity| !parity.trim().is_empty()) {
        text += &format!("\n## Against PEFT's values\n\n{parity}");
    }
    text += &quickstarts(&picked(&lines, |line| match line {
        Line::Quickstart(run) => Some(run),
        _ => None,
    }));
    let cells = picked(&lines, |line| match line {
        Line::Cell(cell) => Some(cell),
        _ => None,
    });
    let peers = picked(&lines, |line| match line {
        Line::Peer(peer) => Some(peer),
        _ => None,
    });
    text += &steps(&cells, &peers);
    text += &rates(&picked(&lines, |line| match line {
        Line::Rate(rate) => Some(rate),
        _ => None,
    }));
    text += &parts(&picked(&lines, |line| match line {
        Line::Part(part) => Some(part),
        _ => None,
    }));
    if strange > 0 {
        text += &format!("\n{strange} lines of {} could not be read.\n", results.display());
    }
    let path = results.with_file_name("report.md");
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

fn picked<'a, T>(lines: &'a [Line], pick: impl Fn(&'a Line) -> Option<T>) -> Vec<T> {
    lines.iter().filter_map(pick).collect()
}

/// A section with a table, or nothing where there are no rows.
fn table(title: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    let mut text = format!("\n## {title}\n\n{}{}", line(&head), line(&rule));
    rows.iter().for_each(|row| text += &line(row));
    text
}

fn checks(found: &[&Check]) -> String {
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
    table(&title, &["device", "operation", "part", "relative error", ""], &rows)
}

fn quickstarts(runs: &[&Quickstart]) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let loss =
                |loss: Option<&f64>| loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
            let (before, after) =
                run.exact_match.map_or(("-".to_owned(), "-".to_owned()), |both| {
                    (percent(both.0), percent(both.1))
                });
            vec![
                run.device.clone(),
                run.losses.len().to_string(),
                loss(run.losses.first()),
                loss(run.losses.last()),
                format!("{before} -> {after}"),
                format!("{:.2} s", run.first_step_seconds),
                format!("{:.1} ms", 1e3 * run.step_seconds),
                format!("{:.1} s", run.seconds),
            ]
        })
        .collect();
    let head = [
        "device",
        "steps",
        "first loss",
        "last loss",
        "exact match",
        "first step",
        "median step",
        "all steps",
    ];
    let mut text = table("The quickstart", &head, &rows);
    let on_cpu = runs.iter().find(|run| run.device == "cpu");
    for run in runs.iter().filter(|run| run.device != "cpu") {
        let Some(cpu) = on_cpu else { continue };
        let apart = |steps: usize| {
            let pairs = run.losses.iter().zip(&cpu.losses).take(steps);
            crate::parity::largest(pairs.map(|(got, expected)| got - expected))
        };
        let within = if apart(COMPARED) <= LOSSES { "within" } else { "beyond" };
        let _ = writeln!(
            text,
            "\nLosses of {} and cpu differ by at most {:.1e} over the first {COMPARED} steps ({within} {LOSSES:.0e}), by {:.1e} over all.",
            run.device,
            apart(COMPARED),
            apart(usize::MAX),
        );
    }
    text
}

/// Our cells and PEFT's, each shape's side by side; ratios are over PEFT in TF32, which multiplies as
/// our CUDA build does.
fn steps(cells: &[&CellLine], peers: &[&Peer]) -> String {
    let gib = |gib: Option<f64>| gib.map_or("-".to_owned(), |gib| format!("{gib:.2} GiB"));
    let mut rows = Vec::new();
    for line in cells {
        let cell = &line.cell;
        let rate = line.tokens_per_second();
        let peer = peers.iter().find(|peer| {
            peer.model == cell.model
                && (peer.batch, peer.length) == (cell.batch, cell.length)
                && peer.method == cell.method.name()
                && peer.dtype == "tf32"
                && cell.backend.starts_with("cuda")
        });
        let ratio = rate.zip(peer).map(|(rate, peer)| rate / peer.tokens_per_s);
        rows.push(vec![
            format!("{} {}x{}", cell.model, cell.batch, cell.length),
            format!("burn-lora {}", cell.method.name()),
            cell.backend.clone(),
            rate.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            line.step_seconds().map_or("-".to_owned(), |step| format!("{:.1} ms", 1e3 * step)),
            format!("{:.1} s", line.measured.first_step_seconds),
            gib(line.measured.device_bytes.map(|bytes| bytes as f64 / f64::from(1 << 30))),
        ]);
    }
    for peer in peers {
        let tokens = (peer.batch * peer.length) as f64;
        rows.push(vec![
            format!("{} {}x{}", peer.model, peer.batch, peer.length),
            format!("{} {} {}", peer.peer, peer.method, peer.dtype),
            peer.device.clone(),
            format!("{:.0}", peer.tokens_per_s),
            "-".to_owned(),
            format!("{:.1} ms", 1e3 * tokens / peer.tokens_per_s),
            format!("{:.1} s", peer.first_step_s),
            gib(peer.peak_device_gib),
        ]);
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    let head = [
        "shape",
        "method",
        "device",
        "tokens/s",
        "of PEFT in TF32",
        "median step",
        "first step",
        "device memory",
    ];
    table("Training steps", &head, &rows)
}

fn rates(rates: &[&Rate]) -> String {
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
    table("Rates", &["who", "device", "what", "size", "rate"], &rows)
}

fn parts(parts: &[&Part]) -> String {
    let rows: Vec<Vec<String>> = parts
        .iter()
        .map(|part| {
            let how = match part.code {
                0 => "ok".to_owned(),
                124 | 137 => "its time was up".to_owned(),
                125 => "no time was left".to_owned(),
                code => format!("failed ({code})"),
            };
            vec![part.name.clone(), format!("{:.0} s", part.seconds), how]
        })
        .collect();
    table("Parts", &["part", "time", ""], &rows)
}
