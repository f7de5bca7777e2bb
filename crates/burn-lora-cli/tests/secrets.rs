//! No verb tells a token: not the one that is set, whatever a server says, nor what stands in an address.

mod binary;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use binary::text;

const SECRET: &str = "hf_notToBeTold";

/// A server that refuses everything, and sends back what it was sent: in the status that it is called for, in headers, in the body. It
/// gives its address, and lives as long as the process.
fn mirror(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let sent: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let bearer = sent.iter().find(|line| line.to_lowercase().starts_with("authorization"));
            let said = bearer.map_or("nobody", |line| line.as_str());
            let answer = format!(
                "HTTP/1.1 {status} -\r\nConnection: close\r\nX-Error-Message: {said}\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            );
            // A client that has what it wants may be gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn run(dir: &Path, arguments: &[&str], endpoint: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-lora"));
    command
        .args(arguments)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("HF_HUB_CACHE", dir.join("hub"));
    command.env("HF_TOKEN", SECRET).env("HF_ENDPOINT", endpoint).env_remove("HF_HUB_OFFLINE");
    command.output().unwrap()
}

/// Everything that lies in a directory.
fn contents(dir: &Path) -> String {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .map(|path| if path.is_dir() { contents(&path) } else { text(&fs::read(&path).unwrap()) })
        .collect()
}

#[test]
fn no_verb_tells_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart/model");
    let with = |model: &str| {
        format!(
            "[model]\npath = {model:?}\n[adapter]\nrank = 2\n[data]\ntrain = \"rows.jsonl\"\nmax_length = 64\n[train]\ndevice = \"cpu\"\nsteps = 1\nbatch_size = 1\nsamples = 0\n[output]\ndir = \"run\"\n"
        )
    };
    let write = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
    write("rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    write("hub.toml", &with("org/name"));
    write("address.toml", &with(&format!("https://me:{SECRET}@hub.example/org/name")));
    write("query.toml", &with(&format!("https://hub.example/org/name?token={SECRET}")));
    write("local.toml", &with(&quickstart.display().to_string()));
    let mut verbs: Vec<Vec<&str>> = Vec::new();
    for config in ["hub.toml", "address.toml", "query.toml"] {
        for verb in ["check", "plan", "train"] {
            verbs.push(vec![verb, config]);
        }
        verbs.push(vec!["sweep", config, "--set", "adapter.rank=2,4", "--out", "sweep"]);
    }
    let address = format!("https://me:{SECRET}@hub.example/org/name");
    verbs.extend([
        vec!["fetch", "org/name"],
        vec!["fetch", &address],
        vec!["generate", "org/name", "-p", "a"],
        vec!["generate", &address, "-p", "a"],
        vec!["chat", "org/name"],
        vec!["chat", &address],
        vec!["merge", &address],
        vec!["export", &address, "--out", "shared"],
        vec!["eval", &address],
        vec!["inspect", &address],
    ]);
    let places = [401, 403, 404].map(mirror);
    let endpoints = [
        format!("http://{}", places[0]),
        format!("http://me:{SECRET}@{}", places[1]),
        format!("http://{}/{SECRET}", places[2]),
        format!("ftp://me:{SECRET}@{}", places[0]),
    ];
    for arguments in &verbs {
        for endpoint in &endpoints {
            let output = run(dir.path(), arguments, endpoint);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(!output.status.success(), "{arguments:?}: {said}");
            assert!(!said.contains(SECRET), "{arguments:?} at {endpoint}: {said}");
        }
    }
    // A run that needs no hub, and what it leaves.
    let output = run(dir.path(), &["train", "local.toml", "--plain"], &endpoints[1]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for arguments in
        [&["merge", "run"][..], &["export", "run", "--out", "shared"], &["inspect", "run"]]
    {
        let output = run(dir.path(), arguments, &endpoints[1]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert!(!(text(&output.stdout) + &text(&output.stderr)).contains(SECRET));
    }
    for place in ["run", "shared", "hub"] {
        assert!(!contents(&dir.path().join(place)).contains(SECRET), "{place}");
    }
}
