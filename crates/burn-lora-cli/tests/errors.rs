//! What the program says when something is wrong (`errors.txt`), and to what people bring (`situations.txt`): commands, what they were
//! given, and what they answered.
//!
//! After a message was changed on purpose, `BURN_LORA_UPDATE=1 cargo test --release -p burn-lora-cli --test errors` writes the files anew;
//! their difference is what users will read. How a case is written stands at the head of a file.

#![cfg(unix)]

mod binary;
mod snapshot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use binary::{burn_lora, text};
use snapshot::{Case, Snapshot, Step, difference, edit};

/// What every directory has in which a command is run; `model` is the quickstart's.
const FILES: [(&str, &str); 5] = [
    (
        "run.toml",
        "[model]\npath = \"model\"\n[adapter]\nrank = 2\ntargets = [\"q_proj\", \"v_proj\"]\n[data]\ntrain = \"rows.jsonl\"\n\
         eval = \"held.jsonl\"\nmax_length = 32\n[train]\ndevice = \"cpu\"\nsteps = 2\nsave_every = 1\nbatch_size = 2\nsamples = 0\n\
         [output]\ndir = \"new\"\n",
    ),
    (
        "rows.jsonl",
        "{\"prompt\": \"say a\", \"completion\": \" the red\"}\n{\"prompt\": \"say b\", \"completion\": \" the door\"}\n\
         {\"prompt\": \"say c\", \"completion\": \" the sea\"}\n{\"prompt\": \"say d\", \"completion\": \" the hill\"}\n",
    ),
    ("held.jsonl", "{\"prompt\": \"say e\", \"completion\": \" the red\"}\n"),
    (
        "labels.jsonl",
        "{\"text\": \"good\", \"label\": \"yes\"}\n{\"text\": \"bad\", \"label\": \"no\"}\n",
    ),
    (
        "bert.json",
        "{\"model_type\": \"bert\", \"vocab_size\": 2048, \"hidden_size\": 16, \"intermediate_size\": 32,\n \
         \"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"max_position_embeddings\": 64}\n",
    ),
];

/// A directory with those files and the run `run`, of two steps, with a checkpoint after each.
struct Prepared(tempfile::TempDir);

impl Prepared {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
        std::os::unix::fs::symlink(model.canonicalize().unwrap(), dir.path().join("model"))
            .unwrap();
        for (name, content) in FILES {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let made =
            burn_lora(dir.path(), &["train", "run.toml", "--plain", "--set", "output.dir=run"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        // The copies are used where they lie.
        fs::remove_file(dir.path().join("run/made_in")).unwrap();
        Self(dir)
    }

    /// What the program answers in a directory like this one: how it ended, and its standard error.
    fn answer(&self, case: &Case) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let source = self.0.path().display();
        let (at, program) = (dir.path(), Path::new(env!("CARGO_BIN_EXE_burn-lora")));
        let run = |script: &str| {
            let path = format!(
                "{}:{}",
                program.parent().unwrap().display(),
                std::env::var("PATH").unwrap()
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).current_dir(at).env("PATH", path).env("NO_COLOR", "1");
            shell.env("HF_HUB_CACHE", at.join("hub")).env("HF_HUB_OFFLINE", "1").env("HOME", at);
            shell.stdin(Stdio::null()).output().unwrap()
        };
        let copied = run(&format!("cp -a '{source}'/. ."));
        assert!(copied.status.success(), "{}", text(&copied.stderr));
        for (name, content) in &case.files {
            let path = at.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        for step in &case.before {
            match step {
                Step::Edit(line) => edit(at, line),
                Step::Shell(script) => {
                    let ran = run(script);
                    assert!(ran.status.success(), "{}: {script}: {}", case.name, text(&ran.stderr));
                }
            }
        }
        let output = run(&case.command);
        let code = output
            .status
            .code()
            .map_or_else(|| "ended by a signal".to_owned(), |code| format!("exits with {code}"));
        let said = without_machine(&text(&output.stderr), at);
        [code].into_iter().chain(said.lines().map(|line| line.trim_end().to_owned())).collect()
    }
}

/// The text without what is another on every machine: the directory, and how much memory there is.
fn without_machine(text: &str, dir: &Path) -> String {
    let path = |dir: PathBuf| dir.display().to_string();
    let text = text
        .replace(&path(dir.canonicalize().unwrap()), "HERE")
        .replace(&path(dir.to_owned()), "HERE");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    let text = text.replace(&path(model.canonicalize().unwrap()), "MODEL");
    let words: Vec<&str> = text.split(' ').collect();
    let is_unit = |word: &&str| {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter().any(|unit| word.starts_with(unit))
    };
    let masked = words.iter().enumerate().map(|(index, word)| {
        let sized = words.get(index + 1).is_some_and(is_unit)
            && word.starts_with(|c: char| c.is_ascii_digit());
        if sized { "…" } else { *word }
    });
    masked.collect::<Vec<_>>().join(" ")
}

/// Runs the commands of a file, `least` or more, and compares what they answer with what stands there.
fn hold(file: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file);
    let snapshot = Snapshot::parse(&fs::read_to_string(&path).unwrap());
    let prepared = Prepared::new();
    let count = snapshot.cases.len();
    assert!(count >= least, "{count} cases");
    let next = Mutex::new(0..count);
    let answers: Vec<_> = (0..count).map(|_| Mutex::new(Vec::new())).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else { break };
                    *answers[index].lock().unwrap() = prepared.answer(&snapshot.cases[index]);
                }
            });
        }
    });
    let answers: Vec<Vec<String>> =
        answers.into_iter().map(|answer| answer.into_inner().unwrap()).collect();
    for (case, answer) in snapshot.cases.iter().zip(&answers) {
        let ends = ["exits with 0", "exits with 1", "exits with 2"];
        assert!(ends.contains(&answer[0].as_str()), "{}: {answer:?}", case.name);
        assert!(answer.len() > 1 || answer[0].ends_with(" 0"), "{}: nothing is said", case.name);
    }
    if std::env::var_os("BURN_LORA_UPDATE").is_some() {
        fs::write(&path, snapshot.with(&answers)).unwrap();
        return;
    }
    let all = snapshot.cases.iter().zip(&answers);
    let changed: Vec<String> = all
        .filter(|(case, answer)| case.answer != **answer)
        .map(|(Case { name, command, answer: expected, .. }, answer)| {
            format!("{name}\n$ {command}\n{}", difference(expected, answer))
        })
        .collect();
    let told = changed.join("\n\n");
    assert!(
        changed.is_empty(),
        "{} of {count} answers in {file} are others:\n\n{told}",
        changed.len()
    );
}

#[test]
fn every_error_says_what_where_and_what_to_do() {
    hold("errors.txt", 80);
}

/// What people brought to other tools and were surprised by.
#[test]
fn what_people_bring_is_used_or_named() {
    hold("situations.txt", 60);
}
