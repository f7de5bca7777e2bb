//! GGUF files whose headers promise what is not in them are refused by everything that reads a model, the plan among it.

use std::path::Path;

use burn_lora_config::RunConfig;
use burn_lora_models::{CausalLm, Model};
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::plan;

fn seeds() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

#[test]
fn a_gguf_file_that_is_not_what_its_header_says_is_refused_before_it_is_planned() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("rows.jsonl"),
        "{\"prompt\": \"the\", \"completion\": \" red\"}\n".repeat(3),
    )
    .unwrap();
    let planned = |file: &Path| {
        let path = |path: &Path| format!("{:?}", path.display().to_string());
        let text = format!(
            "[model]\npath = {}\n[adapter]\nrank = 1\n[data]\ntrain = {}\nmax_length = 16\neos = false\n[train]\ndevice = \"cpu\"\n\
             steps = 1\n[output]\ndir = {}\n",
            path(file),
            path(&dir.path().join("rows.jsonl")),
            path(&dir.path().join("run")),
        );
        plan(RunConfig::parse(&text, "run.toml", &[]).unwrap(), &Observer::silent())
    };
    let device = burn_lora::device::parse("cpu").unwrap();
    let loaded = |file: &Path| CausalLm::load(file, &device, &mut |_, _| {});
    let whole = seeds().join("gguf/f32.gguf");
    assert!(planned(&whole).is_ok_and(|plan| plan.fits) && loaded(&whole).is_ok());
    let mut tried = 0;
    for entry in std::fs::read_dir(seeds().join("gguf")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // A context longer than anybody reads is no fault of the tensors.
        if !name.starts_with("fault-") || name == "fault-context.gguf" {
            continue;
        }
        let refused = planned(&path).map(|plan| plan.to_string());
        assert!(refused.is_err(), "{name} is planned: {refused:?}");
        assert!(loaded(&path).is_err(), "{name} is loaded");
        tried += 1;
    }
    assert_eq!(tried, 8);
}
