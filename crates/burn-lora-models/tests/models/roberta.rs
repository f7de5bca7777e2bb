//! RoBERTa, made from the golden BERT.
//!
//! With the position table moved down by the padding index and one, RoBERTa's encoder is BERT's, and
//! with the pooler's product for its head's first layer, its head is BERT's: the logits must be
//! those that transformers computed for BERT.

use burn_lora_models::{Classifier, Model, SequenceClassifier};

use crate::fixture::{Batch, Copy, Stored, device, floats, golden, largest_difference, read};

const PADDING: usize = 4;

fn roberta() -> Copy {
    let mut copy = Copy::of("bert");
    copy.rename(|key| match key {
        "classifier.weight" => "classifier.out_proj.weight".into(),
        "classifier.bias" => "classifier.out_proj.bias".into(),
        "bert.pooler.dense.weight" => "classifier.dense.weight".into(),
        "bert.pooler.dense.bias" => "classifier.dense.bias".into(),
        key => key.replace("bert.", "roberta."),
    });
    let key = "roberta.embeddings.position_embeddings.weight";
    let table = &copy.tensors[key];
    let [rows, width] = table.shape[..] else { panic!("a table") };
    let mut floats = vec![100.0; (PADDING + 1) * width];
    floats.extend(table.floats());
    let table = Stored::from_floats(vec![rows + PADDING + 1, width], &floats);
    copy.tensors.insert(key.into(), table);
    copy.config["model_type"] = "roberta".into();
    copy.config["pad_token_id"] = PADDING.into();
    copy.config["max_position_embeddings"] = (rows + PADDING + 1).into();
    copy
}

#[test]
fn roberta_computes_what_bert_computes_with_its_positions_moved() {
    let copy = roberta();
    let device = device();
    let (model, report) =
        SequenceClassifier::load_with_head(copy.write(), None, 0, &device, &mut |_, _| {}).unwrap();
    assert!(matches!(model, SequenceClassifier::Roberta(_)));
    assert!(report.fresh.is_empty(), "{report:?}");
    assert_eq!(model.config().context(), Some(64));
    let batch = Batch::of("bert");
    let logits = floats(model.logits(batch.ids(&device), &batch.lengths));
    let expected = read(&golden("bert").join("base.safetensors"));
    let difference = largest_difference(&logits, &expected["logits"].floats(), 5, |_| true);
    // As for BERT itself: f32 sums in another order.
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn a_pre_trained_roberta_gets_a_fresh_head_and_keeps_no_other() {
    let mut copy = roberta();
    copy.tensors.retain(|key, _| !key.starts_with("classifier."));
    copy.tensors.insert("lm_head.bias".into(), Stored::from_floats(vec![211], &[0.0; 211]));
    copy.tensors
        .insert("roberta.pooler.dense.bias".into(), Stored::from_floats(vec![48], &[0.0; 48]));
    let (_, report) =
        SequenceClassifier::load_with_head(copy.write(), Some(7), 0, &device(), &mut |_, _| {})
            .unwrap();
    let fresh = ["dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"];
    assert_eq!(report.fresh, fresh.map(|name| format!("classifier.{name}")));
    assert_eq!(report.tolerated, ["lm_head.bias", "roberta.pooler.dense.bias"]);
}
