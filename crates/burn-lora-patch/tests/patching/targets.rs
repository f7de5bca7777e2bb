//! Which layers get an adapter of which rank and scale, against what PEFT 0.21.2 picks (`fixtures/targets`), and what
//! becomes of patterns in files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_lora::Method;
use burn_lora_patch::peft::{self, LoadOptions, PeftConfig, read_config};
use burn_lora_patch::{
    LayerStatus, LoraConfig, PatchError, PatchReport, Patterns, Role, TargetProblem, Targets,
    patch, plan,
};
use serde_json::{Map, Value};

use crate::mlp::{Mlp, bits, config, cpu, with_trained_factors};

/// Rank and scale of every adapted layer.
fn picked(report: &PatchReport) -> BTreeMap<String, (usize, f64)> {
    let adapted = report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
    adapted.map(|layer| (layer.path.clone(), (layer.rank, layer.scale))).collect()
}

fn expected(layers: &Value) -> BTreeMap<String, (usize, f64)> {
    let of = |value: &Value| (value[0].as_u64().unwrap() as usize, value[1].as_f64().unwrap());
    let layers = layers.as_object().unwrap().iter();
    layers.map(|(layer, value)| (layer.clone(), of(value))).collect()
}

fn check_same(
    ours: &BTreeMap<String, (usize, f64)>,
    pefts: &BTreeMap<String, (usize, f64)>,
    case: &Value,
) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), pefts.keys().collect::<Vec<_>>(), "{case}");
    for (layer, (rank, scale)) in ours {
        let (of_peft, scale_of_peft) = pefts[layer];
        assert_eq!(*rank, of_peft, "{layer} {case}");
        assert!((scale / scale_of_peft - 1.0).abs() < 1e-14, "{layer} {scale} {case}");
    }
}

/// What is an error here, and nothing to PEFT: entries that pick nothing are taken out.
fn without_idle_entries(mut config: LoraConfig, problems: Vec<TargetProblem>) -> LoraConfig {
    for problem in problems {
        match problem {
            TargetProblem::NoLayer { role: Role::RankPattern, entry, .. } => {
                let left = config.rank_pattern.iter().filter(|(pattern, _)| *pattern != entry);
                config.rank_pattern = left.collect();
            }
            TargetProblem::Overruled { entry, .. } => {
                let Targets::Names(names) = &mut config.targets else { panic!("{entry}") };
                names.retain(|name| *name != entry);
            }
            TargetProblem::Unknown { role: Role::LayersPattern, entry, .. } => {
                config.layers_pattern.retain(|name| *name != entry);
            }
            other => panic!("{other}"),
        }
    }
    config
}

#[test]
fn layers_ranks_and_scales_are_those_that_peft_picks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/targets/expected.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.len() >= 17);
    for case in &cases {
        let mut file: Map<String, Value> = case["config"].as_object().unwrap().clone();
        for (key, value) in
            [("peft_type", "LORA".into()), ("r", 8.into()), ("lora_alpha", 16.into())]
        {
            file.insert(key.to_owned(), value);
        }
        let file: PeftConfig = serde_json::from_value(Value::Object(file)).unwrap();
        let mut config = file.to_config().unwrap().config;
        if let Err(PatchError::Targets { problems }) = plan(&Mlp::new(&cpu()), &config) {
            config = without_idle_entries(config, problems);
        }
        let mut model = Mlp::new(&cpu());
        let report = patch(&mut model, &config).unwrap();
        check_same(&picked(&report), &expected(&case["layers"]), case);
        let saved: Vec<&str> = report.saved().iter().map(|module| module.path.as_str()).collect();
        let mut of_peft: Vec<&str> =
            case["saved"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        of_peft.sort_unstable();
        assert_eq!(saved, of_peft, "{case}");

        // Saved and loaded it is the same, also where PEFT's order of patterns makes another of it.
        let dir = tempfile::tempdir().unwrap();
        let model = with_trained_factors(model);
        peft::save(&model, dir.path(), &peft::config_of(&model, None).unwrap()).unwrap();
        let mut loaded = Mlp::new(&cpu());
        let report = peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
        check_same(&picked(&report), &expected(&case["layers"]), case);
        assert_eq!(bits(&loaded), bits(&model), "{case}");
        let written = read_config(dir.path()).unwrap().rank_pattern;
        let keys: Vec<&String> = written.keys().collect();
        assert!(keys.is_sorted(), "PEFT asks in this order: {keys:?}");
    }
}

#[test]
fn a_pattern_that_decides_nothing_is_told_with_what_was_meant() {
    let problems = |config: &LoraConfig| match plan(&Mlp::new(&cpu()), config).unwrap_err() {
        PatchError::Targets { problems } => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other}"),
    };
    let layers = config(Targets::names(["fc1", "self"]));
    let typo = layers.clone().with_rank_pattern([("fc11", 4)]);
    assert_eq!(
        problems(&typo),
        "rank_pattern `fc11` matches no layer that gets an adapter: did you mean `fc1`?"
    );
    let elsewhere = layers.clone().with_alpha_pattern([("lm_head", 4.0)]);
    let told = problems(&elsewhere);
    assert!(told.starts_with("alpha_pattern `lm_head` matches no layer that gets"), "{told}");
    assert!(told.contains("`self` and `fc1`"), "{told}");
    let broken = problems(&layers.clone().with_rank_pattern([("fc(1", 4)]));
    assert!(
        broken.starts_with("rank_pattern pattern `fc(1` is not a regular expression"),
        "{broken}"
    );
    let miss = layers.clone().with_method(Method::Miss).with_rank_pattern([("fc1", 3)]);
    assert_eq!(
        problems(&miss),
        "rank_pattern has no meaning for miss, whose layers have one rank: leave it out"
    );
    let hidden = layers.clone().with_rank_pattern([("fc1", 4), (r"0\.fc1", 3)]);
    let report = plan(&Mlp::new(&cpu()), &hidden).unwrap();
    assert!(report.warnings()[0].contains(r"`0\.fc1` decides nothing"), "{report}");
    assert!(report.to_string().contains("rank_pattern: fc1 (2), 0\\.fc1 (0)\n"), "{report}");
    assert!(report.table().contains("adapted, rank 4, scale 1\n"), "{}", report.table());
    let none = layers.with_rank_pattern([("fc1", 0)]);
    let told = plan(&Mlp::new(&cpu()), &none).unwrap_err().to_string();
    assert!(told.contains("`model.layers.0.fc1`") && told.contains("rank is 0"), "{told}");
}

/// Of an adapter that was put together by hand there is no configuration, and its layers may have any ranks.
#[test]
fn what_hangs_there_is_described_with_patterns_where_no_configuration_says_it() {
    let mut model = Mlp::new(&cpu());
    let patterns = Patterns::from([(r"layers\.0\.fc1", 3), ("self", 1)]);
    let mut of_patterns = config(Targets::names(["fc1", "self"]));
    of_patterns.rank_pattern = patterns;
    patch(&mut model, &of_patterns).unwrap();
    let sets: BTreeMap<String, burn_lora::Adapters> = burn_lora::sets(&model)
        .into_iter()
        .map(|(path, set)| (path, set.map(|adapter| adapter.with_note("".into()))))
        .collect();
    let bare = burn_lora::attach_sets(burn_lora::detach(model), |path| sets.get(path).cloned());
    let dir = tempfile::tempdir().unwrap();
    peft::save(&bare, dir.path(), &peft::config_of(&bare, None).unwrap()).unwrap();
    let mut loaded = Mlp::new(&cpu());
    let report = peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
    let picked = picked(&report);
    assert_eq!(picked["model.layers.0.fc1"], (3, 4.0 / 3.0));
    assert_eq!(picked["model.layers.1.self"], (1, 4.0));
    assert_eq!(picked["model.layers.1.fc1"], (2, 2.0));
    assert_eq!(bits(&loaded), bits(&bare));
}
