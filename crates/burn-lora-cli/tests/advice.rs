//! Commands that messages advise, followed to the letter where their programs are: what comes out is read. Those that make rows of other
//! JSON are followed where they are made, in burn-lora-data.
#![cfg(unix)]

mod binary;

use std::fs;
use std::path::Path;
use std::process::Command;

use binary::{burn_lora, text};

const ROWS: &str = "{\"prompt\": \"caf\u{e9}\", \"completion\": \" the red\"}\n{\"prompt\": \"b\", \"completion\": \" the door\"}\n";

/// A file that is made of `rows.jsonl` by shell, what it is called, and what one that advice makes of it is called.
struct Case {
    made: &'static str,
    name: &'static str,
    becomes: &'static str,
    /// What the advice needs beside its programs.
    module: Option<&'static str>,
}

const fn case(made: &'static str, name: &'static str, becomes: &'static str) -> Case {
    Case { made, name, becomes, module: None }
}

const fn with(module: &'static str, of: Case) -> Case {
    Case { module: Some(module), ..of }
}

const CASES: [Case; 32] = [
    case("gzip -c rows.jsonl > it.jsonl.gz", "it.jsonl.gz", "new.jsonl"),
    // A file that a browser has called otherwise.
    case("gzip -c rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("gzip -c rows.jsonl > it", "it", "new.jsonl"),
    case("xz -c rows.jsonl > it.jsonl.xz", "it.jsonl.xz", "new.jsonl"),
    case("xz -c rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("xz --format=lzma -c rows.jsonl > it.lzma", "it.lzma", "new.jsonl"),
    case("bzip2 -c rows.jsonl > it.jsonl.bz2", "it.jsonl.bz2", "new.jsonl"),
    case("bzip2 -c rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("zstd -qc rows.jsonl > it.jsonl.zst", "it.jsonl.zst", "new.jsonl"),
    case("zstd -qc rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("lz4 -qc rows.jsonl > it.jsonl.lz4", "it.jsonl.lz4", "new.jsonl"),
    case(
        "mkdir in && cp rows.jsonl in/new.jsonl && tar cf it.tar -C in new.jsonl",
        "it.tar",
        "new.jsonl",
    ),
    case(
        "cp rows.jsonl new.jsonl && tar cf it.tar new.jsonl && rm new.jsonl",
        "it.tar",
        "new.jsonl",
    ),
    case(
        "cp rows.jsonl new.jsonl && tar czf it.tgz new.jsonl && rm new.jsonl",
        "it.tgz",
        "new.jsonl",
    ),
    case(
        "cp rows.jsonl new.jsonl && python3 -m zipfile -c it.zip new.jsonl && rm new.jsonl",
        "it.zip",
        "new.jsonl",
    ),
    case("iconv -f UTF-8 -t UTF-32 rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("iconv -f UTF-8 -t UTF-32LE rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("iconv -f UTF-8 -t UTF-32BE rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("iconv -f UTF-8 -t WINDOWS-1252 rows.jsonl > it.jsonl", "it.jsonl", "new.jsonl"),
    case("{ cat rows.jsonl; head -c 64 /dev/zero; } > it.jsonl", "it.jsonl", "new.jsonl"),
    case(
        "python3 -c 'import sqlite3; c=sqlite3.connect(\"it.db\"); c.execute(\"create table rows (prompt, completion)\"); \
         c.execute(\"insert into rows values (?, ?)\", (\"a\", \"b\")); c.execute(\"insert into rows values (1, 2)\"); \
         c.execute(\"update rows set prompt = prompt || char(10)\"); c.execute(\"update rows set completion = completion || 1\"); c.commit()'",
        "it.db",
        "new.jsonl",
    ),
    case(
        r#"echo '{"prompt": ["a", "b"], "completion": ["c", "d"]}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    // As pandas writes a table by itself.
    case(
        r#"echo '{"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    // As pandas splits one, and as a viewer of datasets answers.
    case(
        r#"echo '{"columns": ["prompt", "completion"], "index": [0, 1], "data": [["a", "b"], ["c", "d"]]}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    case(
        r#"echo '{"features": [{"name": "prompt"}], "rows": [{"row_idx": 0, "row": {"prompt": "a", "completion": "b"}}, {"row_idx": 1, "row": {"prompt": "c", "completion": "d"}}]}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    case(
        r#"echo '{"my-train": [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}], "x": [{"prompt": "e", "completion": "f"}]}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    case(
        r#"echo '{"0": {"prompt": "a", "completion": "b"}, "1": {"prompt": "c", "completion": "d"}}' > it.json"#,
        "it.json",
        "new.jsonl",
    ),
    case(r#"jq -cR . rows.jsonl > it.jsonl"#, "it.jsonl", "new.jsonl"),
    case("printf 'a \"text\"\\nanother\\n' > it.txt", "it.txt", "new.jsonl"),
    with(
        "yaml",
        case(
            "printf -- '- prompt: a\\n  completion: b\\n- {prompt: c, completion: d}\\n' > it.yaml",
            "it.yaml",
            "new.jsonl",
        ),
    ),
    with(
        "pandas",
        case(
            "python3 -c 'import pandas; pandas.read_json(\"rows.jsonl\",lines=True).to_feather(\"it.feather\")'",
            "it.feather",
            "new.jsonl",
        ),
    ),
    with(
        "duckdb",
        case(
            "python3 -c 'import duckdb; duckdb.connect(\"it.duckdb\").execute(\"create table rows as select * from \
             (values (\\x27a\\x27,\\x27b\\x27),(\\x27c\\x27,\\x27d\\x27)) t(prompt,completion)\")'",
            "it.duckdb",
            "new.jsonl",
        ),
    ),
];

fn shell(dir: &Path, script: &str) -> Result<(), String> {
    let ran = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    if ran.status.success() { Ok(()) } else { Err(text(&ran.stderr)) }
}

/// The command in the message that is for this file: one that unpacks an archive in a compressed file stands behind.
fn command(said: &str, name: &str) -> Option<String> {
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    let packed = ["tgz", "tar.gz"].iter().any(|end| name.ends_with(end));
    let mut commands = quoted.iter().filter(|quoted| quoted.contains(" FILE"));
    let found =
        if packed { commands.find(|command| command.starts_with("tar ")) } else { commands.next() };
    found.map(|command| (*command).to_owned())
}

#[test]
fn commands_that_messages_advise_make_rows_that_are_read() {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    let (mut followed, mut left_out) = (0, Vec::new());
    for Case { made, name, becomes, module } in CASES {
        let dir = tempfile::tempdir().unwrap();
        let run = format!(
            "[model]\npath = {:?}\n[adapter]\nrank = 2\n[data]\ntrain = \"it\"\nmax_length = 64\n[train]\ndevice = \"cpu\"\nsteps = 1\n[output]\ndir = \"run\"\n",
            quickstart.display().to_string()
        );
        fs::write(dir.path().join("run.toml"), run).unwrap();
        fs::write(dir.path().join("rows.jsonl"), ROWS).unwrap();
        let needs =
            module.map_or_else(|| "true".to_owned(), |it| format!("python3 -c 'import {it}'"));
        if shell(dir.path(), &needs).is_err() || shell(dir.path(), made).is_err() {
            left_out.push(made);
            continue;
        }
        let check = |file: &str| {
            let set = format!("data.train={file:?}");
            let output = burn_lora(dir.path(), &["check", "run.toml", "--set", &set]);
            (output.status.success(), text(&output.stdout), text(&output.stderr))
        };
        let (read, _, said) = check(name);
        assert!(!read, "{made}: it is read as it is");
        let advice =
            command(&said, name).unwrap_or_else(|| panic!("{made}: no command in: {said}"));
        let filled = advice
            .replace("TABLE_NAME", "rows")
            .replace(" FILE", &format!(" {name}"))
            .replace("OTHER", becomes);
        // The first word may be a program that is not here.
        let program = filled.split_whitespace().next().unwrap();
        if shell(dir.path(), &format!("command -v {program}")).is_err() {
            left_out.push(made);
            continue;
        }
        if let Err(error) = shell(dir.path(), &filled) {
            panic!("{made}: the advice fails: {filled}: {error}");
        }
        let (read, told, said) = check(becomes);
        assert!(read, "{made}: {filled}: {said}");
        assert!(told.contains(&format!("{becomes}: 2 ")), "{made}: {filled}: {told}");
        followed += 1;
    }
    assert!(followed > 5, "{followed}; left out: {left_out:?}");
    println!("{followed} followed, left out: {left_out:#?}");
}
