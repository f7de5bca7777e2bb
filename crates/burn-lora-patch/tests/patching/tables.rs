//! Adapters on embeddings: what picks them, what they are in files, and tables that are the head too.

use std::fs;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_lora::{Method, unembed};
use burn_lora_patch::peft::{self, LoadOptions, Modules, TENSORS_FILE};
use burn_lora_patch::{
    KeyProblem, LayerStatus, LoraConfig, PatchError, Targets, TaskType, merge, merge_and_unload,
    patch, plan, unload, unmerge,
};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::mlp::{
    Body, HIDDEN, Mlp, ToVec, VOCABULARY, WIDTH, bits, config, cpu, logits, params,
    with_trained_factors,
};

fn of_embedding(method: Method) -> LoraConfig {
    config(Targets::names(["embed", "0.fc1"])).with_method(method)
}

fn body() -> Body {
    Mlp::new(&cpu()).model
}

#[test]
fn an_embedding_is_adapted_where_a_target_names_it_and_saved_under_pefts_keys() {
    for (method, magnitude) in [(Method::Lora, 0), (Method::Dora, 1)] {
        let mut model = Mlp::new(&cpu());
        let before = logits(&model);
        let report = patch(&mut model, &of_embedding(method)).unwrap();
        assert!(report.to_string().contains("adapted: 1 of 8 linears, 1 embedding\n"), "{report}");
        let table = report.layers().last().unwrap();
        assert_eq!((table.path.as_str(), table.table), ("model.embed", true));
        assert_eq!((table.d_in, table.d_out, table.rank), (VOCABULARY, WIDTH, 2));
        let factors = 2 * (VOCABULARY + WIDTH) + 2 * (WIDTH + HIDDEN);
        assert_eq!(report.trainable(), factors + magnitude * (WIDTH + HIDDEN));
        for (after, before) in logits(&model).iter().zip(&before) {
            assert!((after - before).abs() < 1e-5, "{method}: nothing changes at the start");
        }

        let model = with_trained_factors(model);
        let dir = tempfile::tempdir().unwrap();
        peft::save(&model, dir.path(), &peft::config_of(&model, None).unwrap()).unwrap();
        let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| {
            file.tensor(&format!("base_model.model.model.embed.{name}")).unwrap().shape().to_vec()
        };
        assert_eq!(shape("lora_embedding_A"), [2, VOCABULARY]);
        assert_eq!(shape("lora_embedding_B"), [WIDTH, 2]);
        if method == Method::Dora {
            assert_eq!(shape("lora_magnitude_vector"), [WIDTH]);
        }
        let mut loaded = Mlp::new(&cpu());
        let report = peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
        assert_eq!(report.adapted(), 2);
        assert_eq!(bits(&loaded), bits(&model));
        assert_eq!(logits(&loaded), logits(&model));

        // Merging and back, and for good.
        let (adapted, all) = (logits(&model), bits(&model));
        let mut merged = model.clone();
        merge(&mut merged).unwrap();
        for (ours, of_factors) in logits(&merged).iter().zip(&adapted) {
            assert!((ours - of_factors).abs() < 1e-5, "{method} {ours} {of_factors}");
        }
        unmerge(&mut merged).unwrap();
        assert_eq!(bits(&merged), all);
        for (ours, of_factors) in
            logits(&merge_and_unload(model.clone()).unwrap()).iter().zip(&adapted)
        {
            assert!((ours - of_factors).abs() < 1e-5, "{method} {ours} {of_factors}");
        }
        assert_eq!(bits(&unload(model)), bits(&Mlp::new(&cpu())));
    }
}

/// PEFT saves the table that an adapter is on beside its factors.
#[test]
fn the_table_that_peft_saves_beside_the_factors_is_read() {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, &of_embedding(Method::Lora)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    peft::save(&model, dir.path(), &peft::config_of(&model, None).unwrap()).unwrap();
    let path = dir.path().join(TENSORS_FILE);
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values: Vec<u8> =
        (0..VOCABULARY * WIDTH).flat_map(|at| (at as f32 / 10.0).to_le_bytes()).collect();
    let table = TensorView::new(safetensors::Dtype::F32, vec![VOCABULARY, WIDTH], &values).unwrap();
    let mut tensors = file.tensors();
    tensors.push(("base_model.model.model.embed.base_layer.weight".to_owned(), table));
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let mut loaded = Mlp::new(&cpu());
    peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
    let weight = loaded.model.embed.weight.base().try_into_vec_as::<f32>().unwrap();
    assert_eq!(weight[..3], [0.0, 0.1, 0.2]);
}

#[test]
fn names_patterns_and_excludes_pick_embeddings_and_all_linear_does_not() {
    let embed = |config: &LoraConfig| {
        let report = plan(&Mlp::new(&cpu()), config).unwrap();
        let found = report.layers().iter().find(|layer| layer.table).map(|it| it.status.clone());
        (report.adapted(), found)
    };
    let adapted = Some(LayerStatus::Adapted);
    assert_eq!(embed(&config(Targets::AllLinear)), (7, None));
    assert_eq!(embed(&config(Targets::names(["embed"]))), (1, adapted.clone()));
    assert_eq!(embed(&config(Targets::regex(r"model\.(embed|.*0\.fc1)"))), (2, adapted));
    let excluded = config(Targets::regex(r"model\.(embed|.*0\.fc1)")).with_exclude(["embed"]);
    assert_eq!(embed(&excluded), (1, Some(LayerStatus::Excluded { by: "embed".into() })));
    let whole = config(Targets::regex(r"model\.(embed|.*0\.fc1)")).with_modules_to_save(["embed"]);
    assert_eq!(embed(&whole), (1, Some(LayerStatus::TrainedWhole)));
    for method in [Method::Miss, Method::LoraFa] {
        let config = config(Targets::names(["embed"])).with_method(method);
        let told = plan(&Mlp::new(&cpu()), &config).unwrap_err().to_string();
        let part = "target `embed` names an embedding (`model.embed`): this kind of adapter is for linear layers";
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_table_that_is_the_head_too_is_merged_beside_the_base_and_never_for_good() {
    let writes = of_embedding(Method::Lora).with_task_type(TaskType::CausalLm);
    let mut tied = body();
    let report = patch(&mut tied, &writes).unwrap();
    assert!(report.warnings()[0].contains("`embed` is the model's head too"), "{report}");
    let before = bits(&tied);
    let error = merge_and_unload(tied.clone()).unwrap_err();
    assert!(matches!(&error, PatchError::TiedTable { table } if table == "embed"), "{error}");
    merge(&mut tied).unwrap();
    unmerge(&mut tied).unwrap();
    assert_eq!(bits(&tied), before);

    // A model that writes by a head of its own, and one that does not write.
    let mut own = Mlp::new(&cpu());
    patch(&mut own, &writes).unwrap();
    merge_and_unload(own).unwrap();
    let mut encoder = body();
    let report = patch(&mut encoder, &of_embedding(Method::Lora)).unwrap();
    assert!(report.warnings().is_empty(), "{report}");
    assert_eq!(merge_and_unload(encoder).unwrap().num_params(), body().num_params());
}

/// PEFT takes a table and its head apart, and loads other logits, unless the file says that they are one and has both.
#[test]
fn a_table_that_is_trained_whole_and_is_the_head_is_saved_as_both() {
    let head = "base_model.model.lm_head.weight";
    let table = "base_model.model.embed.weight";
    let whole = config(Targets::names(["0.fc1"])).with_modules_to_save(["embed"]);
    for (task, both) in [(Some(TaskType::CausalLm), true), (None, false)] {
        let mut model = body();
        let mut config = whole.clone();
        config.task_type = task;
        patch(&mut model, &config).unwrap();
        let dir = tempfile::tempdir().unwrap();
        peft::save(&model, dir.path(), &peft::config_of(&model, None).unwrap()).unwrap();
        assert_eq!(peft::read_config(dir.path()).unwrap().ensure_weight_tying, both);
        let bytes = fs::read(dir.path().join(TENSORS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor(head).is_ok(), both);
        if both {
            assert_eq!(file.tensor(head).unwrap().data(), file.tensor(table).unwrap().data());
        }
        let mut loaded = body();
        peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
        assert_eq!(bits(&loaded), bits(&model));
    }
}

/// The head of a body, for a row that is not zero.
fn head(body: &Body) -> Vec<f32> {
    let hidden = Tensor::<2>::from_data([[0.5, -1.0, 0.25, 2.0, 0.0, 1.5]], &cpu());
    unembed(&body.embed, hidden).into_data().to_vec_f32()
}

fn tied(targets: &[&str]) -> LoraConfig {
    let config = config(Targets::names(targets.iter().copied())).with_task_type(TaskType::CausalLm);
    config.with_ensure_weight_tying(true)
}

/// PEFT's `ensure_weight_tying`: the head's A is the table's B and its B the table's A, turned.
#[test]
fn a_table_and_the_head_that_it_is_are_adapted_as_one() {
    for name in ["embed", "lm_head"] {
        let mut model = body();
        let before = head(&model);
        let report = patch(&mut model, &tied(&[name, "0.fc1"])).unwrap();
        assert!(report.warnings().is_empty(), "{report}");
        assert!(report.layers().iter().any(|it| it.path == "embed" && it.tied));
        assert_eq!(head(&model), before, "nothing changes at the start");
        let model = with_trained_factors(model);

        // By hand, in f64: hidden (W + scale A B)ᵀ.
        let all = params(&model);
        let of = |name: &str| all[&format!("embed.weight{name}")].0.clone();
        let (table, a, b) =
            (of(""), of(".lora.adapters.0.factors.Lora.a"), of(".lora.adapters.0.factors.Lora.b"));
        let hidden = [0.5, -1.0, 0.25, 2.0, 0.0, 1.5];
        let found = head(&model);
        let own: Vec<f64> = (0..VOCABULARY)
            .map(|token| {
                let value = |at: usize| {
                    let low =
                        (0..2).map(|k| f64::from(a[token * 2 + k]) * f64::from(b[k * WIDTH + at]));
                    f64::from(table[token * WIDTH + at]) + 2.0 * low.sum::<f64>()
                };
                (0..WIDTH).map(|at| hidden[at] * value(at)).sum()
            })
            .collect();
        for (found, own) in found.iter().zip(&own) {
            assert!((f64::from(*found) - own).abs() < 1e-5, "{found} {own}");
        }
        // Merged for good, the table is both.
        let folded = merge_and_unload(model.clone()).unwrap();
        for (folded, own) in head(&folded).iter().zip(&own) {
            assert!((f64::from(*folded) - own).abs() < 1e-5, "{folded} {own}");
        }
        let mut merged = model.clone();
        merge(&mut merged).unwrap();
        for (merged, own) in head(&merged).iter().zip(&own) {
            assert!((f64::from(*merged) - own).abs() < 1e-5, "{merged} {own}");
        }
        unmerge(&mut merged).unwrap();
        assert_eq!(bits(&merged), bits(&model));

        let dir = tempfile::tempdir().unwrap();
        peft::save(&model, dir.path(), &peft::config_of(&model, None).unwrap()).unwrap();
        let written = peft::read_config(dir.path()).unwrap();
        assert!(written.ensure_weight_tying);
        // PEFT ties no table by another name than `embed_tokens`, but one whose head is named.
        let Some(Modules::Names(targets)) = written.target_modules else { panic!("names") };
        assert!(targets.contains(&"lm_head".to_owned()), "{targets:?}");
        let path = dir.path().join(TENSORS_FILE);
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let values = |key: &str| {
            let view = file.tensor(&format!("base_model.model.{key}")).unwrap();
            let floats = view.data().as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it));
            (view.shape().to_vec(), floats.collect::<Vec<f32>>())
        };
        // A lies [rows, rank] and B [rank, d] here, which is what the head's B and A are in a file.
        assert_eq!(values("lm_head.lora_B.weight"), (vec![VOCABULARY, 2], a));
        assert_eq!(values("lm_head.lora_A.weight"), (vec![2, WIDTH], b));
        assert_eq!(values("embed.lora_embedding_A").0, [2, VOCABULARY]);
        let mut loaded = body();
        let report = peft::load(&mut loaded, dir.path(), &LoadOptions::new()).unwrap();
        assert!(report.warnings().is_empty(), "{report}");
        assert_eq!((bits(&loaded), head(&loaded)), (bits(&model), found));
        let mut again = body();
        patch(&mut again, &tied(&[name, "0.fc1"])).unwrap();
        peft::load_into(&mut again, "default", dir.path()).unwrap();
        assert_eq!(bits(&again), bits(&model));

        // A head of other factors is another head.
        let mut other = file.tensors();
        let half = vec![0_u8; VOCABULARY * 2 * 4];
        let at = other.iter().position(|(key, _)| key.ends_with("lm_head.lora_B.weight")).unwrap();
        other[at].1 = TensorView::new(safetensors::Dtype::F32, vec![VOCABULARY, 2], &half).unwrap();
        fs::write(&path, safetensors::serialize(other, None).unwrap()).unwrap();
        let error = peft::load(&mut body(), dir.path(), &LoadOptions::new()).unwrap_err();
        let PatchError::Keys { problems, .. } = &error else { panic!("{error}") };
        let key = "base_model.model.lm_head.lora_B.weight".to_owned();
        assert_eq!(*problems, [KeyProblem::Untied { key }]);
    }
}

#[test]
fn what_cannot_be_tied_is_refused_and_what_ties_nothing_is_told() {
    let error = plan(&body(), &tied(&["embed"]).with_method(Method::Dora)).unwrap_err();
    assert!(
        error.to_string().contains("ensure_weight_tying has no meaning for dora on `embed`"),
        "{error}"
    );
    let told = |config: &LoraConfig| plan(&body(), config).unwrap().to_string();
    let nothing = "ensure_weight_tying ties nothing";
    assert!(told(&tied(&["0.fc1"])).contains(nothing));
    assert!(!told(&tied(&["0.fc1"]).with_modules_to_save(["embed"])).contains(nothing));
    let own = plan(&Mlp::new(&cpu()), &tied(&["embed", "0.fc1"])).unwrap().to_string();
    assert!(own.contains("the model's head is not its token table"), "{own}");
}
