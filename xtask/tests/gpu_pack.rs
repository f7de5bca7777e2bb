//! The GPU pack on a device that is none: every part that needs no GPU runs and ends well, so that on
//! one nothing fails but what only a GPU can show.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn all_parts_of_the_pack_run_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let (pack, out) = (dir.path().join("pack"), dir.path().join("out"));
    let program = env!("CARGO_BIN_EXE_xtask");
    let made = Command::new(program)
        .args(["gpu", "pack", "--program", program, "--effort", "0", "--limit", "1000", "--out"])
        .arg(&pack)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    // The peers' Python is somebody else's: a part of its own, left out here.
    let ran = Command::new("bash")
        .arg(pack.join("run.sh"))
        .arg(&out)
        .args(["cpu", "small"])
        .env("PYTHON", "false")
        .env("BUDGET", "3000")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let log = read(&out.join("log.txt"));
    assert!(ran.status.success(), "{said}\n{log}");

    let lines: Vec<Value> = read(&out.join("results.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let parts: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "part").collect();
    let names: Vec<&str> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    for name in ["check", "parity", "quickstart", "quickstart-cpu", "rates", "cells-tiny-2x16"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let failed: Vec<&&Value> = parts.iter().filter(|part| part["code"] != 0).collect();
    assert!(failed.is_empty(), "{failed:?}\n{log}");
    let report = read(&out.join("report.md"));
    for title in ["Operations against float64", "Against PEFT's values", "Training steps", "Rates"]
    {
        assert!(report.contains(title), "{title} is not in\n{report}");
    }
    assert!(report.contains("(31 of 31 within tolerance)"), "{report}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
