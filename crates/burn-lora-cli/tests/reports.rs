//! What verbs tell programs: with `--json`, standard output is one JSON document; with `--dry-run`, nothing
//! is written.

mod binary;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use binary::{burn_lora, text};
use serde_json::{Value, json};

/// The one document on standard output of a command that succeeds.
fn document(dir: &Path, arguments: &[&str]) -> Value {
    let output = burn_lora(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    // Anything before or behind the document is an error.
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}:\n{}", text(&output.stdout)))
}

/// Standard error of a command that fails and says nothing on standard output.
fn refusal(dir: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = burn_lora(dir, arguments);
    assert_eq!((status.code(), text(&stdout).as_str()), (Some(1), ""), "{arguments:?}");
    text(&stderr)
}

/// Every file below a directory with its size, by its path from there.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(dir).unwrap().to_owned();
            match path.is_dir() {
                true => left.push(path),
                false => _ = found.insert(inside, fs::metadata(&path).unwrap().len()),
            }
        }
    }
    found
}

/// The `files` of a plan.
fn planned(plan: &Value) -> BTreeMap<PathBuf, u64> {
    let files = plan["files"].as_array().unwrap().iter();
    files
        .map(|file| (file["name"].as_str().unwrap().into(), file["bytes"].as_u64().unwrap()))
        .collect()
}

fn quickstart(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart").join(file)
}

/// A configuration of two steps on a few of the quickstart's rows.
fn configure(dir: &Path) {
    let rows = |from: &str, to: &str, count| {
        let text = fs::read_to_string(quickstart(from)).unwrap();
        let rows: Vec<&str> = text.lines().take(count).collect();
        fs::write(dir.join(to), rows.join("\n")).unwrap();
    };
    rows("train.jsonl", "train.jsonl", 12);
    rows("eval.jsonl", "eval.jsonl", 3);
    let config = format!(
        "[model]\npath = {:?}\n[adapter]\nrank = 2\n[data]\ntrain = \"train.jsonl\"\n\
         eval = \"eval.jsonl\"\nseparator = \"\\n\"\nmax_length = 128\ngenerate_max_tokens = 4\n\
         [train]\ndevice = \"cpu\"\nsteps = 2\nbatch_size = 4\nexact_match = true\nsamples = 1\n\
         [output]\ndir = \"run\"\n",
        quickstart("model").display().to_string()
    );
    fs::write(dir.join("run.toml"), config).unwrap();
}

/// A directory with a finished run, and what the run told.
fn trained() -> (tempfile::TempDir, Value) {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let told = document(dir.path(), &["train", "run.toml", "--json"]);
    (dir, told)
}

#[test]
fn train_tells_what_its_files_hold() {
    let (dir, told) = trained();
    let run = dir.path().join("run");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records: Vec<Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let evaluations: Vec<&Value> =
        records.iter().filter(|record| !record["eval_loss"].is_null()).collect();
    assert_eq!(evaluations.len(), 2);
    assert_eq!([&told["before"], &told["after"]], evaluations[..]);
    let steps = || records.iter().filter(|record| !record["loss"].is_null());
    let tokens: u64 = steps().map(|step| step["tokens"].as_u64().unwrap()).sum();
    let seconds: f64 = steps().map(|step| step["seconds"].as_f64().unwrap()).sum();
    assert_eq!(told["tokens"], tokens);
    let rate = told["tokens_per_second"].as_f64().unwrap();
    assert!((rate - tokens as f64 / seconds).abs() < 1e-6 * rate, "{rate}");
    assert_eq!((&told["steps"], &told["planned_steps"]), (&json!(2), &json!(2)));
    assert_eq!((&told["stopped"], &told["dir"]), (&Value::Null, &json!("run")));
    assert!(told["rows_per_second"].is_null(), "nothing is classified");
    let size = |path: PathBuf| json!(fs::metadata(path).unwrap().len());
    assert_eq!(told["adapter_bytes"], size(run.join("adapter/adapter_model.safetensors")));
    // What was read of the base: the file without its header, whose length its first eight bytes tell.
    let base = fs::read(quickstart("model/model.safetensors")).unwrap();
    let header = u64::from_le_bytes(base[..8].try_into().unwrap());
    assert_eq!(told["model_bytes"], base.len() as u64 - 8 - header);
    assert_eq!(told["samples"].as_array().unwrap().len(), 1);

    let checked = document(dir.path(), &["check", "run.toml", "--json"]);
    assert_eq!(told["trainable"], checked["trainable"]);
    assert_eq!(told["total"], checked["parameters"]);
    let evaluated = document(dir.path(), &["eval", "run", "--json"]);
    let [now, then] =
        [&evaluated, &told["after"]].map(|figures| figures["eval_loss"].as_f64().unwrap());
    assert!((now - then).abs() < 1e-5, "{now} and {then}");
}

#[test]
fn with_json_a_run_goes_to_standard_error_and_so_does_its_failure() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let output = burn_lora(dir.path(), &["train", "run.toml", "--json"]);
    let lines = text(&output.stderr);
    assert!(lines.contains("step 2/2") && lines.contains("held out  loss"), "{lines}");
    let again = refusal(dir.path(), &["train", "run.toml", "--json"]);
    assert!(again.starts_with("error: `run` holds a run already"), "{again}");
}

#[test]
fn a_dry_merge_says_what_a_merge_writes() {
    let (dir, _) = trained();
    let dir = dir.path();
    let before = files(dir);
    let mut differences = Vec::new();
    for dtype in ["f32", "bf16"] {
        let out = format!("merged-{dtype}");
        let merge = ["merge", "run", "--out", &out, "--dtype", dtype, "--verify", "--json"];
        let plan = document(dir, &[&merge[..], &["--dry-run"]].concat());
        assert_eq!((&plan["dry_run"], &plan["out"]), (&json!(true), &json!(out)));
        assert!(!dir.join(&out).exists());
        let merged = document(dir, &merge);
        assert_eq!((&merged["out"], &merged["dtype"]), (&json!(out), &json!(dtype)));
        let [difference, tolerance] =
            ["difference", "tolerance"].map(|key| merged[key].as_f64().unwrap());
        assert!(difference <= tolerance, "{merged}");
        differences.push(difference);
        assert_eq!(planned(&plan), files(&dir.join(&out)));
        fs::remove_dir_all(dir.join(&out)).unwrap();
    }
    // What verifying measures is rounding: it is there, and much more of it where eight bits are kept.
    assert!(differences[1] > 10.0 * differences[0], "{differences:?}");
    assert_eq!(files(dir), before, "a dry run writes nothing, and a merge nothing else");

    let lines = text(&burn_lora(dir, &["merge", "run", "--dry-run"]).stdout);
    assert!(lines.contains("would write run/merged"), "{lines}");
    document(dir, &["merge", "run", "--json"]);
    for again in [&["merge", "run", "--dry-run", "--json"][..], &["merge", "run"]] {
        let said = refusal(dir, again);
        assert!(said.contains("`run/merged` is there already"), "{said}");
    }
    fs::remove_dir_all(dir.join("run/merged")).unwrap();
    fs::remove_file(dir.join("run/adapter/adapter_model.safetensors")).unwrap();
    let missing = refusal(dir, &["merge", "run", "--dry-run"]);
    assert!(missing.contains("adapter_model.safetensors"), "{missing}");
}

#[test]
fn a_dry_export_says_what_an_export_writes() {
    let (dir, _) = trained();
    let dir = dir.path();
    let before = files(dir);
    for merged in [&[][..], &["--merged"]] {
        let export = [&["export", "run", "--out", "shared", "--json"], merged].concat();
        let plan = document(dir, &[&export[..], &["--dry-run"]].concat());
        assert_eq!(files(dir), before, "a dry run writes nothing");
        let exported = document(dir, &export);
        let written = files(&dir.join("shared"));
        assert_eq!(planned(&plan), written, "{merged:?}");
        let names: Vec<&Path> = written.keys().map(PathBuf::as_path).collect();
        assert_eq!(exported, json!({"out": "shared", "files": names}));
        let again = refusal(dir, &[&export[..], &["--dry-run"]].concat());
        assert!(again.contains("`shared` is there already"), "{again}");
        fs::remove_dir_all(dir.join("shared")).unwrap();
    }
}

#[test]
fn a_dry_gguf_says_what_is_written_and_a_tokenizer_without_a_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("model")).unwrap();
    for entry in fs::read_dir(quickstart("model")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.join("model").join(entry.file_name())).unwrap();
    }
    let export = ["export", "model", "--gguf", "q8_0", "--out", "out", "--json"];
    let said = refusal(dir, &export);
    assert!(said.contains("no name in GGUF files"), "{said}");

    let tokenizer = dir.join("model/tokenizer.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&tokenizer).unwrap()).unwrap();
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    (json["normalizer"], json["pre_tokenizer"], json["decoder"]) =
        (Value::Null, bytes.clone(), bytes);
    fs::write(&tokenizer, json.to_string()).unwrap();
    let plan = document(dir, &[&export[..], &["--dry-run"]].concat());
    assert!(!dir.join("out").exists(), "a dry run writes nothing");
    let exported = document(dir, &export);
    assert_eq!(planned(&plan), files(&dir.join("out")));
    assert_eq!(exported["files"], json!(["Modelfile", "model-q8_0.gguf"]));
    assert!(exported["tensors"]["Q8_0"].as_u64() > Some(1), "{exported}");
    for arguments in [
        &["export", "model", "--adapter", "a", "--out", "b"][..],
        &["export", "model", "--gguf", "q8_0", "--merged", "--out", "b"],
        &["export", "model", "--gguf", "q5_k", "--out", "b"],
    ] {
        assert_eq!(burn_lora(dir, arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_dry_run_downloads_no_base() {
    let (dir, _) = trained();
    let dir = dir.path();
    let config = fs::read_to_string(dir.join("run/config.toml")).unwrap();
    let base = quickstart("model").display().to_string();
    fs::write(dir.join("run/config.toml"), config.replace(&base, "org/base")).unwrap();
    fs::write(dir.join("rows.jsonl"), "{\"prompt\": \"a\"}\n").unwrap();
    let generate =
        ["generate", "run", "--input", "rows.jsonl", "--output", "out.jsonl", "--dry-run"];
    let before = files(dir);
    for arguments in [
        &["merge", "run", "--dry-run"][..],
        &["export", "run", "--out", "shared", "--dry-run"],
        &["export", "run", "--out", "shared", "--merged", "--dry-run"],
        &generate,
    ] {
        let said = refusal(dir, arguments);
        assert!(said.contains("run `burn-lora fetch org/base` first"), "{arguments:?}: {said}");
    }
    assert_eq!(files(dir), before);
}

#[test]
fn generate_tells_text_and_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let model = quickstart("model").display().to_string();
    let prompt = |text: &'static str| {
        ["generate", &model, "--device", "cpu", "--max-tokens", "6", "--prompt", text]
    };
    let told = document(dir, &[&prompt("I owe Tom 277")[..], &["--json"]].concat());
    let plain = text(&burn_lora(dir, &prompt("I owe Tom 277")).stdout);
    assert_eq!(told["prompt"], "I owe Tom 277");
    assert_eq!(told["output"], plain.strip_suffix('\n').unwrap());
    assert!((1..=6).contains(&told["tokens"].as_u64().unwrap()), "{told}");

    let prompts = ["I owe Tom 277", "a", "rent me a green jeep, 13 days, starting in Athens"];
    let rows: Vec<String> =
        prompts.iter().map(|prompt| json!({"prompt": prompt}).to_string()).collect();
    fs::write(dir.join("rows.jsonl"), rows.join("\n")).unwrap();
    let file = ["generate", &model, "--device", "cpu", "--max-tokens", "2", "--json"];
    let file = [&file[..], &["--input", "rows.jsonl", "--output", "new/out.jsonl"]].concat();
    let plan = document(dir, &[&file[..], &["--dry-run"]].concat());
    let tokens = prompts.map(|text| {
        document(dir, &[&prompt(text)[..], &["--json"]].concat())["prompt_tokens"].as_u64().unwrap()
    });
    assert_eq!((&plan["rows"], &plan["replaces"]), (&json!(3), &json!(false)));
    assert_eq!(plan["longest_prompt"], *tokens.iter().max().unwrap());
    assert!(!dir.join("new").exists());
    let written = document(dir, &file);
    assert_eq!(written, json!({"rows": 3, "output": "new/out.jsonl"}));
    let together = fs::read_to_string(dir.join("new/out.jsonl")).unwrap();
    document(dir, &[&file[..], &["--overwrite", "--batch-size", "1"]].concat());
    let one_by_one = fs::read_to_string(dir.join("new/out.jsonl")).unwrap();
    assert_eq!(one_by_one, together);
    let lines: Vec<Value> =
        together.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked: Vec<&Value> = lines.iter().map(|line| &line["prompt"]).collect();
    assert_eq!(asked, prompts);
    assert!(lines.iter().all(|line| line["output"].is_string()));
    let unasked = refusal(dir, &[&file[..], &["--dry-run"]].concat());
    assert!(unasked.contains("`new/out.jsonl` is there already"), "{unasked}");
    let file = [&file[..], &["--overwrite"]].concat();
    let plan = document(dir, &[&file[..], &["--dry-run"]].concat());
    assert_eq!(plan["replaces"], true);

    let long = json!({"prompt": "word ".repeat(5000)}).to_string();
    for (last, problem) in [("{\"text\": 1}", "expected `prompt`"), (&long, "shorten it")] {
        fs::write(dir.join("rows.jsonl"), format!("{}\n{last}\n", rows[0])).unwrap();
        for dry in [&["--dry-run"][..], &[]] {
            let said = refusal(dir, &[&file[..], dry].concat());
            assert!(said.contains("rows.jsonl:2: ") && said.contains(problem), "{said}");
        }
    }
    let hot = refusal(dir, &[&file[..], &["--dry-run", "--temperature=-1"]].concat());
    assert!(hot.contains("temperature is -1"), "{hot}");
    let alone = burn_lora(dir, &["generate", &model, "--prompt", "a", "--dry-run"]);
    assert_eq!(alone.status.code(), Some(2), "there is nothing to write");
}

#[test]
fn a_dry_sweep_lists_its_points_and_which_are_done() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    configure(dir);
    let before = files(dir);
    let sweep = |ranks: &str| format!("adapter.rank={ranks}");
    let actions = |plan: &Value| -> Vec<(String, String)> {
        let of = |point: &Value, key: &str| point[key].as_str().unwrap().to_owned();
        let points = plan["points"].as_array().unwrap().iter();
        points.map(|point| (of(point, "dir"), of(point, "action"))).collect()
    };
    let pair = |dir: &str, action: &str| (dir.to_owned(), action.to_owned());
    let both = ["sweep", "run.toml", "--set", &sweep("1,2"), "--json", "--dry-run"];
    let plan = document(dir, &both);
    assert_eq!((&plan["dry_run"], &plan["dir"]), (&json!(true), &json!("run")));
    assert_eq!(actions(&plan), [pair("run/rank-1", "start"), pair("run/rank-2", "start")]);
    assert_eq!(files(dir), before);

    document(dir, &["sweep", "run.toml", "--set", &sweep("1,2"), "--json"]);
    let after = files(dir);
    let more = ["sweep", "run.toml", "--set", &sweep("2,4"), "--json", "--dry-run"];
    let expected = [pair("run/rank-2", "pass-over"), pair("run/rank-4", "start")];
    assert_eq!(actions(&document(dir, &more)), expected);
    let lines = text(&burn_lora(dir, &[&both[..4], &["--dry-run"]].concat()).stdout);
    assert!(lines.starts_with("would run 0 of 2 points\n"), "{lines}");
    let other = [&both[..], &["--set", "train.seed=3"]].concat();
    assert!(refusal(dir, &other).contains("train.seed: 0 -> 3"));
    assert_eq!(files(dir), after);
}

#[test]
fn init_tells_names_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let list = document(dir.path(), &["init", "--json"]);
    let lines = text(&burn_lora(dir.path(), &["init"]).stdout);
    let listed = list["configurations"].as_array().unwrap();
    assert_eq!(listed.len(), lines.lines().count());
    for (preset, line) in listed.iter().zip(lines.lines()) {
        let (name, summary) =
            (preset["name"].as_str().unwrap(), preset["summary"].as_str().unwrap());
        assert!(line.starts_with(name) && line.ends_with(summary), "{line}");
    }
    let shown = text(&burn_lora(dir.path(), &["init", "quickstart"]).stdout);
    let told = document(dir.path(), &["init", "quickstart", "--json"]);
    assert_eq!(told, json!({"name": "quickstart", "out": null, "text": shown}));
    let told = document(dir.path(), &["init", "quickstart", "--out", "run.toml", "--json"]);
    assert_eq!(told["out"], "run.toml");
    assert_eq!(told["text"], fs::read_to_string(dir.path().join("run.toml")).unwrap());
}

#[test]
fn fetch_tells_directory_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = dir.join("hub/models--org--name");
    let snapshot = model.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), commit).unwrap();
    fs::write(snapshot.join("config.json"), "{}").unwrap();
    let missing = refusal(dir, &["fetch", "org/name", "--dry-run", "--json"]);
    assert!(missing.contains("there are no weights"), "{missing}");

    fs::write(snapshot.join("model.safetensors"), [0; 100]).unwrap();
    let before = files(dir);
    let file = |name: &str, bytes: u64| json!({"name": name, "bytes": bytes, "cached": true, "to_download": 0});
    let expected = json!({
        "id": "org/name",
        "commit": commit,
        "directory": snapshot.display().to_string(),
        "to_download": 0,
        "files": [file("config.json", 2), file("model.safetensors", 100)],
    });
    assert_eq!(document(dir, &["fetch", "org/name", "--json"]), expected);
    let mut plan = document(dir, &["fetch", "org/name", "--dry-run", "--json"]);
    assert_eq!(plan.as_object_mut().unwrap().remove("dry_run"), Some(json!(true)));
    assert_eq!(plan, expected);
    let lines = text(&burn_lora(dir, &["fetch", "org/name", "--dry-run"]).stdout);
    assert!(lines.starts_with("would download 0 B into "), "{lines}");
    assert_eq!(files(dir), before);
}

#[test]
fn a_plan_says_whether_a_run_fits_and_fails_where_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let output = burn_lora(dir.path(), &["plan", "run.toml"]);
    let lines = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["largest batch: 4 rows", "base weights", "at the most", "a step of"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let plan = document(dir.path(), &["plan", "run.toml", "--json"]);
    if plan["limit"].is_null() {
        return;
    }
    assert!(lines.contains(": fits"), "{lines}");

    // Sixteen petabytes of weights, of which none is ever made.
    let huge = json!({
        "model_type": "llama", "vocab_size": 2048, "hidden_size": 1 << 22,
        "intermediate_size": 1 << 22, "num_hidden_layers": 32, "num_attention_heads": 1 << 15,
        "max_position_embeddings": 256
    });
    fs::write(dir.path().join("huge.json"), huge.to_string()).unwrap();
    let tokenizer = format!("model.tokenizer={:?}", quickstart("model").display());
    let sets =
        ["--set", "model.config=huge.json", "--set", "adapter.method=full", "--set", &tokenizer];
    let with = |verb: &[&str]| burn_lora(dir.path(), &[verb, &sets].concat());
    let output = with(&["plan", "run.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("does not fit"), "{}", text(&output.stdout));
    let output = with(&["plan", "run.toml", "--json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &plan["fits"]), (Some(1), &json!(false)));
    let output = with(&["train", "run.toml"]);
    assert!(text(&output.stderr).contains("--no-memory-check"), "{}", text(&output.stderr));
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_dry_run_of_train_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    let before = files(dir.path());
    let dry = document(dir.path(), &["train", "run.toml", "--dry-run", "--json"]);
    assert_eq!(
        (&dry["dry_run"], &dry["dir"], &dry["steps"]),
        (&json!(true), &json!("run"), &json!(2))
    );
    let output = burn_lora(dir.path(), &["train", "run.toml", "--dry-run"]);
    assert!(text(&output.stdout).starts_with("would train into run\n"), "{}", text(&output.stdout));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_pipe_that_is_closed_ends_a_report_quietly_and_a_run_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path());
    for arguments in [&["check", "run.toml"][..], &["init"], &["train", "run.toml"]] {
        let (output, told) = binary::closed(dir.path(), arguments);
        assert!(output.success(), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    }
    assert!(dir.path().join("run/adapter/adapter_model.safetensors").is_file());
}
