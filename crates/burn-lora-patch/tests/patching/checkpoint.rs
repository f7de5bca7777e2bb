//! Trained values out of a model and back into another.

use burn_lora_patch::{
    KeyProblem, NamedTensor, PatchError, Targets, TaskType, patch, set_tensors, trainable_ids,
    trainable_tensors,
};

use crate::mlp::{Mlp, bits, config, cpu, logits, params, tracked, with_trained_factors};

fn patched() -> Mlp {
    let mut model = Mlp::new(&cpu().autodiff());
    let config = config(Targets::names(["0.fc1"])).with_task_type(TaskType::SeqCls);
    patch(&mut model, &config).unwrap();
    model
}

fn problems(error: &PatchError) -> &[KeyProblem] {
    match error {
        PatchError::Keys { problems, .. } => problems,
        other => panic!("expected problems with keys, got: {other}"),
    }
}

#[test]
fn names_and_layouts_are_pefts() {
    let model = with_trained_factors(patched());
    let tensors = trainable_tensors(&model).unwrap();
    let shapes: Vec<_> = tensors.iter().map(|t| (t.key.as_str(), &t.shape[..])).collect();
    assert_eq!(
        shapes,
        [
            ("base_model.model.model.layers.0.fc1.lora_A.weight", &[2, 6][..]),
            ("base_model.model.model.layers.0.fc1.lora_B.weight", &[10, 2][..]),
            ("base_model.model.classifier.weight", &[3, 6][..]),
            ("base_model.model.classifier.bias", &[3][..]),
        ]
    );
    let stored = &params(&model)["model.layers.0.fc1.weight.lora.adapters.0.factors.Lora.a"].0;
    // Row k of the file is column k of Burn's A, [6, 2].
    for k in 0..2 {
        for row in 0..6 {
            assert_eq!(tensors[0].values[k * 6 + row], stored[row * 2 + k]);
        }
    }
}

#[test]
fn identities_come_under_the_same_names_in_the_same_order() {
    let model = patched();
    let keys: Vec<String> = trainable_tensors(&model).unwrap().into_iter().map(|t| t.key).collect();
    let (names, ids): (Vec<_>, Vec<_>) = trainable_ids(&model).into_iter().unzip();
    assert_eq!(names, keys);
    assert_eq!(ids[2], model.classifier.weight.id);
    assert_eq!(ids[3], model.classifier.bias.as_ref().unwrap().id);
}

#[test]
fn values_go_into_another_model_of_the_same_kind() {
    let mut trained = with_trained_factors(patched());
    trained.classifier = Mlp::with_offset(&cpu().autodiff(), 5.0).classifier;
    let mut other = patched();
    assert_ne!(logits(&other), logits(&trained));
    let (ids, tracked_before) = (trainable_ids(&other), tracked(&other));
    set_tensors(&mut other, trainable_tensors(&trained).unwrap()).unwrap();
    assert_eq!(bits(&other), bits(&trained));
    assert_eq!(logits(&other), logits(&trained));
    assert_eq!(trainable_ids(&other), ids, "identities stay, optimiser state goes by them");
    assert_eq!(tracked(&other), tracked_before);
}

#[test]
fn what_does_not_fit_is_reported_at_once_and_nothing_is_set() {
    let mut model = patched();
    let before = bits(&model);
    let mut tensors = trainable_tensors(&model).unwrap();
    tensors[0].shape = vec![3, 4];
    tensors[1].key.push('x');
    tensors[3].values.pop();
    tensors.push(NamedTensor { key: "y".into(), shape: vec![1], values: vec![1.0] });
    let error = set_tensors(&mut model, tensors).unwrap_err();
    let b = "base_model.model.model.layers.0.fc1.lora_B.weight";
    let found = problems(&error);
    assert_eq!(found.len(), 5, "{error}");
    assert!(found.contains(&KeyProblem::Shape {
        key: "base_model.model.model.layers.0.fc1.lora_A.weight".into(),
        found: vec![3, 4],
        expected: vec![2, 6],
    }));
    assert!(found.contains(&KeyProblem::Missing { key: b.into(), expected: vec![10, 2] }));
    assert!(found.contains(&KeyProblem::Surplus {
        key: format!("{b}x"),
        found: vec![10, 2],
        nearest: Some(b.into()),
    }));
    assert!(found.contains(&KeyProblem::Surplus {
        key: "y".into(),
        found: vec![1],
        nearest: None
    }));
    assert!(found.iter().any(|p| matches!(p, KeyProblem::Count { count: 2, expected: 3, .. })));
    assert_eq!(bits(&model), before);
}
