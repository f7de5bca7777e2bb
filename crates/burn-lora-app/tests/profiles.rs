//! A run's adapter written for the programs that read adapters.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::path::Path;

use burn_lora_app::AppError;
use burn_lora_app::export::{
    Profile, ProfileExported, ProfileOptions, ReaderProblem, export_profile, export_profile_dry_run,
};
use burn_lora_app::inspect::inspect;
use burn_lora_models::gguf::{GgufFile, Value};
use burn_lora_patch::PatchError;
use burn_lora_patch::combine::StoredAdapter;
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_train::TrainError;
use burn_lora_train::observe::Observer;
use tiny::Tiny;

fn options(tiny: &Tiny, profile: Profile, out: &str) -> ProfileOptions {
    let base_model = Some("org/tiny".to_owned());
    ProfileOptions { out: tiny.path(out), profile, base_model, base: None }
}

fn exported(
    tiny: &Tiny,
    from: &str,
    options: &ProfileOptions,
) -> Result<ProfileExported, AppError> {
    export_profile(&tiny.path(from), options, &Observer::silent())
}

/// The largest difference of two adapters' changes, beside the largest entry.
fn apart(one: &Path, other: &Path) -> [f64; 2] {
    let [one, other] = [one, other].map(|dir| StoredAdapter::read(dir).unwrap());
    assert_eq!(one.layers.keys().collect::<Vec<_>>(), other.layers.keys().collect::<Vec<_>>());
    let mut most = [0.0_f64; 2];
    for (path, layer) in &one.layers {
        let (a, b) = (layer.factors.change(), other.layers[path].factors.change());
        for (a, b) in a.iter().zip(&b) {
            most = [most[0].max((a - b).abs()), most[1].max(a.abs())];
        }
    }
    most
}

#[test]
fn a_runs_adapter_is_written_for_each_program_and_a_dry_run_says_what_of() {
    let tiny = Tiny::new();
    let settings = ["train.steps=4", "adapter.rslora=true", "adapter.alpha_pattern={q_proj=5}"];
    tiny.train("run", &settings, false);
    for (profile, files) in [
        (Profile::Peft, &["adapter_config.json", "adapter_model.safetensors"][..]),
        (Profile::Vllm, &["adapter_config.json", "adapter_model.safetensors"][..]),
        (Profile::LlamaCpp, &["adapter.gguf"][..]),
    ] {
        let options = options(&tiny, profile, profile.name());
        let dry = export_profile_dry_run(&tiny.path("run"), &options, &Observer::silent()).unwrap();
        assert!(!options.out.exists(), "a dry run writes nothing");
        let written = exported(&tiny, "run", &options).unwrap();
        assert_eq!(written.files, files, "{profile}");
        assert_eq!(written.tensors, 2 * 2 * 7, "{profile}");
        for file in &dry.files {
            let size = fs::metadata(options.out.join(&file.name)).unwrap().len();
            assert_eq!(file.bytes, size, "{profile} {}", file.name);
        }
        let again = exported(&tiny, "run", &options);
        assert!(matches!(again, Err(AppError::Exists { .. })), "{profile}");
    }

    // PEFT reads patterns and rsLoRA: its files are the run's, but for what the base is called.
    let bytes = fs::read(tiny.path("peft").join(peft::TENSORS_FILE)).unwrap();
    assert!(bytes == tiny.adapter("run"));
    let own = peft::read_config(tiny.path("run/adapter")).unwrap();
    let named = PeftConfig { base_model_name_or_path: Some("org/tiny".into()), ..own };
    assert_eq!(peft::read_config(tiny.path("peft")).unwrap(), named);

    let config = peft::read_config(tiny.path("vllm")).unwrap();
    assert_eq!((config.r, config.lora_alpha, config.use_rslora), (4, 4.0, false));
    assert!(config.alpha_pattern.is_empty() && config.rank_pattern.is_empty());
    assert_eq!(config.base_model_name_or_path.as_deref(), Some("org/tiny"));
    let [off, largest] = apart(&tiny.path("run/adapter"), &tiny.path("vllm"));
    // Four products, none much larger than the largest sum, whose B was rounded once.
    assert!(largest > 1e-3 && off <= 16.0 * 2.0_f64.powi(-24) * largest, "{off:e} of {largest:e}");
    // Nothing of the machine is told.
    let here = tiny.path("").display().to_string();
    for dir in ["peft", "vllm"] {
        let text = fs::read_to_string(tiny.path(dir).join(peft::CONFIG_FILE)).unwrap();
        assert!(!text.contains(here.trim_end_matches('/')), "{text}");
    }

    let file = GgufFile::open(&tiny.path("llama-cpp/adapter.gguf")).unwrap();
    assert_eq!(file.metadata().get("general.name"), Some(&Value::Text("run".into())));
    assert_eq!(file.tensor("blk.1.ffn_down.weight.lora_a").unwrap().shape, [4, 64]);
    assert_eq!(file.tensor("blk.1.ffn_down.weight.lora_b").unwrap().shape, [32, 4]);
}

#[test]
fn an_adapter_of_its_own_is_written_with_the_base_that_is_named_or_asked_for() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=2"], false);
    let bare = |profile, out| ProfileOptions { base_model: None, ..options(&tiny, profile, out) };
    exported(&tiny, "run/adapter", &bare(Profile::LlamaCpp, "named")).unwrap();
    let unnamed = tiny.path("unnamed");
    let mut adapter = StoredAdapter::read(tiny.path("run/adapter")).unwrap();
    adapter.config.base_model_name_or_path = None;
    adapter.write(&unnamed).unwrap();
    let error = exported(&tiny, "unnamed", &bare(Profile::LlamaCpp, "none")).unwrap_err();
    assert!(matches!(error, AppError::NoBase { .. }), "{error}");
    assert!(!tiny.path("none").exists());
    let base = Some(tiny.path("model"));
    let given = ProfileOptions { base, ..bare(Profile::LlamaCpp, "given") };
    exported(&tiny, "unnamed", &given).unwrap();
    // The files differ in what the adapter is called and in nothing else.
    let tensors = |out: &str| {
        let mut file = GgufFile::open(&tiny.path(out).join("adapter.gguf")).unwrap();
        let names: Vec<String> = file.tensors().map(|tensor| tensor.name.clone()).collect();
        names.into_iter().map(|name| (file.read(&name).unwrap(), name)).collect::<Vec<_>>()
    };
    assert_eq!(tensors("named"), tensors("given"));

    // Of a base that is not the adapter's.
    let other = Tiny::of(
        r#"{"model_type": "llama", "vocab_size": 2048, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 64}"#,
    );
    let base = Some(other.path("model"));
    let wrong = ProfileOptions { base, ..bare(Profile::LlamaCpp, "wrong") };
    let told = exported(&tiny, "unnamed", &wrong).unwrap_err().to_string();
    assert!(told.contains("name the base that the adapter was trained on"), "{told}");
    assert!(!tiny.path("wrong").exists());
}

#[test]
fn kinds_that_a_program_does_not_read_are_refused_and_peft_gets_all() {
    let tiny = Tiny::new();
    for (run, setting) in [
        ("dora", "adapter.method=dora"),
        ("miss", "adapter.method=miss"),
        ("biased", "adapter.method=lora-bias"),
        ("whole", "adapter.modules_to_save=[\"norm\"]"),
        ("tokens", "adapter.trainable_token_indices=[3, 5]"),
    ] {
        tiny.train(run, &["train.steps=1", setting], false);
        for profile in [Profile::Vllm, Profile::LlamaCpp] {
            match exported(&tiny, run, &options(&tiny, profile, "out")) {
                Err(AppError::Train(TrainError::Patch(PatchError::Reader(
                    ReaderProblem::Kind { .. }
                    | ReaderProblem::Whole { .. }
                    | ReaderProblem::Tokens { .. },
                )))) => {}
                other => panic!("{run} {profile}: {other:?}"),
            }
            assert!(!tiny.path("out").exists(), "{run} {profile}");
        }
        let out = format!("peft-{run}");
        exported(&tiny, run, &options(&tiny, Profile::Peft, &out)).unwrap();
        assert_eq!(
            fs::read(tiny.path(&out).join(peft::TENSORS_FILE)).unwrap(),
            tiny.adapter(run),
            "{run}"
        );
    }
    // LoRA-FA is plain LoRA in files.
    tiny.train("fa", &["train.steps=1", "adapter.method=lora-fa"], false);
    for profile in Profile::ALL {
        exported(&tiny, "fa", &options(&tiny, profile, &format!("fa-{profile}"))).unwrap();
    }
}

#[test]
fn an_adapters_page_has_its_plots_and_its_layers() {
    let tiny = Tiny::new();
    tiny.train("run", &["train.steps=4"], false);
    let page = inspect(&tiny.path("run")).unwrap().to_html().unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    for part in ["q_proj", "model.layers.1.mlp.down_proj", "<th>effective rank</th>", "rank"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}
