//! A chat template that writes the date: a run that goes on another day has the rows of its beginning, or says how it gets them.

mod binary;
mod small;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use binary::text;
use small::adapter;

/// Seconds since 1970-01-01 of a day, and of another.
const DAYS: [&str; 2] = ["1700000000", "1700100000"];

/// A run of four steps on conversations, whose template begins with the date.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    fs::create_dir(dir.path().join("model")).unwrap();
    for entry in fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join("model").join(path.file_name().unwrap())).unwrap();
    }
    let template = "{{ strftime_now('%F') }}\n{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}assistant: {% endif %}";
    fs::write(dir.path().join("model/chat_template.jinja"), template).unwrap();
    let row = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#;
    fs::write(dir.path().join("rows.jsonl"), format!("{row}\n").repeat(4)).unwrap();
    let run = "[model]\npath = \"model\"\n[adapter]\nrank = 2\n[data]\ntrain = \"rows.jsonl\"\nmax_length = 64\n[train]\ndevice = \"cpu\"\n\
               steps = 4\nbatch_size = 2\nsave_every = 2\nsamples = 0\n[output]\ndir = \"run\"\n";
    fs::write(dir.path().join("run.toml"), run).unwrap();
    dir
}

fn train(dir: &Path, day: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-lora"));
    command.args(["train", "run.toml", "--plain"]).args(more).current_dir(dir);
    command.env("SOURCE_DATE_EPOCH", day).env("HF_HUB_OFFLINE", "1").output().unwrap()
}

#[test]
fn a_run_whose_template_writes_the_date_goes_on_with_the_date_of_its_beginning() {
    let dir = directory();
    let dir = dir.path();
    let whole = train(dir, DAYS[0], &[]);
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let expected = adapter(dir, "run");
    // As if it had been killed in its third step.
    let run = dir.join("run");
    fs::remove_dir_all(run.join("checkpoints/step-000004")).unwrap();
    fs::remove_dir_all(run.join("adapter")).unwrap();

    let refused = train(dir, DAYS[1], &["--resume"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("SOURCE_DATE_EPOCH={}", DAYS[0])), "{said}");
    let resumed = train(dir, DAYS[0], &["--resume"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(adapter(dir, "run") == expected);
}
