//! Rows of embeddings that are trained: what picks them, what files hold of them, and a head that is the table.

use std::fs;
use std::path::Path;

use burn::nn::Embedding;
use burn::tensor::Tensor;
use burn_lora::{LoraForward, Method, embed, unembed};
use burn_lora_patch::peft::{self, CONFIG_FILE, LoadOptions, PeftConfig, TENSORS_FILE};
use burn_lora_patch::{
    KeyProblem, LoraConfig, LoraModule, PatchError, Targets, TaskType, TokenIndices, merge,
    merge_and_unload, patch, plan, trainable_tensors, unload, unmerge,
};
use safetensors::SafeTensors;

use crate::mlp::{
    BASE_PARAMS, Body, Mlp, ToVec, VOCABULARY, WIDTH, bits, config, cpu, ids, logits, params,
    tracked, with_trained_factors,
};

const KEY: &str = "base_model.model.model.embed.token_adapter.trainable_tokens_delta";
const ROWS: &str = "model.embed.weight.lora.adapters.0.factors.Tokens.rows";

fn of_tokens(tokens: impl Into<TokenIndices>) -> LoraConfig {
    config(Targets::names(["0.fc1"])).with_trainable_token_indices(tokens)
}

fn trained(config: &LoraConfig) -> Mlp {
    let mut model = Mlp::new(&cpu());
    patch(&mut model, config).unwrap();
    with_trained_factors(model)
}

/// The tensor of that key, as the file has it.
fn tensor(dir: &Path, key: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(dir.join(TENSORS_FILE)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(key).unwrap();
    let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    (view.shape().to_vec(), values.collect())
}

#[test]
fn those_rows_alone_are_trained_and_are_saved_as_pefts_files_have_them() {
    let mut fresh = Mlp::new(&cpu().autodiff());
    let before = logits(&fresh);
    let report = patch(&mut fresh, &of_tokens([5, 2])).unwrap();
    assert!(
        report.to_string().contains("rows trained: 2 of model.embed (12 parameters)"),
        "{report}"
    );
    let added = 2 * (6 + 10) + 2 * WIDTH;
    assert_eq!((report.trainable(), report.total()), (added, BASE_PARAMS + added));
    assert_eq!((report.adapted(), report.linears()), (1, 8));
    for (after, before) in logits(&fresh).iter().zip(&before) {
        assert!((after - before).abs() < 1e-5, "nothing changes at the start");
    }
    assert_eq!(tracked(&fresh).len(), 3, "two factors, and the rows");
    let names: Vec<String> =
        trainable_tensors(&fresh).unwrap().into_iter().map(|tensor| tensor.key).collect();
    assert!(names.contains(&KEY.to_owned()), "{names:?}");

    let model = trained(&of_tokens([5, 2]));
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let written = peft::read_config(dir.path()).unwrap();
    assert_eq!(written.trainable_token_indices, serde_json::json!([5, 2]));
    let (shape, rows) = tensor(dir.path(), KEY);
    assert_eq!(shape, [2, WIDTH]);
    // Held as [d, k]: row 0 of the file is column 0.
    let held = &params(&model)[ROWS].0;
    assert_eq!(held.iter().step_by(2).copied().collect::<Vec<_>>(), rows[..WIDTH]);
    let looked_up = embed(&model.model.embed, ids(&cpu())).into_data().to_vec_f32();
    // The tokens are 0, 3, 6, 1, 5 and 2.
    assert_eq!(looked_up[4 * WIDTH..], rows[..2 * WIDTH]);

    let mut again = Mlp::new(&cpu());
    patch(&mut again, &of_tokens([5, 2])).unwrap();
    peft::load_into(&mut again, "default", dir.path()).unwrap();
    assert_eq!(logits(&again), logits(&model));
}

#[test]
fn merging_writes_the_rows_bit_for_bit_and_unloading_gives_the_table_back() {
    let model = trained(&of_tokens([5, 2]));
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let (_, rows) = tensor(dir.path(), KEY);
    let (adapted, all) = (logits(&model), bits(&model));
    let mut merged = model.clone();
    merge(&mut merged).unwrap();
    for (merged, adapted) in logits(&merged).iter().zip(&adapted) {
        assert!((merged - adapted).abs() < 1e-5, "{merged} {adapted}");
    }
    unmerge(&mut merged).unwrap();
    assert_eq!(bits(&merged), all);

    let folded = merge_and_unload(model.clone()).unwrap();
    let table = |model: &Mlp| params(model)["model.embed.weight"].0.clone();
    let mut expected = table(&Mlp::new(&cpu()));
    expected[5 * WIDTH..6 * WIDTH].copy_from_slice(&rows[..WIDTH]);
    expected[2 * WIDTH..3 * WIDTH].copy_from_slice(&rows[WIDTH..]);
    assert_eq!(table(&folded), expected);
    assert_eq!(bits(&unload(model)), bits(&Mlp::new(&cpu())));
}

#[test]
fn what_is_no_row_of_an_embedding_is_refused_with_what_there_is() {
    let told = |config: &LoraConfig| plan(&Mlp::new(&cpu()), config).unwrap_err().to_string();
    let named =
        |name: &str, tokens: Vec<usize>| of_tokens(TokenIndices::from_iter([(name, tokens)]));
    let check = |config: &LoraConfig, part: &str| {
        let told = told(config);
        assert!(told.contains(part), "{told}");
    };
    check(
        &of_tokens([1, VOCABULARY]),
        "of `model.embed`: token 7 is not in the table, whose rows are 0 to 6",
    );
    check(&of_tokens([3, 1, 3]), "of `model.embed`: token 3 is named twice");
    check(&named("embed", vec![9]), "token 9 is not in the table");
    check(
        &named("embd", vec![1]),
        "trainable_token_indices `embd` matches nothing: did you mean `embed`?",
    );
    check(
        &named("0.fc1", vec![1]),
        "names `model.layers.0.fc1`, which is no embedding and no head",
    );
    check(
        &named("lm_head", vec![9]),
        "of `lm_head`: token 9 is not in the table, whose rows are 0 to 6",
    );
    check(
        &named("lm_head", vec![1]).with_targets(["lm_head", "0.fc1"]),
        "`lm_head`, which a target gives an adapter",
    );
    check(
        &of_tokens([1]).with_modules_to_save(["embed"]),
        "`model.embed`, which modules_to_save trains whole",
    );
    check(
        &of_tokens([1]).with_targets(["embed", "0.fc1"]),
        "`model.embed`, which a target gives an adapter",
    );
    check(&of_tokens([1]).with_method(Method::Miss), "has no meaning for miss");
    let block = Mlp::new(&cpu()).model.layers.remove(0);
    let none = plan(&block, &config(Targets::names(["fc1"])).with_trainable_token_indices([1]));
    assert!(none.unwrap_err().to_string().contains("the model has no embedding"));
    // None at all is none.
    let without = config(Targets::names(["fc1"])).with_trainable_token_indices([]);
    assert!(plan(&block, &without).unwrap().tokens().is_empty());
}

#[test]
fn a_configuration_of_other_tokens_is_not_saved_and_their_rows_are_not_loaded() {
    let model = trained(&of_tokens([5, 2]));
    let dir = tempfile::tempdir().unwrap();
    let other = PeftConfig::new(&of_tokens([5, 3]));
    let error = peft::save(&model, dir.path(), &other).unwrap_err();
    let of_tokens_alone = |setting: &str| setting == "trainable_token_indices";
    assert!(
        matches!(&error, PatchError::Mismatch { setting, .. } if of_tokens_alone(setting)),
        "{error}"
    );

    model.save_adapter(dir.path()).unwrap();
    let path = dir.path().join(CONFIG_FILE);
    let mut file = peft::read_config(dir.path()).unwrap();
    for (tokens, part) in [
        (serde_json::json!([5, 2, 1]), "is [2, 6], the model needs [3, 6]"),
        (serde_json::Value::Null, "surplus"),
        (serde_json::json!([5, 7]), "token 7 is not in the table, whose rows are 0 to 6"),
    ] {
        file.trainable_token_indices = tokens;
        fs::write(&path, file.to_json().unwrap()).unwrap();
        let error = Mlp::new(&cpu()).load_adapter(dir.path()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn body() -> Body {
    Mlp::new(&cpu()).model
}

fn head(table: &Embedding) -> Vec<f32> {
    let hidden = Tensor::<2>::from_data([[0.5, -1.0, 0.25, 2.0, 0.0, 1.5]], &cpu());
    unembed(table, hidden).into_data().to_vec_f32()
}

/// Merged for good, too: unlike that of other adapters, the head's change is the table's.
#[test]
fn a_head_that_is_the_table_follows_its_rows_and_may_be_named_beside_it() {
    let writes = of_tokens([5, 2]).with_task_type(TaskType::CausalLm);
    let mut model = body();
    let report = patch(&mut model, &writes).unwrap();
    assert!(report.warnings().is_empty(), "{report}");
    let model = with_trained_factors(model);
    let (base, adapted) = (head(&body().embed), head(&model.embed));
    for (token, (base, adapted)) in base.iter().zip(&adapted).enumerate() {
        assert_eq!(base != adapted, [5, 2].contains(&token), "{token}");
    }
    let folded = merge_and_unload(model).unwrap();
    for (folded, adapted) in head(&folded.embed).iter().zip(&adapted) {
        assert!((folded - adapted).abs() < 1e-5, "{folded} {adapted}");
    }

    let both = |of_head: Vec<usize>| {
        let mut config = writes.clone();
        let named = [("embed", vec![5, 2]), ("lm_head", of_head)];
        config.trainable_token_indices = TokenIndices::from_iter(named);
        plan(&body(), &config)
    };
    assert_eq!(both(vec![5, 2]).unwrap().tokens()[0].rows, 2);
    let error = both(vec![5]).unwrap_err().to_string();
    assert!(error.contains("`lm_head` has other tokens than the token table"), "{error}");
}

/// PEFT's `{"embed_tokens": [..], "lm_head": [..]}`: other tokens of each, for the two are apart.
#[test]
fn rows_of_a_head_of_its_own_are_trained_beside_those_of_the_table() {
    let both = || {
        let named = [("embed", vec![5, 2]), ("lm_head", vec![1, 6, 4])];
        of_tokens(TokenIndices::from_iter(named))
    };
    let of_head = |model: &Mlp| {
        let hidden = Tensor::<2>::from_data(
            [[0.5, -1.0, 0.25, 2.0, 0.0, 1.5], [-0.5, 0.75, 1.0, -1.25, 0.5, 0.25]],
            &model.lm_head.weight.device(),
        );
        model.lm_head.lora_forward(hidden)
    };
    let mut fresh = Mlp::new(&cpu().autodiff());
    let report = patch(&mut fresh, &both()).unwrap();
    assert!(report.to_string().contains("rows trained: 3 of lm_head (18 parameters)"), "{report}");
    let before = of_head(&Mlp::new(&cpu())).into_data().to_vec_f32();
    let found = of_head(&fresh);
    for (after, before) in found.clone().into_data().to_vec_f32().iter().zip(&before) {
        assert!((after - before).abs() < 1e-6, "nothing changes at the start: {after} {before}");
    }
    // The gradient of a trained output's row is the sum of what went in, and no other is there.
    let at = "lm_head.weight.lora.adapters.0.factors.Tokens.rows";
    assert!(tracked(&fresh).contains(&at.to_owned()));
    let set = burn_lora::sets(&fresh.lm_head).remove(0).1;
    let rows = set.get("default").unwrap().factor::<2>("rows").unwrap().val();
    let grads = (found * 2.0).sum().backward();
    let grad = rows.grad(&grads).unwrap().into_data().to_vec_f32();
    let sums = [0.0, -0.25, 1.25, 0.75, 0.5, 1.75].map(|sum| 2.0 * sum);
    for (at, grad) in grad.iter().enumerate() {
        assert!((grad - sums[at / 3]).abs() < 1e-6, "{at}: {grad}");
    }

    let model = trained(&both());
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let written = peft::read_config(dir.path()).unwrap().trainable_token_indices;
    assert_eq!(written, serde_json::json!({"embed": [5, 2], "lm_head": [1, 6, 4]}));
    let key = "base_model.model.lm_head.token_adapter.trainable_tokens_delta";
    let (shape, rows) = tensor(dir.path(), key);
    assert_eq!(shape, [3, WIDTH]);
    let (loaded, _) = Mlp::new(&cpu()).load_adapter(dir.path()).unwrap();
    assert_eq!(bits(&loaded), bits(&model));
    let mut again = Mlp::new(&cpu());
    patch(&mut again, &both()).unwrap();
    peft::load_into(&mut again, "default", dir.path()).unwrap();
    assert_eq!(bits(&again), bits(&model));

    // Merged, the head is the base's with those rows in it, bit for bit: [d, outputs] here.
    let adapted = of_head(&model).into_data().to_vec_f32();
    assert_ne!(adapted, before);
    let mut expected = params(&Mlp::new(&cpu()))["lm_head.weight"].0.clone();
    for (row, token) in [1, 6, 4].into_iter().enumerate() {
        for at in 0..WIDTH {
            expected[at * VOCABULARY + token] = rows[row * WIDTH + at];
        }
    }
    let folded = merge_and_unload(model.clone()).unwrap();
    assert_eq!(params(&folded)["lm_head.weight"].0, expected);
    for (folded, adapted) in of_head(&folded).into_data().to_vec_f32().iter().zip(&adapted) {
        assert!((folded - adapted).abs() < 1e-5, "{folded} {adapted}");
    }
    assert_eq!(bits(&unload(model)), bits(&Mlp::new(&cpu())));
}

/// The head changed with the table, untold, where PEFT leaves it as it was.
#[test]
fn a_table_that_peft_trained_apart_from_its_head_is_refused() {
    let mut model = body();
    let whole = config(Targets::names(["0.fc1"])).with_modules_to_save(["embed"]);
    patch(&mut model, &whole.with_task_type(TaskType::CausalLm)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let mut file = peft::read_config(dir.path()).unwrap();
    assert!(file.ensure_weight_tying);
    file.ensure_weight_tying = false;
    fs::write(dir.path().join(CONFIG_FILE), file.to_json().unwrap()).unwrap();
    // With a head of the same values the two are one all the same.
    peft::load(&mut body(), dir.path(), &LoadOptions::new()).unwrap();

    let path = dir.path().join(TENSORS_FILE);
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let without = tensors.into_iter().filter(|(key, _)| key != "base_model.model.lm_head.weight");
    fs::write(&path, safetensors::serialize(without, None).unwrap()).unwrap();
    let error = peft::load(&mut body(), dir.path(), &LoadOptions::new()).unwrap_err();
    let PatchError::Keys { problems, .. } = &error else { panic!("{error}") };
    let key = "base_model.model.embed.weight".to_owned();
    assert_eq!(*problems, [KeyProblem::Apart { key }]);
    file.ensure_weight_tying = true;
    fs::write(dir.path().join(CONFIG_FILE), file.to_json().unwrap()).unwrap();
    peft::load(&mut body(), dir.path(), &LoadOptions::new()).unwrap();
}
