//! Every ready configuration, planned and run for a few steps, on models of their bases' real shapes with
//! random weights and on made-up rows of the format that it asks for.
//!
//! What the plan says of memory is compared with what the run then had resident: within a quarter, and within a tenth for a decoder's
//! kinds of adapter and formats of the base, together and apart.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::{burn_lora, text};
use burn_lora_app::presets;
use burn_lora_models::{
    CausalConfig, CausalLm, ClassifierConfig, Model, ModelConfig, SaveDtype, SequenceClassifier,
    SequenceClassifierConfig,
};
use serde_json::{Value, json};

const QUICKSTART: [&str; 3] = ["quickstart", "full-fine-tuning", "pretrain-quickstart"];
const MINILM: [&str; 1] = ["minilm-banking77"];
const BLOOM: [&str; 1] = ["bloom-squad"];
const SMOLLM2: [&str; 3] = ["smollm2-e2e", "smollm2-chat", "continued-pretraining"];

#[test]
fn every_ready_configuration_is_run_by_a_test() {
    let mut run: Vec<&str> = [&QUICKSTART[..], &MINILM, &BLOOM, &SMOLLM2].concat();
    let mut all = presets::ALL.map(|ready| ready.name);
    run.sort_unstable();
    all.sort_unstable();
    assert_eq!(run, all);
}

#[test]
fn configurations_on_the_quickstarts_model_run_as_planned() {
    let place = Place::new();
    let model = Place::quickstart("model");
    for name in QUICKSTART {
        let config = place.dir.path().join("config.toml");
        // The pre-training starts from nothing: there is no model to fill in.
        let base = (name != "pretrain-quickstart").then_some(model.as_path());
        let rows = place.rows("pairs.jsonl", &pairs());
        place.init(name, base, &rows, Some(&rows), &config);
        let mut sets = vec!["train.steps=3".to_owned()];
        if base.is_none() {
            sets.push(format!("model.config={:?}", model.join("config.json").display()));
            sets.push(format!("model.tokenizer={:?}", model.display()));
        }
        place.check_run(name, &config, &sets);
        if name == "quickstart" {
            // Of a head that is the table and follows its rows, all logits are there at once.
            let rows = "adapter.trainable_token_indices=[5, 2047, 300]";
            place.check_variant(name, &config, &["train.steps=3", rows]);
        }
    }
}

#[test]
fn a_classifier_of_minilms_shape_runs_as_planned() {
    let place = Place::new();
    let labels: Vec<String> = (0..77).map(|label| format!("intent {label:02}")).collect();
    let config = json!({
        "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536,
        "num_hidden_layers": 6, "num_attention_heads": 12, "max_position_embeddings": 512,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0
    });
    let config =
        SequenceClassifierConfig::from_json(&config.to_string(), "config.json".as_ref()).unwrap();
    let device = burn_lora::device::parse("cpu").unwrap();
    let random = SequenceClassifier::random(&config.with_labels(labels.clone()), 1, &device);
    let model = place.model(|dir| random.unwrap().save(dir, SaveDtype::F32).unwrap());
    let questions = quickstart_rows();
    let row =
        |(index, row): (usize, &Row)| json!({"text": row.prompt, "label": labels[index % 77]});
    let rows: Vec<Value> = questions.iter().enumerate().map(row).collect();
    let rows = place.rows("labelled.jsonl", &rows);
    for name in MINILM {
        let config = place.dir.path().join("config.toml");
        place.init(name, Some(&model), &rows, Some(&rows), &config);
        place.check_run(name, &config, &["train.steps=3".to_owned()]);
        // Once more with other kinds of adapter, with the model's own dropout, and with blocks recomputed.
        for set in [
            "adapter.method=dora",
            "adapter.method=miss",
            "adapter.method=lora-fa",
            "adapter.method=lora-bias",
            "adapter.trainable_token_indices=[5, 1017, 300]",
            "model.dropout=true",
            "train.recompute=block",
        ] {
            place.check_variant(name, &config, &["train.steps=3", set]);
        }
    }
}

#[test]
fn decoders_of_smollm2s_shape_run_as_planned() {
    let place = Place::new();
    let config = json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
        "tie_word_embeddings": true
    });
    let config = CausalConfig::from_json(&config.to_string(), "config.json".as_ref()).unwrap();
    let device = burn_lora::device::parse("cpu").unwrap();
    let random = CausalLm::random(&config, 1, &device);
    let model = place.model(|dir| random.unwrap().save(dir, SaveDtype::F32).unwrap());

    let rows = quickstart_rows();
    let referenced =
        |row: &Row| json!({"prompt": row.prompt, "references": [row.completion, "it"]});
    let referenced: Vec<Value> = rows.iter().take(8).map(referenced).collect();
    let turn = |role, content: &str| json!({"role": role, "content": content});
    let chats = rows.chunks(2).take(40).map(|rows| {
        let turns = rows.iter();
        let turns = turns.flat_map(|r| [turn("user", &r.prompt), turn("assistant", &r.completion)]);
        json!({"messages": turns.collect::<Vec<_>>()})
    });
    let chats: Vec<Value> = chats.collect();
    let texts = rows.chunks(5).take(60).map(|rows| {
        let text: Vec<&str> = rows.iter().map(|row| row.completion.as_str()).collect();
        json!({"text": text.join(" ")})
    });
    let texts: Vec<Value> = texts.collect();

    for name in SMOLLM2 {
        let config = place.dir.path().join("config.toml");
        let (train, eval) = match name {
            "smollm2-e2e" => (pairs(), Some(place.rows("references.jsonl", &referenced))),
            "smollm2-chat" => (chats.clone(), None),
            _ => (texts.clone(), None),
        };
        let train = place.rows(&format!("{name}.jsonl"), &train);
        place.init(name, Some(&model), &train, eval.as_deref(), &config);
        let sets = ["train.steps=2", "data.generate_max_tokens=8"];
        let kept = place.check_run(name, &config, &sets.map(str::to_owned));
        // Once more with the base in 16 bits, for one of them, with another kind of adapter and with blocks of 4 bits, for another, and with
        // blocks recomputed, for the third.
        if name == "continued-pretraining" {
            let sets = [&sets[..], &["train.recompute=block"]].concat();
            let again = place.check_variant(name, &config, &sets);
            let planned = again.plan["recomputed"]["saved"].as_u64().unwrap();
            assert_eq!(again.run["recomputed"], again.plan["recomputed"]);
            let peak = |checked: &Checked| checked.run["peak_memory"].as_u64();
            if let (Some(kept), Some(again)) = (peak(&kept), peak(&again)) {
                let mib = |bytes: u64| bytes >> 20;
                let saved = kept.saturating_sub(again);
                println!("recomputing: planned to save {}, saved {} MiB", mib(planned), mib(saved));
                // Both peaks are planned to a quarter of themselves at worst; most of what differs is one thing.
                assert!(saved > planned / 2 && saved < 2 * planned, "{planned} planned, {saved}");
            }
        }
        if name == "smollm2-e2e" {
            let dora = ["adapter.method=dora", "model.base=nf4"];
            for more in [&dora[..1], &dora] {
                let checked = place.check_variant(name, &config, &[&sets[..], more].concat());
                checked.is_near(0.1);
            }
            kept.is_near(0.1);
            let blocks =
                place.check_variant(name, &config, &[&sets[..], &["model.base=nf4"]].concat());
            blocks.is_near(0.1);
            let weights = blocks.plan["memory"]["weights"].as_u64().unwrap();
            assert_eq!(weights.div_ceil(1 << 20), 82, "{weights} bytes");
        }
        if name == "smollm2-chat" {
            let half =
                place.check_variant(name, &config, &[&sets[..], &["model.dtype=bf16"]].concat());
            let weights = half.plan["memory"]["weights"].as_u64().unwrap();
            assert_eq!(weights.div_ceil(1 << 20), 257, "{weights} bytes");
        }
    }
}

/// The model is too large to be written for a test: it starts at random from its config.json, and is
/// adapted all the same.
#[test]
fn a_decoder_of_bloom_560ms_shape_runs_as_planned() {
    let place = Place::new();
    let shape = place.dir.path().join("bloom.json");
    let config = json!({
        "model_type": "bloom", "vocab_size": 250880, "hidden_size": 1024, "n_layer": 24, "n_head": 16,
        "layer_norm_epsilon": 1e-5, "apply_residual_connection_post_layernorm": false
    });
    fs::write(&shape, config.to_string()).unwrap();
    let question = |(index, row): (usize, &Row)| {
        let answers = match index % 3 {
            0 => json!([]),
            _ => json!([{"text": row.completion, "answer_start": 0}]),
        };
        json!({"question": row.prompt, "id": format!("q{index}"), "answers": answers})
    };
    let questions = quickstart_rows();
    let article = |name: &str, rows: &[Row]| {
        let context: Vec<&str> = rows.iter().take(2).map(|row| row.completion.as_str()).collect();
        let questions: Vec<Value> = rows.iter().enumerate().map(question).collect();
        let paragraph = json!({"context": context.join(" "), "qas": questions});
        let articles = json!([{"title": name, "paragraphs": [paragraph]}]);
        let path = place.dir.path().join(format!("{name}.json"));
        fs::write(&path, json!({"version": "v2.0", "data": articles}).to_string()).unwrap();
        path
    };
    let (train, eval) = (article("train", &questions[..24]), article("eval", &questions[24..28]));
    for name in BLOOM {
        let config = place.dir.path().join("config.toml");
        place.init(name, None, &train, Some(&eval), &config);
        let sets = [
            format!("model.config={:?}", shape.display()),
            format!("model.tokenizer={:?}", Place::quickstart("model").display()),
            "model.random=true".to_owned(),
            "train.steps=2".to_owned(),
            "train.warmup=1".to_owned(),
            "train.accumulate=1".to_owned(),
            "data.generate_max_tokens=2".to_owned(),
        ];
        let checked = place.check_run(name, &config, &sets);
        let count = |key: &str| checked.plan[key].as_u64().unwrap();
        assert_eq!((count("trainable"), count("total")), (786_432, 560_001_024));
    }
}

/// A row of the quickstart's.
struct Row {
    prompt: String,
    completion: String,
}

fn quickstart_rows() -> Vec<Row> {
    let text = fs::read_to_string(Place::quickstart("train.jsonl")).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        Row { prompt: text("prompt"), completion: text("completion") }
    };
    text.lines().take(320).map(row).collect()
}

fn pairs() -> Vec<Value> {
    let pair = |row: Row| json!({"prompt": row.prompt, "completion": row.completion});
    quickstart_rows().into_iter().take(48).map(pair).collect()
}

/// What a verb said of a run before and after it.
struct Checked {
    plan: Value,
    run: Value,
}

impl Checked {
    /// The peak that was planned is the one that came, but for that share of it. Systems that do not tell what a process has resident have
    /// nothing to compare.
    fn is_near(&self, share: f64) {
        if let Some(measured) = self.run["peak_memory"].as_f64() {
            let ratio = self.plan["memory"]["peak"].as_f64().unwrap() / measured;
            assert!((ratio - 1.0).abs() < share, "{ratio:.3} of what came\n{:#}", self.plan);
        }
    }
}

/// A directory of its own for a model, rows and runs.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn quickstart(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart").join(file)
    }

    /// A model's directory as `save` fills it, with the quickstart's tokenizer.
    fn model(&self, save: impl FnOnce(&Path)) -> PathBuf {
        let dir = self.dir.path().join("model");
        save(&dir);
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(Self::quickstart("model").join(file), dir.join(file)).unwrap();
        }
        dir
    }

    fn rows(&self, name: &str, rows: &[Value]) -> PathBuf {
        let path = self.dir.path().join(name);
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    /// Writes the ready configuration with these places filled in.
    fn init(&self, name: &str, model: Option<&Path>, data: &Path, eval: Option<&Path>, to: &Path) {
        let run = self.dir.path().join("runs").join(name);
        let places = [("--model", model), ("--data", Some(data)), ("--eval", eval)];
        let places =
            places.into_iter().chain([("--dir", Some(run.as_path())), ("--out", Some(to))]);
        let mut arguments = vec!["init", name];
        for (flag, path) in places {
            if let Some(path) = path {
                arguments.extend([flag, path.to_str().unwrap()]);
            }
        }
        let _ = fs::remove_file(to);
        let output = burn_lora(self.dir.path(), &arguments);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }

    /// [`Self::check_run`] into a directory of its own.
    fn check_variant(&self, name: &str, config: &Path, sets: &[&str]) -> Checked {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let mut sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        sets.push(format!("output.dir={:?}", dir.path().join("run")));
        self.check_run(name, config, &sets)
    }

    /// Plans the run, runs it, and compares what was said with what came; gives both.
    fn check_run(&self, name: &str, config: &Path, sets: &[String]) -> Checked {
        let document = |verb: &str| {
            let mut arguments = vec![verb, config.to_str().unwrap(), "--json"];
            arguments.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
            let output = burn_lora(self.dir.path(), &arguments);
            assert!(output.status.success(), "{name} {verb}: {}", text(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let (plan, run) = (document("plan"), document("train"));
        for count in ["trainable", "total"] {
            assert_eq!(plan[count], run[count], "{name}: {count}");
        }
        assert_eq!(plan["steps"], run["steps"], "{name}");
        assert!(run["after"]["eval_loss"].as_f64().is_some_and(f64::is_finite), "{name}: {run}");
        if let Some(measured) = run["peak_memory"].as_f64() {
            let planned = plan["memory"]["peak"].as_f64().unwrap();
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            println!("{name}: planned {:.0}, measured {:.0} MiB", mib(planned), mib(measured));
        }
        let checked = Checked { plan, run };
        checked.is_near(0.25);
        checked
    }
}
