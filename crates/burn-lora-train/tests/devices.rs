//! Runs on the device that `BURN_LORA_TEST_DEVICE` names, beside the same runs on the CPU.

#[path = "../../burn-lora/tests/test_device/mod.rs"]
mod test_device;
mod tiny;

use std::fs;
use std::path::Path;

use burn_lora_config::RunConfig;
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::{Place, plan};
use burn_lora_train::run::{RunOptions, train};
use tiny::Tiny;

fn device() -> String {
    format!("train.device={}", test_device::name())
}

/// The losses of a run's steps.
fn losses(dir: &Path) -> Vec<f64> {
    let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.filter_map(|record| record["loss"].as_f64()).collect()
}

fn check_close(got: &[f64], expected: &[f64], allowed: f64) {
    assert_eq!(got.len(), expected.len());
    for (step, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs();
        assert!(off < allowed, "step {}: {got} instead of {expected}", step + 1);
    }
}

/// Ten steps of the quickstart: each doubles a difference at most, and the first is of f32 sums in another order.
#[test]
fn the_quickstart_has_the_cpus_losses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("configs/quickstart.toml")).unwrap();
    // Its files from here, and nothing held out.
    let text = text.replace("\"datasets/", &format!("\"{}/datasets/", root.display()));
    let lines = text.lines().filter(|line| !line.starts_with("eval"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, device: &str| {
        let out = dir.path().join(name);
        let set = [
            format!("train.device={device}"),
            format!("output.dir={}", out.display()),
            "train.steps=10".to_owned(),
            "train.batch_size=4".to_owned(),
            "train.exact_match=false".to_owned(),
            "train.samples=0".to_owned(),
        ];
        let config = RunConfig::parse(&text, "quickstart.toml", &set).unwrap();
        train(config, RunOptions::silent(), &Observer::silent()).unwrap();
        losses(&out)
    };
    let (got, expected) = (run("there", &test_device::name()), run("here", "cpu"));
    assert_eq!(expected.len(), 10);
    assert!(expected[9] < expected[0], "{expected:?}");
    check_close(&got, &expected, 1e-3);
}

/// The optimiser's state once came back on Burn's default device, which a run on another did not find.
#[test]
fn a_run_goes_on_from_a_checkpoint_on_its_device() {
    let tiny = Tiny::new();
    let device = device();
    let settings = [device.as_str(), "train.samples=0", "train.save_every=3", "train.keep=5"];
    tiny.train("whole", &settings, false);
    let (whole, lost) = (tiny.path("whole"), tiny.path("lost"));
    let step = "checkpoints/step-000003";
    fs::create_dir_all(lost.join(step)).unwrap();
    fs::copy(whole.join("config.toml"), lost.join("config.toml")).unwrap();
    for entry in fs::read_dir(whole.join(step)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), lost.join(step).join(entry.file_name())).unwrap();
    }
    let records = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let kept = records.lines().filter(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["step"].as_u64().is_some_and(|step| step <= 3)
    });
    fs::write(lost.join("metrics.jsonl"), kept.map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    let summary = tiny.train("lost", &settings, true);
    assert_eq!((summary.steps, summary.planned_steps), (6, 6));
    // AdamW without its moments would take a first step again, of the whole learning rate.
    check_close(&losses(&lost), &losses(&whole), 1e-5);
}

#[test]
fn a_plan_says_whose_memory_it_counts() {
    let tiny = Tiny::new();
    let device = device();
    let plan = plan(tiny.config("run", &[device.as_str()]), &Observer::silent()).unwrap();
    let on_cpu = ["cpu", "flex", "ndarray"].contains(&test_device::name().as_str());
    assert_eq!(plan.place, if on_cpu { Place::Process } else { Place::Device });
    let told = plan.to_string();
    assert!(
        told.contains(if on_cpu { "memory for this process" } else { "memory of the device" }),
        "{told}"
    );
    assert!(plan.limit.is_some() || told.contains("not known here"), "{told}");
    plan.admit().unwrap();
}
