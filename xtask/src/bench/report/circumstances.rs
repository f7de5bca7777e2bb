//! On what, with what and how the figures were taken.

use std::collections::BTreeMap;

use super::markdown::{Section, Table};
use super::numbers::memory;
use super::rows::OURS;
use crate::bench::record::{Line, Run};

/// How each figure is measured.
const HOW: &str = "\
- A figure is the median over the processes of a cell of each process's own median; `±` is half \
the range over the processes, as a share of the median. Each process measures one cell once, and \
the cells' processes alternate.
- A step is forward to the loss, backward to the gradients, clipping and AdamW; warm-up steps are \
left out. Tokens a second are those of a batch over the time of a whole step.
- Peak memory is the process's largest resident size. The time to the first step counts from the \
start of the process.
- A checkpoint is what is trained with AdamW's two moments, in f32; an adapter is its safetensors \
file.
- FLOP are the multiplications and additions of the matrix products of a step, counted on shapes.
- The limit is the products of the step alone, measured shape by shape with the same backend in \
the same process after the steps. Attention's products over tokens count in the FLOP, but not in \
the limit.
- Only rows with equal model, backend, batch and length are compared, and only those of one \
processor: a figure of one kind of processor says nothing of another.";

/// A row of the table: what it is called, and what a run says of it.
type Row = (&'static str, fn(&Run) -> String);

/// The machine, the program, and the method.
pub fn section(lines: &[Line], results: &str) -> Section {
    let runs: Vec<&Run> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Run(run) => Some(run),
            _ => None,
        })
        .collect();
    let mut section = Section::new("Circumstances");
    section.block(format!("Results: {results}."));
    let rows: [Row; 10] = [
        ("processor", |run| run.machine.cpu.clone()),
        ("instruction set", |run| or_unknown(&run.machine.instructions)),
        ("logical processors", |run| run.machine.processors.to_string()),
        ("memory", |run| memory(run.machine.memory as f64)),
        ("system", |run| run.machine.os.clone()),
        ("commit", |run| or_unknown(&run.commit)),
        ("versions", |run| {
            let versions = run.versions.iter().map(|(name, version)| match version {
                // rustc's version says its own name.
                version if version.starts_with(name.as_str()) => version.clone(),
                version => format!("{name} {version}"),
            });
            versions.collect::<Vec<_>>().join(", ")
        }),
        ("backends compiled in", |run| run.features.join(", ")),
        ("command", |run| format!("`cargo xtask {}`", run.command)),
        ("processes per cell; seed", |run| format!("{}; {}", run.repeats, run.seed)),
    ];
    if runs.is_empty() {
        section.block("The results do not say where they were taken.");
    } else {
        let mut table = Table::new(["", ""]);
        for (name, value) in rows {
            let mut values: Vec<String> = Vec::new();
            for value in runs.iter().map(|run| value(run)) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            table.row([name.to_owned(), values.join("; then ")]);
        }
        for (who, version) in libraries(lines) {
            table.row([who.to_owned(), version.to_owned()]);
        }
        section.block(table);
    }
    section.block(HOW);
    section
}

/// Other libraries and their versions.
fn libraries(lines: &[Line]) -> BTreeMap<&str, &str> {
    lines
        .iter()
        .filter_map(|line| match line {
            Line::Peer(peer) if peer.who != OURS => Some((&*peer.who, &*peer.version)),
            _ => None,
        })
        .collect()
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::{peer, run};

    #[test]
    fn what_a_resumed_run_changed_is_said() {
        let lines = [run("A"), run("A"), peer("PEFT", &[1.0], vec![])];
        let text = section(&lines, "r.jsonl").markdown();
        for part in [
            "| processor | A |",
            "| instruction set | AVX2 |",
            "| memory | 8.00 GiB |",
            "| versions | burn 0.22.1, rustc 1.95.0 |",
            "| commit | unknown |",
            "| PEFT | 1.0 |",
            "but not in the limit",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let text = section(&[run("A"), run("B")], "r.jsonl").markdown();
        assert!(text.contains("| processor | A; then B |"), "{text}");
        let text = section(&[], "r.jsonl").markdown();
        assert!(text.contains("do not say where"), "{text}");
    }
}
