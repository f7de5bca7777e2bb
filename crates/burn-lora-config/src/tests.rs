use burn_lora::{AdapterConfig, Init, Method};
use burn_lora_models::{Recompute, WeightDtype};
use burn_lora_patch::{Bias, EvaConfig, Patterns, Targets, TokenIndices};
use miette::Diagnostic;

use super::*;
use crate::keys::Fallback;
use crate::rules::{EXCLUSIVE, OF_ADAPTERS};
use burn_lora_data::{Answers, Format, OverLong, Source, SquadTemplate};

const LEAST: &str = r#"[model]
path = "models/tiny"
[data]
train = "train.jsonl"
[output]
dir = "runs/tiny"
"#;

const EVERYTHING: &str = r#"
[model]
path = "models/tiny"
tokenizer = "models/other"
dtype = "f32"
dropout = true
[adapter]
method = "lora"
rank = 4
alpha = 6.5
dropout = 0.05
rslora = true
init = "eva"
eva_rho = 1.5
eva_tau = 0.9
eva_whiten = true
eva_adjust_scaling_factors = false
targets = { regex = ".*\\.(q|v)_proj" }
target_parameters = ["experts.up"]
exclude = ["lm_head"]
exclude_regex = ".*\\.0\\..*"
layers_to_transform = [0, 2]
layers_pattern = ["layers"]
rank_pattern = { q_proj = 2, "0\\.v_proj" = 6 }
alpha_pattern = { down_proj = 3 }
modules_to_save = ["score"]
trainable_token_indices = [5, 17]
ensure_weight_tying = true
bias = "lora_only"
[data]
train = "train.jsonl"
eval = "eval.jsonl"
format = "classification"
max_length = 64
over_long = "drop"
separator = "\n"
eos = false
answers = "each"
labels = ["no", "yes"]
eval_limit = 100
generate_max_tokens = 20
[train]
device = "cuda:0"
epochs = 2.5
batch_size = 16
accumulate = 2
learning_rate = 5e-4
schedule = "linear"
warmup = 10
clip = 0
weight_decay = 0
no_decay = ["bias"]
lora_plus = 16
label_smoothing = 0.1
recompute = "block"
betas = [0.8, 0.95]
epsilon = 1e-6
seed = 7
eval_every = 50
save_every = 100
keep = 3
threads = 2
exact_match = false
bleu = false
samples = 1
early_stopping = 4
metric = "accuracy"
keep_best = true
group_by_length = false
shuffle = false
[output]
dir = "runs/tiny"
"#;

fn read(text: &str, overrides: &[&str]) -> Result<RunConfig, ConfigErrors> {
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    RunConfig::parse(text, "run.toml", &overrides)
}

/// The lines of the message that a configuration is refused with.
fn problems(text: &str, overrides: &[&str]) -> Vec<String> {
    let errors = read(text, overrides).expect_err("the configuration is wrong");
    errors.to_string().lines().map(str::to_owned).collect()
}

/// Checks that `lines`, appended to a right configuration as its line 7 and on, are refused so.
fn check_refused(lines: &str, message: &str) {
    assert_eq!(problems(&format!("{LEAST}{lines}\n"), &[]), [message], "{lines}");
}

#[test]
fn the_least_configuration_is_filled_in_with_defaults() {
    let config = read(LEAST, &[]).unwrap();
    assert_eq!(
        config,
        RunConfig {
            model: ModelSection {
                source: ModelSource::Pretrained("models/tiny".into()),
                tokenizer: "models/tiny".into(),
                dtype: WeightDtype::F32,
                base: None,
                random: false,
                dropout: false,
            },
            adapter: AdapterSection::Lora(LoraSection {
                lora: AdapterConfig::new(8).with_alpha(16.0),
                eva: EvaConfig::default(),
                targets: Targets::AllLinear,
                target_parameters: vec![],
                exclude: vec![],
                exclude_regex: None,
                layers_to_transform: None,
                layers_pattern: vec![],
                rank_pattern: Patterns::default(),
                alpha_pattern: Patterns::default(),
                modules_to_save: vec![],
                trainable_token_indices: TokenIndices::default(),
                ensure_weight_tying: false,
                bias: Bias::None,
            }),
            data: DataSection {
                train: vec![Source::new("train.jsonl")],
                eval: None,
                held_out: None,
                format: None,
                max_length: 512,
                over_long: OverLong::Cut,
                packing: false,
                separator: String::new(),
                eos: true,
                answers: Answers::All,
                squad_template: SquadTemplate::default(),
                squad_no_answer: "unanswerable".into(),
                labels: None,
                eval_limit: None,
                generate_max_tokens: 64,
            },
            train: TrainSection {
                device: "auto".into(),
                length: Length::Epochs(1.0),
                batch_size: 8,
                accumulate: 1,
                recompute: Recompute::None,
                learning_rate: 2e-4,
                schedule: Schedule::Cosine,
                warmup: Warmup::Share(0.0),
                clip: Some(1.0),
                weight_decay: 0.01,
                no_decay: vec![],
                lora_plus: 1.0,
                label_smoothing: 0.0,
                betas: [0.9, 0.999],
                epsilon: 1e-8,
                seed: 0,
                eval_every: None,
                save_every: None,
                keep: 2,
                threads: None,
                exact_match: false,
                bleu: false,
                samples: 3,
                early_stopping: None,
                metric: Metric::Loss,
                keep_best: false,
                group_by_length: true,
                shuffle: true,
            },
            output: OutputSection { dir: "runs/tiny".into() },
        }
    );
}

#[test]
fn every_key_is_read() {
    let config = read(EVERYTHING, &[]).unwrap();
    let AdapterSection::Lora(adapter) = &config.adapter else { panic!("{config:?}") };
    let lora = AdapterConfig::new(4).with_alpha(6.5).with_dropout(0.05).with_rslora(true);
    assert_eq!(adapter.lora, lora.with_init(Init::Eva));
    let eva = EvaConfig::default().with_rho(1.5).with_tau(0.9).with_whiten(true);
    assert_eq!(adapter.eva, eva.with_adjust_scaling_factors(false));
    assert_eq!(adapter.targets, Targets::Regex(r".*\.(q|v)_proj".into()));
    assert_eq!(adapter.target_parameters, ["experts.up"]);
    assert_eq!(adapter.exclude_regex.as_deref(), Some(r".*\.0\..*"));
    assert_eq!(adapter.rank_pattern, Patterns::from([("q_proj", 2), (r"0\.v_proj", 6)]));
    assert_eq!(adapter.alpha_pattern, Patterns::from([("down_proj", 3.0)]));
    assert_eq!(adapter.layers_to_transform, Some(vec![0, 2]));
    assert_eq!(adapter.trainable_token_indices, TokenIndices::from([5, 17]));
    assert_eq!(
        (&adapter.modules_to_save[..], adapter.bias),
        (&["score".to_owned()][..], Bias::LoraOnly)
    );
    assert_eq!((config.model.tokenizer, config.model.dropout), ("models/other".into(), true));
    assert_eq!(config.data.format, Some(Format::Classification));
    assert_eq!(config.data.separator, "\n");
    assert_eq!(config.train.length, Length::Epochs(2.5));
    assert_eq!(config.train.warmup, Warmup::Steps(10));
    assert_eq!((config.train.clip, config.train.weight_decay), (None, 0.0));
    assert_eq!(config.data.over_long, OverLong::Drop);
    assert_eq!(config.data.answers, Answers::Each);
    assert_eq!(config.train.no_decay, ["bias"]);
    assert_eq!((config.train.lora_plus, config.train.label_smoothing), (16.0, 0.1));
    assert_eq!(config.train.recompute, Recompute::Block);
    assert_eq!((config.train.metric, config.train.keep_best), (Metric::Accuracy, true));
    assert_eq!((config.train.threads, config.train.early_stopping), (Some(2), Some(4)));
    // Nothing in EVERYTHING is at its default, so that a key which is not read would show here.
    let not_given = RunConfig::keys()
        .into_iter()
        .filter(|key| !EVERYTHING.contains(&format!("\n{} = ", key.name)))
        .map(|key| key.name);
    let elsewhere = ["config", "base", "random", "held_out", "packing"];
    let elsewhere = elsewhere.into_iter().chain(["squad_template", "squad_no_answer", "steps"]);
    assert!(not_given.eq(elsewhere));
}

#[test]
fn the_resolved_configuration_reads_back_the_same() {
    let random = "model.config=tiny/config.json";
    let squad = r#"data.squad_template="{context}\nQ: {question}\nA: {answer}""#;
    let cases: [(&str, &[&str]); 12] = [
        (LEAST, &[]),
        (EVERYTHING, &[]),
        (LEAST, &["adapter.method=full"]),
        (LEAST, &["model.base=nf4", "train.device=cpu"]),
        (LEAST, &[random, "model.tokenizer=tiny", "adapter.method=full", "train.steps=9"]),
        (LEAST, &[r#"adapter.targets=["q_proj", "v_proj"]"#, "train.learning_rate=1.7e-5"]),
        (LEAST, &["data.train=['a', {path='b', weight=0.5}]", "data.packing=true"]),
        (LEAST, &[random, "model.tokenizer=tiny", "model.random=true"]),
        (LEAST, &[squad, "data.squad_no_answer=none", "data.format=squad"]),
        (LEAST, &["adapter.trainable_token_indices={embed_tokens=[5, 0], wpe=[3]}"]),
        (LEAST, &["adapter.method=lora-bias", "adapter.trainable_token_indices=[7]"]),
        (LEAST, &["data.held_out=0.1", "train.seed=9223372036854775807", "data.separator=' \"\\'"]),
    ];
    for (text, overrides) in cases {
        let config = read(text, overrides).unwrap();
        let written = config.to_toml().unwrap();
        assert_eq!(read(&written, &[]).unwrap(), config, "{written}");
    }
}

#[test]
fn a_start_that_its_neighbours_forbid_is_refused_and_others_are_read() {
    check_refused(
        "[adapter]\nrank = 5\ninit = \"orthogonal\"",
        "run.toml:9: adapter.init: needs an even rank; write an even `rank`",
    );
    check_refused(
        "[adapter]\nalpha = 0\ninit = \"olora\"",
        "run.toml:9: adapter.init: takes a part out of the base that a scale of 0 cannot give back; write an `alpha` above 0",
    );
    check_refused(
        "[adapter]\neva_rho = 1",
        "run.toml:8: adapter.eva_rho: has no meaning without init = \"eva\"; leave it out, or write init = \"eva\"",
    );
    check_refused(
        "[adapter]\ninit = \"loftq\"",
        "run.toml:8: adapter.init: starts from what the base lost in blocks, and it is held in none; write `base` in [model], such as \
         base = \"nf4\", or leave `init` out",
    );
    let held = ["model.base=nf4", "train.device=cpu", "adapter.init=loftq"];
    let config = read(LEAST, &held).unwrap();
    assert_eq!(read(&config.to_toml().unwrap(), &[]).unwrap(), config);
    let of_blocks = [&held[..], &["model.path=base.gguf", "model.tokenizer=models/tiny"]].concat();
    assert!(problems(LEAST, &of_blocks)[0].contains("of which there are no files"));
    for (name, init) in [
        ("gaussian", Init::Gaussian),
        ("eva", Init::Eva),
        ("orthogonal", Init::Orthogonal),
        ("pissa", Init::Pissa),
        ("pissa_niter_16", Init::PissaNiter(16)),
        ("olora", Init::Olora),
    ] {
        let config = read(LEAST, &[&format!("adapter.init={name}")]).unwrap();
        let AdapterSection::Lora(adapter) = &config.adapter else { panic!("{config:?}") };
        assert_eq!(adapter.lora.init, init);
        assert_eq!(read(&config.to_toml().unwrap(), &[]).unwrap(), config);
    }
}

/// Where the order of the patterns is not the alphabet's, it says which of them holds, and is written too.
#[test]
fn patterns_keep_their_order_and_their_values_are_checked() {
    let text =
        format!("{LEAST}[adapter]\nrank_pattern = {{ q_proj = 2, 'layers\\.0\\..*' = 4 }}\n");
    let config = read(&text, &["adapter.alpha_pattern=[{b=1.5}, {a=2}]"]).unwrap();
    let AdapterSection::Lora(adapter) = &config.adapter else { panic!("{config:?}") };
    assert_eq!(adapter.rank_pattern, Patterns::from([("q_proj", 2), (r"layers\.0\..*", 4)]));
    assert_eq!(adapter.alpha_pattern, Patterns::from([("b", 1.5), ("a", 2.0)]));
    assert_eq!(read(&config.to_toml().unwrap(), &[]).unwrap(), config);
    let words = "allowed: table of regular expressions, each with a whole number from 1, or a list of such tables";
    check_refused(
        "[adapter]\nrank_pattern = { q_proj = 0 }",
        &format!("run.toml:8: adapter.rank_pattern: cannot be a table with 0 at `q_proj`; {words}"),
    );
    check_refused(
        "[adapter]\nrank_pattern = 4",
        &format!("run.toml:8: adapter.rank_pattern: cannot be 4; {words}"),
    );
    check_refused(
        "[adapter]\nmethod = \"miss\"\nrank_pattern = { q = 2 }",
        "run.toml:9: adapter.rank_pattern: has no meaning with method = \"miss\"; leave it out, or write method = \"lora\"",
    );
}

#[test]
fn the_defaults_of_the_reference_can_be_given_as_they_stand_there() {
    for key in RunConfig::keys() {
        if let Fallback::Value(value) = key.default {
            let set = format!("{}.{}={value}", key.section, key.name);
            // What belongs to one start means nothing without it.
            let with: &[&str] =
                if key.name.starts_with("eva_") { &["adapter.init=eva"] } else { &[] };
            let given: Vec<&str> = with.iter().copied().chain([set.as_str()]).collect();
            assert_eq!(read(LEAST, &given).unwrap(), read(LEAST, with).unwrap(), "{set}");
        }
    }
}

#[test]
fn all_problems_come_at_once_with_line_key_and_what_is_allowed() {
    let text = r#"[model]
pth = "models/tiny"
[adaptor]
rank = 8
[data]
train = 5
[train]
steps = 0
batch_size = "8"
shedule = "cosine"
schedule = "cosin"
dropout = 0.1
"#;
    assert_eq!(
        problems(text, &["train.warmup=1.5", "train.stepz=3"]),
        [
            "run.toml:1: output.dir: is missing; write `dir = …` (path of a directory)",
            "run.toml:2: model.pth: there is no such key; did you mean `path`?",
            "run.toml:3: adaptor: there is no such section; did you mean `adapter`?",
            "run.toml:6: data.train: cannot be 5; allowed: path of a file, or a list of paths and { path = \"…\", weight = … }",
            "run.toml:8: train.steps: cannot be 0; allowed: whole number from 1",
            "run.toml:9: train.batch_size: cannot be the string \"8\"; allowed: whole number from 1",
            "run.toml:10: train.shedule: there is no such key; did you mean `schedule`?",
            "run.toml:11: train.schedule: cannot be \"cosin\"; did you mean \"cosine\"? allowed: \"cosine\", \"linear\" or \"constant\"",
            "run.toml:12: train.dropout: there is no such key; `dropout` belongs in [model] or [adapter]",
            "override train.stepz=3: train.stepz: there is no such key; did you mean `steps`?",
            "override train.warmup=1.5: train.warmup: cannot be 1.5; allowed: share of the steps below 1 (as 0.06), or whole number of steps",
        ]
    );
}

#[test]
fn a_diagnostic_points_at_the_value_in_the_named_file() {
    let text = format!("{LEAST}[train]\nsteps = 0\n");
    let errors = read(&text, &["train.seed=-1"]).unwrap_err();
    let labels: Vec<_> = errors.labels().unwrap().collect();
    assert_eq!(labels.len(), 1);
    let (start, length) = (labels[0].offset(), labels[0].len());
    assert_eq!(&text[start - 8..start + length], "steps = 0");
    assert_eq!(labels[0].label(), Some("allowed: whole number from 1"));
    let shown = errors.source_code().unwrap().read_span(labels[0].inner(), 0, 0).unwrap();
    assert_eq!((shown.name(), shown.line()), (Some("run.toml"), 7));
    assert_eq!(errors.problems().len(), 2);
}

#[test]
fn values_out_of_range_are_refused() {
    check_refused(
        "[adapter]\nrank = 0",
        "run.toml:8: adapter.rank: cannot be 0; allowed: whole number from 1",
    );
    check_refused(
        "[adapter]\nalpha = -1",
        "run.toml:8: adapter.alpha: cannot be -1; allowed: number from 0",
    );
    check_refused(
        "[adapter]\nalpha = inf",
        "run.toml:8: adapter.alpha: cannot be inf; allowed: number from 0",
    );
    check_refused(
        "[adapter]\ndropout = 1.0",
        "run.toml:8: adapter.dropout: cannot be 1.0; allowed: number from 0, below 1",
    );
    let starts = "\"kaiming\", \"gaussian\", \"orthogonal\", \"pissa\", \"pissa_niter_N\" (N from 0 to 255), \"olora\", \"eva\" or \"loftq\"";
    for (init, hint) in [
        ("pisa", " did you mean \"pissa\"?"),
        ("pissa_niter_-1", " did you mean \"pissa_niter_4\"?"),
    ] {
        check_refused(
            &format!("[adapter]\ninit = \"{init}\""),
            &format!("run.toml:8: adapter.init: cannot be \"{init}\";{hint} allowed: {starts}"),
        );
    }
    check_refused(
        "[adapter]\ninit = 4",
        &format!("run.toml:8: adapter.init: cannot be 4; allowed: {starts}"),
    );
    check_refused(
        "[train]\nlearning_rate = nan",
        "run.toml:8: train.learning_rate: cannot be nan; allowed: number above 0",
    );
    check_refused(
        "[train]\nrecompute = \"blocks\"",
        "run.toml:8: train.recompute: cannot be \"blocks\"; did you mean \"block\"? allowed: \"none\" or \"block\"",
    );
    check_refused(
        "[train]\nrecompute = true",
        "run.toml:8: train.recompute: cannot be true; allowed: \"none\" or \"block\"",
    );
    check_refused(
        "[train]\nbetas = [0.9]",
        "run.toml:8: train.betas: cannot be a list; allowed: two numbers from 0, below 1",
    );
    check_refused(
        "[train]\nbetas = [0.9,\n  \"b\"]",
        "run.toml:9: train.betas: cannot be a list with the string \"b\"; allowed: two numbers from 0, below 1",
    );
    check_refused(
        "[train]\nseed = 18446744073709551615",
        "run.toml:8: train.seed: cannot be 18446744073709551615; allowed: whole number from 0",
    );
    check_refused(
        "[train]\nepochs = 0",
        "run.toml:8: train.epochs: cannot be 0; allowed: number above 0",
    );
}

#[test]
fn a_module_name_outside_a_list_is_told_where_it_belongs() {
    check_refused(
        "[adapter]\ntargets = \"q_proj\"",
        "run.toml:8: adapter.targets: cannot be the string \"q_proj\" (a module name stands in a list, [\"q_proj\"]); allowed: \"all-linear\", \"none\", a list of module names, or { regex = \"…\" }",
    );
    check_refused(
        "[adapter]\ntargets = []",
        "run.toml:8: adapter.targets: cannot be an empty list; allowed: \"all-linear\", \"none\", a list of module names, or { regex = \"…\" }",
    );
    check_refused(
        "[adapter]\ntargets = { regexp = \".*\" }",
        "run.toml:8: adapter.targets: cannot be a table without exactly the key `regex`; allowed: \"all-linear\", \"none\", a list of module names, or { regex = \"…\" }",
    );
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    check_refused(
        "[train]\nsteps = 5\nepochs = 1",
        "run.toml:9: train.epochs: cannot stand beside `steps`; keep one of the two",
    );
    check_refused(
        "[adapter]\nmethod = \"full\"\nrank = 8",
        "run.toml:9: adapter.rank: has no meaning with method = \"full\"; leave it out, or write method = \"lora\"",
    );
    for key in ["alpha = 16.0", "rslora = true", "init = \"gaussian\""] {
        let name = key.split(' ').next().unwrap();
        check_refused(
            &format!("[adapter]\nmethod = \"miss\"\n{key}"),
            &format!(
                "run.toml:9: adapter.{name}: has no meaning with method = \"miss\"; leave it out, or write method = \"lora\""
            ),
        );
    }
    check_refused(
        "[train]\nsteps = 5\nwarmup = 6",
        "run.toml:9: train.warmup: is 6 steps, but the run ends after 5; give fewer steps, or a share below 1",
    );
    check_refused(
        "[train]\neval_every = 5",
        "run.toml:8: train.eval_every: needs rows to evaluate on; give `eval` or `held_out` in [data]",
    );
    check_refused(
        "[train]\nexact_match = true",
        "run.toml:8: train.exact_match: needs rows to evaluate on; give `eval` or `held_out` in [data]",
    );
    check_refused(
        "[train]\nbleu = true",
        "run.toml:8: train.bleu: needs rows to evaluate on; give `eval` or `held_out` in [data]",
    );
    check_refused(
        "[train]\nearly_stopping = 2",
        "run.toml:8: train.early_stopping: needs evaluations during the run; give `eval_every`, the steps between evaluations",
    );
    let beside = LEAST.replace("[data]", "config = \"config.json\"\n[data]");
    assert_eq!(
        problems(&beside, &[]),
        [
            "run.toml:3: model.config: cannot stand beside `path`; keep `path` to train a model that there is, `config` for a random start"
        ]
    );
}

#[test]
fn weights_of_sixteen_bits_are_not_trained() {
    let half = LEAST.replace("[data]", "dtype = \"bf16\"\n[data]");
    assert_eq!(read(&half, &[]).unwrap().model.dtype, WeightDtype::Bf16);
    assert_eq!(
        problems(&half, &["adapter.method=full"]),
        [
            "run.toml:3: model.dtype: holds weights that cannot be trained; leave it out: what is trained is f32, or write method = \"lora\""
        ]
    );
}

#[test]
fn a_base_in_blocks_is_said_once_for_the_cpu_and_is_not_trained() {
    let blocks = LEAST.replace("[data]", "base = \"q4\"\n[data]");
    let model = |overrides: &[&str]| read(&blocks, overrides).unwrap().model;
    assert_eq!(model(&[]).held(), WeightDtype::Q4);
    assert_eq!(model(&["model.base=q8"]).held(), WeightDtype::Q8);
    // The later of the two holds.
    assert_eq!(model(&["model.dtype=bf16"]).held(), WeightDtype::Bf16);
    let half = LEAST.replace("[data]", "dtype = \"f16\"\n[data]");
    assert_eq!(read(&half, &["model.base=nf4"]).unwrap().model.held(), WeightDtype::Nf4);
    assert_eq!(
        problems(
            &blocks.replace("[data]", "dtype = \"f16\"\n[data]"),
            &["adapter.method=full", "train.device=cuda:1"]
        ),
        [
            "run.toml:3: model.base: holds weights that cannot be trained; leave it out: what is trained is f32, or write method = \"lora\"",
            "run.toml:3: model.base: cannot stand beside `dtype`; keep `base` to hold blocks of a few bits, `dtype` to hold each number by itself",
            "run.toml:3: model.base: is not held on cuda; write device = \"cpu\" in [train], or give `dtype` in place of `base`",
            "run.toml:4: model.dtype: holds weights that cannot be trained; leave it out: what is trained is f32, or write method = \"lora\"",
        ]
    );
}

#[test]
fn a_random_start_needs_the_full_method_and_a_tokenizer() {
    let random = LEAST.replace("path =", "config =");
    assert_eq!(
        problems(&random, &["adapter.method=full"]),
        [
            "run.toml:1: model.tokenizer: is missing; write `tokenizer = …`, a directory with tokenizer.json: a config has none"
        ]
    );
    assert_eq!(
        problems(&random, &["model.tokenizer=tiny"]),
        [
            "run.toml:2: model.config: is a random start, which has nothing to adapt; write method = \"full\" in [adapter], or random = true in [model] to measure memory and speed"
        ]
    );
    let config = read(&random, &["model.tokenizer=tiny", "adapter.method=full"]).unwrap();
    assert_eq!(config.model.source, ModelSource::Random("models/tiny".into()));
    assert_eq!(config.adapter, AdapterSection::Full);
}

#[test]
fn a_random_start_is_adapted_where_that_is_asked_for_and_nothing_else_is_random() {
    let random = LEAST.replace("path =", "config =");
    let config = read(&random, &["model.tokenizer=tiny", "model.random=true"]).unwrap();
    assert!(matches!(config.adapter, AdapterSection::Lora(_)));
    let beside = LEAST.replace("[data]", "random = true\n[data]");
    assert_eq!(
        problems(&beside, &[]),
        [
            "run.toml:3: model.random: is said of a model that there is; leave it out, or give `config` in place of `path`"
        ]
    );
}

#[test]
fn how_questions_on_a_text_are_written_is_checked() {
    let refused =
        |lines: &str| problems(&LEAST.replace("[output]", &format!("{lines}\n[output]")), &[]);
    assert_eq!(
        refused("squad_template = \"{question}\""),
        [
            "run.toml:5: data.squad_template: cannot be a template in which `{answer}` is missing; allowed: text with {context}, {question} and {answer}"
        ]
    );
    assert_eq!(
        refused("squad_no_answer = \"?\"\nformat = \"text\""),
        [
            "run.toml:5: data.squad_no_answer: has a meaning only for questions on a text; leave it out, or write format = \"squad\""
        ]
    );
}

#[test]
fn labels_are_for_classification_and_each_is_named_once() {
    let labels = |format: &str, names: &str| {
        let lines = format!("format = \"{format}\"\nlabels = [{names}]\n[output]");
        read(&LEAST.replace("[output]", &lines), &[])
    };
    assert_eq!(
        labels("classification", "\"a\", \"b\"").unwrap().data.labels,
        Some(vec!["a".into(), "b".into()])
    );
    assert_eq!(
        labels("text", "\"a\"").unwrap_err().to_string(),
        "run.toml:6: data.labels: has a meaning only in classification; leave it out, or write format = \"classification\""
    );
    assert_eq!(
        labels("classification", "\"a\", \"b\", \"a\"").unwrap_err().to_string(),
        "run.toml:6: data.labels: names the class \"a\" twice; name every class once"
    );
}

#[test]
fn later_overrides_win_and_take_back_what_contradicts_them() {
    let epochs = format!("{LEAST}[train]\nepochs = 3\n");
    let length = |overrides: &[&str]| read(&epochs, overrides).unwrap().train.length;
    assert_eq!(length(&[]), Length::Epochs(3.0));
    assert_eq!(length(&["train.steps=50"]), Length::Steps(50));
    assert_eq!(length(&["train.steps=50", "train.steps = 60"]), Length::Steps(60));
    assert_eq!(length(&["train.steps=50", "train.epochs=0.5"]), Length::Epochs(0.5));
    let full = read(EVERYTHING, &["adapter.method=full"]).unwrap();
    assert_eq!(full.adapter, AdapterSection::Full);
}

/// A sweep over methods goes through kinds that have not every key of the file.
#[test]
fn a_kind_of_adapter_takes_back_what_means_nothing_to_it_and_writes_none_of_it() {
    let miss = read(EVERYTHING, &["adapter.method=miss"]).unwrap();
    let AdapterSection::Lora(section) = &miss.adapter else { panic!("{:?}", miss.adapter) };
    let AdapterSection::Lora(before) = read(EVERYTHING, &[]).unwrap().adapter else { panic!() };
    assert_eq!((section.lora.method, section.lora.scale()), (Method::Miss, 1.0));
    assert_eq!((section.lora.rank, &section.targets), (before.lora.rank, &before.targets));
    let text = miss.to_toml().unwrap();
    assert!(!text.contains("alpha") && !text.contains("rslora"), "{text}");
    assert_eq!(read(&text, &[]).unwrap(), miss);
    let after = problems(EVERYTHING, &["adapter.method=miss", "adapter.alpha=3"]);
    assert!(after[0].contains("adapter.alpha: has no meaning"), "{after:?}");
}

#[test]
fn tokens_are_a_list_or_lists_by_name_and_nothing_else() {
    let tokens = |value: &str| {
        let config = read(LEAST, &[&format!("adapter.trainable_token_indices={value}")]).unwrap();
        let AdapterSection::Lora(section) = config.adapter else { panic!("{:?}", config.adapter) };
        section.trainable_token_indices
    };
    assert_eq!(tokens("[]"), TokenIndices::default());
    assert_eq!(tokens("[17, 5]"), TokenIndices::from([17, 5]));
    let named = [("a.wte", vec![1, 0]), ("wpe", vec![])];
    assert_eq!(tokens("{\"a.wte\" = [1, 0], wpe = []}"), TokenIndices::from_iter(named));
    for wrong in ["[-1]", "[1.5]", "5", "{wte = 5}", "{wte = [true]}", "[[1]]"] {
        let value = format!("adapter.trainable_token_indices={wrong}");
        let told = problems(LEAST, &[&value]);
        assert!(told[0].contains("allowed: list of token numbers"), "{told:?}");
    }
}

/// PEFT's switches are no keys here: each names a kind.
#[test]
fn a_switch_of_pefts_is_told_as_the_kind_that_it_is() {
    for (switch, method) in [("lora_bias", "lora-bias"), ("use_dora", "dora")] {
        let told = problems(LEAST, &[&format!("adapter.{switch}=true")]);
        let help = format!("write method = \"{method}\" in [adapter]");
        assert!(told[0].contains(&help), "{told:?}");
    }
}

#[test]
fn a_kind_with_one_start_takes_no_other() {
    assert!(read(LEAST, &["adapter.method=lora-bias", "adapter.init=kaiming"]).is_ok());
    for init in ["gaussian", "orthogonal", "pissa", "olora"] {
        let init = format!("adapter.init={init}");
        let told = problems(LEAST, &["adapter.method=lora-bias", &init]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("which has one start"), "{told:?}");
    }
}

#[test]
fn an_override_is_toml_or_else_a_plain_string() {
    let overrides =
        ["train.device=cuda:0", "output.dir=2024-05-01", "data.train=7", "model.path=\"a b\""];
    let config = read(LEAST, &overrides).unwrap();
    assert_eq!(config.train.device, "cuda:0");
    assert_eq!(config.output.dir, Path::new("2024-05-01"));
    assert_eq!(config.data.train, [Source::new("7")]);
    assert_eq!(config.model.source, ModelSource::Pretrained("a b".into()));
    assert_eq!(
        problems(LEAST, &["steps=5", "trian.steps=5", "train.steps", "train.steps=x", "dropout=1"]),
        [
            "override steps=5: steps: there is no such key; did you mean `train.steps`?",
            "override trian.steps=5: trian.steps: there is no such section; did you mean `train`?",
            "override train.steps: is not an override; write section.key=value, such as train.steps=50",
            "override dropout=1: dropout: there is no such key; did you mean `model.dropout` or `adapter.dropout`?",
            "override train.steps=x: train.steps: cannot be the string \"x\"; allowed: whole number from 1",
        ]
    );
}

#[test]
fn a_key_outside_its_section_is_told_where_it_belongs() {
    let text = format!("steps = 5\n{LEAST}");
    assert_eq!(
        problems(&text, &[]),
        ["run.toml:1: steps: there is no such section; `steps` belongs in [train]"]
    );
    assert_eq!(
        problems(&format!("adapter = 5\n{LEAST}"), &[]),
        [
            "run.toml:1: adapter: is a section, but stands here as 5; write [adapter] and its keys below"
        ]
    );
}

#[test]
fn broken_toml_is_reported_beside_other_problems_but_once_a_line() {
    let text = format!("{LEAST}[train]\nsteps = = 5\nbatch_size = 0\n");
    assert_eq!(
        problems(&text, &[]),
        [
            "run.toml:8: extra `=`, expected nothing",
            "run.toml:9: train.batch_size: cannot be 0; allowed: whole number from 1"
        ]
    );
}

#[test]
fn what_broken_syntax_may_hide_is_not_called_missing_or_contradictory() {
    let text = LEAST.replace("\"train.jsonl\"", "").replace("[output]", "[train]\neval_every = 5");
    let found = problems(&text, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("run.toml:4: "), "{found:?}");
    assert!(found[1].starts_with("run.toml:7: train.dir: there is no such key"), "{found:?}");
}

#[test]
fn a_method_that_there_is_not_hides_no_other_problem() {
    let text = format!("{LEAST}[adapter]\nmethod = \"loar\"\nrank = 0\n");
    assert_eq!(
        problems(&text, &[]),
        [
            "run.toml:8: adapter.method: cannot be \"loar\"; did you mean \"lora\"? allowed: \"lora\", \"dora\", \"miss\", \"lora-fa\", \"lora-bias\" or \"full\"",
            "run.toml:9: adapter.rank: cannot be 0; allowed: whole number from 1"
        ]
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = RunConfig::read("no/such/run.toml", &[]).unwrap_err().to_string();
    assert!(error.starts_with("no/such/run.toml: there is no such file: "), "{error}");
    let error = RunConfig::read(".", &[]).unwrap_err().to_string();
    assert!(error.starts_with(".: is a directory: "), "{error}");
}

#[test]
fn a_file_with_nothing_but_mistakes_is_shown_in_part() {
    let keys = (0..500).map(|index| format!("k{index} = 1\n")).collect::<String>();
    let error = RunConfig::parse(&format!("[train]\n{keys}"), "run", &[]).unwrap_err();
    let count = error.problems().len();
    assert!(count >= 500);
    let told = error.to_string();
    assert_eq!(told.lines().count(), 21, "{told}");
    assert!(told.ends_with(&format!("run: and {} more problems", count - 20)), "{told}");
}

#[test]
fn another_language_is_told_from_toml_that_has_a_mistake() {
    let yaml = "model:\n  path: model\ndata:\n  train: rows.jsonl\n";
    for text in [yaml, "{\"model\": {\"path\": \"m\"}}\n"] {
        let error = RunConfig::parse(text, "run", &[]).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("run:1: ") && error.contains("is TOML"), "{error}");
    }
    let error = RunConfig::parse("[model\npath = 3\n", "run", &[]).unwrap_err().to_string();
    assert!(!error.contains("is TOML"), "{error}");
}

#[test]
fn what_another_language_or_a_word_processor_has_on_a_line_is_told() {
    for (value, help) in [
        ("None", "leave the key out"),
        ("null # as in JSON", "leave the key out"),
        ("True", "write `true`"),
        ("False", "write `false`"),
        ("no", "write `false`"),
        ("\u{201c}model\u{201d}", "straight quotes"),
    ] {
        let text = format!("[model]\npath = {value}\n");
        let error = RunConfig::parse(&text, "run", &[]).unwrap_err().to_string();
        assert!(error.starts_with("run:2: ") && error.contains(help), "{value}: {error}");
    }
    let blank = RunConfig::parse("[model]\npath\u{a0}= \"m\"\n", "run", &[]).unwrap_err();
    assert!(blank.to_string().contains("write a plain one"), "{blank}");
    // What is in order says nothing, whatever stands in it.
    let quotes = RunConfig::parse("[model]\npath = \"\u{201c}None\u{201d}\"\n", "run", &[]);
    assert!(!quotes.unwrap_err().to_string().contains("straight"));
}

#[test]
fn lengths_and_warm_ups_become_steps() {
    assert_eq!(Length::Steps(7).steps(100), 7);
    assert_eq!(Length::Epochs(2.0).steps(313), 626);
    assert_eq!(Length::Epochs(0.5).steps(5), 3);
    assert_eq!(Length::Epochs(0.001).steps(5), 1);
    assert_eq!(Warmup::Share(0.06).steps(300), 18.0);
    assert_eq!(Warmup::Steps(10).steps(300), 10.0);
}

#[test]
fn every_key_stands_once_beside_those_of_its_section() {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for key in RunConfig::keys() {
        let (section, name) = (key.section, key.name);
        assert!(!seen.contains(&(section, name)), "{section}.{name}");
        let starts = !seen.iter().any(|(other, _)| *other == section);
        assert!(
            starts || seen.last().is_some_and(|(last, _)| *last == section),
            "{section}.{name}"
        );
        seen.push((section, name));
    }
    for (first, second, _) in EXCLUSIVE {
        for path in [first, second] {
            assert!(seen.contains(&path.split_once('.').unwrap()), "{path}");
        }
    }
    for path in OF_ADAPTERS {
        assert!(seen.contains(&path.split_once('.').unwrap()), "{path}");
    }
}

#[test]
fn a_row_of_the_reference_says_all_about_a_key_and_no_cell_holds_a_bar() {
    let reference = reference();
    for row in [
        "| `[train]` | `batch_size` | whole number from 1 | `8` | Rows that go through the model at once. |\n",
        "| `[adapter]` | `alpha` | number from 0 | 2 · `rank` | Numerator of the scale, which `miss` has not. |\n",
        "| `[train]` | `epsilon` | number above 0 | `1e-8` | AdamW's epsilon. |\n",
        "| `[output]` | `dir` | path of a directory | required | The run directory; made if it is not there. |\n",
    ] {
        assert!(reference.contains(row), "{row}{reference}");
    }
    assert_eq!(reference.lines().count(), RunConfig::keys().len() + 2);
    assert!(reference.lines().all(|line| line.matches('|').count() == 6), "{reference}");
}

#[test]
fn differences_are_of_the_keys_that_decide_so_much() {
    let config = |more: &[&str]| read(LEAST, more).unwrap();
    let then = config(&["data.eval=e", "train.steps=9", "data.labels=['a']"]);
    let now = ["data.eval=e", "train.epochs=1", "train.eval_every=2", "train.device=wgpu"];
    let now = config(&now);
    let differences = |now: &RunConfig, decides| -> Vec<String> {
        let all = now.differences(&then, decides).unwrap();
        all.iter().map(ToString::to_string).collect()
    };
    let training = ["train.epochs: absent -> 1.0", "train.steps: 9 -> absent"];
    assert_eq!(differences(&now, Decides::Training), training);
    let evaluation = [training[0], "train.eval_every: 0 -> 2", training[1]];
    assert_eq!(differences(&now, Decides::Evaluation), evaluation);
    let all = [training[0], "train.device: \"auto\" -> \"wgpu\"", evaluation[1], training[1]];
    assert_eq!(differences(&now, Decides::Nothing), all);
    // The classes of the rows are found again; given otherwise, they are others.
    let other = config(&["data.eval=e", "train.steps=9", "data.labels=['b']"]);
    assert_eq!(differences(&other, Decides::Training), ["data.labels: [\"a\"] -> [\"b\"]"]);
}

#[test]
fn what_decides_a_step_is_neither_the_length_of_the_run_nor_what_is_shown() {
    let of = |more: &[&str]| read(LEAST, more).unwrap().deciding().unwrap();
    let one = of(&["train.steps=9"]);
    assert_eq!(one, of(&["train.epochs=2", "train.eval_every=0", "train.samples=1"]));
    assert_eq!(one, of(&["train.epochs=2", "train.recompute=block"]));
    assert_ne!(one, of(&["train.steps=9", "train.seed=1"]));
    assert!(one.contains("train.batch_size = 8\n"), "{one}");
}

#[test]
fn whoever_gives_overrides_says_what_they_are_called() {
    let errors = read(LEAST, &["train.steps=0"]).unwrap_err().naming_overrides("--set");
    assert_eq!(
        errors.to_string(),
        "--set train.steps=0: train.steps: cannot be 0; allowed: whole number from 1"
    );
}

#[test]
fn what_no_file_can_hold_is_not_written() {
    let mut config = read(LEAST, &[]).unwrap();
    config.train.seed = u64::MAX;
    let error = config.to_toml().unwrap_err().to_string();
    assert_eq!(error, "train.seed cannot be written to a file: it is beyond TOML's whole numbers");
}

#[test]
fn the_page_on_configurations_holds_the_reference_as_it_is() {
    const START: &str = "<!-- configuration reference -->\n";
    const END: &str = "<!-- end of configuration reference -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("docs/configuration.md is there");
    let (before, rest) = page.split_once(START).expect("the page has the first marker");
    let (table, after) = rest.split_once(END).expect("the page has the second marker");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        let page = format!("{before}{START}{}{END}{after}", reference());
        return std::fs::write(path, page).expect("docs/configuration.md can be written");
    }
    assert_eq!(table.trim(), reference().trim(), "UPDATE_REFERENCE=1 writes the table anew");
}

#[test]
fn several_training_files_have_weights() {
    let train = |value: &str| read(LEAST, &[&format!("data.train={value}")]).unwrap().data.train;
    assert_eq!(train("a.jsonl"), [Source::new("a.jsonl")]);
    let weighted = Source { path: "b".into(), weight: 0.5 };
    assert_eq!(train("['a', {path='b', weight=0.5}]"), [Source::new("a"), weighted.clone()]);
    assert_eq!(train("{path='b', weight=0.5}"), [weighted]);
    for (value, found) in [
        ("[]", "cannot be an empty list"),
        ("[{path='a', weight=0}]", "a table with the weight 0"),
        ("[{path='a', wieght=2}]", "a table with the key `wieght`"),
        ("[{weight=2}]", "a table without the key `path`"),
    ] {
        let said = problems(LEAST, &[&format!("data.train={value}")]).concat();
        assert!(said.contains(found), "{value}: {said}");
    }
}

#[test]
fn rows_are_held_out_of_one_file_and_not_beside_others() {
    for (lines, message) in [
        (
            "[train]\nkeep_best = true",
            "run.toml:8: train.keep_best: needs rows to evaluate on; give `eval` or `held_out` in [data]",
        ),
        (
            "[train]\nmetric = \"exact-match\"",
            "run.toml:8: train.metric: needs generated texts; write exact_match = true",
        ),
        (
            "[train]\nmetric = \"bleu\"",
            "run.toml:8: train.metric: needs generated texts; write bleu = true",
        ),
    ] {
        check_refused(lines, message);
    }
    for key in ["train.exact_match", "train.bleu"] {
        let said = problems(EVERYTHING, &[&format!("{key}=true")]).concat();
        let expected = format!("{key}: has no text to expect in this `data.format`; leave it out");
        assert!(said.contains(&expected), "{said}");
    }
    let several = ["data.train=['a', 'b']", "data.held_out=0.1"];
    assert!(problems(LEAST, &several).concat().contains("needs a single training file"));
    // The later of the two holds, as of steps and epochs.
    let config = read(LEAST, &["data.eval=e.jsonl", "data.held_out=0.1"]).unwrap();
    assert_eq!((config.data.eval, config.data.held_out), (None, Some(0.1)));
}
