//! Adapters of adapters: PEFT's changes, laws, files, and adapters on a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_patch::combine::{
    Combination, CombineOptions, CombineProblem, Factors, Keep, MajoritySign, Place, StoredAdapter,
    StoredLayer, combine, compress, kept,
};
use burn_lora_patch::peft::{CONFIG_FILE, Modules, PeftConfig};
use burn_lora_patch::prelude::*;
use burn_lora_patch::{PatchError, Targets, patch, unload};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::mlp::{Mlp, bits, config, cpu, logits, with_trained_factors};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/many")
}

fn stored(name: &str) -> StoredAdapter {
    StoredAdapter::read(golden().join(name)).unwrap()
}

/// An adapter of known values: A counts up from `start` in steps of 1/8, B down.
fn layer(start: f64, [d_out, rank, d_in]: [usize; 3], scale: f64) -> StoredLayer {
    let count = |n: usize, step: f64| (0..n).map(|at| start + step * at as f64).collect();
    let (a, b) = (count(rank * d_in, 0.125), count(d_out * rank, -0.125));
    let factors = Factors { a, b, rank, d_in, d_out, scale };
    StoredLayer { place: Place::linear(d_in, d_out), factors }
}

fn adapter(layers: &[(&str, StoredLayer)]) -> StoredAdapter {
    let layers: BTreeMap<String, StoredLayer> =
        layers.iter().map(|(path, layer)| ((*path).to_owned(), layer.clone())).collect();
    let names = layers.keys().cloned().collect();
    let config =
        PeftConfig { target_modules: Some(Modules::Names(names)), ..PeftConfig::default() };
    StoredAdapter { dir: "made".into(), config, layers, whole: Vec::new() }
}

fn changes(adapter: &StoredAdapter) -> BTreeMap<&str, Vec<f64>> {
    adapter.layers.iter().map(|(path, layer)| (path.as_str(), layer.factors.change())).collect()
}

fn largest(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max)
}

/// PEFT computes in f32, of entries of size 1: its sums of some ten products are off by less.
const SUMS: f64 = 1e-6;
/// f32 turns singular vectors by its rounding, 6e-8, times the largest singular value over the gap at the cut, which is a
/// two-hundredth of it here at the least: what is cut is off by as much. PEFT's functions in f64 are off its values by 4.4e-6, too.
const CUTS: f64 = 2e-5;

#[test]
fn every_way_makes_pefts_changes() {
    let bytes = std::fs::read(golden().join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let text = std::fs::read_to_string(golden().join("operations.json")).unwrap();
    let operations: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(operations.len(), 9);
    for (name, operation) in operations {
        let weights: Vec<f64> = serde_json::from_value(operation["weights"].clone()).unwrap();
        let way = operation["combination_type"].as_str().unwrap().parse().unwrap();
        let mut options = CombineOptions::new(way, weights);
        options.density = operation["density"].as_f64();
        options.rank = operation["svd_rank"].as_u64().map(|rank| rank as usize);
        if operation["majority_sign_method"] == "frequency" {
            options.majority_sign = MajoritySign::Frequency;
        }
        let adapters = operation["adapters"].as_array().unwrap();
        let adapters: Vec<_> = adapters.iter().map(|it| stored(it.as_str().unwrap())).collect();
        let dir = tempfile::tempdir().unwrap();
        combine(&adapters, &options).unwrap().write(dir.path()).unwrap();
        // What is written is what is compared.
        let read = StoredAdapter::read(dir.path()).unwrap();
        assert_eq!(read.layers.len(), 6, "{name}");
        let mut worst = 0.0_f64;
        for (path, change) in changes(&read) {
            let view = expected.tensor(&format!("delta.{name}.{path}")).unwrap();
            let values: Vec<f64> = view
                .data()
                .chunks_exact(4)
                .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
                .collect();
            worst = worst.max(largest(&change, &values));
        }
        println!("{name}: {worst:.1e}");
        let tolerance = if name.ends_with("svd") { CUTS } else { SUMS };
        assert!(worst < tolerance, "{name}: {worst}");
    }
}

/// The two goldens overlap in `q_proj` alone, with the ranks 4 and 6 and other scales.
#[test]
fn the_exact_ways_are_the_weighted_sum_also_of_other_ranks_and_layers() {
    let adapters = [stored("one"), stored("two")];
    let cat = combine(&adapters, &CombineOptions::new(Combination::Cat, [0.7, -0.4])).unwrap();
    let all = CombineOptions::new(Combination::Svd, [0.7, -0.4]).with_rank(10);
    let svd = combine(&adapters, &all).unwrap();
    let sum = |path: &str| {
        let mut total: Vec<f64> = Vec::new();
        for (adapter, weight) in adapters.iter().zip([0.7, -0.4]) {
            if let Some(layer) = adapter.layers.get(path) {
                let change = layer.factors.change();
                total.resize(change.len(), 0.0);
                total.iter_mut().zip(change).for_each(|(total, value)| *total += weight * value);
            }
        }
        total
    };
    assert_eq!(cat.layers.len(), 8);
    assert_eq!((cat.rank(), cat.config.r, cat.config.lora_alpha), (10, 10, 10.0));
    assert!(cat.layers.values().all(|layer| layer.factors.rank == 10));
    for made in [&cat, &svd] {
        for (path, change) in changes(made) {
            // f64 throughout, sums of twenty products.
            assert!(largest(&change, &sum(path)) < 1e-12, "{path}");
        }
    }
    let names: Vec<&str> = match &cat.config.target_modules {
        Some(Modules::Names(names)) => names.iter().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    };
    assert_eq!(names, ["down_proj", "q_proj", "up_proj", "v_proj"]);
}

#[test]
fn scales_of_rslora_and_patterns_are_read_and_the_result_has_the_scale_1() {
    let dir = tempfile::tempdir().unwrap();
    let mut made =
        adapter(&[("a.fc", layer(1.0, [3, 4, 2], 1.0)), ("b.fc", layer(0.5, [3, 4, 2], 1.0))]);
    made.config.target_modules = Some(Modules::Names(vec!["fc".into()]));
    (made.config.r, made.config.lora_alpha, made.config.use_rslora) = (4, 6.0, true);
    made.config.alpha_pattern = serde_json::from_value(json!({"^a.fc": 2.0})).unwrap();
    made.write(dir.path()).unwrap();
    let read = StoredAdapter::read(dir.path()).unwrap();
    // alpha / √4
    assert_eq!(read.layers["a.fc"].factors.scale, 1.0);
    assert_eq!(read.layers["b.fc"].factors.scale, 3.0);
    for way in [Combination::Linear, Combination::Cat, Combination::Svd] {
        let adapters = [read.clone(), read.clone()];
        let both = combine(&adapters, &CombineOptions::new(way, [1.5, 0.0])).unwrap();
        assert_eq!(both.config.lora_alpha, both.config.r as f64, "{way}");
        assert!(!both.config.use_rslora && both.config.alpha_pattern.is_empty(), "{way}");
        for (path, change) in changes(&both) {
            let alone: Vec<f64> =
                read.layers[path].factors.change().iter().map(|value| 1.5 * value).collect();
            assert!(largest(&change, &alone) < 1e-12, "{way} {path}");
        }
    }
}

#[test]
fn one_adapter_alone_is_its_change_times_the_weight_whatever_the_way() {
    let one = adapter(&[("fc", layer(0.25, [3, 2, 4], 0.5))]);
    for weight in [0.7, -1.5, 0.0] {
        let options = CombineOptions::new(Combination::TiesSvd, [weight]).with_density(0.5);
        let made = combine(std::slice::from_ref(&one), &options).unwrap();
        let expected: Vec<f64> =
            one.layers["fc"].factors.change().iter().map(|value| weight * value).collect();
        assert!(largest(&made.layers["fc"].factors.change(), &expected) < 1e-13);
    }
}

/// Each entry of the change is a sum of products of independent draws of expectation 1.
#[test]
fn what_dare_draws_has_the_expectation_of_all_and_is_the_seeds() {
    let (one, two) = (
        adapter(&[("fc", layer(1.0, [2, 2, 2], 1.0))]),
        adapter(&[("fc", layer(-0.5, [2, 2, 2], 1.0))]),
    );
    let adapters = [one, two];
    let whole = combine(&adapters, &CombineOptions::new(Combination::Linear, [1.0, 1.0])).unwrap();
    let whole = whole.layers["fc"].factors.change();
    let drawn = |seed: u64, way| {
        let options = CombineOptions::new(way, [1.0, 1.0]).with_density(0.8).with_seed(seed);
        combine(&adapters, &options).unwrap().layers["fc"].factors.change()
    };
    let mut mean = [0.0; 4];
    let (mut squares, draws) = ([0.0; 4], 4000);
    for seed in 0..draws {
        for (at, value) in drawn(seed, Combination::DareLinear).into_iter().enumerate() {
            mean[at] += value / draws as f64;
            squares[at] += value * value / draws as f64;
        }
    }
    for at in 0..4 {
        // Five standard errors.
        let bound = 5.0 * ((squares[at] - mean[at] * mean[at]) / draws as f64).sqrt();
        assert!((mean[at] - whole[at]).abs() < bound, "{} {} {bound}", mean[at], whole[at]);
    }
    for way in [
        Combination::DareLinear,
        Combination::DareTies,
        Combination::DareLinearSvd,
        Combination::DareTiesSvd,
    ] {
        assert_eq!(drawn(7, way), drawn(7, way), "{way}");
        assert_ne!(drawn(7, way), drawn(8, way), "{way}");
    }
    // Of density 1 nothing is pruned.
    let all = CombineOptions::new(Combination::DareLinear, [1.0, 1.0]).with_density(1.0);
    assert_eq!(combine(&adapters, &all).unwrap().layers["fc"].factors.change(), whole);
}

#[test]
fn what_cannot_be_combined_says_what_can() {
    let adapters = [stored("one"), stored("two")];
    let told = |options: &CombineOptions, parts: &[&str]| {
        let error = combine(&adapters, options).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    };
    let of = |way| CombineOptions::new(way, [1.0, 1.0]);
    told(&of(Combination::Linear), &["q_proj", "`4`, `6`", "cat", "or by svd"]);
    let ties = of(Combination::Ties).with_density(0.5);
    told(&ties, &["needs them equal", "cat", "ties_svd"]);
    told(&of(Combination::Ties), &["no density is given", "0 to 1"]);
    told(&of(Combination::DareTies).with_density(0.0), &["its density is 0", "above 0"]);
    told(&of(Combination::MagnitudePrune).with_density(1.5), &["its density is 1.5"]);
    told(&of(Combination::Cat).with_density(0.5), &["cat prunes nothing"]);
    told(&of(Combination::Cat).with_rank(3), &["cat has the rank", "svd"]);
    told(&of(Combination::Svd).with_rank(0), &["rank asked for is 0"]);
    told(&CombineOptions::new(Combination::Cat, [1.0]), &["1 weights are given for 2 adapters"]);
    told(&CombineOptions::new(Combination::Cat, [1.0, f64::NAN]), &["NaN"]);
    let one = CombineOptions::new(Combination::Svd, [1.0]).with_rank(2);
    let error = combine(&adapters[..1], &one).unwrap_err().to_string();
    assert!(error.contains("compress"), "{error}");
    let error = "mean".parse::<Combination>().unwrap_err().to_string();
    assert!(error.contains("`magnitude_prune_svd`"), "{error}");
    let wider = [adapters[0].clone(), {
        let (path, mut layers) = ("model.layers.0.self_attn.q_proj", adapters[0].layers.clone());
        layers.insert(path.to_owned(), layer(1.0, [48, 4, 47], 1.0));
        StoredAdapter { layers, dir: "wide".into(), ..adapters[0].clone() }
    }];
    let error = combine(&wider, &of(Combination::Linear)).unwrap_err();
    assert!(matches!(error, PatchError::Combine(CombineProblem::Place { .. })), "{error}");
}

#[test]
fn kinds_whose_change_is_no_product_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        stored("one").write(dir.path()).unwrap();
        let path = dir.path().join(CONFIG_FILE);
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(&path, config.to_string()).unwrap();
        let error = StoredAdapter::read(dir.path()).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    };
    refused(&|config| config["use_dora"] = true.into(), &["DoRA", "magnitudes", "extract"]);
    refused(
        &|config| *config = json!({"peft_type": "MISS", "target_modules": ["q_proj"]}),
        &["MiSS", "repeats a block"],
    );
    refused(
        &|config| config["lora_bias"] = true.into(),
        &["biased LoRA", "factor B", "where its layers have biases"],
    );
    refused(
        &|config| config["trainable_token_indices"] = json!([1]),
        &["trainable_token_indices = [1]", "no factors"],
    );
    refused(&|config| config["init_lora_weights"] = "pissa".into(), &["it changes the base"]);
    refused(&|config| config["alpha_pattern"] = json!({"a(": 1}), &["`alpha_pattern` has `a(`"]);
    // Over another rank, alpha is another scale.
    let other = ["are of rank 4, the configuration says 3", "alpha", "rank_pattern"];
    refused(&|config| config["r"] = 3.into(), &other);
    refused(&|config| config["rank_pattern"] = json!({"q_proj": 3}), &other);
    refused(&|config| config["rank_pattern"] = json!({"q_proj": 0.5}), &["0.5 is no such number"]);
}

#[test]
fn modules_that_one_adapter_trained_whole_are_the_results() {
    let dir = tempfile::tempdir().unwrap();
    let (mut model, whole) = (Mlp::new(&cpu()), config(Targets::names(["fc1"])));
    patch(&mut model, &whole.with_modules_to_save(["norm"])).unwrap();
    with_trained_factors(model).save_adapter(dir.path()).unwrap();
    let with = StoredAdapter::read(dir.path()).unwrap();
    assert!(!with.whole.is_empty());
    let without = StoredAdapter { whole: Vec::new(), ..with.clone() };
    let options = CombineOptions::new(Combination::Cat, [1.0, 1.0]);
    let both = combine(&[without, with.clone()], &options).unwrap();
    assert_eq!(both.whole, with.whole);
    assert_eq!(both.config.modules_to_save, with.config.modules_to_save);
    let error = combine(&[with.clone(), with], &options).unwrap_err().to_string();
    assert!(error.contains("both trained modules whole"), "{error}");
}

#[test]
fn a_compressed_adapter_is_the_best_of_its_rank_and_loads() {
    let one = stored("one");
    let dir = tempfile::tempdir().unwrap();
    let (small, told) = compress(&one, Keep::Rank(2)).unwrap();
    small.write(dir.path()).unwrap();
    let read = StoredAdapter::read(dir.path()).unwrap();
    assert_eq!((read.rank(), read.config.r, read.config.lora_alpha), (2, 2, 2.0));
    assert_eq!(read.config.target_modules, one.config.target_modules);
    for told in &told {
        let (before, after) = (&one.layers[&told.layer].factors, &read.layers[&told.layer].factors);
        let parts = before.parts().unwrap();
        let (change, cut) = (before.change(), after.change());
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
        let whole = norm(&mut change.iter().copied());
        let lost = norm(&mut change.iter().zip(&cut).map(|(one, other)| one - other));
        // What is lost is what the other singular values are (Eckart and Young), and what is told; written in f32.
        let others: f64 = parts.singular()[2..].iter().map(|value| value * value).sum();
        assert!((lost - others).abs() < 1e-6 * whole, "{lost} {others}");
        assert!((told.energy - (1.0 - others / whole)).abs() < 1e-12);
        assert_eq!(told.rank, 4);
    }
    let least = told.iter().map(|told| told.energy).fold(1.0, f64::min);
    let (again, _) = compress(&one, Keep::Energy(least)).unwrap();
    assert_eq!(again.rank(), 2);
    for (keep, part) in [
        (Keep::Rank(4), "no layer has a rank above 4"),
        (Keep::Rank(0), "rank asked for is 0"),
        (Keep::Energy(0.0), "share of energy to keep is 0"),
        (Keep::Energy(1.1), "share of energy to keep is 1.1"),
        (Keep::Energy(1.0), "no layer has a rank above 4"),
    ] {
        let error = compress(&one, keep).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

proptest! {
    /// Weights of 1 and −1 of the same adapter leave nothing; what is kept grows to all.
    #[test]
    fn opposites_cancel_and_shares_grow(
        rank in 1_usize..4, d_in in 1_usize..6, d_out in 1_usize..6, start in -2.0_f64..2.0,
    ) {
        let one = adapter(&[("fc", layer(start, [d_out, rank, d_in], 0.75))]);
        for way in [Combination::Linear, Combination::Cat, Combination::Svd] {
            let options = CombineOptions::new(way, [1.0, -1.0]);
            let none = combine(&[one.clone(), one.clone()], &options).unwrap();
            let scale = one.layers["fc"].factors.change().iter().fold(1.0_f64, |most, value| most.max(value.abs()));
            for value in none.layers["fc"].factors.change() {
                // A's roots cancel to the last bit and B's add up; products of sizes up to `scale`.
                prop_assert!(value.abs() < 1e-12 * scale, "{} {}", way, value);
            }
        }
        let parts = one.layers["fc"].factors.parts().unwrap();
        let shares = kept(parts.singular());
        prop_assert!(shares.is_sorted());
        prop_assert!((shares.last().unwrap() - 1.0).abs() < 1e-12);
    }
}

fn two_adapters() -> Mlp {
    let mut model = Mlp::new(&cpu());
    for (name, targets) in
        [("one", Targets::names(["fc1", "self"])), ("two", Targets::names(["fc1"]))]
    {
        patch(&mut model, &config(targets).with_name(name)).unwrap();
        model = with_trained_factors(model);
    }
    model
}

/// Sums of a few products in f32 through two blocks of sizes around 1: under 1e-5.
fn check_close(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() < 1e-5, "{one} is not {other}");
    }
}

#[test]
fn adapters_on_a_model_are_combined_into_one_more() {
    let model = two_adapters();
    let weighted = model.clone().lora_scale("one", 0.7).unwrap().lora_scale("two", -0.4).unwrap();
    let options = CombineOptions::new(Combination::Cat, [0.7, -0.4]);
    let with_both = model.clone().combine_adapters(["one", "two"], &options, "both").unwrap();
    assert_eq!(with_both.adapter_names(), ["both", "one", "two"]);
    assert_eq!(logits(&with_both), logits(&model), "it is not active yet");
    let both = with_both.clone().with_active_adapters(["both"]).unwrap();
    check_close(&logits(&both), &logits(&weighted));

    // It is saved like any other, and is what combining the files gives.
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["one", "two", "both"] {
        with_both.save_named_adapter(name, at(name)).unwrap();
    }
    let (loaded, _) = Mlp::new(&cpu()).load_adapter(at("both")).unwrap();
    check_close(&logits(&loaded), &logits(&both));
    let files = ["one", "two"].map(|name| StoredAdapter::read(at(name)).unwrap());
    let (files, saved) =
        (combine(&files, &options).unwrap(), StoredAdapter::read(at("both")).unwrap());
    for (path, change) in changes(&files) {
        // Rounded to f32 once.
        assert!(largest(&change, &saved.layers[path].factors.change()) < 1e-5, "{path}");
    }

    let told = |error: PatchError, part: &str| {
        assert!(error.to_string().contains(part), "{error}");
    };
    let again = with_both.clone().combine_adapters(
        ["one"],
        &CombineOptions::new(Combination::Cat, [1.0]),
        "both",
    );
    told(again.unwrap_err(), "`both` is already attached");
    told(
        model.clone().combine_adapters(["one", "tow"], &options, "x").unwrap_err(),
        "did you mean `two`?",
    );
    told(
        model.merge_lora().unwrap().combine_adapters(["one", "two"], &options, "x").unwrap_err(),
        "are merged",
    );
}

#[test]
fn an_adapter_is_swapped_for_one_of_another_rank_and_the_base_is_the_same_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Mlp::new(&cpu());
    let mut wide = config(Targets::names(["fc2", "self"]));
    wide.adapter.rank += 3;
    patch(&mut other, &wide).unwrap();
    let other = with_trained_factors(other);
    other.save_adapter(dir.path()).unwrap();

    let model = two_adapters().lora_scale("one", 0.5).unwrap();
    let before = bits(&model.clone().unload_lora());
    let swapped = model.clone().swap_adapter("one", dir.path()).unwrap();
    assert_eq!(swapped.adapter_names(), ["one", "two"]);
    assert_eq!(bits(&swapped.clone().unload_lora()), before);
    let alone = swapped.clone().with_active_adapters(["one"]).unwrap();
    check_close(&logits(&alone), &logits(&other.lora_scale("default", 0.5).unwrap()));
    // What was off stays off.
    let off = model.clone().with_active_adapters(["two"]).unwrap();
    let off = off.swap_adapter("one", dir.path()).unwrap();
    assert_eq!(logits(&off), logits(&model.clone().with_active_adapters(["two"]).unwrap()));

    let missing = model.clone().swap_adapter("one", dir.path().join("none"));
    assert!(missing.unwrap_err().to_string().contains("no such directory"));
    let merged = model.merge_lora().unwrap().swap_adapter("one", dir.path());
    assert!(matches!(merged, Err(PatchError::Merged { .. })));
}

#[test]
fn rows_of_one_batch_go_each_through_the_adapter_that_it_names() {
    let model = two_adapters();
    let of = |model: &Mlp| logits(model);
    let half = of(&model).len() / 2;
    let alone = |names: &[&str]| of(&model.clone().with_active_adapters(names.iter()).unwrap());
    let found = model.by_row(&[Some("two"), None], of).unwrap();
    check_close(&found[..half], &alone(&["two"])[..half]);
    check_close(&found[half..], &logits(&Mlp::new(&cpu()))[half..]);
    let found = model.by_row(&[Some("one"), Some("two")], of).unwrap();
    check_close(&found[..half], &alone(&["one"])[..half]);
    check_close(&found[half..], &alone(&["two"])[half..]);

    let error = model.by_row(&[Some("tow"), None], of).unwrap_err().to_string();
    assert!(error.contains("did you mean `two`?"), "{error}");
    let merged = model.clone().merge_lora().unwrap().by_row(&[Some("one"), None], of);
    assert!(matches!(merged, Err(PatchError::Merged { .. })));
    assert_eq!(Mlp::new(&cpu()).by_row(&[None, None], of).unwrap(), logits(&Mlp::new(&cpu())));
}

#[test]
fn within_the_scope_of_disabling_the_model_is_the_base_bit_for_bit() {
    let base = bits(&Mlp::new(&cpu()));
    let model = two_adapters();
    let (adapted, expected) = (logits(&model), logits(&Mlp::new(&cpu())));
    for model in [model.clone(), model.clone().merge_lora().unwrap()] {
        let (values, out) = model.with_adapters_disabled(|base| (bits(base), logits(base)));
        assert_eq!(values, base);
        assert_eq!(out, expected);
        assert_eq!(bits(&unload(model)), base);
    }
    assert_eq!(logits(&model), adapted);
    assert_eq!(logits(&model.merge_lora().unwrap().unmerge_lora().unwrap()), adapted);
}
