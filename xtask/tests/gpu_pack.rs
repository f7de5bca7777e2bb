//! The GPU pack on devices that are none: every part that needs no GPU runs and ends well, so that on one nothing fails but
//! what only a GPU can show. With the feature `wgpu` it is tried on whatever wgpu finds too, software Vulkan as well.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn all_parts_of_the_pack_run_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let out = tried(dir.path(), "cpu");

    // The figures of a CPU are no figures of a GPU.
    let report = read(&out.join("report.md"));
    assert!(report.contains("| not shown |") && !report.contains("| met |"), "{report}");

    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let readme = tree.join("README.md");
    let kept = |more: &[&str]| {
        let report = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["gpu", "report", "--keep", "--tree"])
            .arg(&tree)
            .args(more)
            .arg(&out)
            .output()
            .unwrap();
        (report.status.success(), String::from_utf8_lossy(&report.stderr).into_owned())
    };
    // Without nvidia-smi there is no name, and a table goes nowhere without its place.
    std::fs::write(&readme, "before\n").unwrap();
    if !read(&out.join("machine.txt")).contains("driver_version") {
        let (success, said) = kept(&[]);
        assert!(!success && said.contains("--name"), "{said}");
    }
    let (success, said) = kept(&["--name", "trial"]);
    assert!(!success && said.contains("<!-- gpu table -->"), "{said}");
    std::fs::write(&readme, "before\n<!-- gpu table -->\nold\n<!-- end of gpu table -->\nafter\n")
        .unwrap();
    let (success, said) = kept(&["--name", "trial"]);
    assert!(success, "{said}");
    let text = read(&readme);
    assert!(text.starts_with("before\n<!-- gpu table -->\n0 of "), "{text}");
    assert!(
        text.ends_with("\n<!-- end of gpu table -->\nafter\n") && !text.contains("old"),
        "{text}"
    );
    for file in ["results.jsonl", "report.md", "machine.txt", "parity.md"] {
        let kept = read(&tree.join("benches/results/trial").join(file));
        assert_eq!(kept, read(&out.join(file)), "{file}");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn all_parts_of_the_pack_run_on_wgpu() {
    let dir = tempfile::tempdir().unwrap();
    let out = tried(dir.path(), "wgpu");
    let cells: Vec<Value> = lines(&out).into_iter().filter(|line| line["kind"] == "cell").collect();
    let bytes = |line: &Value| line["measured"]["device_bytes"].as_u64();
    let ours = cells.iter().filter(|line| line["cell"]["backend"] == "wgpu");
    let f32s = ours.clone().filter(|line| line["cell"]["dtype"].is_null());
    assert_eq!(f32s.count(), 5, "{cells:?}");
    assert!(ours.clone().all(|line| bytes(line) > Some(0)), "{cells:?}");
}

/// Makes the pack in a folder, runs all of it on a device and gives where its results lie.
fn tried(dir: &Path, device: &str) -> PathBuf {
    let (pack, out) = (dir.join("pack"), dir.join("out"));
    let program = env!("CARGO_BIN_EXE_xtask");
    let made = Command::new(program)
        .args(["gpu", "pack", "--program", program, "--effort", "0", "--limit", "1000", "--out"])
        .arg(&pack)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    // The peers' Python is somebody else's: without it that is told, and the rest goes on.
    let ran = Command::new("bash")
        .arg(pack.join("run.sh"))
        .arg(&out)
        .args([device, "small"])
        .env("PYTHON", "false")
        .env("PATIENCE", "20")
        .env("BUDGET", "6000")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let log = read(&out.join("log.txt"));
    assert!(ran.status.success(), "{said}\n{log}");

    let lines = lines(&out);
    let parts: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "part").collect();
    let code = |name: &str| {
        let part = parts.iter().find(|part| part["name"] == name);
        part.unwrap_or_else(|| panic!("{name} is not among {parts:?}"))["code"].as_i64()
    };
    let operations = ["linear", "norm", "gate", "gelu", "attention", "head"];
    let own = operations.iter().map(|operation| format!("check-{operation}"));
    let others = "parity-all losses losses-cpu quickstart quickstart-cpu rates cells-tiny cells-tiny-large cells-cpu matrix";
    for name in own.chain(others.split(' ').map(str::to_owned)) {
        assert_eq!(code(&name), Some(0), "{name}: {parts:?}\n{log}");
    }
    for name in ["peft-tiny", "liger-tiny", "peft-tiny-large", "liger-tiny-large", "torch-rates"] {
        assert_eq!(code(name), Some(127), "{name}: {parts:?}\n{log}");
    }

    let report = read(&out.join("report.md"));
    // Software Vulkan has no bf16: that is told, and nothing else of the part suffers.
    let row = report.contains("| tiny 2x16 | burn-lora lora r=16 bf16 |");
    assert_ne!(
        row,
        log.contains("tiny lora r=16 bf16 wgpu 2x16: that format is not on this device")
    );
    for part in [
        "## Marks",
        "(44 of 44 within tolerance)",
        "## Against PEFT's values",
        "## The quickstart",
        "| tiny 2x16 | burn-lora lora r=16 f32 |",
        "| tiny 2x16 | burn-lora composed r=16 f32 |",
        "| tiny 1x8 | burn-lora lora r=128 f32 |",
        "| tiny 1x8 | burn-lora full f32 |",
        "12,473 tokens/s",
        "## Rates",
        "what it needs is not installed",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    for family in families() {
        assert!(report.contains(&format!("| {family} | ")), "{family} is not in\n{report}");
    }
    out
}

/// The folders of PEFT's values.
fn families() -> Vec<String> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden");
    let entries = std::fs::read_dir(golden).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn lines(out: &Path) -> Vec<Value> {
    let text = read(&out.join("results.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}
