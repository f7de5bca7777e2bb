//! What targets pick, and what is said about those that pick nothing.

use burn::module::{Lora, Module, Param};
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_lora::LoraError;
use burn_lora_patch::{
    LayerStatus, LoraConfig, ModuleKind, ParamRole, PatchError, PatchReport, Role, Scan,
    TargetProblem, Targets, TaskType, merge, patch, plan, unmerge,
};

use crate::mlp::{BASE_PARAMS, Body, Mlp, ToVec, bits, config, cpu, tracked};

fn adapted(report: &PatchReport) -> Vec<&str> {
    let layers = report.layers().iter();
    layers.filter(|l| l.status == LayerStatus::Adapted).map(|l| l.path.as_str()).collect()
}

/// Plans, and patches, and gives the adapted layers.
fn check_adapted(config: &LoraConfig, expected: &[&str]) -> PatchReport {
    let mut model = Mlp::new(&cpu());
    let planned = plan(&model, config).unwrap();
    let report = patch(&mut model, config).unwrap();
    assert_eq!(report, planned);
    assert_eq!(adapted(&report), expected);
    report
}

/// The problems of a patch that must fail and leave the model as it was.
fn check_problems(config: &LoraConfig) -> Vec<TargetProblem> {
    let mut model = Mlp::new(&cpu().autodiff());
    let (before, tracked_before) = (bits(&model), tracked(&model));
    let error = patch(&mut model, config).unwrap_err();
    assert_eq!(bits(&model), before);
    assert_eq!(tracked(&model), tracked_before);
    match error {
        PatchError::Targets { problems } => problems,
        other => panic!("expected problems with the targets, got: {other}"),
    }
}

fn said(problems: &[TargetProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_scan_names_linears_as_hugging_face_does() {
    let scan = Scan::of(&Mlp::new(&cpu()));
    let linears: Vec<_> =
        scan.linears().iter().map(|l| (l.path.as_str(), l.d_in, l.d_out)).collect();
    assert_eq!(
        linears,
        [
            ("model.layers.0.self", 6, 6),
            ("model.layers.0.fc1", 6, 10),
            ("model.layers.0.fc2", 10, 6),
            ("model.layers.1.self", 6, 6),
            ("model.layers.1.fc1", 6, 10),
            ("model.layers.1.fc2", 10, 6),
            ("classifier", 6, 3),
            ("lm_head", 6, 7),
        ]
    );
    assert_eq!(scan.modules()["model.embed"], ModuleKind::Embedding);
    assert_eq!(scan.modules()["model.layers.1.norm"], ModuleKind::Norm);
    assert_eq!(scan.modules()["model.layers"], ModuleKind::Container);
    assert!(scan.params().iter().all(|param| param.role == ParamRole::Base));
    assert_eq!(scan.params().iter().map(|param| param.count()).sum::<usize>(), BASE_PARAMS);
    let classifier: Vec<&str> =
        scan.params_below("classifier").map(|param| param.path.as_str()).collect();
    assert_eq!(classifier, ["classifier.weight", "classifier.bias"]);
}

#[test]
fn all_linear_leaves_out_the_output_layer() {
    let report = check_adapted(
        &config(Targets::AllLinear),
        &[
            "model.layers.0.self",
            "model.layers.0.fc1",
            "model.layers.0.fc2",
            "model.layers.1.self",
            "model.layers.1.fc1",
            "model.layers.1.fc2",
            "classifier",
        ],
    );
    assert_eq!(report.layers()[7].status, LayerStatus::Head);
    assert_eq!((report.adapted(), report.linears()), (7, 8));
    // Rank 2: self 24, fc1 32, fc2 32 in two blocks, classifier 18.
    assert_eq!(report.trainable(), 2 * (24 + 32 + 32) + 18);
    assert_eq!(report.total(), BASE_PARAMS + report.trainable());
    assert_eq!(report.trainable_line(), "trainable: 194 of 679 (28.57 %)");
}

#[test]
fn a_classifier_s_head_is_trained_whole_and_not_adapted() {
    let report = check_adapted(
        &config(Targets::AllLinear).with_task_type(TaskType::SeqCls).with_exclude(["self", "fc1"]),
        &["model.layers.0.fc2", "model.layers.1.fc2"],
    );
    assert_eq!(report.saved()[0].path, "classifier");
    assert_eq!(report.saved()[0].params, 21);
    assert_eq!(report.trainable(), 2 * 32 + 21);
    assert_eq!(report.layers()[6].status, LayerStatus::TrainedWhole);
    assert_eq!(report.layers()[0].status, LayerStatus::Excluded { by: "self".into() });
    assert!(report.warnings().is_empty(), "{report}");
}

#[test]
fn a_task_whose_head_is_not_there_is_warned_about() {
    let report = check_adapted(
        &config(Targets::names(["0.fc1"])).with_task_type(TaskType::QuestionAns),
        &["model.layers.0.fc1"],
    );
    assert!(report.warnings()[0].contains("`qa_outputs`"), "{report}");
}

#[test]
fn names_are_exact_paths_or_suffixes_on_a_dot() {
    let report = check_adapted(
        &config(Targets::names(["0.self", "model.layers.1.fc2", "fc1"])),
        &["model.layers.0.self", "model.layers.0.fc1", "model.layers.1.fc1", "model.layers.1.fc2"],
    );
    let counts: Vec<_> = report.matched().iter().map(|m| (m.entry.as_str(), m.count)).collect();
    assert_eq!(counts, [("0.self", 1), ("model.layers.1.fc2", 1), ("fc1", 2)]);
}

#[test]
fn a_pattern_matches_whole_paths() {
    let pattern = |text: &str| config(Targets::Regex(text.into()));
    check_adapted(
        &pattern(r"model\.layers\.\d\.fc[12]"),
        &["model.layers.0.fc1", "model.layers.0.fc2", "model.layers.1.fc1", "model.layers.1.fc2"],
    );
    let report = check_adapted(&pattern(r"model\.layers\.0\.(norm|fc1)"), &["model.layers.0.fc1"]);
    assert!(report.warnings()[0].contains("a normalisation (`model.layers.0.norm`)"), "{report}");
    let problems = check_problems(&pattern("fc1"));
    assert_eq!(
        said(&problems),
        "target pattern `fc1` matches nothing: it must match a whole path, such as \
         `model.layers.0.fc1`, of which it matches a part (begin it with `.*`?)"
    );
    let text = said(&check_problems(&pattern("x{3}")));
    assert!(text.ends_with("it must match a whole path, such as `model.layers.0.self`"), "{text}");
    let problems = check_problems(&pattern("fc(1"));
    assert!(matches!(&problems[..], [TargetProblem::Pattern { role: Role::Target, .. }]));
}

#[test]
fn excludes_win_by_name_and_by_pattern() {
    let mut config = config(Targets::names(["fc1", "fc2"])).with_exclude(["1.fc1"]);
    config.exclude_regex = Some(r".*\.0\.fc2".into());
    check_adapted(&config, &["model.layers.0.fc1", "model.layers.1.fc2"]);
}

#[test]
fn layers_restrict_targets_but_not_whole_paths() {
    check_adapted(
        &config(Targets::names(["fc1", "model.layers.0.fc2"])).with_layers_to_transform([1]),
        &["model.layers.0.fc2", "model.layers.1.fc1"],
    );
    check_adapted(
        &config(Targets::Regex(r".*\.fc1".into())).with_layers_to_transform([0]),
        &["model.layers.0.fc1"],
    );
    let mut named = config(Targets::AllLinear).with_layers_to_transform([0]);
    named.layers_pattern = vec!["layers".into()];
    check_adapted(&named, &["model.layers.0.self", "model.layers.0.fc1", "model.layers.0.fc2"]);
    check_adapted(
        &config(Targets::names(["0.fc1"])).with_layers_to_transform([]),
        &["model.layers.0.fc1"],
    );
}

#[test]
fn every_entry_that_picks_nothing_is_reported_at_once_with_near_names() {
    let config = config(Targets::names(["fc1", "fc3", "embed", "layers.0", "norm"]))
        .with_exclude(["selff"])
        .with_modules_to_save(["clasifier"])
        .with_layers_to_transform([0, 5]);
    let text = said(&check_problems(&config));
    for part in [
        "modules_to_save `clasifier` matches nothing: did you mean `classifier`?",
        "exclude `selff` matches nothing: did you mean `self`",
        "target `fc3` matches nothing: did you mean `fc1` or `fc2`?",
        "target `embed` names 1 layers, but 1 are outside layers_to_transform",
        "target `layers.0` names a group of modules (`model.layers.0`): only linear layers, \
         embeddings and convolutions are adapted, such as `self`, `fc1` and `fc2` in it",
        "target `norm` names a normalisation (`model.layers.0.norm`)",
        "layers_to_transform has 5, but the targets are in layers 0 to 1",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn the_error_lists_one_problem_in_a_line_and_several_in_a_list() {
    let model = Mlp::new(&cpu());
    let one = plan(&model, &config(Targets::names(["fc3"]))).unwrap_err().to_string();
    assert_eq!(
        one,
        "the model cannot be patched as asked: target `fc3` matches nothing: did you mean `fc1` or `fc2`?"
    );
    let two = plan(&model, &config(Targets::names(["fc3", "x"]))).unwrap_err().to_string();
    assert!(
        two.starts_with("the model cannot be patched as asked (2 problems):\n  - target `fc3`")
    );
}

#[test]
fn names_that_look_like_something_else_say_what_was_meant() {
    for (name, pattern) in [
        (".*fc1", ".*fc1"),
        ("fc*", ".*fc.*"),
        ("*fc1", ".*fc1"),
        ("fc1|fc2", ".*(fc1|fc2)"),
        (r"fc\d*", r".*fc\d*"),
    ] {
        let text = said(&check_problems(&config(Targets::names([name]))));
        assert!(text.contains(&format!("write {{ regex = '{pattern}' }}, in code")), "{text}");
        // The advice works.
        assert!(plan(&Mlp::new(&cpu()), &config(Targets::regex(pattern))).unwrap().adapted() > 0);
    }
    for name in ["all-linear", "all_linear", "All linear"] {
        let text = said(&check_problems(&config(Targets::names([name]))));
        assert!(text.contains("write \"all-linear\" alone, not in a list"), "{text}");
    }
}

#[test]
fn a_target_that_everything_is_taken_from_says_by_what() {
    let text = said(&check_problems(
        &config(Targets::names(["fc1", "fc2", "classifier", "self"]))
            .with_exclude(["fc2"])
            .with_modules_to_save(["classifier"]),
    ));
    assert_eq!(
        text,
        "target `fc2` names 2 layers, but 2 are excluded by `fc2`\n\
         target `classifier` names 1 layers, but 1 are trained whole (modules_to_save)"
    );
    let text = said(&check_problems(
        &config(Targets::names(["fc1", "1.fc2"])).with_layers_to_transform([0]),
    ));
    assert_eq!(text, "target `1.fc2` names 1 layers, but 1 are outside layers_to_transform");
}

#[test]
fn nothing_at_all_never_passes() {
    assert_eq!(check_problems(&config(Targets::Names(vec![]))), [TargetProblem::Empty]);
    let everything = ["self", "fc1", "fc2", "classifier"];
    let text = said(&check_problems(&config(Targets::AllLinear).with_exclude(everything)));
    assert!(text.contains("target `all-linear` names 7 layers, but 7 are excluded"), "{text}");
    let mut none = config(Targets::AllLinear);
    none.heads = ["self", "fc1", "fc2", "classifier", "lm_head"].map(String::from).to_vec();
    let text = said(&check_problems(&none));
    assert!(text.contains("the model has 8, and all of them are output layers"), "{text}");
    check_problems(&config(Targets::names([""])));
}

#[test]
fn layers_pattern_needs_layers_and_must_exist() {
    let mut pattern_alone = config(Targets::AllLinear);
    pattern_alone.layers_pattern = vec!["layers".into()];
    assert_eq!(check_problems(&pattern_alone), [TargetProblem::PatternWithoutLayers]);
    let mut typo = config(Targets::names(["fc1"])).with_layers_to_transform([0]);
    typo.layers_pattern = vec!["layers".into(), "layer".into()];
    let text = said(&check_problems(&typo));
    assert_eq!(text, "layers_pattern `layer` matches nothing: did you mean `layers`?");
    typo.layers_pattern = vec!["(".into()];
    assert!(matches!(
        &check_problems(&typo)[..],
        [TargetProblem::Pattern { role: Role::LayersPattern, .. }]
    ));
}

#[test]
fn settings_out_of_range_are_all_reported() {
    let mut model = Mlp::new(&cpu());
    let bad = LoraConfig::new(0).with_alpha(-1.0).with_targets(Targets::AllLinear);
    let error = patch(&mut model, &bad).unwrap_err();
    let PatchError::Settings { problems } = &error else { panic!("{error}") };
    assert_eq!(problems[..], [LoraError::Rank { rank: 0 }, LoraError::Alpha { alpha: -1.0 }]);
    assert!(error.to_string().contains("rank is 0"), "{error}");
}

#[test]
fn a_rank_above_the_width_is_warned_about() {
    let mut wide = config(Targets::names(["classifier", "fc1"]));
    wide.adapter.rank = 5;
    let report = check_adapted(&wide, &["model.layers.0.fc1", "model.layers.1.fc1", "classifier"]);
    assert_eq!(report.warnings().len(), 1);
    let warning = &report.warnings()[0];
    assert!(
        warning.contains("rank 5 is above min(d_in, d_out) of 1 linears (`classifier`)"),
        "{warning}"
    );
}

#[test]
fn a_second_patch_of_one_name_or_with_a_module_of_its_own_is_refused_and_says_why() {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, &config(Targets::names(["fc1"]))).unwrap();
    let before = bits(&model);
    let again = patch(&mut model, &config(Targets::names(["fc2"]))).unwrap_err();
    assert!(matches!(again, PatchError::AlreadyPatched { layers: 2, .. }), "{again}");
    let b = config(Targets::names(["fc2"])).with_name("b");
    let other = patch(&mut model, &b.clone().with_modules_to_save(["norm"])).unwrap_err();
    assert!(
        matches!(&other, PatchError::SavedBeside { present, .. } if present == "default"),
        "{other}"
    );
    merge(&mut model).unwrap();
    assert!(matches!(patch(&mut model, &b), Err(PatchError::Merged { .. })));
    unmerge(&mut model).unwrap();
    assert_eq!(bits(&model), before);
}

#[test]
fn burn_s_own_lora_is_recognised_as_another_s() {
    let mut model = Mlp::new(&cpu()).apply_lora(Lora::new(2, 4.0));
    let error = patch(&mut model, &config(Targets::names(["fc1"]))).unwrap_err();
    assert!(matches!(error, PatchError::ForeignReparameterization { .. }), "{error}");
}

#[derive(Module, Debug)]
struct Twins {
    x: Param<Tensor<1>>,
    x_: Param<Tensor<1>>,
    fc: Linear,
}

#[test]
fn two_fields_with_one_path_are_refused() {
    let device = cpu();
    let twin = || Param::from_tensor(Tensor::zeros([1], &device));
    let mut model = Twins { x: twin(), x_: twin(), fc: LinearConfig::new(2, 2).init(&device) };
    let error = patch(&mut model, &config(Targets::AllLinear)).unwrap_err();
    assert!(matches!(&error, PatchError::AmbiguousPath { path } if path == "x"), "{error}");
}

#[test]
fn a_model_that_is_one_linear_is_patched_too() {
    let mut model = LinearConfig::new(4, 3).init(&cpu());
    let report = patch(&mut model, &config(Targets::AllLinear)).unwrap();
    assert_eq!((report.adapted(), report.trainable()), (1, 2 * 7));
}

fn encoder(device: &Device) -> TransformerEncoder {
    TransformerEncoderConfig::new(8, 16, 2, 2).with_dropout(0.0).init(device)
}

fn encoded(model: &TransformerEncoder, device: &Device) -> Vec<f32> {
    let x = Tensor::<1>::arange_float(48, device).reshape([2, 3, 8]);
    model.forward(TransformerEncoderInput::new(x)).into_data().to_vec_f32()
}

/// `Tensor::arange` of floats for a test input, scaled to sizes that a norm does not flatten.
trait ArangeFloat {
    fn arange_float(count: i64, device: &Device) -> Tensor<1>;
}

impl ArangeFloat for Tensor<1> {
    fn arange_float(count: i64, device: &Device) -> Tensor<1> {
        Tensor::arange(0..count, device).float().mul_scalar(0.37).sin()
    }
}

#[test]
fn burn_s_transformer_encoder_is_patched_without_a_change_to_its_code() {
    let device = cpu();
    let mut model = encoder(&device);
    let before = encoded(&model, &device);
    let report = patch(&mut model, &config(Targets::AllLinear)).unwrap();
    // query, key, value, output, two of the feed-forward, in two layers.
    assert_eq!((report.adapted(), report.linears()), (12, 12));
    assert_eq!(report.trainable(), 2 * 2 * (4 * 16 + 2 * 24));
    assert_eq!(encoded(&model, &device), before, "B starts at zero");

    let mut some = encoder(&device);
    let report = patch(&mut some, &config(Targets::names(["mha.query"]))).unwrap();
    assert_eq!(adapted(&report), ["layers.0.mha.query", "layers.1.mha.query"]);
}

/// PEFT's rule wants two segments before the number; the error says what to set instead.
#[test]
fn layers_at_the_top_of_a_model_need_a_pattern() {
    let mut model = encoder(&cpu());
    let mut config = config(Targets::AllLinear).with_layers_to_transform([1]);
    let error = patch(&mut model, &config).unwrap_err().to_string();
    assert!(
        error.contains("set layers_pattern to what stands before the number (`layers.0."),
        "{error}"
    );
    config.layers_pattern = vec!["layers".into()];
    assert_eq!(patch(&mut model, &config).unwrap().adapted(), 6);
}

/// It was once told with the names that there are, of which none is a head.
#[test]
fn a_head_that_is_the_token_table_is_told_with_what_to_do() {
    let body = || Mlp::new(&cpu()).model;
    let told = |config: LoraConfig| plan(&body(), &config).unwrap_err().to_string();
    let named = |name: &str| config(Targets::names([name]));
    for problem in [
        told(named("lm_head")),
        told(named("fc1").with_modules_to_save(["lm_head"])),
        told(named("fc1").with_exclude(["lm_head"])),
    ] {
        assert!(problem.contains("its token table `embed` (`tie_word_embeddings`)"), "{problem}");
    }
    let advice = told(named("lm_head"));
    assert!(advice.contains("modules_to_save = [\"embed\"]"), "{advice}");
    plan(&body(), &named("fc1").with_modules_to_save(["embed"])).unwrap();
    // A model with another head has no such table, nor has one of which another name is asked.
    let other = plan(&Mlp::new(&cpu()), &named("lm_heads")).unwrap_err().to_string();
    assert!(other.contains("did you mean `lm_head`?"), "{other}");
    let classifier = LinearConfig::new(6, 3).init(&cpu());
    let config = named("lm_head").with_task_type(TaskType::SeqCls);
    let told = plan(&Classifies { model: body(), classifier }, &config).unwrap_err().to_string();
    assert!(!told.contains("token table"), "{told}");
}

#[derive(Module, Debug)]
struct Classifies {
    model: Body,
    classifier: Linear,
}
